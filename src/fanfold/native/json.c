/* JSON, one token at a time (RFC 8259): texts, numbers and literals. */
#include "text.h"

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HIGH EACH(0x80)

#define ZERO(v) (((v) - EACH(1)) & ~(v))

/* Eight bytes at a time: the lowest bit set is that of the first byte that stops. Bits above it may be wrong. */
static inline const uint8_t *run_with(const uint8_t *p, uint8_t one, uint8_t other) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (uint64_t first = EACH(one), second = EACH(other);; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        uint64_t found = ((v - EACH(0x20)) & ~v) | v;
        found |= ZERO(v ^ EACH('"')) | ZERO(v ^ EACH('\\')) | ZERO(v ^ EACH(',')) | ZERO(v ^ EACH('#'));
        found |= ZERO(v ^ first) | ZERO(v ^ second);
        if (found & HIGH) return p + (__builtin_ctzll(found & HIGH) >> 3);
    }
#else
    while (*p >= 0x20 && *p < 0x80 && !strchr("\"\\,#", *p) && *p != one && *p != other) p++;
    return p;
#endif
}

const uint8_t *plain_run(const uint8_t *p) { return run_with(p, '"', ','); }
const uint8_t *plain_run_with(const uint8_t *p, uint8_t one, uint8_t other) { return run_with(p, one, other); }

size_t utf8_size(const uint8_t *p) {
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

size_t utf8_count(const uint8_t *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += (text[i] & 0xc0) != 0x80;
    return count;
}

/* Returns the unit of a `\u` escape whose digits are at `p`; -1 where they are not four. */
static int hex_unit(const uint8_t *p) {
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i] | 0x20;
        if (!is_digit(p[i]) && (c < 'a' || c > 'f')) return -1;
        unit = unit << 4 | (is_digit(p[i]) ? p[i] - '0' : c - 'a' + 10);
    }
    return unit;
}

static int is_high(int unit) { return unit >= 0xd800 && unit < 0xdc00; }
static int is_low(int unit) { return unit >= 0xdc00 && unit < 0xe000; }

static void keep_first(Flaw *flaw, int code, const uint8_t *at) {
    if (!flaw->code) *flaw = (Flaw){code, at};
}

/* Passes the escape at `p`; NULL where it is none. */
static const uint8_t *pass_escape(const uint8_t *p, const uint8_t *end, unsigned *marks, Flaw *soft, Flaw *hard) {
    int unit = p[1] == 'u' ? hex_unit(p + 2) : -1;
    *marks |= ESCAPED;
    if (unit >= 0) {
        if (is_high(unit) && p[6] == '\\' && p[7] == 'u' && is_low(hex_unit(p + 8))) return p + 12;
        if (is_high(unit) || is_low(unit)) keep_first(soft, FANFOLD_LONE_SURROGATE, p);
        if (unit && unit < 0x80 && strchr("\"\n\r,#", unit)) *marks |= QUOTED;
        return p + 6;
    }
    if (p[1] && strchr("\"\\/bfnrt", p[1])) {
        if (strchr("\"nr", p[1])) *marks |= QUOTED;
        return p + 2;
    }
    const uint8_t *q = p + 1;
    if (*q == 'u')
        for (q++; q < p + 6 && *q && strchr("0123456789abcdefABCDEF", *q);) q++;
    *hard = q == end ? (Flaw){FANFOLD_TRUNCATED, end} : (Flaw){FANFOLD_SYNTAX, p};
    return NULL;
}

const uint8_t *read_text(const uint8_t *p, const uint8_t *end, Token *text, Flaw *soft, Flaw *hard) {
    text->at = p;
    text->marks = 0;
    for (;;) {
        p = plain_run(p);
        uint8_t c = *p;
        if (c == '"') break;
        if (c == ',' || c == '#') {
            text->marks |= QUOTED;
            p++;
        } else if (c == '\\') {
            if (!(p = pass_escape(p, end, &text->marks, soft, hard))) return NULL;
        } else if (c >= 0x80) {
            size_t size = utf8_size(p);
            if (!size) keep_first(soft, FANFOLD_BAD_UTF8, p);
            p += size ? size : 1;
        } else {
            *hard = (Flaw){p >= end ? FANFOLD_TRUNCATED : FANFOLD_CONTROL_CHARACTER, p};
            return NULL;
        }
    }
    text->size = (size_t)(p - text->at);
    if (!text->size) text->marks |= QUOTED;
    return p + 1;
}

const uint8_t *read_number(const uint8_t *p, Token *number) {
    number->at = p;
    number->marks = 0;
    if (*p == '-') p++;
    if (!is_digit(*p) || (*p == '0' && is_digit(p[1]))) return NULL;
    while (is_digit(*p)) p++;
    if (*p == '.' && is_digit(p[1])) {
        number->marks = FRACTION;
        for (p += 2; is_digit(*p);) p++;
    }
    if ((*p | 0x20) == 'e') {
        const uint8_t *q = p + 1 + (p[1] == '+' || p[1] == '-');
        if (is_digit(*q)) {
            number->marks = FRACTION;
            for (p = q + 1; is_digit(*p);) p++;
        }
    }
    number->size = (size_t)(p - number->at);
    return p;
}

const uint8_t *read_literal(const uint8_t *p) {
    const char *word = *p == 't' ? "true" : *p == 'f' ? "false" : *p == 'n' ? "null" : NULL;
    if (!word) return NULL;
    for (; *word; word++, p++)
        if (*p != (uint8_t)*word) return NULL;
    return p;
}

static uint8_t *put_utf8(uint32_t c, uint8_t *to) {
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *to++ = (uint8_t)(more ? 0xff00 >> (more + 1) | c >> (6 * more) : c);
    while (more) *to++ = (uint8_t)(0x80 | (c >> (6 * --more) & 0x3f));
    return to;
}

uint8_t *decode_text(const Token *text, uint8_t *to) {
    static const char names[] = "bfnrt", characters[] = "\b\f\n\r\t";
    const uint8_t *p = text->at, *end = p + text->size;
    for (;;) {
        const uint8_t *slash = p < end ? memchr(p, '\\', (size_t)(end - p)) : NULL;
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(to, p, plain);
        to += plain;
        if (!slash) return to;
        p = slash + 2;
        if (slash[1] != 'u') {
            const char *name = strchr(names, slash[1]);
            *to++ = name ? (uint8_t)characters[name - names] : slash[1];
            continue;
        }
        uint32_t unit = (uint32_t)hex_unit(p);
        p += 4;
        if (is_high((int)unit) && end - p >= 6 && p[0] == '\\') {
            unit = 0x10000 + ((unit & 0x3ff) << 10 | ((uint32_t)hex_unit(p + 2) & 0x3ff));
            p += 6;
        }
        to = put_utf8(unit, to);
    }
}

int needs_quotes(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ',' && text[i] && strchr("\"\n\r,#", text[i])) return 1;
    return !size;
}

uint8_t *compact_json(const uint8_t *from, const uint8_t *end, uint8_t *to) {
    int in_text = 0;
    while (from < end) {
        uint8_t c = *from++;
        if (in_text) {
            *to++ = c;
            if (c == '\\') *to++ = *from++;
            in_text = c != '"';
        } else if (!is_blank(c)) {
            *to++ = c;
            in_text = c == '"';
        }
    }
    return to;
}
