/* Forms that no good record has (a field at a path, or a value of some kind there), and fields that are marked. */
#include "record.h"

const uint8_t *read_step(const uint8_t *p, const uint8_t *end, Token *text) {
    if (end - p < 4 || read_integer(p, 4) > (size_t)(end - p) - 4) return NULL;
    *text = (Token){p + 4, (size_t)read_integer(p, 4), 0};
    return text->at + text->size;
}

/* Returns the node of a path, which is made where there is none; 0 where it is not a path. */
static uint32_t way_of(Excluded *excluded, fanfold_bytes path) {
    uint32_t way = RECORD;
    Token key;
    for (const uint8_t *p = path.data, *end = p + path.size; p < end;) {
        if (!(p = read_step(p, end, &key))) return OPAQUE;
        way = keys_add(&excluded->ways, way, key.at, key.size);
    }
    return way;
}

static void keep_first(uint8_t *code, uint32_t wanted) {
    if (!*code) *code = (uint8_t)wanted;
}

int excluded_open(Excluded *excluded, const fanfold_options *options) {
    const fanfold_excluded *forms = options->excluded;
    const fanfold_marked *marked = options->marked;
    size_t count = options->excluded_count;
    keys_add(&excluded->ways, OPAQUE, (const uint8_t *)"", 0);
    for (size_t i = 0; i < options->marked_count; i++)
        if (!marked[i].path.size || !way_of(excluded, marked[i].path)) return 0;
    for (size_t i = 0; i < count; i++)
        if (!forms[i].path.size || !forms[i].code || forms[i].code >= FANFOLD_CODES || forms[i].kinds > 7 ||
            !way_of(excluded, forms[i].path))
            return 0;
    excluded->codes = memory_take(excluded->ways.keys.count + 1, sizeof *excluded->codes);
    for (size_t i = 0; i < count; i++) {
        uint8_t *codes = excluded->codes[way_of(excluded, forms[i].path)];
        if (!forms[i].kinds) keep_first(&codes[EXCLUDED_FIELD], forms[i].code);
        for (unsigned kind = 0; kind < 3; kind++)
            if (forms[i].kinds >> kind & 1)
                keep_first(&codes[(forms[i].inside ? EXCLUDED_ELEMENT : EXCLUDED_KIND) + kind], forms[i].code);
    }
    excluded->marks = memory_take(excluded->ways.keys.count + 1, 1);
    for (size_t i = 0; i < options->marked_count; i++) {
        uint32_t way = way_of(excluded, marked[i].path);
        excluded->marks[way] |= (uint8_t)marked[i].mark;
        while (marked[i].mark == FANFOLD_AROUND && (way = (uint32_t)excluded->ways.keys.items[way - 1].object) > RECORD)
            excluded->marks[way] |= LEADS_AROUND;
    }
    return 1;
}

/* The walk. */

static void refuse(Walk *walk, int place, const uint8_t *at) {
    if (walk->mode == WALK_JUDGE) return;
    int code = walk->excluded->codes[walk->way][place];
    if (code) walk_fault(walk, code, at, "the form that holds over the run");
}

/* What stands around the records has its place in the record alone. */
static void refuse_own(Walk *walk, int mark, const uint8_t *at) {
    if (walk->mode != WALK_JUDGE && !walk->inside.is_envelope && walk->excluded->marks[walk->way] & mark)
        walk_fault(walk, FANFOLD_NAME_CONFLICT, at, "this field around the records alone (input.envelope)");
}

void walk_exclude_key(Walk *walk, uint32_t way, const Token *key, const uint8_t *at) {
    Token name = walk_decoded(walk, key);
    walk->way = excluded_find(walk->excluded, way, &name);
    walk->way_is = WAY_OF_KEY;
    if (!walk->way) return;
    refuse(walk, EXCLUDED_FIELD, at);
    refuse_own(walk, FANFOLD_AROUND, at);
}

void walk_exclude_value(Walk *walk, int kind, const uint8_t *at) {
    if (kind != IS_OBJECT) refuse_own(walk, LEADS_AROUND, at);
    if (walk->way_is == WAY_DEEPER) return;
    refuse(walk, (walk->way_is == WAY_OF_KEY ? EXCLUDED_KIND : EXCLUDED_ELEMENT) + kind, at);
}
