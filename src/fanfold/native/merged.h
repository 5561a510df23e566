/* The values of one record as they are read, and the record as it is merged. */
#ifndef FANFOLD_MERGED_H
#define FANFOLD_MERGED_H

#include "fanfold.h"
#include "json.h"
#include "shape.h"
#include "table.h"

typedef struct {
    const uint8_t *at;
    uint32_t size;
    uint32_t slot; /* and VALUE_QUOTED */
} Value;
#define VALUE_QUOTED 0x80000000u

/* A field that the schema does not have: its key and its value as JSON, and the object that it is in. */
typedef struct {
    Token key;
    const uint8_t *at;
    size_t size;
    uint32_t node;
} Rest;

typedef struct {
    size_t first, first_rest; /* of its values; of its other fields */
    uint32_t parent;          /* the element of the scope around that it lies in */
} Element;

typedef struct {
    Value *values;
    size_t value_count, value_capacity;
    Element *elements;
    size_t element_count, element_capacity;
    Rest *rest;
    size_t rest_count, rest_capacity;
    size_t done; /* elements that are written */
    uint32_t slots, keys, parent;
} MergedScope;

typedef struct {
    const Shape *shape;
    MergedScope *scopes;
    size_t scope_count;
    fanfold_join *joins; /* their parts are slots */
    TableView *views;    /* of the table of each join */
    size_t join_count;
    uint64_t *unmatched; /* of each join: records without a row */
    uint64_t file_unmatched; /* records of the file without a row in a join, be it one or several */
    uint8_t *lacks;      /* of each join: the record has an element without a row */
    int rescue, missing; /* missing: the number, from 1, of the first join that is required and has no row */
    Arena texts;
    Bytes key, lost; /* lost: the key of that join */
    jmp_buf *exit;
} Merged;

void merged_open(Merged *, const Shape *, const fanfold_options *, jmp_buf *exit);
void merged_close(Merged *);
/* Begins a record. */
void merged_clear(Merged *);
/* Begins an element of a scope. */
void merged_element(Merged *, uint32_t scope);

static inline void merged_value(Merged *merged, uint32_t number, uint32_t slot, const uint8_t *at, size_t size,
                                unsigned marks) {
    MergedScope *scope = &merged->scopes[number];
    ITEM(scope->values, scope->value_count, scope->value_capacity, merged->exit);
    scope->values[scope->value_count++] = (Value){at, (uint32_t)size, slot | (marks & QUOTED ? VALUE_QUOTED : 0)};
}

/* Keeps a field of the object `node` that the schema does not have. */
void merged_rest(Merged *, uint32_t node, Token key, const uint8_t *at, size_t size);
/* Writes the record to `to`; returns 0, and writes nothing, where a join that is required has no row. */
int merged_write(Merged *, uint64_t record, Bytes *to);
/* Says whether a record could not be written because a table cannot be read. */
int merged_unreadable(const Merged *);
/* Writes the slots of the record's own scope only, and the text of its keys; returns 0 where a part of them is null. */
int merged_row(Merged *, Bytes *slots, Bytes *key);
/* Writes that the records of another file follow. */
void merged_file(Bytes *to, fanfold_bytes name);

/* Varints of at most 10 bytes. */
void put_varint(Bytes *, uint64_t);

static inline uint8_t *write_varint(uint8_t *to, uint64_t number) {
    while (number >= 0x80) {
        *to++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *to++ = (uint8_t)number;
    return to;
}

/* Reads a varint; NULL where it is not one before `end`. */
static inline const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *number) {
    *number = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        *number |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p++ & 0x80)) return p;
    }
    return NULL;
}

enum { HEADER_NULLS = 0, HEADER_PLAIN = 1, HEADER_QUOTED = 2 };

#endif
