/* The values of one record as they are read, and the record as it is merged. */
#include "record.h"

#include <stdlib.h>

int merged_open(Merged *merged, const Shape *shape, const fanfold_options *options) {
    uint32_t rescue = options->others == FANFOLD_RESCUE;
    merged->shape = shape;
    merged->scope_count = shape->scopes.count;
    merged->scopes = memory_take(merged->scope_count, sizeof *merged->scopes);
    merged->join_count = options->join_count;
    merged->joins = memory_take(merged->join_count, sizeof *merged->joins);
    for (size_t i = 0; i < merged->scope_count; i++) {
        const Scope *scope = &shape->scopes.items[i];
        merged->scopes[i] = (MergedScope){.slots = scope->slots + rescue, .keys = scope->keys, .parent = scope->parent};
    }
    for (size_t i = 0; i < merged->join_count; i++) {
        fanfold_join *join = &merged->joins[i].join;
        *join = options->joins[i];
        merged->joins[i].view = (TableView){.table = join->table, .least = ROW_BYTES};
        if (join->scope >= merged->scope_count || !join->part_count || !join->table->index) return 0;
        const MergedScope *scope = &merged->scopes[join->scope];
        uint32_t *parts = memory_take(join->part_count, sizeof *parts);
        for (size_t part = 0; part < join->part_count; part++) {
            if (!join->parts[part] || join->parts[part] > scope->keys) return 0;
            parts[part] = scope->slots + join->parts[part] - 1;
        }
        join->parts = parts;
    }
    return 1;
}

void merged_clear(Merged *merged) {
    for (size_t i = 0; i < merged->scope_count; i++) {
        MergedScope *scope = &merged->scopes[i];
        scope->values.count = scope->elements.count = scope->rest.size = scope->done = 0;
    }
    merged_element(merged, 0);
    arena_empty(&merged->texts);
    merged->missing = NULL;
    merged->is_lacking = 0;
}

void merged_element(Merged *merged, uint32_t number) {
    MergedScope *scope = &merged->scopes[number];
    size_t around = merged->scopes[scope->parent].elements.count;
    ADD(scope->elements, (Element){scope->values.count, scope->rest.size, (uint32_t)(around ? around - 1 : 0), 0});
}

