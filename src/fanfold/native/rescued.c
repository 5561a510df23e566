#include "rescued.h"

/* Passes a value of compact JSON. */
static const uint8_t *pass_json(const uint8_t *p, const uint8_t *end) {
    size_t depth = 0;
    do {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\';
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--;
        }
        p++;
    } while (p < end && (depth || (*p != ',' && *p != '}' && *p != ']')));
    return p;
}

/* Finds the value of a member in the object whose first member is at `p`, if it is an object; else moves to its end. */
static const uint8_t *find_member(const uint8_t **p, const uint8_t *end, const Bytes *key) {
    while (*p < end && **p == '"') {
        const uint8_t *value = pass_json(*p, end);
        /* A key ends where its colon stands. */
        const uint8_t *colon = *p + 1;
        while (colon < end && *colon != '"') colon += 1 + (*colon == '\\');
        colon++;
        if ((size_t)(colon - *p) == key->size && !memcmp(*p, key->data, key->size) && colon[1] == '{') return colon + 2;
        *p = value < end && *value == ',' ? value + 1 : value;
    }
    return NULL;
}

void rescued_put(Bytes *whole, Bytes *step, const Shape *shape, uint32_t scope, const uint8_t *inner,
                 size_t inner_size) {
    uint32_t way[MAX_DEPTH], list = 0;
    while (shape->nodes[list].kind != FANFOLD_LIST || shape->nodes[list].scope != scope) list++;
    size_t steps = 0, made = 0;
    for (uint32_t node = list; node > RECORD; node = shape->nodes[node].parent)
        if (shape->nodes[node].name) way[steps++] = node;
    if (!whole->size) bytes_text(whole, "{}");
    const uint8_t *p = whole->data + 1, *end = whole->data + whole->size, *found;
    for (; steps; steps--) {
        step->size = 0;
        bytes_json(step, shape->nodes[way[steps - 1]].name, shape->nodes[way[steps - 1]].size);
        if (!(found = find_member(&p, end, step))) break;
        p = found;
    }
    while (p < end && *p != '}') {
        p = pass_json(p, end);
        p += p < end && *p == ',';
    }
    size_t at = (size_t)(p - whole->data), size = whole->size - at;
    step->size = 0;
    bytes_put(step, p, size);
    whole->size = at;
    if (whole->data[at - 1] != '{') bytes_byte(whole, ',');
    for (; steps; steps--, made++) {
        if (made) bytes_byte(whole, '{');
        bytes_json(whole, shape->nodes[way[steps - 1]].name, shape->nodes[way[steps - 1]].size);
        bytes_byte(whole, ':');
    }
    bytes_put(whole, inner + !made, inner_size - 2 * (size_t)!made);
    for (; made > 1; made--) bytes_byte(whole, '}');
    bytes_put(whole, step->data, step->size);
}
