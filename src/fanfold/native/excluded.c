#include "excluded.h"

#include <stdlib.h>

#include "walk.h"

static uint32_t read_u32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Returns the node of a path, which is made where there is none; OPAQUE where it is not a path. */
static uint32_t node_of(Excluded *excluded, fanfold_bytes path) {
    uint32_t node = RECORD, inner;
    const uint8_t *p = path.data, *end = p + path.size;
    while (p < end) {
        if (end - p < 4 || read_u32(p) > (size_t)(end - p) - 4) return OPAQUE;
        size_t size = read_u32(p);
        int code = 0;
        p += 4;
        inner = excluded->ways.slot_count ? shape_find(&excluded->ways, node, p, size) : OPAQUE;
        node = inner ? inner : shape_add(&excluded->ways, node, p, size, &code);
        if (code) return OPAQUE;
        p += size;
    }
    return node;
}

static void note(uint8_t *code, uint32_t wanted) {
    if (!*code) *code = (uint8_t)wanted;
}

int excluded_open(Excluded *excluded, const fanfold_excluded *forms, size_t count, jmp_buf *exit) {
    excluded->ways.max_fields = SIZE_MAX;
    if (!shape_open(&excluded->ways, (fanfold_bytes){NULL, 0}, 1, exit)) return 0;
    for (size_t i = 0; i < count; i++)
        if (!forms[i].path.size || !forms[i].code || forms[i].code >= FANFOLD_CODES || forms[i].kinds > 7 ||
            !node_of(excluded, forms[i].path))
            return 0;
    excluded->codes = calloc(excluded->ways.count, sizeof *excluded->codes);
    if (!excluded->codes) longjmp(*exit, 1);
    for (size_t i = 0; i < count; i++) {
        uint8_t *codes = excluded->codes[node_of(excluded, forms[i].path)];
        if (!forms[i].kinds) note(&codes[EXCLUDED_FIELD], forms[i].code);
        for (unsigned kind = 0; kind < 3; kind++)
            if (forms[i].kinds >> kind & 1)
                note(&codes[(forms[i].inside ? EXCLUDED_ELEMENT : EXCLUDED_KIND) + kind], forms[i].code);
    }
    return 1;
}

void excluded_close(Excluded *excluded) {
    shape_close(&excluded->ways);
    free(excluded->codes);
}

/* The walk. */

static void refuse(Walk *walk, int place, const uint8_t *at) {
    int code = walk->excluded->codes[walk->way][place];
    if (code) walk_fault(walk, code, at, "the form that holds over the run");
}

void walk_exclude_key(Walk *walk, uint32_t way, const Token *key, const uint8_t *at) {
    Token name = walk_decoded(walk, key);
    const Shape *ways = &walk->excluded->ways;
    walk->way = ways->slot_count ? shape_find(ways, way, name.at, name.size) : OPAQUE;
    walk->way_is = WAY_OF_KEY;
    if (walk->way) refuse(walk, EXCLUDED_FIELD, at);
}

void walk_exclude_value(Walk *walk, int kind, const uint8_t *at) {
    if (walk->way_is == WAY_DEEPER) return;
    refuse(walk, (walk->way_is == WAY_OF_KEY ? EXCLUDED_KIND : EXCLUDED_ELEMENT) + kind, at);
}
