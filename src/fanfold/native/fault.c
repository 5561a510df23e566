/* What is wrong with a record, where, and in which words. */
#include "walk.h"

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

void walk_found(Walk *walk, const uint8_t *at, const uint8_t *end) {
    size_t left = (size_t)(end - at), size = left && *at == '"';
    int quoted = (int)size;
    while (size < left && size < 20 && !strchr(" \t\r\n,:[]{}\"", at[size] ? at[size] : 'x')) size++;
    if (!size && left) size = 1;
    if (quoted && size < left && at[size] == '"') size++;
    while (size < left && size < 23 && (at[size] & 0xc0) == 0x80) size++;
    bytes_put(&walk->fault.found, at, size);
}

static void withdraw(Walk *walk) {
    walk->fault.code = 0;
    walk->fault.pointer.size = walk->fault.found.size = walk->fault.expected.size = 0;
}

void walk_fault(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (walk->weak) withdraw(walk);
    walk->weak = 0;
    if (walk->fault.code) return;
    walk->fault.code = code;
    walk->fault.at = at;
    if (!walk->explain) return;
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->levels[i].begun) put_step(&walk->fault.pointer, &walk->levels[i]);
    walk_found(walk, at, walk->end);
    bytes_text(&walk->fault.expected, expected);
}

void walk_flaw(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (walk->fault.code && !walk->flawed) withdraw(walk);
    walk->flawed = 1;
    walk_fault(walk, code, at, expected);
}

void walk_crowded(Walk *walk, const uint8_t *at) {
    if (walk->fault.code) return;
    walk_fault(walk, FANFOLD_TOO_MANY_FIELDS, at, "no more fields than a run has");
    walk->weak = 1;
}

const uint8_t *walk_stop(Walk *walk, int code, const uint8_t *at, const char *expected) {
    if (at >= walk->end) {
        code = FANFOLD_TRUNCATED;
        at = walk->end;
    }
    walk->stopped = at;
    walk_flaw(walk, code, at, expected);
    return NULL;
}

const uint8_t *walk_unexpected(Walk *walk, const uint8_t *at, const char *expected) {
    return walk_stop(walk, at < walk->end && *at >= 0x80 && !utf8_size(at) ? FANFOLD_BAD_UTF8 : FANFOLD_SYNTAX, at,
                     expected);
}

void fault_no_match(Fault *fault, const Shape *shape, const Merged *merged) {
    const fanfold_join *join = &merged->joins[merged->missing - 1];
    uint32_t key = join->parts[0] - merged->scopes[join->scope].slots + 1, way[MAX_DEPTH], node = RECORD;
    while (shape->nodes[node].scope != join->scope || shape->nodes[node].key != key) node++;
    size_t steps = 0;
    for (; node > RECORD && steps < MAX_DEPTH; node = shape->nodes[node].parent)
        if (shape->nodes[node].name) way[steps++] = node;
    fault->pointer.size = fault->found.size = fault->expected.size = 0;
    while (steps) {
        const Node *step = &shape->nodes[way[--steps]];
        put_step(&fault->pointer, &(Level){.is_object = 1, .key = {step->name, step->size, 0}});
    }
    bytes_put(&fault->found, merged->lost.data, merged->lost.size);
    bytes_text(&fault->expected, "a match");
}
