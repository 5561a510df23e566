#include "merged.h"

#include <stdlib.h>

static void *zeroed(size_t count, size_t size, jmp_buf *exit) {
    void *items = calloc(count + 1, size);
    if (!items) longjmp(*exit, 1);
    return items;
}

void merged_open(Merged *merged, const Shape *shape, const fanfold_options *options, jmp_buf *exit) {
    merged->exit = merged->texts.exit = merged->key.exit = merged->lost.exit = exit;
    merged->shape = shape;
    merged->rescue = options->others == FANFOLD_RESCUE;
    merged->scopes = zeroed(shape->scope_count, sizeof *merged->scopes, exit);
    merged->scope_count = shape->scope_count;
    for (size_t i = 0; i < shape->scope_count; i++) {
        merged->scopes[i].slots = shape->scopes[i].slots + (uint32_t)merged->rescue;
        merged->scopes[i].keys = shape->scopes[i].keys;
        merged->scopes[i].parent = shape->scopes[i].parent;
    }
    merged->unmatched = zeroed(options->join_count, sizeof *merged->unmatched, exit);
    merged->lacks = zeroed(options->join_count, sizeof *merged->lacks, exit);
    merged->joins = zeroed(options->join_count, sizeof *merged->joins, exit);
    merged->views = zeroed(options->join_count, sizeof *merged->views, exit);
    for (size_t i = 0; i < options->join_count; i++) {
        fanfold_join *join = &merged->joins[merged->join_count++];
        *join = options->joins[i];
        uint32_t *parts = zeroed(join->part_count, sizeof *parts, exit);
        for (size_t part = 0; part < join->part_count; part++)
            parts[part] = merged->scopes[join->scope].slots + join->parts[part] - 1;
        join->parts = parts;
        view_open(&merged->views[i], join->table, exit);
    }
}

void merged_close(Merged *merged) {
    for (size_t i = 0; i < merged->scope_count; i++) {
        free(merged->scopes[i].values);
        free(merged->scopes[i].elements);
        free(merged->scopes[i].rest);
    }
    free(merged->scopes);
    free(merged->unmatched);
    free(merged->lacks);
    for (size_t i = 0; i < merged->join_count; i++) {
        free((void *)merged->joins[i].parts);
        view_close(&merged->views[i]);
    }
    free(merged->joins);
    free(merged->views);
    arena_close(&merged->texts);
    bytes_close(&merged->key);
    bytes_close(&merged->lost);
}

void merged_clear(Merged *merged) {
    for (size_t i = 0; i < merged->scope_count; i++) {
        MergedScope *scope = &merged->scopes[i];
        scope->value_count = scope->element_count = scope->rest_count = scope->done = 0;
    }
    merged_element(merged, 0);
    arena_empty(&merged->texts);
    merged->missing = 0;
}

void merged_element(Merged *merged, uint32_t number) {
    MergedScope *scope = &merged->scopes[number];
    size_t around = merged->scopes[scope->parent].element_count;
    ITEM(scope->elements, scope->element_count, scope->element_capacity, merged->exit);
    scope->elements[scope->element_count++] =
        (Element){scope->value_count, scope->rest_count, (uint32_t)(around ? around - 1 : 0)};
}

void merged_rest(Merged *merged, uint32_t node, Token key, const uint8_t *at, size_t size) {
    MergedScope *scope = &merged->scopes[merged->shape->nodes[node].scope];
    ITEM(scope->rest, scope->rest_count, scope->rest_capacity, merged->exit);
    scope->rest[scope->rest_count++] = (Rest){key, at, size, node};
}

/* Writes the way from an element of a scope to an object in it; returns its steps. */
static size_t way_to(const Shape *shape, uint32_t node, uint32_t *way) {
    uint32_t back[MAX_DEPTH];
    size_t count = 0;
    for (; node > RECORD && shape->nodes[node].name && shape->nodes[node].kind == FANFOLD_OBJECT;
         node = shape->nodes[node].parent)
        back[count++] = node;
    for (size_t i = 0; i < count; i++) way[i] = back[count - 1 - i];
    return count;
}

