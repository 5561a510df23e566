/* The fields of records: those of a schema, and those that are learnt; and what each was seen to hold. */
#include "record.h"

/* The elements of an array are one key of it, which no text is. */
static uint64_t elements_of(uint32_t array) { return UINT64_C(1) << 32 | array; }

uint32_t shape_find(const Shape *shape, uint32_t parent, const Token *name) {
    return keys_find(&shape->keys, parent, name->at, name->size);
}

/* Makes a node, by default a learnt one; without a name it is that of the elements of an array. */
static uint32_t make(Shape *shape, uint32_t parent, const Token *name) {
    static const Token none = {(const uint8_t *)"", 0, 0};
    const Token *key = name ? name : &none;
    Node node = {.parent = parent, .size = (uint32_t)key->size, .kind = NODE_LEARNT, .named = name != NULL, .plain = 1};
    const Node *above = &shape->nodes.items[parent];
    uint32_t number = keys_add(&shape->keys, name ? parent : elements_of(parent), key->at, key->size);
    node.name_at = shape->keys.texts.size - key->size;
    for (size_t i = 0; i < key->size; i++) node.plain &= key->at[i] >= 0x20 && key->at[i] != '"' && key->at[i] != '\\';
    node.characters = (uint32_t)utf8_count(key->at, key->size) + above->characters + (name && parent > RECORD);
    node.depth = above->depth < UINT8_MAX ? above->depth + 1 : UINT8_MAX;
    if (!name) shape->nodes.items[parent].element = number;
    shape->named += node.named;
    ADD(shape->nodes, node);
    ADD(shape->facts, (Facts){0});
    return number;
}

enum { NODE_BYTES = 16 };

static int is_node(const Node *node) {
    if (node->kind == FANFOLD_LIST) return node->children == 1;
    if (node->kind == FANFOLD_OBJECT) return 1;
    if (node->kind != FANFOLD_VALUE || node->children || node->type.base >= FANFOLD_TYPES) return 0;
    return node->type.base != FANFOLD_DECIMAL ||
           (node->type.precision >= 1 && node->type.precision <= 38 && node->type.scale <= node->type.precision);
}

/* Gives a node of the schema its place among the scopes. */
static void place(Shape *shape, uint32_t number) {
    Node *node = &shape->nodes.items[number], *above = &shape->nodes.items[node->parent];
    uint32_t inside = node->scope = above->scope;
    if (node->named && !above->first) above->first = number;
    if (node->named && shape->nodes.items[number - 1].parent == node->parent)
        shape->nodes.items[number - 1].next = number;
    if (node->kind == FANFOLD_LIST) {
        node->scope = (uint32_t)shape->scopes.count;
        ADD(shape->scopes, (Scope){inside, 0, 0});
    } else if (node->kind == FANFOLD_VALUE) {
        node->slot = shape->scopes.items[inside].slots++;
        shape->scopes.items[inside].keys += node->key != 0;
    }
}

static int load(Shape *shape, fanfold_bytes schema) {
    const uint8_t *p = schema.data, *end = p + schema.size;
    uint32_t parent = OPAQUE;
    do {
        if (end - p < NODE_BYTES || read_integer(p + 12, 4) > (size_t)(end - p) - NODE_BYTES) return 0;
        Token name = {p + NODE_BYTES, (size_t)read_integer(p + 12, 4), 0};
        int named = shape->nodes.items[parent].kind == FANFOLD_OBJECT;
        if (named && shape_find(shape, parent, &name)) return 0;
        uint32_t number = make(shape, parent, named ? &name : NULL);
        Node *node = &shape->nodes.items[number];
        node->kind = p[0];
        node->type = (Type){p[1], p[2], p[3]};
        node->key = (uint32_t)read_integer(p + 4, 4);
        node->children = (uint32_t)read_integer(p + 8, 4);
        if (!is_node(node) || (node->children && node->depth > MAX_DEPTH)) return 0;
        place(shape, number);
        p = name.at + name.size;
        if (parent) shape->nodes.items[parent].children--;
        for (parent = number; parent && !shape->nodes.items[parent].children;)
            parent = shape->nodes.items[parent].parent;
    } while (parent);
    return p == end;
}

