/* The fields that the schema does not have: those of an element belong to the place of its array in those around it. */
#ifndef FANFOLD_RESCUED_H
#define FANFOLD_RESCUED_H

#include "shape.h"

/* Puts the fields of an element of a scope, the object `inner`, into those around it, the object `whole`, which may be
 * empty: at the way to its array. `step` is room. */
void rescued_put(Bytes *whole, Bytes *step, const Shape *, uint32_t scope, const uint8_t *inner, size_t inner_size);

#endif
