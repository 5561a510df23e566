/* The rows of a frozen reference: in memory where its file is small, else in the file; found by the text of their key.
 *
 * FROZEN TABLES (what a reader writes with `frozen`, of one file; a join reads it): "FANFOLD" and a byte 1; the rows;
 * u64 their number, u64 the slots of each, u64 the size of the file, little-endian; and again "FANFOLD" and a byte 1.
 *
 * A row: the size of what follows as a varint; its line in the file that it was read from; 0 where a part of its key is
 * null, else 1 plus the size of the key; the key; the slots of scope 0. Its place is the offset of its first byte. The
 * key is the text of the value with key 1, or where there are several, each with its size before it as a varint. */
#pragma once

#include "fanfold.h"
#include "memory.h"

/* Files up to this size are read as a whole. A smaller value is for tests. */
#ifndef TABLE_IN_MEMORY
#define TABLE_IN_MEMORY (32u << 20)
#endif
enum { ROW_BYTES = 1 << 10 };

struct fanfold_table {
    Memory memory;
    int file;
    uint8_t *data; /* the whole file; NULL where it is large */
    uint64_t size, row_count, slot_count;
    /* A place in the file (40 bits) and the highest 24 bits of a hash for each key; 0: empty. NULL without an index. */
    uint64_t *index;
    uint64_t index_count, seed, repeated; /* repeated: rows whose key was there before */
    Bytes duplicates;
};

typedef struct {
    const uint8_t *key, *slots; /* key: NULL where it is null */
    size_t key_size, size;      /* size: of the slots */
    uint64_t line, next;        /* next: the place of the row behind it */
} TableRow;

/* What one reader sees of a table: of a large one the piece of the file that was read last. */
typedef struct {
    const fanfold_table *table;
    size_t least; /* bytes that are read at once */
    uint64_t begin;
    Bytes piece;
} TableView;

/* Reads the row at a place; it stays until the next call. Returns 0 where there is none. */
int table_row(TableView *, uint64_t place, TableRow *);
/* Returns the place of the first row with a key; 0 where it has none. */
uint64_t table_find(TableView *, const uint8_t *key, size_t size);

/* The file, as it is written: its head, a row (`key` is NULL where it is null), its tail. */
void frozen_head(Bytes *to);
void frozen_row(Bytes *to, const Bytes *key, const Bytes *slots, uint64_t line);
void frozen_tail(Bytes *to, uint64_t rows, uint64_t slots, uint64_t size);
