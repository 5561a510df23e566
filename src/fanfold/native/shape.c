#include "shape.h"

#include <stdlib.h>

static uint64_t place_of(const Shape *shape, uint32_t parent, const uint8_t *name, size_t size) {
    return hash_bytes(shape->seed ^ parent, name, size) & (shape->slot_count - 1);
}

static void place(Shape *shape, uint32_t number) {
    const Node *node = &shape->nodes[number];
    uint64_t at = place_of(shape, node->parent, node->name, node->size);
    while (shape->slots[at]) at = (at + 1) & (shape->slot_count - 1);
    shape->slots[at] = number;
}

static void widen(Shape *shape) {
    size_t wanted = shape->slot_count ? shape->slot_count * 2 : 64;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (!slots) longjmp(*shape->exit, 1);
    free(shape->slots);
    shape->slots = slots;
    shape->slot_count = wanted;
    for (uint32_t i = RECORD + 1; i < shape->count; i++)
        if (shape->nodes[i].name) place(shape, i);
}

uint32_t shape_find(const Shape *shape, uint32_t parent, const uint8_t *name, size_t size) {
    for (uint64_t at = place_of(shape, parent, name, size); shape->slots[at]; at = (at + 1) & (shape->slot_count - 1)) {
        const Node *node = &shape->nodes[shape->slots[at]];
        if (node->parent == parent && node->size == size && !memcmp(node->name, name, size)) return shape->slots[at];
    }
    return OPAQUE;
}

/* Makes a node; its name, where it has one, stays in the arena. */
static uint32_t make(Shape *shape, uint32_t parent, const uint8_t *name, size_t size) {
    if (shape->count * 2 >= shape->slot_count) widen(shape);
    ITEM(shape->nodes, shape->count, shape->capacity, shape->exit);
    while (shape->facts_capacity < shape->capacity)
        shape->facts =
            items_grow(shape->facts, shape->facts_capacity, &shape->facts_capacity, sizeof(Facts), shape->exit);
    uint32_t number = (uint32_t)shape->count;
    Node *node = &shape->nodes[number];
    *node = (Node){.parent = parent, .size = (uint32_t)size, .plain = 1};
    memset(&shape->facts[number], 0, sizeof(Facts));
    if (name) {
        uint8_t *kept = arena_take(&shape->names, size);
        memcpy(kept, name, size);
        node->name = kept;
        for (size_t i = 0; i < size; i++) {
            node->plain &= name[i] >= 0x20 && name[i] != '"' && name[i] != '\\';
            node->characters += (name[i] & 0xc0) != 0x80;
        }
    }
    node->characters += shape->nodes[parent].characters + (name && parent > RECORD);
    shape->count++;
    if (name) place(shape, number);
    return number;
}

static uint32_t read_u32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

enum { NODE_BYTES = 16 };

static int is_node(const uint8_t *p, uint32_t children) {
    if (p[0] == FANFOLD_LIST) return children == 1;
    if (p[0] == FANFOLD_OBJECT) return 1;
    if (p[0] != FANFOLD_VALUE || children || p[1] >= FANFOLD_TYPES) return 0;
    return p[1] != FANFOLD_DECIMAL || (p[2] >= 1 && p[2] <= 38 && p[3] <= p[2]);
}

/* Gives a node its place among the scopes; 0 where there is none for it. */
static int settle(Shape *shape, uint32_t number, uint32_t parent) {
    Node *node = &shape->nodes[number], *above = &shape->nodes[parent];
    uint32_t inside = number == RECORD ? 0 : above->scope;
    node->scope = inside;
    if (number != RECORD && above->kind == FANFOLD_LIST) {
        above->element = number;
    } else if (number != RECORD) {
        if (above->kind != FANFOLD_OBJECT) return 0;
        if (!above->first) above->first = number;
    }
    if (node->kind == FANFOLD_LIST) {
        ITEM(shape->scopes, shape->scope_count, shape->scope_capacity, shape->exit);
        node->scope = (uint32_t)shape->scope_count;
        shape->scopes[shape->scope_count++] = (Scope){inside, 0, 0};
    } else if (node->kind == FANFOLD_VALUE) {
        node->slot = shape->scopes[inside].slots++;
        if (node->key) shape->scopes[inside].keys++;
    }
    return 1;
}

static int load(Shape *shape, fanfold_bytes schema) {
    uint32_t open[MAX_DEPTH + 1], left[MAX_DEPTH + 1];
    size_t depth = 0;
    const uint8_t *p = schema.data, *end = p + schema.size;
    do {
        if (end - p < NODE_BYTES) return 0;
        uint32_t children = read_u32(p + 8), size = read_u32(p + 12), parent = depth ? open[depth - 1] : OPAQUE;
        if (size > (size_t)(end - p) - NODE_BYTES || !is_node(p, children)) return 0;
        int named = depth && shape->nodes[parent].kind == FANFOLD_OBJECT;
        if (named && shape->slot_count && shape_find(shape, parent, p + NODE_BYTES, size)) return 0;
        uint32_t number = make(shape, parent, named ? p + NODE_BYTES : NULL, named ? size : 0);
        Node *node = &shape->nodes[number];
        node->kind = p[0];
        node->type = p[1];
        node->precision = p[2];
        node->scale = p[3];
        node->key = read_u32(p + 4);
        if (number != RECORD && shape->nodes[number - 1].parent == parent) shape->nodes[number - 1].next = number;
        if (!settle(shape, number, parent)) return 0;
        p += NODE_BYTES + size;
        if (depth) left[depth - 1]--;
        if (depth == MAX_DEPTH && children) return 0;
        if (children) {
            open[depth] = number;
            left[depth++] = children;
        }
        while (depth && !left[depth - 1]) depth--;
    } while (depth);
    return p == end;
}