/* Makes one object of the other fields of an element, nested as they were: the value of its last slot. */
static Value make_rest(Merged *merged, const MergedScope *scope, size_t first, size_t end) {
    Bytes *text = &merged->key;
    uint32_t open[MAX_DEPTH], way[MAX_DEPTH];
    size_t depth = 0, same;
    text->size = 0;
    bytes_byte(text, '{');
    for (const Rest *rest = scope->rest + first; rest < scope->rest + end; rest++) {
        size_t steps = way_to(merged->shape, rest->node, way);
        for (same = 0; same < depth && same < steps && open[same] == way[same];) same++;
        for (; depth > same; depth--) bytes_byte(text, '}');
        if (text->data[text->size - 1] != '{') bytes_byte(text, ',');
        for (; depth < steps; depth++) {
            const Node *node = &merged->shape->nodes[open[depth] = way[depth]];
            bytes_json(text, node->name, node->size);
            bytes_text(text, ":{");
        }
        bytes_byte(text, '"');
        bytes_put(text, rest->key.at, rest->key.size);
        bytes_text(text, "\":");
        bytes_put(text, rest->at, rest->size);
    }
    for (depth++; depth; depth--) bytes_byte(text, '}');
    uint8_t *kept = arena_take(&merged->texts, text->size);
    memcpy(kept, text->data, text->size);
    return (Value){kept, (uint32_t)text->size, (scope->slots - 1) | VALUE_QUOTED};
}

void put_varint(Bytes *to, uint64_t number) {
    bytes_room(to, 10);
    to->size = (size_t)(write_varint(to->data + to->size, number) - to->data);
}

void merged_file(Bytes *to, fanfold_bytes name) {
    uint32_t size = (uint32_t)name.size + 1;
    for (int i = 0; i < 4; i++) bytes_byte(to, (uint8_t)(size >> (8 * i)));
    bytes_byte(to, 0);
    bytes_put(to, name.data, name.size);
}

static uint32_t slot_of(const Value *value) { return value->slot & ~VALUE_QUOTED; }

static int by_slot(const void *left, const void *right) {
    uint32_t a = slot_of(left), b = slot_of(right);
    return (a > b) - (a < b);
}

enum { FEW_VALUES = 48 };

/* Records mostly have their fields in the order of the schema, but for those of keys. */
static void sort(Value *values, size_t count) {
    for (size_t i = 1; i < count; i++) {
        if (slot_of(&values[i]) >= slot_of(&values[i - 1])) continue;
        if (count > FEW_VALUES) {
            qsort(values, count, sizeof *values, by_slot);
            return;
        }
        Value moved = values[i];
        size_t at = i;
        for (; at && slot_of(&values[at - 1]) > slot_of(&moved); at--) values[at] = values[at - 1];
        values[at] = moved;
    }
}

static uint8_t *write_nulls(uint8_t *to, uint32_t count) { return count ? write_varint(to, (uint64_t)count << 2) : to; }

static uint8_t *write_value(uint8_t *to, const Value *value) {
    to = write_varint(to, (uint64_t)value->size << 2 | (value->slot & VALUE_QUOTED ? HEADER_QUOTED : HEADER_PLAIN));
    return copy(to, value->at, value->size);
}

/* Writes the slots of one element; its values are in the order of their slots, those of keys last. `others` are the
 * fields that the schema does not have, if there are any. */
static void put_slots(const Value *values, size_t count, uint32_t slots, const Value *others, Bytes *to) {
    size_t room = (size_t)others->size + 32;
    for (size_t i = 0; i < count; i++) room += (size_t)values[i].size + 16;
    bytes_room(to, room);
    uint8_t *p = to->data + to->size;
    uint32_t next = 0;
    for (size_t i = 0; i < count && slot_of(&values[i]) < slots; i++) {
        const Value *value = &values[i];
        p = write_nulls(p, slot_of(value) - next);
        next = slot_of(value) + 1;
        p = write_value(p, value);
    }
    if (others->at) {
        p = write_nulls(p, slots - 1 - next);
        p = write_value(p, others);
        next = slots;
    }
    to->size = (size_t)(write_nulls(p, slots - next) - to->data);
}

