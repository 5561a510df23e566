/* The fields that the schema does not have, as one JSON: those of an element belong to the place of its array. */
#include "rows.h"

/* Returns the object that a node lies in, or that it is itself: one with a name, or the record. */
static uint32_t object_of(const Shape *shape, uint32_t node) {
    while (node > RECORD && !shape->nodes.items[node].named) node = shape->nodes.items[node].parent;
    return node;
}

/* Adds a field to an object, and the object to those around it, where it is new. */
static void add(fanfold_rows *rows, uint32_t object, Rescued field) {
    for (;;) {
        size_t number = rows->rescued.count, last = rows->rescued_last[object];
        ADD(rows->rescued, field);
        rows->rescued_last[object] = number;
        if (last) {
            rows->rescued.items[last].next = number;
            return;
        }
        rows->rescued_first[object] = number;
        if (object == RECORD) return;
        field = (Rescued){.inner = object};
        object = object_of(&rows->shape, rows->shape.nodes.items[object].parent);
    }
}

/* Reads the fields of an element; 0 where they are damaged. */
static int read_fields(fanfold_rows *rows, const Token *rest) {
    const uint8_t *p = rest->at, *end = p + rest->size;
    while (p < end) {
        uint64_t node, size;
        Rescued field = {0};
        Token *parts[] = {&field.key, &field.value};
        if (!(p = read_varint(p, end, &node)) || node < RECORD || node >= rows->shape.nodes.count) return 0;
        for (int i = 0; i < 2; i++) {
            if (!(p = read_varint(p, end, &size)) || size > (size_t)(end - p)) return 0;
            *parts[i] = (Token){p, (size_t)size, 0};
            p += size;
        }
        add(rows, object_of(&rows->shape, (uint32_t)node), field);
    }
    return 1;
}

/* The depth of this recursion is that of the schema. */
static void write_object(fanfold_rows *rows, uint32_t object) {
    Bytes *to = &rows->rest;
    bytes_byte(to, '{');
    for (size_t i = rows->rescued_first[object]; i; i = rows->rescued.items[i].next) {
        const Rescued *field = &rows->rescued.items[i];
        if (i != rows->rescued_first[object]) bytes_byte(to, ',');
        if (field->inner) {
            Token name = shape_name(&rows->shape, field->inner);
            bytes_json(to, name.at, name.size);
            bytes_byte(to, ':');
            write_object(rows, field->inner);
            continue;
        }
        bytes_byte(to, '"');
        bytes_put(to, field->key.at, field->key.size);
        bytes_text(to, "\":");
        bytes_put(to, field->value.at, field->value.size);
    }
    rows->rescued_first[object] = rows->rescued_last[object] = 0;
    bytes_byte(to, '}');
}

int write_rescued(fanfold_rows *rows) {
    rows->rescued.count = rows->rest.size = 0;
    ADD(rows->rescued, (Rescued){0});
    for (size_t i = 0; i <= rows->deepest; i++) {
        const RowLevel *level = &rows->levels[i];
        const Token *rest = &level->cells[rows_slots(rows, level->scope) - 1];
        if (!level->elsewhere && rest->at && !read_fields(rows, rest)) return 0;
    }
    if (rows->rescued.count > 1) write_object(rows, RECORD);
    rows->own[FROM_RESCUED] = (Token){rows->rest.size ? rows->rest.data : NULL, rows->rest.size, QUOTED};
    return 1;
}
