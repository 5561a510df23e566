#include "walk.h"

#include "types.h"

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

/* Faults. */

static void put_step(Bytes *pointer, const Level *level) {
    bytes_byte(pointer, '/');
    if (!level->is_object) {
        bytes_number(pointer, level->number);
        return;
    }
    bytes_room(pointer, level->key.size * 2);
    size_t begin = pointer->size, size = level->key.size, escapes = 0;
    if (level->key.marks & ESCAPED)
        size = (size_t)(decode_text(&level->key, pointer->data + begin) - (pointer->data + begin));
    else
        memcpy(pointer->data + begin, level->key.at, size);
    for (size_t i = 0; i < size; i++) escapes += pointer->data[begin + i] == '~' || pointer->data[begin + i] == '/';
    bytes_room(pointer, size + escapes);
    pointer->size = begin + size + escapes;
    for (size_t from = begin + size, to = pointer->size; from > begin && to > from;) {
        uint8_t c = pointer->data[--from];
        if (c == '~' || c == '/') {
            pointer->data[--to] = c == '~' ? '0' : '1';
            c = '~';
        }
        pointer->data[--to] = c;
    }
}

/* The word at `at`: up to 20 bytes, to the next blank, comma, colon, bracket or quote; one byte at least. */
static void put_found(Walk *walk, const uint8_t *at) {
    size_t size = 0, left = (size_t)(walk->end - at);
    while (size < left && size < 20 && !strchr(" \t\r\n,:[]{}\"", at[size] ? at[size] : 'x')) size++;
    if (!size && left) size = 1;
    while (size < left && size < 23 && (at[size] & 0xc0) == 0x80) size++;
    bytes_put(&walk->fault.found, at, size);
}

void walk_fault(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (walk->fault.code) return;
    walk->fault.code = code;
    walk->fault.at = at;
    if (!walk->explain) return;
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->levels[i].begun) put_step(&walk->fault.pointer, &walk->levels[i]);
    put_found(walk, at);
    bytes_text(&walk->fault.expected, expected);
}

/* A fault of the grammar wins over one of what the record holds; it comes first where both are of grammar. */
static void flaw(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (walk->fault.code && !walk->flawed) {
        walk->fault.code = 0;
        walk->fault.pointer.size = walk->fault.found.size = walk->fault.expected.size = 0;
    }
    walk->flawed = 1;
    walk_fault(walk, code, at, expected);
}

static const uint8_t *hard_flaw(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (at >= walk->end) {
        code = FANFOLD_TRUNCATED;
        at = walk->end;
    }
    walk->stopped = at;
    flaw(walk, code, at, expected);
    return NULL;
}

static const uint8_t *unexpected(Walk *walk, const uint8_t *at, const char *expected) {
    return hard_flaw(walk, at < walk->end && *at >= 0x80 && !utf8_size(at) ? FANFOLD_BAD_UTF8 : FANFOLD_SYNTAX, at, expected);
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
    if (soft.code) flaw(walk, soft.code, soft.at, expected_of_text[soft.code]);
    return p ? p : hard_flaw(walk, hard.code, hard.at, expected_of_text[hard.code]);
}

static int is_word(const uint8_t *p, const char *word) {
    for (; *word; word++, p++)
        if ((*p | 0x20) != *word) return 0;
    return 1;
}

static int continues(uint8_t c) { return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }

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
    if (p < walk->end && is_nan(p)) return hard_flaw(walk, FANFOLD_NAN, p, "a number, which this is not in JSON");
    return unexpected(walk, p, "a value");
}

/* Returns the text with its escapes decoded. */
static Token decoded(Walk *walk, const Token *text) {
    if (!(text->marks & ESCAPED)) return *text;
    uint8_t *to = arena_take(&walk->merged->texts, text->size);
    uint8_t *end = decode_text(text, to);
    arena_give_back(&walk->merged->texts, end);
    return (Token){to, (size_t)(end - to), text->marks & ~(unsigned)ESCAPED};
}

/* What a value means to its field. */

