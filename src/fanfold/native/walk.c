/* One record of JSON: its grammar, its keys, and a loop over all its values. */
#include "inside.h"

/* Texts and scalars. */

static const char *const expected_of_text[FANFOLD_CODES] = {
    [FANFOLD_SYNTAX] = "an escape of JSON: \\\" \\\\ \\/ \\b \\f \\n \\r \\t, or \\u with four hexadecimal digits",
    [FANFOLD_TRUNCATED] = "the quote that ends a text",
    [FANFOLD_CONTROL_CHARACTER] = "an escape instead, as in \\u0001: a text holds no control character",
    [FANFOLD_LONE_SURROGATE] = "both halves of a surrogate pair, as in \\ud83d\\ude00",
    [FANFOLD_BAD_UTF8] = "UTF-8",
};

static const uint8_t *take_text(Walk *walk, const uint8_t *p, Token *text) {
    Flaw soft = {0}, hard = {0};
    p = read_text(p + 1, walk->end, text, &soft, &hard);
    if (soft.code) walk_flaw(walk, soft.code, soft.at, expected_of_text[soft.code]);
    return p ? p : walk_stop(walk, hard.code, hard.at, expected_of_text[hard.code]);
}

/* Says whether NaN or an infinity begins at `p`, in any letter case. */
static int is_nan(const uint8_t *p) {
    static const char *const words[] = {"nan", "infinity", "inf"};
    p += *p == '-' || *p == '+';
    for (size_t i = 0; i < 3; i++) {
        size_t size = 0;
        while (words[i][size] && (p[size] | 0x20) == words[i][size]) size++;
        uint8_t c = p[size];
        int goes_on = c == '_' || c >= 0x80 || is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!words[i][size]) return !goes_on;
    }
    return 0;
}

static const uint8_t *take_scalar(Walk *walk, const uint8_t *p, Token *token, int *kind) {
    const uint8_t *q;
    if (*p == '"') {
        *kind = KIND_TEXT;
        return take_text(walk, p, token);
    }
    if ((q = read_literal(p))) {
        *kind = *p == 'n' ? KIND_NULL : KIND_BOOLEAN;
        *token = (Token){p, (size_t)(q - p), 0};
        return q;
    }
    if ((q = read_number(p, token))) {
        *kind = token->marks & FRACTION ? KIND_NUMBER : KIND_INTEGER;
        return q;
    }
    if (p < walk->end && is_nan(p)) return walk_stop(walk, FANFOLD_NAN, p, "a number of JSON, which has no NaN and no Infinity");
    return walk_unexpected(walk, p, "a value: a text in quotes, a number, true, false, null, '{' or '['");
}

/* Keys. */

static uint32_t unknown_key(Walk *walk, uint32_t parent, const Token *name, const uint8_t *at) {
    int code = 0;
    uint32_t number = OPAQUE;
    /* Where it is refused, what is inside of it is judged as where fields are learnt; then it is forgotten. */
    if (walk->mode == WALK_LEARN || walk->others == FANFOLD_REFUSE)
        number = shape_add(walk->shape, parent, name, &code);
    if (walk->mode != WALK_LEARN && walk->others == FANFOLD_REFUSE && !code) code = FANFOLD_TOO_MANY_FIELDS;
    if (walk->others == FANFOLD_RESCUE) walk->rescue = parent;
    if (code == FANFOLD_KEY_TOO_LONG) walk_fault(walk, code, at, "at most 4,096 characters in this key and those around it");
    if (code == FANFOLD_TOO_MANY_FIELDS) walk_crowded(walk, at);
    return number;
}

/* Returns the node of the key that was read last; OPAQUE where it has none. */
static uint32_t find_key(Walk *walk, Level *level, const uint8_t *at) {
    Token name = walk_decoded(walk, &level->key);
    Given *given = walk->depth == 1 && level->node ? walk_given(walk, &name) : NULL;
    if (given) {
        if (given->object == level->number) walk_flaw(walk, FANFOLD_DUPLICATE_KEY, at, "each key only once in an object");
        given->object = level->number;
        walk->own = given;
        return OPAQUE;
    }
    uint32_t number = level->node ? shape_find(walk->shape, level->node, &name) : OPAQUE;
    if (!number && level->node && !walk->captured) number = unknown_key(walk, level->node, &name, at);
    int is_new = 1;
    if (number) {
        Node *node = &walk->shape->nodes.items[number];
        is_new = node->stamp != level->number;
        node->stamp = level->number;
    } else if (walk->values <= MAX_VALUES) {
        size_t count = walk->keys.keys.count;
        keys_add(&walk->keys, level->number, name.at, name.size);
        is_new = walk->keys.keys.count > count;
    }
    /* The objects around a field from around the records may be in the record, too. */
    if (!is_new && !walk->inside.is_envelope) walk_flaw(walk, FANFOLD_DUPLICATE_KEY, at, "each key only once in an object");
    return number;
}

