/* What a value means to its field: it is learnt, checked, kept. */
#include "types.h"
#include "walk.h"

Token walk_decoded(Walk *walk, const Token *text) {
    if (!(text->marks & ESCAPED)) return *text;
    uint8_t *to = arena_take(&walk->merged->texts, text->size);
    uint8_t *end = decode_text(text, to);
    arena_give_back(&walk->merged->texts, end);
    return (Token){to, (size_t)(end - to), text->marks & ~(unsigned)ESCAPED};
}

static const char *const expected_of_type[FANFOLD_TYPES] = {
    "a scalar",
    "a number (BIGINT)",
    "a number (DECIMAL)",
    "a number (DOUBLE)",
    "true or false",
    "a date as in 2026-01-02",
    "a time without a zone as in 2026-01-02T03:04:05.678",
    "a time with a zone as in 2026-01-02T03:04:05.678Z",
    "JSON",
};

static void learn(Walk *walk, uint32_t node, int kind, const Token *token) {
    Shape *shape = walk->shape;
    if (kind == KIND_INTEGER || kind == KIND_NUMBER) {
        uint64_t whole, scale;
        number_digits(token, &whole, &scale);
        kind = is_bigint(token) ? KIND_INTEGER : KIND_NUMBER;
        const Facts *facts = &shape->facts[node];
        if (whole > facts->whole || scale > facts->scale) shape_sight(shape, node, KINDS, whole, scale);
    }
    if (shape_unseen(shape, node, (uint32_t)kind, walk->record)) shape_sight(shape, node, (uint32_t)kind, 0, 0);
}

void walk_take(Walk *walk, uint32_t number, int kind, const Token *token, const uint8_t *at) {
    const Node *node = &walk->shape->nodes[number];
    if (walk->mode == WALK_LEARN && number) learn(walk, number, kind, token);
    if (kind == KIND_NULL || node->kind == NODE_LEARNT || node->kind == NODE_OPAQUE) return;
    if (node->kind == FANFOLD_VALUE && node->type == FANFOLD_VARCHAR && !(node->key | (token->marks & ESCAPED))) {
        if (walk->mode == WALK_READ)
            merged_value(walk->merged, node->scope, node->slot, token->at, token->size, token->marks);
        return;
    }
    if (node->kind != FANFOLD_VALUE) {
        walk_fault(walk, number == RECORD ? FANFOLD_NOT_AN_OBJECT : FANFOLD_WRONG_TYPE, at,
                   node->kind == FANFOLD_LIST ? "an array" : "an object");
        return;
    }
    if (node->type == FANFOLD_JSON) {
        if (walk->mode == WALK_READ) {
            size_t quotes = kind == KIND_TEXT;
            const uint8_t *text = token->at - quotes;
            merged_value(walk->merged, node->scope, node->slot, text, token->size + 2 * quotes, quotes ? QUOTED : 0);
        }
        return;
    }
    Token written = kind == KIND_TEXT ? walk_decoded(walk, token) : *token, form = written;
    uint8_t room[LONGEST_FORM];
    int code = type_check(node, kind, &written, room, &form);
    if (code) walk_fault(walk, code, at, expected_of_type[node->type]);
    if (code || walk->mode != WALK_READ) return;
    if (form.at == room) {
        uint8_t *kept = arena_take(&walk->merged->texts, form.size);
        memcpy(kept, room, form.size);
        form.at = kept;
    }
    merged_value(walk->merged, node->scope, node->slot, form.at, form.size, form.marks);
    if (node->key) {
        const MergedScope *scope = &walk->merged->scopes[node->scope];
        merged_value(walk->merged, node->scope, scope->slots + node->key - 1, written.at, written.size, 0);
    }
}

/* A value that stays one text: from here to where its brackets close. */
static void capture(Walk *walk, uint32_t number, const uint8_t *p) {
    if (walk->captured) return;
    walk->captured = p;
    walk->capture_depth = walk->depth;
    walk->capture_node = number;
}

static Token compacted(Walk *walk, const uint8_t *from, const uint8_t *end) {
    uint8_t *to = arena_take(&walk->merged->texts, (size_t)(end - from)), *last = compact_json(from, end, to);
    arena_give_back(&walk->merged->texts, last);
    return (Token){to, (size_t)(last - to), 0};
}

void walk_end_capture(Walk *walk, const uint8_t *end) {
    const Node *node = &walk->shape->nodes[walk->capture_node];
    if (walk->rescue) {
        Token text = compacted(walk, walk->captured, end);
        merged_rest(walk->merged, walk->rescue, walk->rescued, text.at, text.size);
    } else if (walk->mode == WALK_READ && node->kind == FANFOLD_VALUE) {
        Token text = compacted(walk, walk->captured, end);
        merged_value(walk->merged, node->scope, node->slot, text.at, text.size,
                     needs_quotes(text.at, text.size) ? QUOTED : 0);
    }
    walk->rescue = 0;
    walk->captured = NULL;
}

uint32_t walk_enter(Walk *walk, uint32_t number, int is_object, const uint8_t *p) {
    if (walk->rescue && !walk->captured) capture(walk, OPAQUE, p);
    if (walk->captured || !number) return OPAQUE;
    const Node *node = &walk->shape->nodes[number];
    if (walk->mode == WALK_LEARN) learn(walk, number, is_object ? KIND_OBJECT : KIND_ARRAY, NULL);
    if (node->kind == NODE_LEARNT) {
        if (is_object) return number;
        /* An array in an array is one value. */
        return node->name || number == RECORD ? shape_element(walk->shape, number) : OPAQUE;
    }
    if (node->kind == FANFOLD_VALUE && node->type == FANFOLD_JSON) {
        capture(walk, number, p);
        return OPAQUE;
    }
    if (node->kind == (is_object ? FANFOLD_OBJECT : FANFOLD_LIST)) return is_object ? number : node->element;
    walk_fault(walk, number == RECORD ? FANFOLD_NOT_AN_OBJECT : FANFOLD_WRONG_TYPE, p,
               node->kind == FANFOLD_VALUE    ? expected_of_type[node->type]
               : node->kind == FANFOLD_OBJECT ? "an object"
                                              : "an array");
    return OPAQUE;
}