int shape_open(Shape *shape, fanfold_bytes schema, int learn, jmp_buf *exit) {
    static const uint8_t anything[NODE_BYTES] = {FANFOLD_OBJECT};
    shape->exit = shape->names.exit = exit;
    shape->seed = hash_seed();
    ITEM(shape->scopes, shape->scope_count, shape->scope_capacity, exit);
    shape->scopes[shape->scope_count++] = (Scope){0, 0, 0};
    make(shape, OPAQUE, NULL, 0);
    shape->nodes[OPAQUE].kind = NODE_OPAQUE;
    if (!load(shape, schema.size ? schema : (fanfold_bytes){anything, sizeof anything})) return 0;
    for (size_t i = RECORD; i < shape->count; i++) {
        Node *node = &shape->nodes[i];
        shape->named += node->name != NULL;
        if (node->key > shape->scopes[node->scope].keys) return 0;
        /* What is learnt may have more forms than what is declared. */
        if (learn && node->kind != FANFOLD_VALUE) node->kind = NODE_LEARNT;
    }
    shape->learnt = shape->count;
    return 1;
}

void shape_close(Shape *shape) {
    free(shape->nodes);
    free(shape->facts);
    free(shape->slots);
    free(shape->scopes);
    free(shape->sightings);
    arena_close(&shape->names);
}

uint32_t shape_add(Shape *shape, uint32_t parent, const uint8_t *name, size_t size, int *code) {
    size_t characters = shape->nodes[parent].characters + (parent > RECORD);
    for (size_t i = 0; i < size; i++) characters += (name[i] & 0xc0) != 0x80;
    *code = characters > MAX_KEY_CHARACTERS     ? FANFOLD_KEY_TOO_LONG
            : shape->named >= shape->max_fields ? FANFOLD_TOO_MANY_FIELDS
                                                : 0;
    if (*code) return OPAQUE;
    uint32_t number = make(shape, parent, name, size);
    shape->nodes[number].kind = NODE_LEARNT;
    shape->named++;
    return number;
}

uint32_t shape_element(Shape *shape, uint32_t array) {
    if (!shape->nodes[array].element) {
        uint32_t number = make(shape, array, NULL, 0);
        shape->nodes[number].kind = NODE_LEARNT;
        shape->nodes[array].element = number;
    }
    return shape->nodes[array].element;
}

void shape_sight(Shape *shape, uint32_t node, uint32_t kind, uint64_t whole, uint64_t scale) {
    ITEM(shape->sightings, shape->sighting_count, shape->sighting_capacity, shape->exit);
    shape->sightings[shape->sighting_count++] = (Sighting){node, kind, whole, scale};
}

void shape_keep(Shape *shape) {
    for (size_t i = 0; i < shape->sighting_count; i++) {
        const Sighting *seen = &shape->sightings[i];
        Facts *facts = &shape->facts[seen->node];
        if (seen->kind < KINDS && !facts->records[seen->kind]++) facts->order[facts->kinds++] = (uint8_t)seen->kind;
        if (seen->whole > facts->whole) facts->whole = seen->whole;
        if (seen->scale > facts->scale) facts->scale = seen->scale;
    }
    shape->sighting_count = 0;
    shape->learnt = shape->count;
}

/* The nodes that the record brought go, the last one first, so that those before them are found as ever. */
void shape_forget(Shape *shape) {
    shape->sighting_count = 0;
    while (shape->count > shape->learnt) {
        uint32_t number = (uint32_t)--shape->count;
        Node *node = &shape->nodes[number];
        if (node->name) {
            uint64_t at = place_of(shape, node->parent, node->name, node->size);
            while (shape->slots[at] != number) at = (at + 1) & (shape->slot_count - 1);
            shape->slots[at] = 0;
            shape->named--;
            arena_give_back(&shape->names, node->name);
        } else {
            shape->nodes[node->parent].element = 0;
        }
    }
}

void shape_write(const Shape *shape, Bytes *to) {
    to->size = 0;
    bytes_byte(to, '[');
    for (size_t i = RECORD; i < shape->count; i++) {
        const Node *node = &shape->nodes[i];
        const Facts *facts = &shape->facts[i];
        bytes_text(to, i == RECORD ? "[" : ",\n[");
        bytes_number(to, node->parent ? node->parent - RECORD : 0);
        bytes_byte(to, ',');
        if (node->name)
            bytes_json(to, node->name, node->size);
        else
            bytes_text(to, "null");
        for (int kind = 0; kind < KINDS; kind++) {
            bytes_byte(to, ',');
            bytes_number(to, facts->records[kind]);
        }
        bytes_byte(to, ',');
        bytes_number(to, facts->whole);
        bytes_byte(to, ',');
        bytes_number(to, facts->scale);
        bytes_text(to, ",\"");
        for (int i = 0; i < facts->kinds; i++) bytes_number(to, facts->order[i]);
        bytes_text(to, "\"]");
    }
    bytes_byte(to, ']');
}