int shape_open(Shape *shape, fanfold_bytes schema, int learn, uint64_t max_fields) {
    static const uint8_t anything[NODE_BYTES] = {FANFOLD_OBJECT};
    shape->max_fields = (size_t)max_fields;
    ADD(shape->scopes, (Scope){0, 0, 0});
    ADD(shape->nodes, (Node){.kind = NODE_OPAQUE});
    ADD(shape->facts, (Facts){0});
    if (!load(shape, schema.size ? schema : (fanfold_bytes){anything, sizeof anything})) return 0;
    shape->nodes.items[OPAQUE].element = OPAQUE;
    for (size_t i = RECORD; i < shape->nodes.count; i++) {
        Node *node = &shape->nodes.items[i];
        if (node->key > shape->scopes.items[node->scope].keys) return 0;
        /* What is learnt may have more forms than what is declared. */
        if (learn && node->kind != FANFOLD_VALUE) node->kind = NODE_LEARNT;
    }
    shape->learnt = shape->nodes.count;
    return 1;
}

uint32_t shape_add(Shape *shape, uint32_t parent, const Token *name, int *code) {
    size_t characters = shape->nodes.items[parent].characters + (parent > RECORD) + utf8_count(name->at, name->size);
    *code = characters > MAX_KEY_CHARACTERS     ? FANFOLD_KEY_TOO_LONG
            : shape->named >= shape->max_fields ? FANFOLD_TOO_MANY_FIELDS
                                                : 0;
    return *code ? OPAQUE : make(shape, parent, name);
}

uint32_t shape_element(Shape *shape, uint32_t array) {
    uint32_t element = shape->nodes.items[array].element;
    return element ? element : make(shape, array, NULL);
}

void shape_sight(Shape *shape, uint32_t node, int kind, uint64_t whole, uint64_t scale) {
    ADD(shape->sightings, (Sighting){node, (uint32_t)kind, whole, scale});
}

void shape_keep(Shape *shape) {
    for (size_t i = 0; i < shape->sightings.count; i++) {
        const Sighting *seen = &shape->sightings.items[i];
        Facts *facts = &shape->facts.items[seen->node];
        if (seen->kind < KINDS && !facts->counts[seen->kind]++) facts->order[facts->kinds++] = (uint8_t)seen->kind;
        if (seen->whole > facts->counts[MOST_WHOLE]) facts->counts[MOST_WHOLE] = seen->whole;
        if (seen->scale > facts->counts[MOST_SCALE]) facts->counts[MOST_SCALE] = seen->scale;
    }
    shape->sightings.count = 0;
    shape->learnt = shape->nodes.count;
}

void shape_forget(Shape *shape) {
    shape->sightings.count = 0;
    while (shape->nodes.count > shape->learnt) {
        const Node *node = &shape->nodes.items[--shape->nodes.count];
        shape->facts.count--;
        shape->named -= node->named;
        if (!node->named) shape->nodes.items[node->parent].element = OPAQUE;
    }
    keys_cut(&shape->keys, shape->nodes.count - RECORD);
}

void shape_write(const Shape *shape, Bytes *to) {
    to->size = 0;
    for (size_t i = RECORD; i < shape->nodes.count; i++) {
        const Node *node = &shape->nodes.items[i];
        const Facts *facts = &shape->facts.items[i];
        bytes_text(to, i == RECORD ? "[[" : ",\n[");
        bytes_number(to, node->parent ? node->parent - RECORD : 0);
        bytes_byte(to, ',');
        if (node->named)
            bytes_json(to, shape_name(shape, (uint32_t)i).at, node->size);
        else
            bytes_text(to, "null");
        for (int count = 0; count < COUNTS; count++) {
            bytes_byte(to, ',');
            bytes_number(to, facts->counts[count]);
        }
        bytes_text(to, ",\"");
        for (int kind = 0; kind < facts->kinds; kind++) bytes_number(to, facts->order[kind]);
        bytes_text(to, "\"]");
    }
    bytes_byte(to, ']');
}
