/* Dates and times: read from each form of ISO 8601 that says as much as its type holds, written in one. */
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

/* Says whether a text begins like a pattern, in which 0 stands for any digit. */
static int begins(const uint8_t *p, const uint8_t *end, const char *pattern) {
    for (; *pattern; pattern++, p++)
        if (p >= end || (*pattern == '0' ? !is_digit(*p) : *p != (uint8_t)*pattern)) return 0;
    return 1;
}

static int two(const uint8_t *p) { return (p[0] - '0') * 10 + p[1] - '0'; }

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

/* Reads `2026-01-02`, `20260102`, `2026-W01-5`, `2026W015`, `2026-002` or `2026002`; returns what follows, or NULL. */
static const uint8_t *read_date(const uint8_t *p, const uint8_t *end, int64_t *number) {
    if (!begins(p, end, "0000")) return NULL;
    int year = two(p) * 100 + two(p + 2), dash = begins(p + 4, end, "-");
    if (!year) return NULL;
    p += 4 + dash;
    if (begins(p, end, dash ? "W00-0" : "W000") || begins(p, end, dash ? "w00-0" : "w000")) {
        /* Week 1 has the 4th of January; 0000-03-01 was a Wednesday. A week is of the year that its Thursday is in. */
        int64_t fourth = day_of(year, 1, 4), monday = fourth - (fourth + 2) % 7 + 7 * (two(p + 1) - 1);
        int weekday = p[3 + dash] - '0';
        *number = monday + weekday - 1;
        return day_at(monday + 3).year == year && weekday >= 1 && weekday <= 7 ? p + 4 + dash : NULL;
    }
    if (begins(p, end, dash ? "00-00" : "0000")) {
        int month = two(p), day = two(p + 2 + dash);
        if (month < 1 || month > 12) return NULL;
        *number = day_of(year, month, day);
        return day && day_at(*number).month == month ? p + 4 + dash : NULL;
    }
    if (!begins(p, end, "000")) return NULL;
    *number = day_of(year, 1, 1) + two(p) * 10 + p[2] - '0' - 1;
    return day_at(*number).year == year ? p + 3 : NULL;
}

/* Reads `09`, `09:15`, `09:15:00.678` and the same without colons; `24:00` is the end of the day. Returns what follows,
 * or NULL. The fraction has no zeros at its end. */
static const uint8_t *read_clock(const uint8_t *p, const uint8_t *end, int *seconds, Token *fraction) {
    if (!begins(p, end, "00")) return NULL;
    int hour = two(p), minute = 0, second = 0, colon = begins(p + 2, end, ":");
    p += 2;
    if (begins(p + colon, end, "00")) {
        minute = two(p += colon);
        p += 2;
        if (begins(p, end, colon ? ":00" : "00")) {
            second = two(p += colon);
            p += 2;
            if (begins(p, end, ".0") || begins(p, end, ",0"))
                for (fraction->at = ++p; p < end && is_digit(*p); p++)
                    if (*p != '0') fraction->size = (size_t)(p - fraction->at) + 1;
        }
    }
    *seconds = (hour * 60 + minute) * 60 + second;
    int is_in_day = hour < 24 || (*seconds == 24 * 3600 && !fraction->size);
    /* What a microsecond does not hold, and a leap second, would be lost. */
    return is_in_day && minute < 60 && second < 60 && fraction->size <= 6 ? p : NULL;
}

/* Reads `Z`, `+01`, `+0130` or `+01:30`; returns what follows, or NULL. */
static const uint8_t *read_zone(const uint8_t *p, const uint8_t *end, int *seconds) {
    if (begins(p, end, "Z") || begins(p, end, "z")) return p + 1;
    int west = begins(p, end, "-00"), minutes = 0;
    if ((!west && !begins(p, end, "+00")) || two(p + 1) > 23) return NULL;
    int hours = two(p + 1);
    p += 3;
    if (p < end) {
        p += *p == ':';
        if (!begins(p, end, "00") || (minutes = two(p)) > 59) return NULL;
        p += 2;
    }
    *seconds += (west ? 1 : -1) * (hours * 60 + minutes) * 60;
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
