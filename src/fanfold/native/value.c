/* What a value means to its field: it is learnt, checked, kept. */
#include "inside.h"

static const char *const expected_of_type[FANFOLD_TYPES] = {
    "a single value: a text, a number, true or false",
    "a whole number from -9223372036854775808 to 9223372036854775807 (BIGINT)",
    "a number (DECIMAL)",
    "a number from -1.7976931348623157e308 to 1.7976931348623157e308 (DOUBLE)",
    "true or false",
    "a date as in 2026-01-02",
    "a time without a zone as in 2026-01-02T03:04:05.678",
    "a time with a zone as in 2026-01-02T03:04:05.678Z",
    "JSON",
    "a number of seconds since 1970, with at most 6 decimals, up to the year 9999 (EPOCH_S)",
    "a number of milliseconds since 1970, with at most 3 decimals, up to the year 9999 (EPOCH_MS)",
};

/* Says that a value does not fit its node. */
static void refuse(Walk *walk, uint32_t number, const uint8_t *at) {
    const Node *node = &walk->shape->nodes.items[number];
    walk_fault(walk, number == RECORD ? FANFOLD_NOT_AN_OBJECT : FANFOLD_WRONG_TYPE, at,
               node->kind == FANFOLD_VALUE    ? expected_of_type[node->type.base]
               : number == RECORD             ? "an object as the record"
               : node->kind == FANFOLD_OBJECT ? "an object"
                                              : "an array");
}

Token walk_decoded(Walk *walk, const Token *text) {
    if (!(text->marks & ESCAPED)) return *text;
    uint8_t *to = arena_take(&walk->merged->texts, text->size), *end = decode_text(text, to);
    return (Token){to, (size_t)(end - to), text->marks & ~(unsigned)ESCAPED};
}

static void learn(Walk *walk, uint32_t node, int kind, const Token *token) {
    Shape *shape = walk->shape;
    if (kind == KIND_INTEGER || kind == KIND_NUMBER) {
        uint64_t whole, scale;
        number_digits(token, &whole, &scale);
        kind = is_bigint(token) ? KIND_INTEGER : KIND_NUMBER;
        const uint64_t *most = shape->facts.items[node].counts;
        if (whole > most[MOST_WHOLE] || scale > most[MOST_SCALE]) shape_sight(shape, node, KINDS, whole, scale);
    }
    shape_hold(shape, node, kind, walk->record);
}

void walk_place(Walk *walk, uint32_t scope, uint32_t key, const uint8_t *at) {
    uint32_t slot = walk->merged->scopes[scope].slots + walk->merged->scopes[scope].keys + key;
    merged_value(walk->merged, scope, slot, &(Token){walk->inside.at ? walk->inside.at : at, 0, 0});
}

void walk_take(Walk *walk, uint32_t number, int kind, const Token *token, const uint8_t *at) {
    const Node *node = &walk->shape->nodes.items[number];
    int reads = walk->mode == WALK_READ;
    if (walk->keeps_places && node->key) walk_place(walk, node->scope, node->key, at);
    if (walk->mode == WALK_LEARN && number) learn(walk, number, kind, token);
    if (kind == KIND_NULL || node->kind == NODE_LEARNT || node->kind == NODE_OPAQUE) return;
    if (node->kind != FANFOLD_VALUE) {
        refuse(walk, number, at);
        return;
    }
    if (node->type.base == FANFOLD_VARCHAR && !(node->key | (token->marks & ESCAPED))) {
        if (reads) merged_value(walk->merged, node->scope, node->slot, token);
        return;
    }
    if (node->type.base == FANFOLD_JSON) {
        size_t quotes = kind == KIND_TEXT;
        Token text = {token->at - quotes, token->size + 2 * quotes, quotes ? QUOTED : 0};
        if (reads) merged_value(walk->merged, node->scope, node->slot, &text);
        return;
    }
    Token written = kind == KIND_TEXT ? walk_decoded(walk, token) : *token, form = written;
    uint8_t room[LONGEST_FORM];
    int code = type_check(node->type, kind, &written, room, &form);
    if (code) walk_fault(walk, code, at, expected_of_type[node->type.base]);
    if (code || !reads) return;
    if (form.at == room) form.at = arena_copy(&walk->merged->texts, room, form.size);
    merged_value(walk->merged, node->scope, node->slot, &form);
    if (!node->key) return;
    written.marks = 0;
    merged_value(walk->merged, node->scope, walk->merged->scopes[node->scope].slots + node->key - 1, &written);
}

static Token as_json(Walk *walk, const Token *text) {
    walk->json.size = 0;
    bytes_json(&walk->json, text->at, text->size);
    return (Token){arena_copy(&walk->merged->texts, walk->json.data, walk->json.size), walk->json.size, QUOTED};
}

