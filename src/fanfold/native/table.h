/* The rows of a reference, found by the text of their key. */
#ifndef FANFOLD_TABLE_H
#define FANFOLD_TABLE_H

#include "fanfold.h"
#include "memory.h"

/* A key, and the slots of its row as merged records have them, in `texts`: each row begins with the size of its key. */
typedef struct {
    uint32_t hash, row; /* row: its number plus 1; 0: empty */
    uint64_t at;        /* where it begins in `texts` */
} TableSlot;

struct fanfold_table {
    jmp_buf exit;
    Bytes texts;
    uint64_t *rows, *lines; /* of each row: where it begins in `texts`; its line in the file */
    size_t row_count, row_capacity, line_capacity;
    TableSlot *slots;
    size_t slot_count, key_count;
    Bytes duplicates;
    uint64_t seed;
};

/* Adds a row. Where `key` is NULL, nothing matches it. */
void table_add(fanfold_table *, const Bytes *key, const Bytes *slots, uint64_t line);
/* Returns the number of the row plus 1; 0 where the key has none. */
uint32_t table_find(const fanfold_table *, const uint8_t *key, size_t size);
/* Returns the slots of a row. */
const uint8_t *table_row(const fanfold_table *, uint64_t row, size_t *size);

#endif
