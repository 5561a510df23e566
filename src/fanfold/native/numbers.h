/* Numbers as they are written: their digits, and their exact forms. */
#ifndef FANFOLD_NUMBERS_H
#define FANFOLD_NUMBERS_H

#include "json.h"

/* A number as its digits, without zeros at either end, and the power of ten of the last of them. */
typedef struct {
    int negative;
    int64_t count;      /* of digits; 0: the number is zero */
    int64_t exponent;   /* of the last digit */
    uint8_t digits[40]; /* the first of them, as characters */
} Normal;

/* No form of a number is longer. */
enum { LONGEST_FORM = 64, BIGINT_DIGITS = 19 };

Normal normal_of(const Token *number);

/* How many digits a number has before the point (at least 1) and behind it, idle zeros not counted. */
void number_digits(const Token *number, uint64_t *whole, uint64_t *scale);
/* Says whether a number, by its value, is an integer that 64 bits hold. */
int is_bigint(const Token *number);
/* Says whether a text is written like a number, with a plus or zeros before it, if need be. */
int is_number(const Token *text);

/* Write a number to LONGEST_FORM bytes; return the size, 0 where the type does not hold it exactly. */
size_t write_bigint(const Normal *, uint8_t *to);
size_t write_decimal(const Normal *, int precision, int scale, uint8_t *to);
/* The shortest text that reads back as the same double. */
size_t write_double(const Normal *, uint8_t *to);

/* Make the bytes of a number in Arrow; return 0 where the type does not hold it. */
int bigint_value(const Normal *, uint8_t *value);
int decimal_value(const Normal *, int precision, int scale, uint8_t *value);
int double_value(const Normal *, uint8_t *value);

#endif
