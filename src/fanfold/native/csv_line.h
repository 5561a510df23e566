/* Lines of CSV as they are read: their cells, and what stands between them. */
#pragma once

#include "reader.h"

/* What the reading of a line came to. */
typedef struct {
    Outcome outcome;
    const uint8_t *end;  /* of a good line: its line break, or the end of the file */
    const uint8_t *at;   /* of a bad one: the field that is at fault */
    const uint8_t *stop; /* of a bad one: where that is seen */
    const uint8_t *flaw; /* the first byte that is not UTF-8; NULL: none */
    size_t flawed, cells;
} Line;

static inline int is_break(const uint8_t *p) { return *p == '\n' || (*p == '\r' && p[1] == '\n'); }

/* Reads the line at `p`. Its cells are kept, as far as the header has names for them. */
Line read_line(fanfold_reader *reader, const uint8_t *p, size_t most);
/* Copies a field in quotes without its quotes; returns its end. */
uint8_t *undouble(const Token *cell, uint32_t quote, uint8_t *to);
