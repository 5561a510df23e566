/* Forms that no good record has (a field at a path, or a value of some kind there), and fields that are marked. */
#include "record.h"

const uint8_t *read_step(const uint8_t *p, const uint8_t *end, Token *text) {
    if (end - p < 4 || read_integer(p, 4) > (size_t)(end - p) - 4) return NULL;
    *text = (Token){p + 4, (size_t)read_integer(p, 4), 0};
    return text->at + text->size;
}

/* Returns the node of a path, which is made where there is none; 0 where it is not a path, or has no keys. */
static uint32_t way_of(Excluded *excluded, fanfold_bytes path) {
    uint32_t way = RECORD;
    Token key;
    for (const uint8_t *p = path.data, *end = p + path.size; p < end;) {
        if (!(p = read_step(p, end, &key))) return OPAQUE;
        way = keys_add(&excluded->ways, way, key.at, key.size);
        while (excluded->rules.count <= way) ADD(excluded->rules, (Rule){0});
    }
    return path.size ? way : OPAQUE;
}

static void keep_first(uint8_t *code, uint32_t wanted) {
    if (!*code) *code = (uint8_t)wanted;
}

int excluded_open(Excluded *excluded, const fanfold_options *options) {
    /* The first two rules belong to a path that leads nowhere, and to the record itself. */
    ADD(excluded->rules, (Rule){0});
    ADD(excluded->rules, (Rule){0});
    keys_add(&excluded->ways, OPAQUE, (const uint8_t *)"", 0);
    for (size_t i = 0; i < options->marked_count; i++) {
        const fanfold_marked *marked = &options->marked[i];
        uint32_t way = way_of(excluded, marked->path);
        if (!way) return 0;
        excluded->rules.items[way].marks |= (uint8_t)marked->mark;
        while (marked->mark == FANFOLD_AROUND && (way = (uint32_t)excluded->ways.keys.items[way - 1].object) > RECORD)
            excluded->rules.items[way].marks |= LEADS_AROUND;
    }
    for (size_t i = 0; i < options->excluded_count; i++) {
        const fanfold_excluded *form = &options->excluded[i];
        uint32_t way = way_of(excluded, form->path);
        if (!way || !form->code || form->code >= FANFOLD_CODES || form->kinds > 7) return 0;
        uint8_t *codes = excluded->rules.items[way].codes;
        if (!form->kinds) keep_first(&codes[EXCLUDED_FIELD], form->code);
        for (unsigned kind = 0; kind < 3; kind++)
            if (form->kinds >> kind & 1)
                keep_first(&codes[(form->inside ? EXCLUDED_ELEMENT : EXCLUDED_KIND) + kind], form->code);
    }
    return 1;
}

/* The walk. */

static void refuse(Walk *walk, int place, const uint8_t *at) {
    if (walk->mode == WALK_JUDGE) return;
    int code = walk->excluded->rules.items[walk->way].codes[place];
    if (code) walk_fault(walk, code, at, "the form that holds over the run");
}

/* What stands around the records has its place in the record alone. */
static void refuse_own(Walk *walk, int mark, const uint8_t *at) {
    if (walk->mode != WALK_JUDGE && !walk->inside.is_envelope && walk->excluded->rules.items[walk->way].marks & mark)
        walk_fault(walk, FANFOLD_NAME_CONFLICT, at, "this field only around the records (input.envelope)");
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
