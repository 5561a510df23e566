#include "numbers.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Beyond this, an exponent is only known to be too large. */
#define FAR (INT64_C(1) << 40)

static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

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
    if (!(number->marks & FRACTION)) {
        int negative = number->at[0] == '-';
        *whole = number->size - (size_t)negative;
        *scale = 0;
        return;
    }
    Normal normal = normal_of(number);
    int64_t before = normal.count + normal.exponent;
    *whole = before > 1 ? (uint64_t)before : 1;
    *scale = normal.exponent < 0 ? (uint64_t)-normal.exponent : 0;
}

/* Writes an integer of at most BIGINT_DIGITS digits; returns 0 where 64 bits do not hold it. */
size_t write_bigint(const Normal *normal, uint8_t *to) {
    if (normal->exponent < 0 || normal->count + normal->exponent > BIGINT_DIGITS) return 0;
    size_t size = 0;
    if (normal->negative && normal->count) to[size++] = '-';
    uint8_t *digits = to + size;
    for (int64_t i = 0; i < normal->count + normal->exponent; i++)
        to[size++] = i < normal->count ? normal->digits[i] : '0';
    if (!normal->count) to[size++] = '0';
    if (normal->count + normal->exponent == BIGINT_DIGITS &&
        memcmp(digits, normal->negative ? "9223372036854775808" : "9223372036854775807", BIGINT_DIGITS) > 0)
        return 0;
    return size;
}

int is_bigint(const Token *number) {
    if (!(number->marks & FRACTION) && number->size < BIGINT_DIGITS) return 1;
    uint8_t room[LONGEST_FORM];
    Normal normal = normal_of(number);
    return write_bigint(&normal, room) > 0;
}

size_t write_decimal(const Normal *normal, int precision, int scale, uint8_t *to) {
    int64_t before = normal->count ? normal->count + normal->exponent : 0;
    if (-normal->exponent > scale || before > precision - scale) return 0;
    size_t size = 0;
    if (normal->negative && normal->count) to[size++] = '-';
    if (before <= 0) to[size++] = '0';
    for (int64_t i = before < 0 ? before : 0, at = 0; at < (before > 0 ? before : 0) + scale; at++) {
        if (at == (before > 0 ? before : 0)) to[size++] = '.';
        int64_t digit = before > 0 ? at : i + at;
        to[size++] = digit >= 0 && digit < normal->count ? normal->digits[digit] : '0';
    }
    return size;
}

/* Reads as the language's library does, whatever the point of the locale is. */
static double to_double(const char *text) {
    char copy[LONGEST_FORM];
    size_t size = strlen(text);
    memcpy(copy, text, size + 1);
    char *point = strchr(copy, '.');
    if (point) *point = localeconv()->decimal_point[0];
    return strtod(copy, NULL);
}

enum { SURE_DIGITS = 15, DOUBLE_DIGITS = 17 };

/* Writes digits and exponent as `d.ddde±x`. */
static void write_scientific(const uint8_t *digits, int count, int64_t exponent, char *to) {
    int size = 0;
    to[size++] = (char)digits[0];
    to[size++] = '.';
    for (int i = 1; i < count; i++) to[size++] = (char)digits[i];
    snprintf(to + size, 8, "0e%d", (int)(exponent + count - 1));
}

/* Says whether the digits are the shortest that read back as the double that they are read as, and the nearest to it.
 */
