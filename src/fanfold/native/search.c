/* Where a bad record ends, and so where reading goes on: the rules are in fanfold.h. */
#include "reader.h"

enum { FEW_BYTES = 512, LINE_LOOK_BYTES = 1 << 12, LOOK_BYTES = 1 << 15, LOOK_TIMES = 8, CREDIT = 8 };

/* How far the brackets of a bad record are followed before the next record is looked for in it: some times as far as
 * the largest good one went, all searches of a file together not much further than the file is long. */
static uint64_t first_look(const fanfold_reader *reader, uint64_t start, uint64_t least) {
    uint64_t most = reader->options.max_record_bytes, look = most, credit = 4 * most + CREDIT * start;
    if (reader->largest) look = reader->largest * LOOK_TIMES > least ? reader->largest * LOOK_TIMES : least;
    credit = credit > reader->spent + FEW_BYTES ? credit - reader->spent : FEW_BYTES;
    look = look < credit ? look : credit;
    return look < most ? look : most;
}

void search_begin(fanfold_reader *reader, uint64_t start, int in_array, int may_key) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    memset(search, 0, sizeof *search);
    search->start = search->at = search->key_at = start;
    search->line = input_line(input, start);
    search->in_array = in_array;
    const uint8_t *p = input_byte(input, start), *first = input->bytes.data;
    size_t indent = 0;
    while (p - indent > first && indent < MAX_INDENT &&
           (p[-1 - (ptrdiff_t)indent] == ' ' || p[-1 - (ptrdiff_t)indent] == '\t'))
        indent++;
    int at_start = p - indent == first && input->base == 0;
    int at_mark = input->base == 0 && p - indent == first + 3 && !memcmp(first, "\xef\xbb\xbf", 3);
    search->own_line = at_start || at_mark || (p - indent > first && p[-1 - (ptrdiff_t)indent] == '\n');
    search->indent = indent;
    memcpy(search->blanks, p - indent, indent);
    search->may_key = may_key && !search->own_line;
    search->horizon = start + first_look(reader, start, search->own_line ? LINE_LOOK_BYTES : LOOK_BYTES);
}

static int is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The record ends before `end`, without the blanks there, and in an array without the comma that is followed by a line.
 * Of a record that is too large to be in memory as a whole, so many bytes as are before a line are looked at. */
static int found(fanfold_reader *reader, uint64_t end, int drop_comma) {
    Search *search = &reader->search;
    const Input *input = &reader->input;
    uint64_t first = search->start, last = end, most = reader->options.max_record_bytes;
    int large = end - first > most;
    reader->spent += search->at - search->start;
    search->size = end - first;
    search->at = end;
    if (large && end - first > MAX_INDENT) first = end - MAX_INDENT;
    while (last > first && is_blank(*input_byte(input, last - 1))) last--;
    if (drop_comma && search->in_array && last > first && *input_byte(input, last - 1) == ',') {
        last--;
        end = last;
        while (last > first && is_blank(*input_byte(input, last - 1))) last--;
    }
    if (large && last - search->start <= most) return FANFOLD_END;
    search->size = last - search->start;
    search->at = end;
    return FANFOLD_END;
}

/* Rule 1: returns 1 where the record ends before the byte `c` outside of its texts. */
static int closes(Search *search, uint8_t c) {
    if (!search->depth && (search->in_array ? c == ',' || c == ']' : c == '\n')) return 1;
    if (c == '{' || c == '[') {
        if (c == '{' && !search->in_array && !search->depth && search->at > search->start) return 1;
        if (search->depth == MAX_OPEN) {
            search->broken = 1;
            return 0;
        }
        uint64_t bit = UINT64_C(1) << (search->depth % 64), *word = &search->brackets[search->depth / 64];
        *word = c == '{' ? *word | bit : *word & ~bit;
        search->depth++;
    } else if ((c == '}' || c == ']') && search->depth) {
        search->depth--;
        int is_object = search->brackets[search->depth / 64] >> (search->depth % 64) & 1;
        if (is_object != (c == '}')) search->broken = 1;
    }
    return 0;
}

/* Follows texts and brackets over one byte; returns 1 where the record ends before it. */
static int pass(Search *search, uint8_t c) {
    if (search->escaped) {
        search->escaped = 0;
    } else if (search->in_text) {
        search->escaped = c == '\\';
        search->in_text = c != '"';
    } else if (c == '"') {
        search->in_text = 1;
    } else {
        return closes(search, c);
    }
    return 0;
}

/* Rule 2: 1 where the next record begins behind the line break at `search->at`, -1 where more must be known. */
static int next_line(const fanfold_reader *reader) {
    const Search *search = &reader->search;
    const uint8_t *p = input_byte(&reader->input, search->at + 1);
    size_t left = (size_t)(input_end(&reader->input) - search->at - 1);
    for (size_t i = 0; i <= search->indent; i++) {
        if (i == left) return reader->input.last ? 0 : -1;
        if (p[i] != (i < search->indent ? search->blanks[i] : '{')) return 0;
    }
    return 1;
}

