/* What is wrong with a record, where, and in which words. */
#include "record.h"

void fault_begin(Fault *fault, const char *expected) {
    fault->pointer.size = fault->found.size = fault->expected.size = 0;
    bytes_text(&fault->expected, expected);
}

void fault_step(Fault *fault, const Token *key) {
    Bytes *pointer = &fault->pointer;
    bytes_byte(pointer, '/');
    for (size_t i = 0; i < key->size; i++) {
        uint8_t c = key->at[i];
        if (c == '~' || c == '/') bytes_byte(pointer, '~');
        bytes_byte(pointer, c == '~' ? '0' : c == '/' ? '1' : c);
    }
}

void fault_found(Fault *fault, const uint8_t *at, const uint8_t *end) {
    size_t left = (size_t)(end - at), size = left && *at == '"';
    int quoted = (int)size;
    while (size < left && size < 20 && !strchr(" \t\r\n,:[]{}\"", at[size] ? at[size] : 'x')) size++;
    if (!size && left) size = 1;
    if (quoted && size < left && at[size] == '"') size++;
    while (size < left && size < 23 && (at[size] & 0xc0) == 0x80) size++;
    bytes_put(&fault->found, at, size);
}

void walk_fault(Walk *walk, int code, const uint8_t *at, const char *expected) {
    Fault *fault = &walk->fault;
    if (fault->code && !walk->weak) return;
    walk->weak = 0;
    fault->code = code;
    fault->at = walk->inside.at ? walk->inside.at : at;
    if (!walk->explain) return;
    fault_begin(fault, expected);
    size_t depth = code == FANFOLD_BAD_JSON_TEXT ? walk->inside.depth : walk->depth;
    for (const Level *level = walk->levels; level < walk->levels + depth; level++) {
        if (!level->begun) continue;
        if (level->is_object) {
            Token key = walk_decoded(walk, &level->key);
            fault_step(fault, &key);
        } else {
            bytes_byte(&fault->pointer, '/');
            bytes_number(&fault->pointer, level->number);
        }
    }
    fault_found(fault, at, walk->end);
}

void walk_flaw(Walk *walk, int code, const uint8_t *at, const char *expected) {
    int *flawed = walk->inside.at ? &walk->inside.flawed : &walk->flawed;
    if (!*flawed) walk->weak = 1;
    *flawed = 1;
    walk_fault(walk, walk->inside.at && code != FANFOLD_TOO_DEEP ? FANFOLD_BAD_JSON_TEXT : code, at, expected);
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
    if (!walk->inside.at) walk->stopped = at;
    walk_flaw(walk, code, at, expected);
    return NULL;
}

const uint8_t *walk_unexpected(Walk *walk, const uint8_t *at, const char *expected) {
    return walk_stop(walk, at < walk->end && *at >= 0x80 && !utf8_size(at) ? FANFOLD_BAD_UTF8 : FANFOLD_SYNTAX, at,
                     expected);
}

/* Adds the number of an element in its array to the pointer, if it stands in one. */
static void fault_element(Fault *fault, const MergedScope *scope, size_t at) {
    const Element *elements = scope->elements.items;
    size_t before = 0;
    while (before < at && elements[at - before - 1].parent == elements[at].parent) before++;
    if (elements[at].is_alone) return;
    bytes_byte(&fault->pointer, '/');
    bytes_number(&fault->pointer, before);
}

/* Returns where a key, or (0) its element, stands; NULL where it is not in the record. */
static const uint8_t *place_of(const MergedScope *scope, size_t element, uint32_t key) {
    const Value *values = scope->values.items;
    const Element *elements = scope->elements.items;
    size_t end = element + 1 < scope->elements.count ? elements[element + 1].first : scope->values.count;
    for (size_t i = elements[element].first; i < end; i++)
        if (values[i].slot == scope->slots + scope->keys + key) return values[i].at;
    return NULL;
}

void fault_no_match(Fault *fault, const Shape *shape, const Merged *merged, const MergedJoin *missing) {
    const fanfold_join *join = &missing->join;
    const MergedScope *scope = &merged->scopes[join->scope];
    uint32_t key = join->parts[merged->missing_part] - scope->slots + 1, way[MAX_DEPTH], node = RECORD;
    const Node *nodes = shape->nodes.items;
    while (nodes[node].scope != join->scope || nodes[node].key != key) node++;
    size_t steps = 0, at[MAX_DEPTH], element = merged->missing_at;
    for (; node > RECORD && steps < MAX_DEPTH; node = nodes[node].parent) {
        way[steps] = node;
        at[steps++] = element;
        if (!nodes[node].named) element = merged->scopes[nodes[node].scope].elements.items[element].parent;
    }
    fault->at = place_of(scope, merged->missing_at, key);
    if (!fault->at) fault->at = place_of(scope, merged->missing_at, 0);
    fault_begin(fault, merged->is_part_missing ? "a key for join " : "a match for join ");
    bytes_number(&fault->expected, (uint64_t)(missing - merged->joins));
    while (steps--) {
        const Node *step = &nodes[way[steps]];
        Token name = shape_name(shape, way[steps]);
        if (step->named)
            fault_step(fault, &name);
        else
            fault_element(fault, &merged->scopes[step->scope], at[steps]);
    }
    bytes_put(&fault->found, merged->lost.data, merged->lost.size);
}
