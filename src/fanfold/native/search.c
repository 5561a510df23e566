/* Where a bad record ends, and so where reading goes on. It ends at the first of these places:
 *
 *   1. where its brackets are closed: in an array before the next `,` or `]`, outside before the next line break; or
 *      before the next record may begin (begins.h). Texts outside of brackets end with their line, or before a record
 *      that begins like the first good one;
 *   2. if nothing but blanks stands before it in its line: before the next line that begins with the same blanks and
 *      `{`, or with `[` of an array of records (an array's comma there belongs to neither record), where its brackets
 *      do not close: there is such a line inside of a text, another bracket closes in place of the right one, they are
 *      more than 1,024 deep, the file ends, or they go on for long: eight times as far as the largest good record went,
 *      and at least 4 KiB. In an array, if something stands before it: the same, before a line that begins with a
 *      document, with `[` of an array of records or, inside of a text, with a record that begins like the first good one;
 *   3. if its brackets do not close (another closes in place of the right one, they are more than 1,024 deep, the file
 *      ends, or they go on for long), it has a fault within `max_record_bytes`, and something stands before it in its
 *      line: before the next `{` behind `,`, `}`, `]`, a blank or a `[` at the beginning of a line that begins a good
 *      record like the first good one (like the bad one itself, where there was none) and may begin the next record, if
 *      rule 2 does not end it before. For long: eight times as far as the largest good record went and at least 32 KiB,
 *      then twice as far, up to `max_record_bytes`; less where the searches of the file have looked at eight times as
 *      many bytes as it has so far, and four times `max_record_bytes`;
 *   4. at the end of the file. */
#include "begins.h"

enum { FEW_BYTES = 512, LINE_LOOK_BYTES = 1 << 12, LOOK_BYTES = 1 << 15, LOOK_TIMES = 8, CREDIT = 8 };

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* How far the brackets of a bad record are followed before the next record is looked for in it: some times as far as
 * the largest good one went, all searches of a file together not much further than the file is long. */
static uint64_t first_look(const fanfold_reader *reader, uint64_t start, uint64_t at_least) {
    const File *file = &reader->file;
    uint64_t most = reader->options.max_record_bytes, look = most, credit = 4 * most + CREDIT * start;
    if (file->largest) look = file->largest * LOOK_TIMES > at_least ? file->largest * LOOK_TIMES : at_least;
    credit = credit > file->spent + FEW_BYTES ? credit - file->spent : FEW_BYTES;
    return least(least(look, credit), most);
}

void search_begin(fanfold_reader *reader, uint64_t start, int may_key, State then) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    const uint8_t *p = input_byte(input, start), *first = input->bytes.data, *line = p;
    while (line > first && p - line < MAX_INDENT && (line[-1] == ' ' || line[-1] == '\t')) line--;
    uint64_t offset = input_offset(input, line);
    int is_first = !offset || (offset == 3 && !input->base && !memcmp(first, "\xef\xbb\xbf", 3));
    memset(search, 0, sizeof *search);
    search->start = search->at = search->key_at = start;
    search->line = input_line(input, start);
    search->then = then;
    search->in_array = then == BEHIND_ELEMENT;
    search->own_line = is_first || (line > first && line[-1] == '\n');
    search->indent = (size_t)(p - line);
    memcpy(search->blanks, line, search->indent);
    search->may_key = may_key && reader->file.first_key_of && !search->own_line;
    search->horizon = start + first_look(reader, start, search->own_line ? LINE_LOOK_BYTES : LOOK_BYTES);
    reader->file.state = IN_SEARCH;
}

void search_line(fanfold_reader *reader, uint64_t at, int may_begin) {
    reader->search.at = at;
    reader->search.to_line = 1;
    reader->search.alone = !may_begin;
}

int search_says(fanfold_reader *reader, int code, const char *expected) {
    reader->search.code = code;
    reader->search.expected = expected;
    return FANFOLD_FULL;
}

