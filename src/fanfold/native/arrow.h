/* Columns in Arrow's C data interface (arrow.apache.org/docs/format/CDataInterface.html), made value by value. */
#ifndef FANFOLD_ARROW_H
#define FANFOLD_ARROW_H

#include "fanfold.h"
#include "memory.h"

typedef struct {
    uint8_t type, precision, scale;
    Bytes name, values, offsets, valid;
} ArrowColumn;

typedef struct {
    ArrowColumn *columns;
    size_t count;
    uint64_t rows, bytes;
    jmp_buf *exit;
} ArrowColumns;

int arrow_open(ArrowColumns *, const fanfold_arrow_column *, size_t count, jmp_buf *exit);
void arrow_close(ArrowColumns *);
/* Puts the value of the next row into a column; `at` is NULL where it is null. Returns 0 where its type does not hold
 * it. */
int arrow_put(ArrowColumns *, size_t column, const uint8_t *at, size_t size);

/* Moves what was put into an array of the interface, and begins anew; 0 without memory. */
int arrow_take(ArrowColumns *, struct ArrowArray *);
int arrow_schema(const ArrowColumns *, struct ArrowSchema *);

#endif
