/* What a declared type holds, and how it is written. */
#ifndef FANFOLD_TYPES_H
#define FANFOLD_TYPES_H

#include "numbers.h"
#include "shape.h"

/* Checks a scalar against its declared type, and writes its form.
 *
 * Args:
 *   node: type, precision and scale.
 *   kind: what the scalar is.
 *   written: the scalar, escapes decoded.
 *   room: LONGEST_FORM bytes that `form` may point to.
 *
 * Returns 0, or FANFOLD_WRONG_TYPE, or FANFOLD_INEXACT. */
int type_check(const Node *node, int kind, const Token *written, uint8_t *room, Token *form);

/* Reads the text of a value as its type has it in Arrow, into 16 bytes: an integer of 64 bits, of 128 bits without its
 * point, a double, a byte, days or microseconds since 1970. Returns 0 where the type does not hold it. */
int type_value(int type, int precision, int scale, const uint8_t *at, size_t size, uint8_t *value);

#endif