static const char *const expected_of_type[FANFOLD_TYPES] = {
    "a scalar", "a number (BIGINT)", "a number (DECIMAL)", "a number (DOUBLE)", "true or false",
    "a date as in 2026-01-02", "a time without a zone as in 2026-01-02T03:04:05.678",
    "a time with a zone as in 2026-01-02T03:04:05.678Z", "JSON",
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
        if (walk->mode == WALK_READ) merged_value(walk->merged, node->scope, node->slot, token->at, token->size, token->marks);
        return;
    }
    if (node->kind != FANFOLD_VALUE) {
        walk_fault(walk, FANFOLD_WRONG_TYPE, at, node->kind == FANFOLD_LIST ? "an array" : "an object");
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
    Token written = kind == KIND_TEXT ? decoded(walk, token) : *token, form = written;
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

static void end_capture(Walk *walk, const uint8_t *end) {
    const Node *node = &walk->shape->nodes[walk->capture_node];
    if (walk->rescue) {
        Token text = compacted(walk, walk->captured, end);
        merged_rest(walk->merged, walk->rescue, walk->rescued, text.at, text.size);
    } else if (walk->mode == WALK_READ && node->kind == FANFOLD_VALUE) {
        Token text = compacted(walk, walk->captured, end);
        merged_value(walk->merged, node->scope, node->slot, text.at, text.size, needs_quotes(text.at, text.size) ? QUOTED : 0);
    }
    walk->rescue = 0;
    walk->captured = NULL;
}

/* Returns the node for the members of the array or object that opens at `p`. */
static uint32_t enter(Walk *walk, uint32_t number, int is_object, const uint8_t *p) {
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
    walk_fault(walk, FANFOLD_WRONG_TYPE, p,
               node->kind == FANFOLD_VALUE    ? expected_of_type[node->type]
               : node->kind == FANFOLD_OBJECT ? "an object"
                                              : "an array");
    return OPAQUE;
}

/* Keys. */

static uint32_t unknown_key(Walk *walk, uint32_t parent, const Token *name, const uint8_t *at) {
    int code = 0;
    uint32_t number = OPAQUE;
    if (walk->mode == WALK_LEARN)
        number = shape_add(walk->shape, parent, name->at, name->size, &code);
    else if (walk->others == FANFOLD_REFUSE)
        code = FANFOLD_TOO_MANY_FIELDS;
    else if (walk->others == FANFOLD_RESCUE)
        walk->rescue = parent;
    if (code == FANFOLD_KEY_TOO_LONG) walk_fault(walk, code, at, "a way to it of at most 4,096 characters");
    if (code == FANFOLD_TOO_MANY_FIELDS) walk_fault(walk, code, at, "no more fields than a run has");
    return number;
}

/* Returns the node of the key that was read last; OPAQUE where it has none. */
static uint32_t find_key(Walk *walk, Level *level, const uint8_t *at) {
    Token name = decoded(walk, &level->key);
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
    if (!is_new) flaw(walk, FANFOLD_DUPLICATE_KEY, at, "each key once in an object");
    return number;
}

/* The key that is foreseen, if it is the one at `p`: 0 where not. */
static uint32_t foreseen_key(Walk *walk, Level *level, const uint8_t *p) {
    uint32_t number = level->foreseen;
    if (!number || number >= walk->shape->count) return OPAQUE;
    Node *node = &walk->shape->nodes[number];
    if (node->parent != level->node || !node->plain || !node->name || node->size + 2 > (size_t)(walk->end - p)) return OPAQUE;
    if (p[node->size + 1] != '"' || memcmp(p + 1, node->name, node->size) || node->stamp == level->number) return OPAQUE;
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
    if (*p != '"') return unexpected(walk, p, "a key in quotes");
    if ((*number = foreseen_key(walk, level, p))) {
        p += level->key.size + 2;
        level->begun = 1;
    } else {
        Token key;
        if (!(p = take_text(walk, p, &key))) return NULL;
        level->key = key;
        level->begun = 1;
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
    if (*p != ':') return unexpected(walk, p, "':'");
    return skip_blanks(p + 1);
}

/* The loop over all values of a record. */

/* Opens the array or object at `p`; returns what follows the bracket, or NULL. */
static const uint8_t *open_level(Walk *walk, const uint8_t *p, uint32_t number) {
    if (walk->depth == MAX_DEPTH) return hard_flaw(walk, FANFOLD_TOO_DEEP, p, "brackets of at most 128 levels");
    int is_object = *p == '{';
    uint32_t members = enter(walk, number, is_object, p);
    Level *level = &walk->levels[walk->depth++];
    level->node = members;
    level->is_object = (uint8_t)is_object;
    level->begun = 0;
    level->number = is_object ? ++walk->objects : 0;
    level->foreseen = is_object ? walk->shape->nodes[members].first : 0;
    return p + 1;
}

static void begin_element(Walk *walk, Level *level) {
    level->number += level->begun;
    level->begun = 1;
    if (walk->mode != WALK_READ || !level->node || walk->values > MAX_VALUES) return;
    const Node *element = &walk->shape->nodes[level->node];
    merged_element(walk->merged, walk->shape->nodes[element->parent].scope);
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
            if (walk->captured && walk->depth == walk->capture_depth) end_capture(walk, p);
            if (!walk->depth) {
                *done = 1;
                return p;
            }
        } else if (*p == ',') {
            const uint8_t *next = skip_blanks(p + 1);
            if (*next == closing) return hard_flaw(walk, FANFOLD_TRAILING_COMMA, p, "another member behind it");
            return next;
        } else {
            return unexpected(walk, p, level->is_object ? "',' or '}'" : "',' or ']'");
        }
    }
}

static const uint8_t *walk_members(Walk *walk, const uint8_t *p) {
    uint32_t number = walk->mode == WALK_JUDGE ? OPAQUE : RECORD, before[MAX_DEPTH];
    int done = 0, kind = KIND_NULL;
    Token token;
    for (;;) {
        if (++walk->values == MAX_VALUES + 1) walk_fault(walk, FANFOLD_TOO_MANY_VALUES, p, "at most 1,000,000 values in a record");
        if (*p == '{' || *p == '[') {
            if (!(p = open_level(walk, p, number))) return NULL;
            before[walk->depth - 1] = 0;
            p = skip_blanks(p);
            if (*p != (walk->levels[walk->depth - 1].is_object ? '}' : ']')) goto member;
        } else {
            const uint8_t *at = p;
            if (!(p = take_scalar(walk, p, &token, &kind))) return NULL;
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
        if (level->is_object) {
            if (!(p = take_key(walk, level, p, &before[walk->depth - 1], &number))) return NULL;
        } else {
            begin_element(walk, level);
            number = level->node;
        }
    }
}

void walk_begin(Walk *walk, const uint8_t *end, uint64_t record) {
    walk->end = end;
    walk->record = record;
    walk->depth = walk->values = 0;
    walk->stopped = NULL;
    walk->flawed = 0;
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
    if (p && (p = skip_blanks(p)) < end) hard_flaw(walk, FANFOLD_TRAILING_GARBAGE, p, "the end of the record");
    if (p && !walk->is_object) walk_fault(walk, FANFOLD_NOT_AN_OBJECT, start, "an object");
    walk->explain = 0;
}