void walk_take_text(Walk *walk, uint32_t number, const Token *text, const uint8_t *at, int is_parsed) {
    const Node *node = &walk->shape->nodes.items[number];
    int is_rescued = !number && walk->others == FANFOLD_RESCUE;
    if (!number && walk->others == FANFOLD_REFUSE && text->at) walk_crowded(walk, at);
    if (is_rescued) {
        Token key = as_json(walk, &walk->levels[0].key);
        walk->rescued = (Token){key.at + 1, key.size - 2, 0};
        walk->rescue = RECORD;
    }
    if (is_parsed) {
        walk_text(walk, number, text, at, at);
    } else if (is_rescued) {
        Token value = text->at ? as_json(walk, text) : (Token){(const uint8_t *)"null", 4, 0};
        merged_rest(walk->merged, RECORD, &walk->rescued, &value);
        walk->rescue = OPAQUE;
    } else if (node->kind == FANFOLD_VALUE && node->type.base == FANFOLD_JSON && text->at) {
        Token value = as_json(walk, text);
        if (walk->mode == WALK_READ) merged_value(walk->merged, node->scope, node->slot, &value);
    } else if (number) {
        walk_take(walk, number, text->at ? KIND_TEXT : KIND_NULL, text, at);
    }
}

/* A value stays one text: from here to where its brackets close. */
void walk_capture(Walk *walk, uint32_t number, const uint8_t *p) {
    walk->captured = p;
    walk->piece.size = 0;
    walk->capture_depth = walk->depth;
    walk->capture_node = number;
}

void walk_move_capture(Walk *walk, const uint8_t *end, const uint8_t *next) {
    bytes_room(&walk->piece, (size_t)(end - walk->captured));
    uint8_t *to = walk->piece.data + walk->piece.size;
    walk->piece.size += (size_t)(compact_json(walk->captured, end, to) - to);
    walk->captured = next;
}

void walk_end_capture(Walk *walk, const uint8_t *end) {
    if (walk->around) {
        walk_keep_around(walk, walk->capture_node, walk->captured, end);
        walk->captured = NULL;
        return;
    }
    const Node *node = &walk->shape->nodes.items[walk->capture_node];
    if (walk->rescue || (walk->mode == WALK_READ && node->kind == FANFOLD_VALUE)) {
        size_t before = walk->piece.size;
        uint8_t *to = arena_take(&walk->merged->texts, before + (size_t)(end - walk->captured));
        if (before) memcpy(to, walk->piece.data, before);
        Token text = {to, (size_t)(compact_json(walk->captured, end, to + before) - to), 0};
        if (needs_quotes(text.at, text.size)) text.marks = QUOTED;
        if (walk->rescue)
            merged_rest(walk->merged, walk->rescue, &walk->rescued, &text);
        else
            merged_value(walk->merged, node->scope, node->slot, &text);
    }
    walk->rescue = OPAQUE;
    walk->captured = NULL;
}

uint32_t walk_only(Walk *walk, uint32_t number, const uint8_t *at) {
    const Node *node = &walk->shape->nodes.items[number];
    if (walk->way_is != WAY_OF_KEY || walk->mode == WALK_JUDGE) return number;
    walk->way_is = WAY_ELEMENT;
    int is_list = node->kind == FANFOLD_LIST, scope = (int)node->scope;
    if (walk->captured || walk->rescue || (!is_list && node->kind != NODE_LEARNT)) return number;
    number = walk_enter(walk, number, 0, NULL);
    if (is_list && walk->mode == WALK_READ && walk->values <= MAX_VALUES) {
        MergedScope *elements = &walk->merged->scopes[scope];
        merged_element(walk->merged, (uint32_t)scope);
        elements->elements.items[elements->elements.count - 1].is_alone = 1;
        if (walk->keeps_places) walk_place(walk, (uint32_t)scope, 0, at);
    }
    return number;
}

uint32_t walk_enter(Walk *walk, uint32_t number, int is_object, const uint8_t *p) {
    if (walk->rescue && !walk->captured) walk_capture(walk, OPAQUE, p);
    if (walk->captured || !number) return OPAQUE;
    if (walk->mode == WALK_LEARN) learn(walk, number, is_object ? KIND_OBJECT : KIND_ARRAY, NULL);
    const Node *node = &walk->shape->nodes.items[number];
    if (node->kind == NODE_LEARNT) {
        if (is_object) return number;
        /* An array in an array is one value. */
        return node->named || number == RECORD ? shape_element(walk->shape, number) : OPAQUE;
    }
    if (node->kind == FANFOLD_VALUE && node->type.base == FANFOLD_JSON)
        walk_capture(walk, number, p);
    else if (node->kind != (is_object ? FANFOLD_OBJECT : FANFOLD_LIST))
        refuse(walk, number, p);
    else
        return is_object ? number : node->element;
    return OPAQUE;
}
