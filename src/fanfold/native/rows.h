/* Rows of merged records: where each column has its value, and the element of each scope that is open. */
#ifndef FANFOLD_ROWS_H
#define FANFOLD_ROWS_H

#include "arrow.h"
#include "merged.h"

enum { FROM_SLOT, FROM_FILE, FROM_NUMBER, FROM_ITEM, FROM_JOIN, FROM_RESCUED };

/* A value of an element; `at` is NULL where it is null. */
typedef struct {
    const uint8_t *at;
    size_t size;
    int quoted;
} Cell;

/* Where in the cells of its level a column has its value. */
typedef struct {
    uint32_t level;
    size_t cell;
    size_t next; /* column of the same level */
} Source;

/* A scope of the chain, with the element of it that is open. */
typedef struct {
    Cell *cells; /* its slots, then those of its joins, then the rescued fields, the file, the number and the item */
    size_t cell_count;
    uint32_t scope;
    uint64_t left, index; /* elements behind this one; its number, from 1 */
    int child_read;       /* the elements of the next scope of the chain are behind us */
    size_t first_column;  /* of its columns: the first */
    Bytes text;           /* of its columns, as CSV */
} Level;

struct fanfold_rows {
    jmp_buf exit;
    Shape shape;
    fanfold_join *joins;
    TableView *views;
    size_t join_count, *join_cells, *join_slots; /* of each join: its first cell, and how many columns ask for */
    Level levels[MAX_DEPTH];
    size_t depth, deepest; /* levels; the last one that has an element */
    Source *sources;
    size_t *ends;   /* of each column: where its text ends in that of its level */
    size_t *pieces; /* the columns behind which there is one of another level, or none */
    size_t column_count, piece_count;
    int rescue, as_arrow, counts_items; /* counts_items: a column has the number of the element */
    ArrowColumns arrow;
    Bytes input, file, output, item, number, rescued, step;
    size_t at;              /* in the input */
    const uint8_t *p, *end; /* in the entry; `end` is NULL where none is open */
    int last;
    uint64_t count;
};

/* How many slots the elements of a scope have. */
static inline size_t rows_slots(const fanfold_rows *rows, uint32_t scope) {
    return rows->shape.scopes[scope].slots + (size_t)rows->rescue;
}

/* Read slots into cells, or pass them; return what follows, or NULL where they are damaged. */
const uint8_t *read_slots(const uint8_t *p, const uint8_t *end, Cell *cells, size_t count);
const uint8_t *skip_slots(const uint8_t *p, const uint8_t *end, size_t count);

#endif