/* The key that is foreseen, if it is the one at `p`: 0 where not. */
static uint32_t foreseen_key(Walk *walk, Level *level, const uint8_t *p) {
    uint32_t number = level->foreseen;
    if (!number || number >= walk->shape->nodes.count) return OPAQUE;
    Node *node = &walk->shape->nodes.items[number];
    if (node->parent != level->node || !node->plain || !node->named || node->size + 2 > (size_t)(walk->end - p))
        return OPAQUE;
    /* Where all keys are empty, there is no text to compare with. */
    int is_other = node->size && memcmp(p + 1, walk->shape->keys.texts.data + node->name_at, node->size);
    if (p[node->size + 1] != '"' || is_other || node->stamp == level->number) return OPAQUE;
    node->stamp = level->number;
    level->key = (Token){p + 1, node->size, 0};
    return number;
}

/* Reads the key at `p` and the colon behind it; returns where its value begins, and the node of it. */
static const uint8_t *take_key(Walk *walk, Level *level, const uint8_t *p, uint32_t *number) {
    const uint8_t *at = p;
    Node *nodes = walk->shape->nodes.items;
    if (*p != '"') return walk_unexpected(walk, p, "a key in quotes");
    int is_foreseen = (*number = foreseen_key(walk, level, p)) != OPAQUE;
    if (is_foreseen) {
        p += level->key.size + 2;
    } else {
        Token key;
        if (!(p = take_text(walk, p, &key))) return NULL;
        level->key = key;
    }
    level->begun = 1;
    if (level->way) walk_exclude_key(walk, level->way, &level->key, at);
    if (!is_foreseen && (*number = find_key(walk, level, at)) && !walk->inside.is_envelope) {
        /* The next time, this key is foreseen behind the one before it. */
        nodes = walk->shape->nodes.items;
        if (level->before)
            nodes[level->before].next = *number;
        else
            nodes[level->node].first = *number;
    }
    if (*number) {
        level->before = *number;
        level->foreseen = nodes[*number].next;
    }
    if (!walk->captured) walk->rescued = level->key;
    if (walk->depth == 1 && !walk->first_key.at && !walk->inside.at) walk->first_key = level->key;
    p = skip_blanks(p);
    if (*p != ':') return walk_unexpected(walk, p, "':' behind the key");
    return skip_blanks(p + 1);
}

/* The loop over all values of a record. */

/* Opens the array or object at `p`; returns what follows the bracket, or NULL. */
static const uint8_t *open_level(Walk *walk, const uint8_t *p, uint32_t number) {
    if (walk->depth == MAX_DEPTH) return walk_stop(walk, FANFOLD_TOO_DEEP, p, "objects and arrays at most 128 levels deep");
    int is_object = *p == '{';
    if (walk->way) walk_exclude_value(walk, is_object ? IS_OBJECT : IS_ARRAY, p);
    uint32_t members = walk_enter(walk, number, is_object, p);
    Level *level = &walk->levels[walk->depth++];
    level->node = members;
    level->before = OPAQUE;
    level->is_object = (uint8_t)is_object;
    level->begun = 0;
    /* What stands around the records is found through objects. */
    level->way = walk->mode == WALK_JUDGE && !is_object ? OPAQUE : walk->way;
    level->way_is = walk->way_is;
    level->number = is_object ? ++walk->objects : 0;
    level->foreseen = is_object ? walk->shape->nodes.items[members].first : OPAQUE;
    if (walk->own) walk_own(walk, walk->own, &(Token){p, SIZE_MAX, 0}, p);
    if (walk->depth == 1 && is_object && members == RECORD && !walk->inside.is_envelope) walk_give(walk, p);
    return skip_blanks(p + 1);
}

static void begin_element(Walk *walk, Level *level, const uint8_t *at) {
    level->number += level->begun;
    level->begun = 1;
    walk->way_is = level->way_is == WAY_OF_KEY ? WAY_ELEMENT : WAY_DEEPER;
    if (walk->mode != WALK_READ || !level->node || walk->values > MAX_VALUES) return;
    const Node *nodes = walk->shape->nodes.items, *array = &nodes[nodes[level->node].parent];
    if (array->kind != FANFOLD_LIST) return;
    merged_element(walk->merged, array->scope);
    if (walk->keeps_places) walk_place(walk, array->scope, 0, at);
}

/* Closes what ends at `p`, down to the depth `base`; returns where the next member begins, or what follows, and whether
 * it is done. */