void merged_rest(Merged *merged, uint32_t node, const Token *key, const Token *value) {
    Bytes *rest = &merged->scopes[merged->shape->nodes.items[node].scope].rest;
    bytes_varint(rest, node);
    bytes_sized(rest, key->at, key->size);
    bytes_sized(rest, value->at, value->size);
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

static uint8_t *write_nulls(uint8_t *to, uint32_t count) {
    return count ? write_varint(to, (uint64_t)count << 2 | HEADER_NULLS) : to;
}

static uint8_t *write_value(uint8_t *to, const Value *value) {
    to = write_varint(to, (uint64_t)value->size << 2 | (value->slot & VALUE_QUOTED ? HEADER_QUOTED : HEADER_PLAIN));
    return copy(to, value->at, value->size);
}

/* Writes the slots of one element; its values are in the order of their slots, those of keys last. `rest` are the
 * fields that the schema does not have, if there are any. */
static void put_slots(const Value *values, size_t count, uint32_t slots, const Value *rest, Bytes *to) {
    size_t room = (size_t)rest->size + 32;
    for (size_t i = 0; i < count; i++) room += (size_t)values[i].size + 16;
    bytes_room(to, room);
    uint8_t *p = to->data + to->size;
    uint32_t next = 0;
    for (size_t i = 0; i < count && slot_of(&values[i]) < slots; i++) {
        p = write_nulls(p, slot_of(&values[i]) - next);
        next = slot_of(&values[i]) + 1;
        p = write_value(p, &values[i]);
    }
    if (rest->at) {
        p = write_nulls(p, slots - 1 - next);
        p = write_value(p, rest);
        next = slots;
    }
    to->size = (size_t)(write_nulls(p, slots - next) - to->data);
}

/* Makes a key: the text of its one part, or of each part with its size before it. Returns the number of parts before
 * the first that is null. */
static size_t make_key(Merged *merged, const Value *values, size_t count, const fanfold_join *join) {
    size_t part = 0;
    merged->key.size = 0;
    for (; part < join->part_count; part++) {
        size_t i = count;
        while (i && slot_of(&values[i - 1]) > join->parts[part]) i--;
        if (!i || slot_of(&values[i - 1]) != join->parts[part]) break;
        if (join->part_count > 1) bytes_varint(&merged->key, values[i - 1].size);
        bytes_put(&merged->key, values[i - 1].at, values[i - 1].size);
    }
    return part;
}

static void put_joins(Merged *merged, uint32_t number, const Value *values, size_t count, Bytes *to) {
    for (MergedJoin *join = merged->joins; join < merged->joins + merged->join_count; join++) {
        if (join->join.scope != number) continue;
        size_t parts = make_key(merged, values, count, &join->join);
        int whole = parts == join->join.part_count;
        uint64_t row = whole ? table_find(&join->view, merged->key.data, merged->key.size) : 0;
        bytes_varint(to, row);
        merged->is_lacking |= !row;
        if (row || !join->join.required || merged->missing) continue;
        merged->missing = join;
        merged->missing_at = merged->scopes[number].done - 1;
        merged->missing_part = whole ? 0 : parts;
        merged->is_part_missing = !whole;
        bytes_set(&merged->lost, merged->key.data, whole ? merged->key.size : 0);
    }
}

static void put_element(Merged *merged, uint32_t number, Bytes *to) {
    MergedScope *scope = &merged->scopes[number];
    uint32_t index = (uint32_t)scope->done++;
    const Element *element = &scope->elements.items[index], behind = {scope->values.count, scope->rest.size, 0, 0};
    const Element *next = scope->done < scope->elements.count ? element + 1 : &behind;
    Value *values = scope->values.items + element->first;
    size_t count = next->first - element->first, rest_size = next->first_rest - element->first_rest;
    sort(values, count);
    const uint8_t *rest = rest_size ? scope->rest.data + element->first_rest : NULL;
    put_slots(values, count, scope->slots, &(Value){rest, (uint32_t)rest_size, scope->slots - 1}, to);
    if (merged->join_count) put_joins(merged, number, values, count, to);
    for (uint32_t inner = number + 1; inner < merged->scope_count; inner++) {
        MergedScope *below = &merged->scopes[inner];
        if (below->parent != number) continue;
        size_t last = below->done;
        while (last < below->elements.count && below->elements.items[last].parent == index) last++;
        bytes_varint(to, last - below->done);
        while (below->done < last) put_element(merged, inner, to);
    }
}

int merged_write(Merged *merged, uint64_t record, Bytes *to) {
    size_t begin = to->size;
    bytes_put(to, "\0\0\0\0\1", 5);
    bytes_varint(to, record);
    put_element(merged, 0, to);
    size_t size = to->size - begin - 4;
    if (size > UINT32_MAX) leave_call(FANFOLD_NO_MEMORY);
    to->size = begin;
    bytes_integer(to, size, 4);
    to->size = merged->missing ? begin : begin + 4 + size;
    merged->file_unmatched += (uint64_t)(merged->is_lacking && !merged->missing);
    return !merged->missing;
}

int merged_row(Merged *merged, Bytes *slots, Bytes *key) {
    MergedScope *scope = &merged->scopes[0];
    const Value *values = scope->values.items, *end = values + scope->values.count;
    uint32_t parts = 0;
    sort(scope->values.items, scope->values.count);
    slots->size = key->size = 0;
    put_slots(values, scope->values.count, scope->slots, &(Value){NULL, 0, 0}, slots);
    for (; values < end; values++) {
        if (slot_of(values) < scope->slots) continue;
        if (scope->keys > 1) bytes_varint(key, values->size);
        bytes_put(key, values->at, values->size);
        parts++;
    }
    return parts == scope->keys;
}
