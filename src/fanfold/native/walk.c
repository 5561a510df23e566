#include "walk.h"

void walk_open(Walk *walk, jmp_buf *exit) {
    walk->fault.pointer.exit = walk->fault.found.exit = walk->fault.expected.exit = exit;
    walk->keys.texts.exit = exit;
    walk->keys.seed = hash_seed();
}

void walk_close(Walk *walk) {
    bytes_close(&walk->fault.pointer);
    bytes_close(&walk->fault.found);
    bytes_close(&walk->fault.expected);
    keys_close(&walk->keys);
}

/* Texts and scalars. */

static const char *const expected_of_text[FANFOLD_CODES] = {
    [FANFOLD_SYNTAX] = "an escape of JSON",
    [FANFOLD_TRUNCATED] = "the end of the text",
    [FANFOLD_CONTROL_CHARACTER] = "it escaped",
    [FANFOLD_LONE_SURROGATE] = "both halves of a surrogate pair",
    [FANFOLD_BAD_UTF8] = "UTF-8",
};

static const uint8_t *take_text(Walk *walk, const uint8_t *p, Token *text) {
    Flaw soft = {0}, hard = {0};
    p = read_text(p + 1, walk->end, text, &soft, &hard);
    if (soft.code) walk_flaw(walk, soft.code, soft.at, expected_of_text[soft.code]);
    return p ? p : walk_stop(walk, hard.code, hard.at, expected_of_text[hard.code]);
}

static int is_word(const uint8_t *p, const char *word) {
    for (; *word; word++, p++)
        if ((*p | 0x20) != *word) return 0;
    return 1;
}