/* Makes a key: the text of its one part, or of each part with its size before it. Returns 0 where a part is null. */
static int make_key(Merged *merged, const Value *values, size_t count, const uint32_t *parts, size_t part_count) {
    merged->key.size = 0;
    for (size_t part = 0; part < part_count; part++) {
        size_t i = count;
        while (i && slot_of(&values[i - 1]) > parts[part]) i--;
        if (!i || slot_of(&values[i - 1]) != parts[part]) return 0;
        if (part_count > 1) put_varint(&merged->key, values[i - 1].size);
        bytes_put(&merged->key, values[i - 1].at, values[i - 1].size);
    }
    return 1;
}

static void put_joins(Merged *merged, uint32_t number, const Value *values, size_t count, Bytes *to) {
    for (size_t i = 0; i < merged->join_count; i++) {
        const fanfold_join *join = &merged->joins[i];
        if (join->scope != number) continue;
        int whole = make_key(merged, values, count, join->parts, join->part_count);
        uint64_t row = whole ? table_find(&merged->views[i], merged->key.data, merged->key.size) : 0;
        put_varint(to, row);
        if (!row) merged->lacks[i] = 1;
        if (row || !join->required || merged->missing) continue;
        merged->missing = (int)i + 1;
        merged->lost.size = 0;
        if (whole) bytes_put(&merged->lost, merged->key.data, merged->key.size);
    }
}

static void put_element(Merged *merged, uint32_t number, Bytes *to) {
    MergedScope *scope = &merged->scopes[number];
    uint32_t index = (uint32_t)scope->done++;
    size_t first = scope->elements[index].first;
    size_t end = index + 1 < scope->element_count ? scope->elements[index + 1].first : scope->value_count;
    size_t rest = scope->elements[index].first_rest;
    size_t rest_end = index + 1 < scope->element_count ? scope->elements[index + 1].first_rest : scope->rest_count;
    Value others = {NULL, 0, scope->slots - 1};
    if (rest_end > rest) others = make_rest(merged, scope, rest, rest_end);
    sort(scope->values + first, end - first);
    put_slots(scope->values + first, end - first, scope->slots, &others, to);
    if (merged->join_count) put_joins(merged, number, scope->values + first, end - first, to);
    for (uint32_t inner = number + 1; inner < merged->scope_count; inner++) {
        MergedScope *below = &merged->scopes[inner];
        if (below->parent != number) continue;
        size_t last = below->done;
        while (last < below->element_count && below->elements[last].parent == index) last++;
        put_varint(to, last - below->done);
        while (below->done < last) put_element(merged, inner, to);
    }
}

int merged_write(Merged *merged, uint64_t record, Bytes *to) {
    size_t begin = to->size;
    bytes_put(to, "\0\0\0\0\1", 5);
    put_varint(to, record);
    put_element(merged, 0, to);
    size_t size = to->size - begin - 4;
    if (size > UINT32_MAX) longjmp(*merged->exit, 1);
    for (int i = 0; i < 4; i++) to->data[begin + (size_t)i] = (uint8_t)(size >> (8 * i));
    if (merged->missing) to->size = begin;
    int lacks = 0;
    for (size_t i = 0; i < merged->join_count; i++) {
        lacks |= merged->lacks[i] && !merged->missing;
        merged->unmatched[i] += merged->lacks[i] && !merged->missing;
        merged->lacks[i] = 0;
    }
    merged->file_unmatched += (uint64_t)lacks;
    return !merged->missing;
}

int merged_unreadable(const Merged *merged) {
    int unreadable = 0;
    for (size_t i = 0; i < merged->join_count; i++) unreadable |= merged->views[i].unreadable;
    return unreadable;
}

int merged_row(Merged *merged, Bytes *slots, Bytes *key) {
    MergedScope *scope = &merged->scopes[0];
    uint32_t parts = 0;
    sort(scope->values, scope->value_count);
    slots->size = key->size = 0;
    put_slots(scope->values, scope->value_count, scope->slots, &(Value){NULL, 0, 0}, slots);
    for (size_t i = 0; i < scope->value_count; i++) {
        if (slot_of(&scope->values[i]) < scope->slots) continue;
        if (scope->keys > 1) put_varint(key, scope->values[i].size);
        bytes_put(key, scope->values[i].at, scope->values[i].size);
        parts++;
    }
    return parts == scope->keys;
}
