/* Scalars as they are written: tokens of JSON (RFC 8259), numbers, and the forms of types.
 *
 * What is read has at least PAD bytes of NUL behind its end: a NUL stops every loop, so none looks for the end. */
#pragma once

#include "fanfold.h"
#include "memory.h"

enum {
    ESCAPED = 1, /* a text has escapes, so its characters are not its bytes */
    QUOTED = 2,  /* as CSV it stands in quotes */
    FRACTION = 4, /* a number has a point or an exponent */
    IN_QUOTES = 8 /* a field of CSV was in quotes */
};

/* A scalar as it is written; a text without its quotes. */
typedef struct {
    const uint8_t *at;
    size_t size;
    unsigned marks;
} Token;

static inline int is_same(const Token *one, const Token *other) {
    return one->size == other->size && !memcmp(one->at, other->at, one->size);
}

/* Reads the next text of several, each with its size before it (u32, little-endian), at `p`; returns what follows, or
 * NULL where there is none before `end`. */
const uint8_t *read_step(const uint8_t *p, const uint8_t *end, Token *text);

/* What is wrong in a text, and where first; `code` is 0 where nothing is. */
typedef struct {
    int code;
    const uint8_t *at;
} Flaw;

enum { KIND_NULL, KIND_INTEGER, KIND_NUMBER, KIND_BOOLEAN, KIND_TEXT, KIND_OBJECT, KIND_ARRAY, KINDS };

static inline int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline int is_blank(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static inline const uint8_t *skip_blanks(const uint8_t *p) {
    while (is_blank(*p)) p++;
    return p;
}

/* Returns the first byte from `p` on that is a quote, a backslash, a comma, a number sign, a control, or not ASCII. */
const uint8_t *plain_run(const uint8_t *p);

/* The same, with two bytes more to stop at. */
const uint8_t *plain_run_with(const uint8_t *p, uint8_t one, uint8_t other);

/* Reads the text whose first character is at `p`, behind its quote.
 *
 * Returns what follows its closing quote; NULL where it does not end well, with `hard` saying why. `soft` is the first
 * flaw that leaves no doubt where the text ends: bytes that are not UTF-8, half a surrogate pair. */
const uint8_t *read_text(const uint8_t *p, const uint8_t *end, Token *text, Flaw *soft, Flaw *hard);

/* Reads the number at `p`, as far as it is one; NULL where there is none. */
const uint8_t *read_number(const uint8_t *p, Token *number);

/* Returns the end of the literal at `p` (true, false, null); NULL where there is none. */
const uint8_t *read_literal(const uint8_t *p);

/* Writes the characters of a text, in UTF-8, to room for as many bytes as it has; returns their end. The text is
 * without flaws. */
uint8_t *decode_text(const Token *text, uint8_t *to);

/* Says whether a text stands in quotes in CSV. */
int needs_quotes(const uint8_t *text, size_t size);

/* Copies JSON without its blanks; returns the end. */
uint8_t *compact_json(const uint8_t *from, const uint8_t *end, uint8_t *to);

/* Returns how many bytes the character at `p` has; 0 where it is not UTF-8. */
size_t utf8_size(const uint8_t *p);
/* Returns how many characters a text of UTF-8 has. */
size_t utf8_count(const uint8_t *text, size_t size);

/* A number as its digits, without zeros at either end, and the power of ten of the last of them. */
typedef struct {
    int negative;
    int64_t count;      /* of digits; 0: the number is zero */
    int64_t exponent;   /* of the last digit */
    uint8_t digits[40]; /* the first of them, as characters */
} Normal;

/* No form of a value is longer. */
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
/* The moment that lies so many units after 1970 in UTC; a unit has `places` decimal places down to a microsecond. */
size_t write_epoch(const Normal *, int places, uint8_t *to);

/* Write a text of ISO 8601 by RFC 3339, to LONGEST_FORM bytes: a date, or a time without or with a zone. Return the size,
 * 0 where it is not one, or has more than its type holds. */
size_t write_date(const Token *text, uint8_t *to);
size_t write_time(const Token *text, int zoned, uint8_t *to);

typedef struct {
    uint8_t base, precision, scale; /* base: FANFOLD_VARCHAR … */
} Type;

/* Checks a scalar (`kind` says what it is; its escapes are decoded) against its declared type, and writes its form; it
 * may point to `room`, of LONGEST_FORM bytes. Returns 0, FANFOLD_WRONG_TYPE or FANFOLD_INEXACT. */
int type_check(Type, int kind, const Token *written, uint8_t *room, Token *form);
