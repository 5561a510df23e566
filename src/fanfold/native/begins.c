/* Where the next record, array or document may begin, seen from something that is bad, or that has broken off. */
#include "begins.h"

/* Where following brackets ended, and whether all closed that are open around the records. */
typedef struct {
    uint64_t end;
    int is_closed;
} Seen;

/* Says whether what is behind a comma goes on with something that is open: behind arrays may be another array. */
static int goes_on(const fanfold_reader *reader, const uint8_t *p, const uint8_t *limit) {
    while (p < limit && is_blank(*p)) p++;
    return reader->file.depth || (p < limit && *p == '"');
}

/* Follows brackets from `at` on. */
static int look(const fanfold_reader *reader, uint64_t at, int in_array, int element, Seen *seen) {
    const Input *input = &reader->input;
    const uint8_t *p = input_byte(input, at);
    size_t left = (size_t)(input_end(input) - at), size = 0, open = 0, around = in_array ? reader->file.depth + 1 : 0;
    int in_text = 0;
    for (; size < left && size < MAX_FOLLOWING && (in_array || p[size] != '\n'); size++) {
        uint8_t c = p[size];
        if (c == '"') in_text = !in_text;
        if (in_text && c == '\\') size++;
        if (in_text || !c || !strchr("{}[],", c)) continue;
        if (c == '{' || c == '[') open++;
        if (open || c == '{' || c == '[') {
            open -= c == '}' || c == ']';
            continue;
        }
        if (element && in_array && c != '}') break;
        int is_first = around == reader->file.depth + 1;
        int is_own = around && c == (is_first || !reader->around[around - 1].is_object ? ']' : '}');
        int is_stray = !in_array && c == ']';
        if (c == ',' ? !around && in_array && goes_on(reader, p + size + 1, p + (left < MAX_FOLLOWING ? left : MAX_FOLLOWING)) : !is_own && !is_stray) return 0;
        around -= c != ',' && !is_stray;
    }
    seen->end = at + size;
    seen->is_closed = !around;
    return size < left || size >= MAX_FOLLOWING || input->last ? 1 : -1;
}

int is_sound_behind(fanfold_reader *reader, uint64_t at, int in_array, int element) {
    uint64_t *sound = &reader->file.sound[element];
    if (at < *sound) return 1;
    Seen seen = {0};
    int found = look(reader, at, in_array, element, &seen);
    if (found > 0) *sound = seen.end;
    return found;
}

int is_sound_inside(const fanfold_reader *reader, uint64_t at, int in_array) {
    const Input *input = &reader->input;
    Seen seen = {0};
    int found = look(reader, at, in_array, 0, &seen);
    /* The file ends before all is closed: unless it begins a line, it may be of the record that breaks off there. */
    int is_cut = in_array && !seen.is_closed && input->last && seen.end == input_end(input);
    return found > 0 && is_cut ? *input_byte(input, at - 1) == '\n' : found;
}

int begins_with_key(const fanfold_reader *reader, uint64_t at, const Token *key) {
    const uint8_t *p = input_byte(&reader->input, at);
    const uint8_t *end = input_stop(&reader->input), *limit = p + 1 + MAX_FOLLOWING;
    int unknown = reader->input.last ? 0 : -1;
    if (p == end) return unknown;
    if (*p != '{') return 0;
    for (p++; p < end && p < limit && is_blank(*p);) p++;
    if (p >= limit) return 0;
    if (p == end) return unknown;
    if (*p++ != '"') return 0;
    for (size_t i = 0; i <= key->size; i++, p++) {
        if (p == end) return unknown;
        if (*p != (i < key->size ? key->at[i] : '"')) return 0;
    }
    for (limit = p + MAX_FOLLOWING; p < end && p < limit && is_blank(*p);) p++;
    return p == end ? unknown : *p == ':';
}

int begins_like_first(const fanfold_reader *reader, uint64_t at) {
    const Bytes *key = &reader->first_key;
    return begins_with_key(reader, at, &(Token){key->data, key->size, 0});
}

