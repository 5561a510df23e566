/* Rows of merged records: where each column has its value, and the element of each scope that is open.
 *
 * MERGED RECORDS (what a reader writes with a schema, and `fanfold_rows` reads): entries of
 *
 *   u32 size of what follows, little-endian; a byte: 0, and the name of the file; or 1, the number of the record in it
 *   as a varint (LEB128), and scope 0.
 *
 * A scope: its slots; for each table that is joined to it the place of the row as a varint, or 0 where none matches;
 * for each scope inside of it, the number of its elements as a varint, and them. Slots are headers, varints h: h & 3 is
 * 0: the next (h >> 2) slots are null; 1: a value whose text has (h >> 2) bytes, which follow; 2: the same, and as CSV
 * it stands in quotes. With FANFOLD_RESCUE, each scope has one slot more, behind its values: for each field that the
 * schema does not have the number of the object's node (from 1, the record) as a varint, and its key and its value as
 * JSON, each with its size before it as a varint; the key without its quotes. */
#pragma once

#include "record.h"

enum { FROM_SLOT, FROM_FILE, FROM_NUMBER, FROM_ITEM, FROM_JOIN, FROM_RESCUED, OWN_CELLS };

/* A scope of the chain, with the element of it that is open. */
typedef struct {
    Token *cells; /* of its slots; `at` is NULL where one is null */
    uint32_t scope, elsewhere; /* elsewhere: its values stand in another table */
    uint64_t left, index; /* elements behind this one; its number, from 1 */
    int child_read;       /* the elements of the next scope of the chain are behind us */
} RowLevel;

/* A table that is joined, and the cells of the row that was found. */
typedef struct {
    uint32_t scope;
    TableView view;
    Token *cells;
    size_t count;
} RowJoin;

/* A column: where its value is; and the rest for Arrow. */
typedef struct {
    const Token *cell;
    Type type;
    Bytes name, values, offsets, valid;
} RowColumn;

/* A field that the schema does not have, or the object `inner` on the way to such fields. */
typedef struct {
    uint32_t inner;
    Token key, value;
    size_t next; /* in the same object; 0: none */
} Rescued;

struct fanfold_rows {
    Memory memory;
    fanfold_wanted wanted;
    Shape shape;
    RowJoin *joins;
    RowLevel levels[MAX_DEPTH];
    size_t deepest;       /* the last level that has an element */
    Token own[OWN_CELLS]; /* those that are of no slot */
    RowColumn *columns;
    /* The first columns are above the innermost scope: from one of its elements to the next, their text is the same. */
    size_t prefix_columns, prefix_begin, prefix_size; /* in the row before; size 0: not known */
    int is_sibling;                                   /* only the innermost element is another one */
    int is_plain;                                     /* CSV is written as records are merged */
    int has_row;                                      /* what is open has a row */
    int counts_items;                                 /* a column has the number of the element */
    uint64_t arrow_rows, arrow_bytes;
    LIST(Rescued) rescued;
    size_t *rescued_first, *rescued_last; /* of each object: its fields; 0: none */
    Bytes input, file, output, item, number, rest;
    size_t at;              /* in the input */
    const uint8_t *p, *end; /* in the entry; `end` is NULL where none is open */
    int last;
    uint64_t count;
};

/* How many slots the elements of a scope have. */
static inline size_t rows_slots(const fanfold_rows *rows, uint32_t scope) {
    return rows->shape.scopes.items[scope].slots + (rows->wanted.rescue != 0);
}

/* Opens the next entry, or the next element: 1 where there is one, 0 where there is none (yet), -1 where it is damaged.
 */
int open_entry(fanfold_rows *);
int next_element(fanfold_rows *);

/* Makes one object of the fields that the schema does not have, nested as they were; 0 where they are damaged. */
int write_rescued(fanfold_rows *);

/* Puts the row into the columns; 0 where a type does not hold its value. */
int arrow_put(fanfold_rows *);