static int continues(uint8_t c) {
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* NaN and infinities, in any letter case. */
static int is_nan(const uint8_t *p) {
    p += *p == '-' || *p == '+';
    size_t size = is_word(p, "nan") ? 3 : is_word(p, "infinity") ? 8 : is_word(p, "inf") ? 3 : 0;
    return size && !continues(p[size]);
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
    if (p < walk->end && is_nan(p)) return walk_stop(walk, FANFOLD_NAN, p, "a number, which this is not in JSON");
    return walk_unexpected(walk, p, "a value");
}

/* Keys. */

static uint32_t unknown_key(Walk *walk, uint32_t parent, const Token *name, const uint8_t *at) {
    int code = 0;
    uint32_t number = OPAQUE;
    /* Where it is refused, what is inside of it is judged as where fields are learnt; then it is forgotten. */
    if (walk->mode == WALK_LEARN || walk->others == FANFOLD_REFUSE)
        number = shape_add(walk->shape, parent, name->at, name->size, &code);
    if (walk->mode != WALK_LEARN && walk->others == FANFOLD_REFUSE && !code) code = FANFOLD_TOO_MANY_FIELDS;
    if (walk->others == FANFOLD_RESCUE) walk->rescue = parent;
    if (code == FANFOLD_KEY_TOO_LONG) walk_fault(walk, code, at, "a way to it of at most 4,096 characters");
    if (code == FANFOLD_TOO_MANY_FIELDS) walk_crowded(walk, at);
    return number;
}

/* Returns the node of the key that was read last; OPAQUE where it has none. */
static uint32_t find_key(Walk *walk, Level *level, const uint8_t *at) {
    Token name = walk_decoded(walk, &level->key);
    uint32_t number = level->node ? shape_find(walk->shape, level->node, name.at, name.size) : OPAQUE;
    if (!number && level->node && !walk->captured) number = unknown_key(walk, level->node, &name, at);
    int is_new = 1;
    if (number) {
        Node *node = &walk->shape->nodes[number];
        is_new = node->stamp != level->number;
        node->stamp = level->number;
    } else if (walk->values <= MAX_VALUES) {
        is_new = keys_add(&walk->keys, level->number, name.at, name.size);
    }
    if (!is_new) walk_flaw(walk, FANFOLD_DUPLICATE_KEY, at, "each key once in an object");
    return number;
}

/* The key that is foreseen, if it is the one at `p`: 0 where not. */
static uint32_t foreseen_key(Walk *walk, Level *level, const uint8_t *p) {
    uint32_t number = level->foreseen;
    if (!number || number >= walk->shape->count) return OPAQUE;
    Node *node = &walk->shape->nodes[number];
    if (node->parent != level->node || !node->plain || !node->name || node->size + 2 > (size_t)(walk->end - p))
        return OPAQUE;
    if (p[node->size + 1] != '"' || memcmp(p + 1, node->name, node->size) || node->stamp == level->number)
        return OPAQUE;
    node->stamp = level->number;
    level->key = (Token){p + 1, node->size, 0};
    return number;
}

/* Foresees that this key follows the one before it again, and what follows it. */
static void remember(Walk *walk, Level *level, uint32_t before, uint32_t number) {
    Node *nodes = walk->shape->nodes;
    if (before)
        nodes[before].next = number;
    else
        nodes[level->node].first = number;
}

/* Reads the key at `p` and the colon behind it; returns where its value begins, and the node of it. */
static const uint8_t *take_key(Walk *walk, Level *level, const uint8_t *p, uint32_t *before, uint32_t *number) {
    const uint8_t *at = p;
    if (*p != '"') return walk_unexpected(walk, p, "a key in quotes");
    if ((*number = foreseen_key(walk, level, p))) {
        p += level->key.size + 2;
        level->begun = 1;
        if (level->way) walk_exclude_key(walk, level->way, &level->key, at);
    } else {
        Token key;
        if (!(p = take_text(walk, p, &key))) return NULL;
        level->key = key;
        level->begun = 1;
        if (level->way) walk_exclude_key(walk, level->way, &key, at);
        *number = find_key(walk, level, at);
        if (*number) remember(walk, level, *before, *number);
    }
    if (*number) {
        *before = *number;
        level->foreseen = walk->shape->nodes[*number].next;
    }
    walk->rescued = walk->captured ? walk->rescued : level->key;
    if (walk->depth == 1 && !walk->first_key.at) walk->first_key = level->key;
    p = skip_blanks(p);
    if (*p != ':') return walk_unexpected(walk, p, "':'");
    return skip_blanks(p + 1);
}

/* The loop over all values of a record. */

/* Opens the array or object at `p`; returns what follows the bracket, or NULL. */
static const uint8_t *open_level(Walk *walk, const uint8_t *p, uint32_t number) {
    if (walk->depth == MAX_DEPTH) return walk_stop(walk, FANFOLD_TOO_DEEP, p, "brackets of at most 128 levels");
    int is_object = *p == '{';
    if (walk->way) walk_exclude_value(walk, is_object ? IS_OBJECT : IS_ARRAY, p);
    uint32_t members = walk_enter(walk, number, is_object, p);
    Level *level = &walk->levels[walk->depth++];
    level->node = members;
    level->is_object = (uint8_t)is_object;
    level->begun = 0;
    level->way = walk->way;
    level->way_is = walk->way_is;
    level->number = is_object ? ++walk->objects : 0;
    level->foreseen = is_object ? walk->shape->nodes[members].first : 0;
    return p + 1;
}

static void begin_element(Walk *walk, Level *level) {
    level->number += level->begun;
    level->begun = 1;
    if (walk->mode != WALK_READ || !level->node || walk->values > MAX_VALUES) return;
    const Node *array = &walk->shape->nodes[walk->shape->nodes[level->node].parent];
    if (array->kind == FANFOLD_LIST) merged_element(walk->merged, array->scope);
}

/* Closes what ends at `p`; returns where the next member begins, or what follows the record, and whether it is done. */
static const uint8_t *close_levels(Walk *walk, const uint8_t *p, int *done) {
    for (;;) {
        Level *level = &walk->levels[walk->depth - 1];
        uint8_t closing = level->is_object ? '}' : ']';
        p = skip_blanks(p);
        if (*p == closing) {
            p++;
            walk->depth--;
            if (walk->captured && walk->depth == walk->capture_depth) walk_end_capture(walk, p);
            if (!walk->depth) {
                *done = 1;
                return p;
            }
        } else if (*p == ',') {
            const uint8_t *next = skip_blanks(p + 1);
            if (*next == closing) return walk_stop(walk, FANFOLD_TRAILING_COMMA, p, "another member behind it");
            return next;
        } else {
            return walk_unexpected(walk, p, level->is_object ? "',' or '}'" : "',' or ']'");
        }
    }
}

static const uint8_t *walk_members(Walk *walk, const uint8_t *p) {
    uint32_t number = walk->mode == WALK_JUDGE ? OPAQUE : RECORD, before[MAX_DEPTH];
    int done = 0, kind = KIND_NULL;
    Token token;
    walk->way = walk->excluded && walk->mode != WALK_JUDGE ? RECORD : OPAQUE;
    walk->way_is = WAY_DEEPER;
    for (;;) {
        if (++walk->values == MAX_VALUES + 1)
            walk_fault(walk, FANFOLD_TOO_MANY_VALUES, p, "at most 1,000,000 values in a record");
        if (*p == '{' || *p == '[') {
            if (!(p = open_level(walk, p, number))) return NULL;
            before[walk->depth - 1] = 0;
            p = skip_blanks(p);
            if (*p != (walk->levels[walk->depth - 1].is_object ? '}' : ']')) goto member;
        } else {
            const uint8_t *at = p;
            if (!(p = take_scalar(walk, p, &token, &kind))) return NULL;
            if (walk->way && kind != KIND_NULL) walk_exclude_value(walk, IS_SCALAR, at);
            if (walk->rescue && !walk->captured) {
                merged_rest(walk->merged, walk->rescue, walk->rescued, at, (size_t)(p - at));
                walk->rescue = 0;
            } else if (walk->values <= MAX_VALUES && !walk->captured) {
                walk_take(walk, number, kind, &token, at);
            }
            if (!walk->depth) return p;
        }
        if (!(p = close_levels(walk, p, &done)) || done) return p;
    member:;
        Level *level = &walk->levels[walk->depth - 1];
        walk->way = level->way;
        if (level->is_object) {
            if (!(p = take_key(walk, level, p, &before[walk->depth - 1], &number))) return NULL;
        } else {
            begin_element(walk, level);
            walk->way_is = level->way_is == WAY_OF_KEY ? WAY_ELEMENT : WAY_DEEPER;
            number = level->node;
        }
    }
}

void walk_begin(Walk *walk, const uint8_t *end, uint64_t record) {
    walk->end = end;
    walk->record = record;
    walk->depth = walk->values = 0;
    walk->stopped = NULL;
    walk->flawed = walk->weak = 0;
    walk->captured = NULL;
    walk->rescue = 0;
    walk->first_key.at = NULL;
    walk->fault.code = 0;
    walk->fault.pointer.size = walk->fault.found.size = walk->fault.expected.size = 0;
    keys_empty(&walk->keys);
    merged_clear(walk->merged);
}

const uint8_t *walk_value(Walk *walk, const uint8_t *p, const uint8_t *end, uint64_t record) {
    walk_begin(walk, end, record);
    walk->is_object = *p == '{';
    p = walk_members(walk, p);
    if (p && !walk->is_object) walk_fault(walk, FANFOLD_NOT_AN_OBJECT, p, "an object");
    return p;
}

void walk_explain(Walk *walk, const uint8_t *p, const uint8_t *end, uint64_t record) {
    walk->explain = 1;
    walk_begin(walk, end, record);
    const uint8_t *start = p = skip_blanks(p);
    walk->is_object = *p == '{';
    p = walk_members(walk, p);
    walk->depth = 0;
    if (p && (p = skip_blanks(p)) < end) walk_stop(walk, FANFOLD_TRAILING_GARBAGE, p, "the end of the record");
    if (p && !walk->is_object) walk_fault(walk, FANFOLD_NOT_AN_OBJECT, start, "an object");
    walk->explain = 0;
}
