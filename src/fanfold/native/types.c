/* What a declared type holds, and how it is written. */
#include <stdio.h>

#include "text.h"

/* Says whether a text begins like a pattern, in which 0 stands for any digit. */
static int begins(const uint8_t *p, const uint8_t *end, const char *pattern) {
    for (; *pattern; pattern++, p++)
        if (p >= end || (*pattern == '0' ? !is_digit(*p) : *p != (uint8_t)*pattern)) return 0;
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
    if (!begins(p, end, "0000-00-00")) return NULL;
    *moment = (Moment){two(p) * 100 + two(p + 2), two(p + 5), two(p + 8), 0};
    if (moment->year < 1 || moment->month < 1 || moment->month > 12) return NULL;
    return moment->day >= 1 && moment->day <= days_in(moment->year, moment->month) ? p + 10 : NULL;
}

static void move_minutes(Moment *moment, int minutes) {
    moment->minute += minutes;
    if (moment->minute < 0) {
        moment->minute += 1440;
        moment->day--;
    } else if (moment->minute >= 1440) {
        moment->minute -= 1440;
        moment->day++;
    }
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
    if (begins(p, end, "Z")) return p + 1;
    int east = begins(p, end, "+00");
    if ((!east && !begins(p, end, "-00")) || two(p + 1) > 23) return NULL;
    int minutes = two(p + 1) * 60;
    p += 3;
    if (p < end) {
        p += *p == ':';
        if (!begins(p, end, "00") || two(p) > 59) return NULL;
        minutes += two(p);
        p += 2;
    }
    move_minutes(moment, east ? -minutes : minutes);
    return p;
}

/* Reads `.678`, if it is there, without zeros at its end; returns what follows, NULL where a microsecond does not do.
 */
static const uint8_t *read_fraction(const uint8_t *p, const uint8_t *end, Token *digits) {
    if (!begins(p, end, ".")) return p;
    for (digits->at = ++p; p < end && is_digit(*p); p++)
        if (*p != '0') digits->size = (size_t)(p - digits->at) + 1;
    return p == digits->at || digits->size > 6 ? NULL : p;
}

static size_t write_timestamp(const uint8_t *p, const uint8_t *end, int zoned, uint8_t *to) {
    Moment moment;
    Token fraction = {p, 0, 0};
    int second = 0;
    if (!(p = read_date(p, end, &moment)) || (!begins(p, end, "T00:00") && !begins(p, end, " 00:00"))) return 0;
    if (two(p + 1) > 23 || two(p + 4) > 59) return 0;
    moment.minute = two(p + 1) * 60 + two(p + 4);
    p += 6;
    if (end - p >= 3 && *p == ':') {
        if (!begins(p, end, ":00") || (second = two(p + 1)) > 59) return 0;
        if (!(p = read_fraction(p + 3, end, &fraction))) return 0;
    }
    if (zoned && !(p = read_zone(p, end, &moment))) return 0;
    if (p != end || moment.year < 1 || moment.year > 9999) return 0;
    size_t size = (size_t)snprintf((char *)to, LONGEST_FORM, "%04d-%02d-%02dT%02d:%02d:%02d", moment.year, moment.month,
                                   moment.day, moment.minute / 60, moment.minute % 60, second);
    if (fraction.size) to[size++] = '.';
    for (size_t i = 0; i < 6 && fraction.size; i++) to[size++] = i < fraction.size ? fraction.at[i] : '0';
    if (zoned) to[size++] = 'Z';
    return size;
}

static int is_word(const Token *written, const char *word) {
    return written->size == strlen(word) && !memcmp(written->at, word, written->size);
}

/* Writes a number; what a double may be beside a number is a text. */
static int check_number(Type type, int kind, const Token *written, uint8_t *room, Token *form) {
    if (type.base == FANFOLD_DOUBLE && kind == KIND_TEXT &&
        (is_word(written, "NaN") || is_word(written, "Infinity") || is_word(written, "-Infinity")))
        return 0;
    if (kind != KIND_INTEGER && kind != KIND_NUMBER && (kind != KIND_TEXT || !is_number(written)))
        return FANFOLD_WRONG_TYPE;
    Normal normal = normal_of(written);
    *form = (Token){room, 0, 0};
    form->size = type.base == FANFOLD_BIGINT    ? write_bigint(&normal, room)
                 : type.base == FANFOLD_DECIMAL ? write_decimal(&normal, type.precision, type.scale, room)
                                                : write_double(&normal, room);
    return form->size ? 0 : FANFOLD_INEXACT;
}

int type_check(Type type, int kind, const Token *written, uint8_t *room, Token *form) {
    const uint8_t *end = written->at + written->size;
    Moment moment;
    *form = *written;
    switch (type.base) {
    case FANFOLD_BIGINT:
        /* Most integers stand in their form already. */
        if (kind == KIND_INTEGER && !(written->marks & FRACTION) && written->size < BIGINT_DIGITS &&
            (written->at[0] != '-' || written->at[1] != '0'))
            return 0;
        return check_number(type, kind, written, room, form);
    case FANFOLD_DECIMAL:
    case FANFOLD_DOUBLE:
        return check_number(type, kind, written, room, form);
    case FANFOLD_BOOLEAN:
        if (kind != KIND_BOOLEAN && kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        return is_word(written, "true") || is_word(written, "false") ? 0 : FANFOLD_WRONG_TYPE;
    case FANFOLD_DATE:
        return kind == KIND_TEXT && read_date(written->at, end, &moment) == end ? 0 : FANFOLD_WRONG_TYPE;
    case FANFOLD_TIMESTAMP:
    case FANFOLD_TIMESTAMPTZ:
        if (kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        *form = (Token){room, write_timestamp(written->at, end, type.base == FANFOLD_TIMESTAMPTZ, room), 0};
        return form->size ? 0 : FANFOLD_WRONG_TYPE;
    default:
        return 0;
    }
}