static const uint8_t *close_levels(Walk *walk, const uint8_t *p, size_t base, int *done) {
    for (;;) {
        Level *level = &walk->levels[walk->depth - 1];
        uint8_t closing = level->is_object ? '}' : ']';
        p = skip_blanks(p);
        if (*p == closing) {
            p++;
            walk->depth--;
            if (walk->captured && walk->depth == walk->capture_depth) walk_end_capture(walk, p);
            *done = walk->depth == base;
            if (*done) return p;
        } else if (*p == ',') {
            const uint8_t *next = skip_blanks(p + 1);
            if (*next == closing) return walk_stop(walk, FANFOLD_TRAILING_COMMA, p, "another value behind the comma, or no comma");
            return next;
        } else {
            return walk_unexpected(walk, p, level->is_object ? "',' or '}' behind a value" : "',' or ']' behind a value");
        }
    }
}

/* Reads the scalar at `p`, and takes it. */
static const uint8_t *take_value(Walk *walk, const uint8_t *p, uint32_t number) {
    const uint8_t *at = p;
    int kind = KIND_NULL;
    Token token;
    if (!(p = take_scalar(walk, p, &token, &kind))) return NULL;
    if (kind == KIND_TEXT && walk_is_parsed(walk)) {
        walk_text(walk, number, &token, at, p);
        return p;
    }
    if (walk->way && kind != KIND_NULL) walk_exclude_value(walk, IS_SCALAR, at);
    if (walk->captured) return p;
    if (walk->own) {
        if (kind == KIND_NULL) token.at = NULL;
        walk_own(walk, walk->own, &token, at);
    } else if (walk->rescue) {
        merged_rest(walk->merged, walk->rescue, &walk->rescued, &(Token){at, (size_t)(p - at), 0});
        walk->rescue = OPAQUE;
    } else if (walk->values <= MAX_VALUES) {
        walk_take(walk, number, kind, &token, at);
    }
    return p;
}

const uint8_t *walk_members(Walk *walk, const uint8_t *p, uint32_t number) {
    const size_t base = walk->depth;
    int done = 0;
    for (;;) {
        if (++walk->values == MAX_VALUES + 1)
            walk_fault(walk, FANFOLD_TOO_MANY_VALUES, p, "at most 1,000,000 values in a record");
        int opens = *p == '{' || *p == '[', marks = walk->way ? walk->excluded->rules.items[walk->way].marks : 0;
        const uint8_t *at = p;
        if (marks & FANFOLD_SINGLE && *p != '[' && *p != 'n' && (*p != '"' || !walk_is_parsed(walk)))
            number = walk_only(walk, number, p);
        int is_around = walk->around && marks & FANFOLD_AROUND && !walk->captured;
        if (is_around && opens) walk_capture(walk, walk->way, p);
        uint32_t way = walk->way;
        p = opens ? open_level(walk, p, number) : take_value(walk, p, number);
        if (p && is_around && !opens) walk_keep_around(walk, way, at, p);
        if (!p || walk->depth == base) return p;
        Level *level = &walk->levels[walk->depth - 1];
        if (!opens || *p == (level->is_object ? '}' : ']')) {
            if (!(p = close_levels(walk, p, base, &done)) || done) return p;
            level = &walk->levels[walk->depth - 1];
        }
        walk->way = level->way;
        number = level->node;
        if (!level->is_object)
            begin_element(walk, level, p);
        else if (!(p = take_key(walk, level, p, &number)))
            return NULL;
    }
}

void walk_begin(Walk *walk, const uint8_t *end, uint64_t record) {
    walk->end = end;
    walk->record = record;
    walk->depth = walk->values = 0;
    walk->stopped = walk->captured = NULL;
    walk->inside = (Inside){0};
    walk->flawed = walk->weak = walk->fault.code = 0;
    walk->rescue = OPAQUE;
    walk->own = NULL;
    walk->first_key.at = NULL;
    keys_cut(&walk->keys, 0);
    merged_clear(walk->merged);
}

const uint8_t *walk_whole(Walk *walk, const uint8_t *p) {
    int judges = walk->mode == WALK_JUDGE;
    walk->way = judges ? walk->around : walk->excluded ? RECORD : OPAQUE;
    walk->way_is = WAY_DEEPER;
    return walk_members(walk, p, judges ? OPAQUE : RECORD);
}

const uint8_t *walk_value(Walk *walk, const uint8_t *p, const uint8_t *end, uint64_t record) {
    const uint8_t *begin = p, *behind;
    walk_begin(walk, end, record);
    if (!(p = walk_whole(walk, p))) return NULL;
    if (walk->explain && (behind = skip_blanks(p)) < end)
        walk_stop(walk, FANFOLD_TRAILING_GARBAGE, behind, "the end of the record, which is whole before this");
    if (*begin != '{') walk_fault(walk, FANFOLD_NOT_AN_OBJECT, begin, "an object as the record");
    walk_envelope(walk, begin);
    return p;
}
