/* JSON, one token at a time (RFC 8259): blanks, texts, numbers and literals.
 *
 * What is read has at least PAD bytes of NUL behind its end: a NUL stops every loop, so none looks for the end. */
#ifndef FANFOLD_JSON_H
#define FANFOLD_JSON_H

#include "memory.h"

enum {
    ESCAPED = 1, /* a text has escapes, so its characters are not its bytes */
    QUOTED = 2,  /* as CSV it stands in quotes */
    FRACTION = 4 /* a number has a point or an exponent */
};

/* A scalar as it is written; a text without its quotes. */
typedef struct {
    const uint8_t *at;
    size_t size;
    unsigned marks;
} Token;

/* What is wrong in a text, and where first; `code` is 0 where nothing is. */
typedef struct {
    int code;
    const uint8_t *at;
} Flaw;

static inline const uint8_t *skip_blanks(const uint8_t *p) {
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    return p;
}

/* Returns the first byte from `p` on that is a quote, a backslash, a comma, a number sign, a control, or not ASCII. */
const uint8_t *plain_run(const uint8_t *p);

/* Reads the text whose first character is at `p`, behind its quote.
 *
 * Returns what follows its closing quote; NULL where it does not end well, with `hard` saying why. `soft` notes the
 * first flaw that leaves no doubt where the text ends: bytes that are not UTF-8, half a surrogate pair. */
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
static inline size_t utf8_size(const uint8_t *p) {
    uint8_t c = p[0], lowest = 0x80, highest = 0xbf;
    size_t size = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (size < 2) return size;
    if (c == 0xe0) lowest = 0xa0;
    if (c == 0xed) highest = 0x9f;
    if (c == 0xf0) lowest = 0x90;
    if (c == 0xf4) highest = 0x8f;
    if (p[1] < lowest || p[1] > highest) return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return size;
}

#endif