static uint64_t without_blanks(const Input *input, uint64_t first, uint64_t end) {
    while (end > first && is_blank(*input_byte(input, end - 1))) end--;
    return end;
}

/* The record ends before `end`, without the blanks there, and in an array without the comma that is followed by a line.
 * A record that is too large is not in memory as a whole: then only MAX_INDENT bytes before its end are looked at. */
static int found(fanfold_reader *reader, uint64_t end, int drop_comma) {
    Search *search = &reader->search;
    const Input *input = &reader->input;
    uint64_t first = search->start, most = reader->options.max_record_bytes;
    int is_large = end - first > most;
    reader->file.spent += search->at - search->start;
    search->size = end - first;
    search->at = end;
    if (is_large && end - first > MAX_INDENT) first = end - MAX_INDENT;
    uint64_t last = without_blanks(input, first, end);
    if (drop_comma && search->in_array && last > first && *input_byte(input, last - 1) == ',') {
        end = last - 1;
        last = without_blanks(input, first, end);
    }
    if (is_large && last - search->start <= most) return FANFOLD_END;
    search->size = last - search->start;
    search->at = end;
    return FANFOLD_END;
}

/* Rule 1: follows texts and brackets over one byte; returns 1 where the record ends before it. */
static int pass(Search *search, uint8_t c) {
    if (search->escaped) {
        search->escaped = 0;
    } else if (search->in_text) {
        search->escaped = c == '\\';
        /* A text that no bracket is around belongs to garbage: it ends with its line at the latest. */
        search->in_text = c != '"' && (c != '\n' || search->depth);
    } else if (c == '"') {
        search->in_text = 1;
    } else if (!search->depth && (search->in_array ? c == ',' || c == ']' : c == '\n')) {
        return 1;
    } else if (c == '{' || c == '[') {
        search->broken = search->depth == MAX_OPEN;
        if (!search->broken) search->brackets[search->depth++] = c;
    } else if ((c == '}' || c == ']') && search->depth) {
        search->broken = search->brackets[--search->depth] != (c == '}' ? '{' : '[');
    }
    return 0;
}

/* Rule 2: 1 where the next record or document begins behind the line break at `search->at`, -1 where more must be
 * known. */
static int next_line(const fanfold_reader *reader) {
    const Search *search = &reader->search;
    int is_document = begins_document(reader, search->at + 1);
    if (is_document) return is_document;
    const uint8_t *p = input_byte(&reader->input, search->at + 1);
    size_t left = (size_t)(input_end(&reader->input) - search->at - 1);
    size_t indent = search->own_line ? search->indent : 0, i = 0;
    while (i < left && i < indent && p[i] == search->blanks[i]) i++;
    if (i == left) return reader->input.last ? 0 : -1;
    if (i < indent) return 0;
    uint64_t at = input_offset(&reader->input, p + i);
    if (p[i] == '[') return begins_array_line(reader, at);
    return search->own_line ? p[i] == '{' : search->in_text && search->may_key ? begins_like_first(reader, at) : 0;
}

/* Reads what begins at `search->key_at` as a record: 1 where it is one; -1 where more must be known; else 0, and
 * `key_at` moves to where it fails. */
static int is_record(fanfold_reader *reader) {
    Search *search = &reader->search;
    uint64_t start = search->key_at, most = start + reader->options.max_record_bytes;
    int begins_line = *input_byte(&reader->input, start - 1) == '\n';
    int known = !begins_line && is_member(reader, start) ? 0 : begins_like_first(reader, start);
    if (known <= 0) {
        search->key_at += known == 0;
        return known;
    }
    Reading reading = reader_value(reader, start, WALK_JUDGE);
    search->key_at = least(reading.end > start ? reading.end : start + 1, most);
    if (reading.end > most || reading.outcome == VALUE_BAD) return 0;
    int follows = reading.outcome == VALUE_GOOD ? reader_following(reader, reading.end, search->in_array ? BLANKS : LINE) : -1;
    int fits = follows >= 0 && strchr(search->in_array ? "\n {[,]" : "\n {[", follows) != NULL;
    int is_sound = follows < 0 ? -1 : fits ? is_sound_inside(reader, start, search->in_array) : 0;
    if (is_sound) search->key_at = start;
    if (reading.outcome == VALUE_INCOMPLETE)
        input_hungry(&reader->input, start, reader->options.max_record_bytes + 2 * PAD);
    return is_sound;
}

