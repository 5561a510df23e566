/* Dates and times: read from each form of ISO 8601 that says as much as its type holds, written in one. */
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

/* The numbers that a text says, by the letters that stand for their digits. */
typedef int Numbers['z' + 1];

/* Reads the first form that the text at `p` begins with. A small letter stands for a digit of its number, anything else
 * for itself, in any letter case. Returns what follows, or NULL. */
static const uint8_t *read_form(const uint8_t *p, const uint8_t *end, const char *const *forms, Numbers numbers) {
    for (; *forms; forms++) {
        const char *form = *forms;
        const uint8_t *q = p;
        memset(numbers, 0, sizeof(Numbers));
        for (; *form && q < end; form++, q++) {
            int is_number = *form >= 'a' && *form <= 'z';
            if (is_number ? !is_digit(*q) : *q != *form && *q != (*form | 0x20)) break;
            if (is_number) numbers[(int)*form] = numbers[(int)*form] * 10 + *q - '0';
        }
        if (!*form) return q;
    }
    return NULL;
}

/* Days are counted from 0000-03-01: a leap day ends its year. */
enum { EPOCH = 719468, DAYS_OF_4_CENTURIES = 146097 };

static int64_t day_of(int year, int month, int day) {
    int64_t y = year - (month < 3);
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
}

typedef struct {
    int year, month, day;
} Day;

static Day day_at(int64_t number) {
    int64_t rest = number % DAYS_OF_4_CENTURIES;
    int64_t of_era = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int of_year = (int)(rest - (365 * of_era + of_era / 4 - of_era / 100)), month = (5 * of_year + 2) / 153;
    int year = (int)(of_era + number / DAYS_OF_4_CENTURIES * 400) + (month >= 10);
    return (Day){year, (month + 2) % 12 + 1, of_year - (153 * month + 2) / 5 + 1};
}

/* Reads a day of a month, of a week or of a year; returns what follows, or NULL. */
static const uint8_t *read_date(const uint8_t *p, const uint8_t *end, int64_t *number) {
    static const char *const forms[] = {"yyyy-mm-dd", "yyyymmdd", "yyyy-Www-k", "yyyyWwwk",
                                        "yyyy-nnn",   "yyyynnn",  NULL};
    Numbers found;
    if (!(p = read_form(p, end, forms, found)) || !found['y']) return NULL;
    int year = found['y'], month = found['m'], weekday = found['k'], is_day;
    if (month) {
        *number = day_of(year, month, found['d']);
        is_day = month <= 12 && found['d'] && day_at(*number).month == month;
    } else if (found['w']) {
        /* Week 1 has the 4th of January; 0000-03-01 was a Wednesday. A week is of the year that its Thursday is in. */
        int64_t fourth = day_of(year, 1, 4), monday = fourth - (fourth + 2) % 7 + 7 * (found['w'] - 1);
        *number = monday + weekday - 1;
        is_day = day_at(monday + 3).year == year && weekday >= 1 && weekday <= 7;
    } else {
        *number = day_of(year, 1, 1) + found['n'] - 1;
        is_day = day_at(*number).year == year;
    }
    return is_day ? p : NULL;
}

static const char *const clocks[] = {"hh:mm:ss", "hhmmss", "hh:mm", "hhmm", "hh", NULL};
static const char *const *const zones = clocks + 2;
enum { WITH_SECONDS = 6 };

/* Reads a time of day and a fraction of its second; `24:00` is the end of the day. Returns what follows, or NULL. The
 * fraction has no zeros at its end. */
static const uint8_t *read_clock(const uint8_t *p, const uint8_t *end, int *seconds, Token *fraction) {
    Numbers found;
    const uint8_t *begin = p;
    if (!(p = read_form(p, end, clocks, found))) return NULL;
    if (p - begin >= WITH_SECONDS && end - p > 1 && (*p == '.' || *p == ',') && is_digit(p[1]))
        for (fraction->at = ++p; p < end && is_digit(*p); p++)
            if (*p != '0') fraction->size = (size_t)(p - fraction->at) + 1;
    *seconds = (found['h'] * 60 + found['m']) * 60 + found['s'];
    int is_in_day = found['h'] < 24 || (*seconds == 24 * 3600 && !fraction->size);
    /* What a microsecond does not hold, and a leap second, would be lost. */
    return is_in_day && found['m'] < 60 && found['s'] < 60 && fraction->size <= 6 ? p : NULL;
}

/* Reads `Z`, `+01`, `+0130` or `+01:30`; returns what follows, or NULL. */
static const uint8_t *read_zone(const uint8_t *p, const uint8_t *end, int *seconds) {
    Numbers found;
    if (p == end) return NULL;
    if (*p == 'Z' || *p == 'z') return p + 1;
    int sign = *p == '-' ? 1 : *p == '+' ? -1 : 0;
    if (!sign || !(p = read_form(p + 1, end, zones, found)) || found['h'] > 23 || found['m'] > 59) return NULL;
    *seconds += sign * (found['h'] * 60 + found['m']) * 60;
    return p;
}

/* Writes a moment; 0 where it is not in the years from 1 to 9999. The seconds may lead into the day before or behind. */
static size_t write_moment(int64_t number, int seconds, const Token *fraction, int zoned, uint8_t *to) {
    const int of_day = 24 * 3600, days = seconds < 0 ? -1 : seconds / of_day;
    Day day = day_at(number + days);
    seconds -= days * of_day;
    if (number + days < day_of(1, 1, 1) || day.year > 9999) return 0;
    size_t size = (size_t)snprintf((char *)to, LONGEST_FORM, "%04d-%02d-%02dT%02d:%02d:%02d", day.year, day.month,
                                   day.day, seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (fraction->size) to[size++] = '.';
    for (size_t i = 0; i < 6 && fraction->size; i++) to[size++] = i < fraction->size ? fraction->at[i] : '0';
    if (zoned) to[size++] = 'Z';
    return size;
}

enum { DATE_SIZE = 10 };

size_t write_date(const Token *text, uint8_t *to) {
    const uint8_t *end = text->at + text->size;
    int64_t number;
    int is_date = read_date(text->at, end, &number) == end;
    return is_date && write_moment(number, 0, &(Token){text->at, 0, 0}, 0, to) ? DATE_SIZE : 0;
}

size_t write_time(const Token *text, int zoned, uint8_t *to) {
    const uint8_t *p = text->at, *end = p + text->size;
    Token fraction = {p, 0, 0};
    int64_t number;
    int seconds;
    if (!(p = read_date(p, end, &number)) || p == end || !strchr("Tt ", *p ? *p : 'x')) return 0;
    if (!(p = read_clock(p + 1, end, &seconds, &fraction))) return 0;
    if (zoned && !(p = read_zone(p, end, &seconds))) return 0;
    return p == end ? write_moment(number, seconds, &fraction, zoned, to) : 0;
}

size_t write_epoch(const Normal *number, int places, uint8_t *to) {
    const int64_t second = 1000000, day = 24 * 3600 * second;
    Normal shifted = *number;
    uint8_t digits[LONGEST_FORM] = {0};
    shifted.exponent += places;
    if (!write_decimal(&shifted, 18, 0, digits)) return 0;
    int64_t all = strtoll((char *)digits, NULL, 10) + EPOCH * day;
    if (all < 0) return 0;
    int micros = (int)(all % second);
    Token fraction = {digits, micros ? 6 : 0, 0};
    for (int i = 6; i-- > 0; micros /= 10) digits[i] = (uint8_t)('0' + micros % 10);
    return write_moment(all / day, (int)(all % day / second), &fraction, 1, to);
}
