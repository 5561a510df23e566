#include "types.h"

#include <math.h>
#include <stdio.h>

static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

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
    if (end - p < 10 || !all_digits(p, 4) || p[4] != '-' || !all_digits(p + 5, 2) || p[7] != '-' ||
        !all_digits(p + 8, 2))
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

static int is_numeric(int kind, const Token *written) {
    return kind == KIND_INTEGER || kind == KIND_NUMBER || (kind == KIND_TEXT && is_number(written));
}

/* What a double may be beside a number: as texts. Returns which one, or 0. */
static int not_finite(const Token *written) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (int i = 0; i < 3; i++)
        if (written->size == strlen(words[i]) && !memcmp(written->at, words[i], written->size)) return i + 1;
    return 0;
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
        return is_numeric(kind, written) ? check_number(node, written, room, form) : FANFOLD_WRONG_TYPE;
    case FANFOLD_DECIMAL:
    case FANFOLD_DOUBLE:
        if (node->type == FANFOLD_DOUBLE && kind == KIND_TEXT && not_finite(written)) return 0;
        return is_numeric(kind, written) ? check_number(node, written, room, form) : FANFOLD_WRONG_TYPE;
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

/* Days since 1970. */
static int64_t days_of(const Moment *moment) {
    int64_t year = moment->year - (moment->month < 3),
            days = (153 * (moment->month + (moment->month < 3 ? 9 : -3)) + 2) / 5;
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
    int64_t micros = 0,
            seconds = days_of(&moment) * 86400 + two(form + 11) * 3600 + two(form + 14) * 60 + two(form + 17);
    for (size_t i = 20; i < 26 && written > 20; i++) micros = micros * 10 + form[i] - '0';
    micros += seconds * 1000000;
    memcpy(value, &micros, sizeof micros);
    return 1;
}

int type_value(int type, int precision, int scale, const uint8_t *at, size_t size, uint8_t *value) {
    Token written = {at, size, 0};
    if (type == FANFOLD_BOOLEAN) {
        value[0] = size == 4;
        return size == 4 || size == 5;
    }
    if (type != FANFOLD_BIGINT && type != FANFOLD_DECIMAL && type != FANFOLD_DOUBLE)
        return moment_value(type, at, size, value);
    int word = type == FANFOLD_DOUBLE ? not_finite(&written) : 0;
    if (word) {
        double number = word == 1 ? NAN : word == 2 ? INFINITY : -INFINITY;
        memcpy(value, &number, sizeof number);
        return 1;
    }
    if (!is_number(&written)) return 0;
    Normal normal = normal_of(&written);
    return type == FANFOLD_BIGINT    ? bigint_value(&normal, value)
           : type == FANFOLD_DECIMAL ? decimal_value(&normal, precision, scale, value)
                                     : double_value(&normal, value);
}