/* Rule 3. Where there is no good record, the bad one goes on by its brackets, or is all that is left. */
static int search_by_key(fanfold_reader *reader) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    uint64_t most = search->start + reader->options.max_record_bytes;
    uint64_t stop = search->by_key == 1 ? least(search->horizon, input_end(input)) : input_end(input);
    if (search->line_at) stop = search->line_at + 1;
    while (search->key_at < stop) {
        const uint8_t *p = input_byte(input, search->key_at);
        int is_behind = search->key_at > search->start && p[-1] && strchr(" \t\r\n,}]", p[-1]);
        if (*p != '{' || !(is_behind || (search->key_at > search->start + 1 && !memcmp(p - 2, "\n[", 2)))) {
            search->key_at++;
            continue;
        }
        int answer = is_record(reader);
        if (answer < 0) return FANFOLD_HUNGRY;
        if (answer) return found(reader, search->key_at, 1);
    }
    if (search->line_at) return found(reader, search->line_at, 1);
    if (search->by_key == 2 || search->key_at < search->horizon) {
        if (search->key_at > most) input->at = search->key_at - 1;
        if (!input->last) return FANFOLD_HUNGRY;
    }
    if (search->by_key == 2) return found(reader, input_end(input), 0);
    search->by_key = 0;
    search->may_key = search->horizon < most;
    search->horizon = least(2 * search->horizon - search->start, most);
    return FANFOLD_FULL;
}

/* Rule 2, at a line break that a record may end at: FANFOLD_END where it does. It does if its brackets tell nothing any
 * more, as in a text, which has no line break in JSON. Else they are followed first. */
static int end_line(fanfold_reader *reader) {
    Search *search = &reader->search;
    int next = next_line(reader);
    if (next < 0) return FANFOLD_HUNGRY;
    if (!next || search->line_at) return FANFOLD_FULL;
    search->line_at = search->at;
    search->broken = search->in_text;
    return FANFOLD_FULL;
}

/* Rules 1 and 2: goes on byte by byte. */
static int search_by_brackets(fanfold_reader *reader) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    for (; search->at < input_end(input); search->at++) {
        uint8_t c = *input_byte(input, search->at);
        if (c == '\n' && (search->own_line || search->in_array) && !search->to_line) {
            int answer = end_line(reader);
            if (answer != FANFOLD_FULL) return answer;
        }
        int is_long = search->at >= search->horizon;
        if (search->line_at && !search->may_key && (search->broken || is_long)) return found(reader, search->line_at, 1);
        int is_between = search->to_line || (!search->broken && !search->depth);
        int next = is_between ? begins_next(reader, c) : 0;
        if (next < 0) return FANFOLD_HUNGRY;
        int ends_line = c == '\n' || (search->in_array && (c == ',' || c == ']'));
        if (next || (search->to_line ? ends_line : !search->broken && pass(search, c)))
            return found(reader, search->at, 0);
        if (search->may_key && (search->broken || is_long)) {
            search->by_key = search->broken ? 2 : 1;
            search->at++;
            return FANFOLD_FULL;
        }
    }
    if (search->at > search->start + reader->options.max_record_bytes) input->at = search->at - 1;
    if (!input->last) return FANFOLD_HUNGRY;
    if (search->line_at && !search->may_key) return found(reader, search->line_at, 1);
    if (!search->may_key) return found(reader, input_end(input), 0);
    search->by_key = 2;
    return FANFOLD_FULL;
}

int search_end(fanfold_reader *reader) {
    int answer = FANFOLD_FULL;
    while (answer == FANFOLD_FULL) answer = reader->search.by_key ? search_by_key(reader) : search_by_brackets(reader);
    return answer;
}
