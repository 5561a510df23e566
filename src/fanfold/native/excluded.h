/* Forms that no good record has: a field at a path, or a value of some kind there. */
#ifndef FANFOLD_EXCLUDED_H
#define FANFOLD_EXCLUDED_H

#include "fanfold.h"
#include "shape.h"

/* What a form says: of a field itself, of the kind of its value, of the kind of its array's elements. */
enum { EXCLUDED_FIELD, EXCLUDED_KIND, EXCLUDED_ELEMENT = EXCLUDED_KIND + 3, EXCLUDED_PLACES = EXCLUDED_ELEMENT + 3 };
enum { IS_OBJECT, IS_ARRAY, IS_SCALAR };

/* The paths of the forms as a tree, which the walk follows; of each node the codes, 0 where nothing is excluded. */
typedef struct {
    Shape ways;
    uint8_t (*codes)[EXCLUDED_PLACES];
} Excluded;

/* Loads the forms; 0 where one is not a form. */
int excluded_open(Excluded *, const fanfold_excluded *, size_t count, jmp_buf *exit);
void excluded_close(Excluded *);

#endif
