/* Numbers as they are written: their digits, and their exact forms. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

/* Beyond this, an exponent is only known to be too large. */
#define FAR (INT64_C(1) << 40)

static int64_t read_exponent(const uint8_t *p, const uint8_t *end) {
    if (p == end) return 0;
    int negative = *++p == '-';
    int64_t exponent = 0;
    for (p += *p == '-' || *p == '+'; p < end; p++)
        if (exponent < FAR) exponent = exponent * 10 + (*p - '0');
    return negative ? -exponent : exponent;
}

Normal normal_of(const Token *number) {
    Normal normal = {0};
    const uint8_t *p = number->at, *end = p + number->size;
    int64_t behind_point = 0, idle = 0;
    int point = 0;
    normal.negative = *p == '-';
    p += *p == '-' || *p == '+';
    for (; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = 1;
            continue;
        }
        behind_point += point;
        if (*p == '0') {
            idle++;
            continue;
        }
        /* Zeros between digits count; those before the first do not. */
        for (; normal.count && idle; idle--, normal.count++)
            if (normal.count < (int64_t)sizeof normal.digits) normal.digits[normal.count] = '0';
        if (normal.count < (int64_t)sizeof normal.digits) normal.digits[normal.count] = *p;
        normal.count++;
        idle = 0;
    }
    normal.exponent = read_exponent(p, end) - behind_point + idle;
    if (!normal.count) normal.exponent = 0;
    return normal;
}

void number_digits(const Token *number, uint64_t *whole, uint64_t *scale) {
    *whole = number->size - (number->at[0] == '-');
    *scale = 0;
    if (!(number->marks & FRACTION)) return;
    Normal normal = normal_of(number);
    int64_t before = normal.count + normal.exponent;
    *whole = before > 1 ? (uint64_t)before : 1;
    *scale = normal.exponent < 0 ? (uint64_t)-normal.exponent : 0;
}

/* Writes a number without an exponent, up to the digit `end` behind its first one: the digit `before` is the first
 * behind the point. */
static size_t write_plain(const Normal *normal, int64_t before, int64_t end, uint8_t *to) {
    size_t size = 0;
    for (int64_t i = before > 0 ? 0 : before - 1; i < end; i++) {
        if (i == before) to[size++] = '.';
        to[size++] = i >= 0 && i < normal->count ? normal->digits[i] : '0';
    }
    return size;
}

size_t write_decimal(const Normal *normal, int precision, int scale, uint8_t *to) {
    int64_t before = normal->count + normal->exponent;
    if (-normal->exponent > scale || before > precision - scale) return 0;
    int minus = normal->negative && normal->count;
    to[0] = '-';
    return (size_t)minus + write_plain(normal, before, before + scale, to + minus);
}

size_t write_bigint(const Normal *normal, uint8_t *to) {
    size_t size = write_decimal(normal, BIGINT_DIGITS, 0, to), digits = size - (normal->negative && size);
    const char *most = normal->negative ? "9223372036854775808" : "9223372036854775807";
    return digits == BIGINT_DIGITS && memcmp(to + size - digits, most, BIGINT_DIGITS) > 0 ? 0 : size;
}

int is_bigint(const Token *number) {
    if (!(number->marks & FRACTION) && number->size < BIGINT_DIGITS) return 1;
    uint8_t room[LONGEST_FORM];
    Normal normal = normal_of(number);
    return write_bigint(&normal, room) > 0;
}

enum { SURE_DIGITS = 15, DOUBLE_DIGITS = 17 };

/* Without a point, it is read alike in every locale. */
static double read_double(uint64_t digits, int64_t exponent) {
    char text[LONGEST_FORM];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, (int)exponent);
    return strtod(text, NULL);
}

/* Returns the text of `count` digits that reads back as a double, and is the nearest to it; 0 where none does.
 */
static uint64_t nearest_digits(double value, int count) {
    char text[LONGEST_FORM];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    const char *p = text;
    uint64_t digits = 0;
    for (; *p != 'e'; p++)
        if (is_digit((uint8_t)*p)) digits = digits * 10 + (uint64_t)(*p - '0');
    int64_t exponent = strtol(p + 1, NULL, 10) - (count - 1);
    /* Below a power of two doubles lie twice as close: there the nearest text may not read back, and the next does. */
    for (uint64_t tried = digits; tried < digits + 2; tried++)
        if (read_double(tried, exponent) == value) return tried;
    return 0;
}

/* Says whether the digits are the shortest that read back as the double that they are read as, and the nearest to it.
 */
static int is_shortest(const Normal *normal) {
    int64_t magnitude = normal->count + normal->exponent;
    if (magnitude > 310 || magnitude < -330 || normal->count > DOUBLE_DIGITS) return 0;
    if (normal->count <= SURE_DIGITS && magnitude > -300 && magnitude < 300) return 1;
    uint64_t digits = 0;
    for (int64_t i = 0; i < normal->count; i++) digits = digits * 10 + (uint64_t)(normal->digits[i] - '0');
    double value = read_double(digits, normal->exponent);
    if (value == 0 || isinf(value)) return 0;
    if (normal->count > 1 && nearest_digits(value, (int)normal->count - 1)) return 0;
    return nearest_digits(value, (int)normal->count) == digits;
}

/* As Python writes it: with an exponent below 1e-4 and from 1e16 on. */
size_t write_double(const Normal *normal, uint8_t *to) {
    if (normal->count && !is_shortest(normal)) return 0;
    int64_t before = normal->count + normal->exponent;
    to[0] = '-';
    size_t size = normal->negative != 0;
    if (before > -4 && before <= 16)
        return size + write_plain(normal, before, normal->count > before ? normal->count : before + 1, to + size);
    to[size++] = normal->digits[0];
    int more = snprintf((char *)to + size, LONGEST_FORM - 1, "%s%.*se%+03d", normal->count > 1 ? "." : "",
                        (int)normal->count - 1, (const char *)normal->digits + 1, (int)(before - 1));
    return size + (size_t)more;
}

/* Passes digits; NULL where there are none. */
static const uint8_t *pass_digits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *first = p;
    while (p < end && is_digit(*p)) p++;
    return p == first ? NULL : p;
}

int is_number(const Token *written) {
    const uint8_t *p = written->at, *end = p + written->size;
    p += p < end && (*p == '-' || *p == '+');
    if (!(p = pass_digits(p, end))) return 0;
    if (p < end && *p == '.' && !(p = pass_digits(p + 1, end))) return 0;
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        p = pass_digits(p + (p < end && (*p == '-' || *p == '+')), end);
    }
    return p == end;
}
