#include "types.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A number as its digits, without zeros at either end, and the power of ten of the last of them. */
typedef struct {
    int negative;
    int64_t count;    /* of digits; 0: the number is zero */
    int64_t exponent; /* of the last digit */
    uint8_t digits[40]; /* the first of them, as characters */
} Normal;

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

static Normal normal_of(const Token *number) {
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

enum { BIGINT_DIGITS = 19 };

/* Writes an integer of at most BIGINT_DIGITS digits; returns 0 where 64 bits do not hold it. */
static size_t write_bigint(const Normal *normal, uint8_t *to) {
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

static size_t write_decimal(const Normal *normal, int precision, int scale, uint8_t *to) {
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

/* Says whether the digits are the shortest that read back as the double that they are read as, and the nearest to it. */
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
        /* Below a power of two doubles lie twice as close: there the nearest text may not read back, and the next does. */
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
static size_t write_double(const Normal *normal, uint8_t *to) {
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

static int all_digits(const uint8_t *p, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!is_digit(p[i])) return 0;
    return 1;
}

static int two(const uint8_t *p) { return (p[0] - '0') * 10 + p[1] - '0'; }

typedef struct {
    int year, month, day, minute; /* minute of the day */
} Moment;

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* Reads `2026-01-02`; returns what follows it, or NULL. */
static const uint8_t *read_date(const uint8_t *p, const uint8_t *end, Moment *moment) {
    if (end - p < 10 || !all_digits(p, 4) || p[4] != '-' || !all_digits(p + 5, 2) || p[7] != '-' || !all_digits(p + 8, 2))
        return NULL;
    *moment = (Moment){two(p) * 100 + two(p + 2), two(p + 5), two(p + 8), 0};
    if (moment->year < 1 || moment->month < 1 || moment->month > 12) return NULL;
    return moment->day >= 1 && moment->day <= days_in(moment->year, moment->month) ? p + 10 : NULL;
}

static void move_minutes(Moment *moment, int minutes) {
    moment->minute += minutes;
    if (moment->minute >= 0 && moment->minute < 1440) return;
    int step = moment->minute < 0 ? -1 : 1;
    moment->minute -= step * 1440;
    moment->day += step;
    if (moment->day < 1) {
        if (--moment->month < 1) moment->month = 12, moment->year--;
        moment->day = days_in(moment->year, moment->month);
    } else if (moment->day > days_in(moment->year, moment->month)) {
        moment->day = 1;
        if (++moment->month > 12) moment->month = 1, moment->year++;
    }
}

/* Reads `Z`, `+01`, `+0130` or `+01:30`, and moves the moment to UTC; returns what follows, or NULL. */
static const uint8_t *read_zone(const uint8_t *p, const uint8_t *end, Moment *moment) {
    if (p < end && *p == 'Z') return p + 1;
    if (end - p < 3 || (*p != '+' && *p != '-') || !all_digits(p + 1, 2)) return NULL;
    int minutes = two(p + 1) * 60, sign = *p == '-' ? 1 : -1;
    if (two(p + 1) > 23) return NULL;
    p += 3;
    if (p < end) {
        p += *p == ':';
        if (end - p < 2 || !all_digits(p, 2) || two(p) > 59) return NULL;
        minutes += two(p);
        p += 2;
    }
    move_minutes(moment, sign * minutes);
    return p;
}

static size_t write_timestamp(const uint8_t *p, const uint8_t *end, int zoned, uint8_t *to) {
    Moment moment;
    int second = 0;
    const uint8_t *fraction = NULL;
    size_t fraction_size = 0;
    if (!(p = read_date(p, end, &moment)) || end - p < 6 || (*p != 'T' && *p != ' ')) return 0;
    if (!all_digits(p + 1, 2) || p[3] != ':' || !all_digits(p + 4, 2) || two(p + 1) > 23 || two(p + 4) > 59) return 0;
    moment.minute = two(p + 1) * 60 + two(p + 4);
    p += 6;
    if (end - p >= 3 && *p == ':') {
        if (!all_digits(p + 1, 2) || (second = two(p + 1)) > 59) return 0;
        p += 3;
        if (p < end && *p == '.') {
            for (fraction = ++p; p < end && is_digit(*p);) p++;
            fraction_size = (size_t)(p - fraction);
            if (!fraction_size) return 0;
            while (fraction_size && fraction[fraction_size - 1] == '0') fraction_size--;
            if (fraction_size > 6) return 0;
        }
    }
    if (zoned && !(p = read_zone(p, end, &moment))) return 0;
    if (p != end || moment.year < 1 || moment.year > 9999) return 0;
    size_t size = (size_t)snprintf((char *)to, LONGEST_FORM, "%04d-%02d-%02dT%02d:%02d:%02d", moment.year, moment.month,
                                   moment.day, moment.minute / 60, moment.minute % 60, second);
    if (fraction_size) {
        to[size++] = '.';
        for (size_t i = 0; i < 6; i++) to[size++] = i < fraction_size ? fraction[i] : '0';
    }
    if (zoned) to[size++] = 'Z';
    return size;
}

/* A number, or a text that is written as one: with a plus and with zeros before it, if need be. */
static int is_number(int kind, const Token *written) {
    if (kind == KIND_INTEGER || kind == KIND_NUMBER) return 1;
    if (kind != KIND_TEXT) return 0;
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

static int check_number(const Node *node, const Token *written, uint8_t *room, Token *form) {
    Normal normal = normal_of(written);
    form->at = room;
    form->marks = 0;
    form->size = node->type == FANFOLD_BIGINT    ? write_bigint(&normal, room)
                 : node->type == FANFOLD_DECIMAL ? write_decimal(&normal, node->precision, node->scale, room)
                                                 : write_double(&normal, room);
    return form->size ? 0 : FANFOLD_INEXACT;
}

int type_check(const Node *node, int kind, const Token *written, uint8_t *room, Token *form) {
    const uint8_t *end = written->at + written->size;
    Moment moment;
    *form = *written;
    switch (node->type) {
    case FANFOLD_BIGINT:
        if (kind == KIND_INTEGER && !(written->marks & FRACTION) && written->size < BIGINT_DIGITS &&
            (written->at[0] != '-' || written->at[1] != '0'))
            return 0;
        return is_number(kind, written) ? check_number(node, written, room, form) : FANFOLD_WRONG_TYPE;
    case FANFOLD_DECIMAL:
    case FANFOLD_DOUBLE:
        return is_number(kind, written) ? check_number(node, written, room, form) : FANFOLD_WRONG_TYPE;
    case FANFOLD_BOOLEAN:
        if (kind != KIND_BOOLEAN && kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        return (written->size == 4 && !memcmp(written->at, "true", 4)) ||
                       (written->size == 5 && !memcmp(written->at, "false", 5))
                   ? 0
                   : FANFOLD_WRONG_TYPE;
    case FANFOLD_DATE:
        return kind == KIND_TEXT && read_date(written->at, end, &moment) == end ? 0 : FANFOLD_WRONG_TYPE;
    case FANFOLD_TIMESTAMP:
    case FANFOLD_TIMESTAMPTZ:
        if (kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        *form = (Token){room, write_timestamp(written->at, end, node->type == FANFOLD_TIMESTAMPTZ, room), 0};
        return form->size ? 0 : FANFOLD_WRONG_TYPE;
    default:
        return 0;
    }
}

/* Values. */

static int decimal_value(const Normal *normal, int scale, uint8_t *value) {
    uint32_t limbs[4] = {0};
    int64_t count = normal->count ? normal->count + normal->exponent + scale : 0;
    if (count < normal->count || count > 38) return 0;
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

static int bigint_value(const Normal *normal, uint8_t *value) {
    uint8_t digits[LONGEST_FORM];
    if (!write_bigint(normal, digits)) return 0;
    return decimal_value(normal, 0, value);
}

static int double_value(const Normal *normal, uint8_t *value) {
    char text[LONGEST_FORM] = "0";
    if (normal->count > DOUBLE_DIGITS || normal->exponent > 400 || normal->exponent < -400) return 0;
    if (normal->count) write_scientific(normal->digits, (int)normal->count, normal->exponent, text);
    double number = to_double(text);
    if (normal->negative) number = -number;
    memcpy(value, &number, sizeof number);
    return 1;
}

/* Days since 1970. */
static int64_t days_of(const Moment *moment) {
    int64_t year = moment->year - (moment->month < 3), days = (153 * (moment->month + (moment->month < 3 ? 9 : -3)) + 2) / 5;
    return year * 365 + year / 4 - year / 100 + year / 400 + days + moment->day - 1 - 719468;
}

static int moment_value(int type, const uint8_t *at, size_t size, uint8_t *value) {
    Moment moment;
    if (type == FANFOLD_DATE) {
        if (read_date(at, at + size, &moment) != at + size) return 0;
        int32_t days = (int32_t)days_of(&moment);
        memcpy(value, &days, sizeof days);
        return 1;
    }
    uint8_t form[LONGEST_FORM];
    size_t written = write_timestamp(at, at + size, type == FANFOLD_TIMESTAMPTZ, form);
    if (!written) return 0;
    read_date(form, form + written, &moment);
    int64_t micros = 0, seconds = days_of(&moment) * 86400 + two(form + 11) * 3600 + two(form + 14) * 60 + two(form + 17);
    for (size_t i = 20; i < 26 && written > 20; i++) micros = micros * 10 + form[i] - '0';
    micros += seconds * 1000000;
    memcpy(value, &micros, sizeof micros);
    return 1;
}

int type_value(int type, int scale, const uint8_t *at, size_t size, uint8_t *value) {
    Token written = {at, size, 0};
    if (type == FANFOLD_BOOLEAN) {
        value[0] = size == 4;
        return size == 4 || size == 5;
    }
    if (type != FANFOLD_BIGINT && type != FANFOLD_DECIMAL && type != FANFOLD_DOUBLE) return moment_value(type, at, size, value);
    if (!is_number(KIND_TEXT, &written)) return 0;
    Normal normal = normal_of(&written);
    return type == FANFOLD_BIGINT    ? bigint_value(&normal, value)
           : type == FANFOLD_DECIMAL ? decimal_value(&normal, scale, value)
                                     : double_value(&normal, value);
}