/* Records that begin alike are not documents. */
static int has_key(const fanfold_reader *reader, uint64_t at, const Token *key) {
    const Bytes *own = &reader->first_key;
    return reader->file.first_key_of && is_same(key, &(Token){own->data, own->size, 0}) ? 0 : begins_with_key(reader, at, key);
}

int begins_document(const fanfold_reader *reader, uint64_t at) {
    const Input *input = &reader->input;
    const Bytes *first = &reader->document_key;
    if (!reader->file.depth || at == input->base || *input_byte(input, at - 1) != '\n') return 0;
    int begins = has_key(reader, at, &reader->steps[0]);
    if (begins || !reader->file.has_document_key) return begins;
    return has_key(reader, at, &(Token){first->data, first->size, 0});
}

int begins_array_line(const fanfold_reader *reader, uint64_t at) {
    const Input *input = &reader->input;
    const uint8_t *p = input_byte(input, at + 1);
    int is_next = p < input_stop(input) && *p == '{';
    while (p < input_stop(input) && (*p == '\r' || *p == '\n') && p < input_byte(input, at + MAX_INDENT)) p++;
    if (is_next || (p < input_stop(input) && reader->file.first_key_of != 2)) return is_next;
    return begins_like_first(reader, input_offset(input, p));
}

int begins_array(const fanfold_reader *reader, uint64_t at) {
    const uint8_t *p = input_byte(&reader->input, at + 1), *end = input_stop(&reader->input);
    int inside = reader_following(reader, at + 1, BLANKS);
    if (inside < 0 || inside == '{' || inside == ']' || inside == FAR) return inside < 0 ? -1 : 1;
    if (reader->file.first_key_of != 2) return 0;
    for (const uint8_t *limit = p + MAX_FOLLOWING; p < end && p < limit && !memchr("{[]", *p, 3);) p++;
    if (p == end) return reader->input.last ? 0 : -1;
    return begins_like_first(reader, input_offset(&reader->input, p));
}

int begins_anew(const fanfold_reader *reader, uint64_t start, int follows) {
    if (follows < 0 || !strchr("\n{[", follows)) return 0;
    return *input_byte(&reader->input, start) == '[' ? begins_array(reader, start) : begins_document(reader, start);
}

int is_member(const fanfold_reader *reader, uint64_t at) {
    const uint8_t *p = input_byte(&reader->input, at);
    uint64_t before = at - reader->search.start;
    const uint8_t *first = p - (before < MAX_INDENT ? before : MAX_INDENT);
    while (p > first && is_blank(p[-1])) p--;
    if (p == first || *--p != ':') return 0;
    while (p > first && is_blank(p[-1])) p--;
    return p > first && p[-1] == '"';
}

int begins_next(fanfold_reader *reader, uint8_t c) {
    const Search *search = &reader->search;
    const Input *input = &reader->input;
    if (search->alone || search->at == search->start || (c != '{' && c != '[') || is_member(reader, search->at)) return 0;
    int is_array = c == '{' || (!search->in_array && reader->file.has_arrays) ? 1 : begins_array(reader, search->at);
    if (is_array <= 0) return is_array;
    if (search->in_text && (c == '[' || reader->file.first_key_of != 2)) return 0;
    int is_sound = search->in_text ? is_sound_inside(reader, search->at, search->in_array)
                                   : is_sound_behind(reader, search->at, search->in_array, search->to_line && search->in_array);
    int needs_key = reader->file.first_key_of == 2 && !search->to_line && (search->in_array || c == '[');
    if (is_sound <= 0 || !needs_key) return is_sound;
    const uint8_t *p = input_byte(input, search->at);
    for (p += c == '['; p < input_stop(input) && is_blank(*p);) p++;
    int has_key = begins_like_first(reader, input_offset(input, p));
    return has_key || c == '[' ? has_key : begins_document(reader, search->at);
}