/* Says whether an object whose first key is the right one begins at `p`; -1 where more must be known. */
static int has_key(const fanfold_reader *reader, const uint8_t *p) {
    const Bytes *key = &reader->first_key;
    const uint8_t *end = reader->input.bytes.data + reader->input.bytes.size, *limit = p + 1 + MAX_FOLLOWING;
    int unknown = reader->input.last ? 0 : -1;
    for (p++; p < end && p < limit && is_blank(*p);) p++;
    if (p >= limit) return 0;
    if (p == end) return unknown;
    if (*p++ != '"') return 0;
    for (size_t i = 0; i <= key->size; i++, p++) {
        if (p == end) return unknown;
        if (*p != (i < key->size ? key->data[i] : '"')) return 0;
    }
    for (limit = p + MAX_FOLLOWING; p < end && p < limit && is_blank(*p);) p++;
    return p == end ? unknown : *p == ':';
}

/* Reads what begins at `search->key_at` as a record: 1 where it is one; -1 where more must be known; else 0, and
 * `key_at` moves to where it fails. */
static int is_record(fanfold_reader *reader) {
    Search *search = &reader->search;
    uint64_t start = search->key_at, most = start + reader->options.max_record_bytes;
    int known = has_key(reader, input_byte(&reader->input, start));
    if (known <= 0) {
        search->key_at += known == 0;
        return known;
    }
    Reading reading = reader_value(reader, start, WALK_JUDGE);
    if (reading.end > most) {
        search->key_at = most;
        return 0;
    }
    if (reading.outcome == VALUE_INCOMPLETE) {
        input_hungry(&reader->input, start, reader->options.max_record_bytes + 2 * PAD);
        return -1;
    }
    if (reading.outcome == VALUE_GOOD) {
        int follows = reader_following(reader, reading.end, search->in_array);
        if (follows < 0) return -1;
        if (search->in_array ? follows == ',' || follows == ']' || follows == '\n' : follows == '\n' || follows == '{')
            return 1;
    }
    search->key_at = reading.end > start ? reading.end : start + 1;
    return 0;
}

/* Rule 3: FANFOLD_END where a good record was found, FANFOLD_FULL where there is none. */
static int search_by_key(fanfold_reader *reader) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    uint64_t most = search->start + reader->options.max_record_bytes;
    for (;;) {
        uint64_t stop = search->by_key == 1 && search->horizon < input_end(input) ? search->horizon : input_end(input);
        while (search->key_at < stop) {
            const uint8_t *p = input_byte(input, search->key_at);
            int begins =
                search->key_at > search->start && *p == '{' && (is_blank(p[-1]) || (p[-1] && strchr(",}]", p[-1])));
            if (!begins) {
                search->key_at++;
                continue;
            }
            int answer = is_record(reader);
            if (answer < 0) return FANFOLD_HUNGRY;
            if (answer) return found(reader, search->key_at, 1);
        }
        if (search->by_key == 1 && search->key_at >= search->horizon) return FANFOLD_FULL;
        if (search->key_at > most) input->at = search->key_at - 1;
        return input->last ? FANFOLD_FULL : FANFOLD_HUNGRY;
    }
}

static int key_search(fanfold_reader *reader) {
    Search *search = &reader->search;
    int answer = search_by_key(reader);
    if (answer != FANFOLD_FULL) return answer;
    /* There is none: it goes on by its brackets, or is all that is left. */
    if (search->by_key == 2) return found(reader, input_end(&reader->input), 0);
    search->by_key = 0;
    uint64_t most = search->start + reader->options.max_record_bytes, next = 2 * search->horizon - search->start;
    search->may_key = search->horizon < most;
    search->horizon = next < most ? next : most;
    return FANFOLD_FULL;
}

/* Rule 2, at a line break that a record may end at: FANFOLD_END where it does. It does if its brackets tell nothing any
 * more, as in a text, which has no line break in JSON. Else they are followed first. */
static int end_line(fanfold_reader *reader) {
    Search *search = &reader->search;
    int next = next_line(reader);
    if (next < 0) return FANFOLD_HUNGRY;
    if (!next) return FANFOLD_FULL;
    if (search->in_text && !search->line_at) return found(reader, search->at, 1);
    if (!search->line_at) search->line_at = search->at;
    return FANFOLD_FULL;
}

int search_end(fanfold_reader *reader) {
    Search *search = &reader->search;
    Input *input = &reader->input;
    uint64_t most = search->start + reader->options.max_record_bytes;
    for (;;) {
        if (search->by_key) {
            int answer = key_search(reader);
            if (answer != FANFOLD_FULL) return answer;
        }
        for (; search->at < input_end(input) && !search->by_key; search->at++) {
            uint8_t c = *input_byte(input, search->at);
            if (c == '\n' && search->own_line && !search->to_line) {
                int answer = end_line(reader);
                if (answer != FANFOLD_FULL) return answer;
            }
            if (search->line_at && (search->broken || search->at >= search->horizon))
                return found(reader, search->line_at, 1);
            if (search->to_line ? c == '\n' : !search->broken && pass(search, c)) return found(reader, search->at, 0);
            if (search->broken && search->may_key)
                search->by_key = 2;
            else if (search->may_key && search->at >= search->horizon)
                search->by_key = 1;
        }
        if (search->by_key) continue;
        if (search->at > most) input->at = search->at - 1;
        if (!input->last) return FANFOLD_HUNGRY;
        if (search->line_at) return found(reader, search->line_at, 1);
        if (!search->may_key) return found(reader, input_end(input), 0);
        search->by_key = 2;
    }
}