static int is_shortest(const Normal *normal) {
    int64_t magnitude = normal->count + normal->exponent;
    if (magnitude > 310 || magnitude < -330 || normal->count > DOUBLE_DIGITS) return 0;
    if (normal->count <= SURE_DIGITS && magnitude > -300 && magnitude < 300) return 1;
    char written[LONGEST_FORM], tried[LONGEST_FORM];
    write_scientific(normal->digits, (int)normal->count, normal->exponent, written);
    double value = to_double(written);
    if (value == 0 || isinf(value)) return 0;
    for (int count = 1; count <= DOUBLE_DIGITS; count++) {
        snprintf(tried, sizeof tried, "%.*e", count - 1, value);
        uint8_t digits[DOUBLE_DIGITS];
        for (int i = 0, at = 0; i < count; at++)
            if (is_digit((uint8_t)tried[at])) digits[i++] = (uint8_t)tried[at];
        int64_t exponent = strtol(strchr(tried, 'e') + 1, NULL, 10) - (count - 1);
        /* Below a power of two doubles lie twice as close: there the nearest text may not read back, and the next does.
         */
        for (int step = 0; step < 2; step++) {
            write_scientific(digits, count, exponent, tried);
            if (to_double(tried) == value) {
                while (count > 1 && digits[count - 1] == '0') count--;
                return count == normal->count && !memcmp(digits, normal->digits, (size_t)count);
            }
            if (digits[count - 1]++ == '9') break;
        }
    }
    return 0;
}

/* As Python writes it: with an exponent below 1e-4 and from 1e16 on. */
size_t write_double(const Normal *normal, uint8_t *to) {
    if (normal->count && !is_shortest(normal)) return 0;
    int64_t before = normal->count + normal->exponent, size = 0;
    if (normal->negative) to[size++] = '-';
    if (!normal->count) return (size_t)(copy(to + size, (const uint8_t *)"0.0\0\0\0\0\0\0\0\0\0\0\0\0", 3) - to);
    if (before > -4 && before <= 16) {
        int64_t first = before > 0 ? 0 : before - 1, last = normal->count > before ? normal->count : before + 1;
        for (int64_t i = first; i < last; i++) {
            if (i == before || (before <= 0 && i == first + 1)) to[size++] = '.';
            to[size++] = i >= 0 && i < normal->count ? normal->digits[i] : '0';
        }
        return (size_t)size;
    }
    to[size++] = normal->digits[0];
    if (normal->count > 1) to[size++] = '.';
    for (int64_t i = 1; i < normal->count; i++) to[size++] = normal->digits[i];
    return (size_t)size + (size_t)snprintf((char *)to + size, 8, "e%+03d", (int)(before - 1));
}

int is_number(const Token *written) {
    const uint8_t *p = written->at, *end = p + written->size;
    p += p < end && (*p == '-' || *p == '+');
    const uint8_t *digits = p;
    while (p < end && is_digit(*p)) p++;
    if (p == digits) return 0;
    if (p < end && *p == '.') {
        for (digits = ++p; p < end && is_digit(*p);) p++;
        if (p == digits) return 0;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        p += p < end && (*p == '-' || *p == '+');
        for (digits = p; p < end && is_digit(*p);) p++;
        if (p == digits) return 0;
    }
    return p == end;
}

int decimal_value(const Normal *normal, int precision, int scale, uint8_t *value) {
    uint32_t limbs[4] = {0};
    int64_t count = normal->count ? normal->count + normal->exponent + scale : 0;
    if (count < normal->count || count > precision) return 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t carry = i < normal->count ? (uint64_t)(normal->digits[i] - '0') : 0;
        for (int limb = 0; limb < 4; limb++) {
            carry += (uint64_t)limbs[limb] * 10;
            limbs[limb] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    uint64_t borrow = 1;
    for (int limb = 0; limb < 4 && normal->negative; limb++) {
        borrow += (uint32_t)~limbs[limb];
        limbs[limb] = (uint32_t)borrow;
        borrow >>= 32;
    }
    memcpy(value, limbs, sizeof limbs);
    return 1;
}

int bigint_value(const Normal *normal, uint8_t *value) {
    uint8_t digits[LONGEST_FORM];
    if (!write_bigint(normal, digits)) return 0;
    return decimal_value(normal, BIGINT_DIGITS, 0, value);
}

int double_value(const Normal *normal, uint8_t *value) {
    char text[LONGEST_FORM] = "0";
    if (normal->count > DOUBLE_DIGITS || normal->exponent > 400 || normal->exponent < -400) return 0;
    if (normal->count) write_scientific(normal->digits, (int)normal->count, normal->exponent, text);
    double number = to_double(text);
    if (normal->negative) number = -number;
    memcpy(value, &number, sizeof number);
    return 1;
}
