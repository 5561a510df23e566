/* The items of a JSON file: records, and arrays of records. */
#include "begins.h"

/* Nothing is left: the file ends, inside of an array or document or not. */
static int step_end(fanfold_reader *reader) {
    Input *input = &reader->input;
    File *file = &reader->file;
    if (!input->last) {
        /* What a comma is said of may be gone from memory later. */
        if (file->comma && !file->comma_line) file->comma_line = input_line(input, file->comma - 1);
        return FANFOLD_HUNGRY;
    }
    if (file->state == AT_RECORDS)
        reader_bad(reader, &(Bad){.code = FANFOLD_EMPTY_FILE, .line = 1, .expected = "records", .of_file = 1});
    int in_array = file->state == AT_ELEMENT || file->state == BEHIND_ELEMENT;
    int in_document = file->state >= AT_MEMBER && file->state <= BEHIND_VALUE;
    int is_said = file->last_code == FANFOLD_TRUNCATED || (in_array && file->last_code == FANFOLD_TOO_DEEP) ||
                  (in_array && file->in_doubt && !file->depth);
    if ((in_array || in_document) && !is_said)
        reader_bad(reader, &(Bad){.code = FANFOLD_TRUNCATED,
                                  .start = input->at,
                                  .expected = in_array ? "the end of the array of records" : document_end_expected});
    file->state = AT_END;
    return FANFOLD_FULL;
}

/* Goes on with the search for the end of a bad record, and writes it down. */
static int step_search(fanfold_reader *reader) {
    const Search *search = &reader->search;
    int answer = search_end(reader);
    if (answer == FANFOLD_HUNGRY) return answer;
    Bad bad = {search->code, search->start, search->size, search->line, .expected = search->expected};
    if (!bad.code && !bad.size) bad.code = FANFOLD_SYNTAX, bad.expected = "a record";
    if (bad.code)
        reader_bad(reader, &bad);
    else
        reader_judge(reader, search->start, search->size, search->line);
    if (reader->file.first_key_of == 1) reader->file.first_key_of = 0;
    reader->input.at = search->at;
    reader->file.state = search->then;
    return FANFOLD_FULL;
}

/* Keeps the first key of the record that was read: 1, of a bad one, for its search only; 2, of a good one. */
static void keep_first_key(fanfold_reader *reader, int of) {
    const Token *key = &reader->walk.first_key;
    if (reader->file.first_key_of || !key->at || key->size > MAX_KEY_CHARACTERS) return;
    bytes_set(&reader->first_key, key->at, key->size);
    reader->file.first_key_of = of;
}

/* Behind a record begins another one, or an array, without what should stand between them. */
static int say_unexpected(fanfold_reader *reader, uint8_t c) {
    uint64_t start = reader->input.at, size = c == '[';
    reader_bad(reader, &(Bad){FANFOLD_SYNTAX, start, size, .expected = "',' or ']' before the next record"});
    reader->input.at += size;
    reader->file.comma = 0;
    reader->file.in_doubt |= !size;
    reader->file.lacks_comma = 0;
    reader->file.state = AT_ELEMENT;
    return FANFOLD_FULL;
}

/* Says whether a key follows the comma behind a record, which a brace has closed too early; -1 where more must be
 * known. By its own first key the next record begins, which has lost its brace. */
static int is_half(const fanfold_reader *reader, uint64_t end) {
    const Input *input = &reader->input;
    int follows = reader_following(reader, end, BLANKS ",");
    if (follows != '"') return follows < 0 ? -1 : 0;
    const uint8_t *begin = input_byte(input, end), *p = begin, *stop = input_stop(input);
    while (*p != '"') p++;
    if (!memchr(begin, ',', (size_t)(p - begin))) return 0;
    const uint8_t *limit = p + MAX_FOLLOWING;
    const Token *first = &reader->walk.first_key;
    const uint8_t *key = ++p;
    for (; p < stop && p < limit && *p != '"' && *p != '\n'; p++) p += *p == '\\';
    if (p < stop && *p == '"' && first->at && is_same(first, &(Token){key, (size_t)(p - key), 0})) return 0;
    for (p += *p == '"'; p < stop && p < limit && is_blank(*p);) p++;
    return p >= stop && !input->last ? -1 : p < stop && *p == ':';
}

/* Reads the record at the input's place. */
static int step_record(fanfold_reader *reader) {
    Input *input = &reader->input;
    uint8_t c = *input_byte(input, input->at);
    int in_array = reader->file.state == AT_ELEMENT, follows = -1;
    uint64_t start = input->at, most = reader->options.max_record_bytes;
    State then = in_array ? BEHIND_ELEMENT : BEHIND_ITEM;
    Reading reading = reader_value(reader, start, reader->mode);
    uint64_t size = reading.end - start, wanted = 0;
    int is_good = reading.outcome == VALUE_GOOD && size <= most, fits = 0;
    if (reading.outcome == VALUE_INCOMPLETE && input_end(input) - start <= most + PAD)
        wanted = most + 2 * PAD;
    else if (is_good && (follows = reader_following(reader, reading.end, in_array ? BLANKS : FRAME)) < 0)
        wanted = most + MAX_FOLLOWING;
    if (follows >= 0) fits = strchr(in_array ? "\n {[,]" : "\n {[", follows) != NULL;
    if (follows >= 0 && !fits && c == '{')
        fits = is_sound_behind(reader, reading.end, in_array, 1);
    int begins = in_array && is_good ? begins_anew(reader, start, follows) : 0;
    int half = fits > 0 && c == '{' ? is_half(reader, reading.end) : 0;
    if (fits < 0 || begins < 0 || half < 0) wanted = most + 2 * MAX_FOLLOWING;
    if (wanted || begins) shape_forget(&reader->shape);
    if (wanted) return input_hungry(input, start, wanted);
    if (begins) return c == '[' ? say_unexpected(reader, c) : document_breaks_off(reader);
    if (!fits || half) {
        keep_first_key(reader, 1);
        shape_forget(&reader->shape);
        search_begin(reader, start, size <= most && (in_array || !is_good), in_array ? then : AT_ITEM);
        reader->search.broken = half;
        if (is_good && !in_array && !(half && reader->search.own_line))
            search_line(reader, reading.end, c != '{' && c != '"');
        return FANFOLD_FULL;
    }
    if (!reader->walk.own_code) {
        /* What stands around the records does not change where they end. */
        keep_first_key(reader, 2);
        if (size > reader->file.largest) reader->file.largest = size;
    }
    if (reader->walk.fault.code)
        reader_judge(reader, start, size, 0);
    else
        reader_good(reader, start, size);
    input->at = reading.end;
    /* A comma that is not there is said once, until one is there. */
    reader->file.lacks_comma = c == '{' && follows == '{' && !reader->file.in_doubt;
    reader->file.state = then;
    return FANFOLD_FULL;
}

void json_idle_comma(fanfold_reader *reader, const char *expected) {
    File *file = &reader->file;
    if (file->comma)
        reader_bad(reader, &(Bad){FANFOLD_TRAILING_COMMA, file->comma - 1, 1, file->comma_line, .expected = expected,
                                  .raw = ","});
    file->comma = 0;
}

static int step_records(fanfold_reader *reader, uint8_t c) {
    reader->file.state = reader->step_count ? AT_DOCUMENT : AT_ITEM;
    reader->file.has_arrays = c == '[';
    return FANFOLD_FULL;
}

static int step_item(fanfold_reader *reader, uint8_t c) {
    int is_array = c != '[' ? 0 : reader->file.has_arrays ? 1 : begins_array(reader, reader->input.at);
    if (is_array < 0) return FANFOLD_HUNGRY;
    return is_array ? json_begin_array(reader) : step_record(reader);
}

int json_begin_array(fanfold_reader *reader) {
    reader->input.at++;
    reader->file.in_doubt = reader->file.lacks_comma = 0;
    reader->file.comma = 0;
    reader->file.last_code = 0;
    reader->file.state = AT_ELEMENT;
    return FANFOLD_FULL;
}

int json_behind_value(fanfold_reader *reader) {
    const File *file = &reader->file;
    reader->file.state = !reader->step_count ? BEHIND_ITEM : file->depth ? BEHIND_VALUE : AT_DOCUMENT;
    return FANFOLD_FULL;
}

static int step_element(fanfold_reader *reader, uint8_t c) {
    if (c != ']') return step_record(reader);
    int is_open = document_goes_on(reader, reader->input.at);
    if (is_open < 0 && reader->file.comma && !reader->file.comma_line)
        reader->file.comma_line = input_line(&reader->input, reader->file.comma - 1);
    if (is_open) return is_open < 0 ? FANFOLD_HUNGRY : FANFOLD_FULL;
    json_idle_comma(reader, "another record behind the comma, or no comma");
    reader->input.at++;
    return json_behind_value(reader);
}

static int step_behind_element(fanfold_reader *reader, uint8_t c) {
    int is_document = c == '{' ? begins_document(reader, reader->input.at) : 0;
    if (is_document < 0) return FANFOLD_HUNGRY;
    if (is_document) return document_breaks_off(reader);
    int is_array = c == '[' ? begins_array(reader, reader->input.at) : 0;
    if (is_array < 0) return FANFOLD_HUNGRY;
    if (is_array || (c == '{' && reader->file.lacks_comma)) return say_unexpected(reader, c);
    if (!strchr(",]{", c)) {
        search_begin(reader, reader->input.at, 0, BEHIND_ELEMENT);
        if (c != '[') search_line(reader, reader->input.at, 1);
        return search_says(reader, FANFOLD_TRAILING_GARBAGE, "',' or ']' after a record");
    }
    if (c == ',') reader->file.in_doubt = 0;
    reader->file.comma = c == ',' ? ++reader->input.at : 0;
    reader->file.comma_line = 0;
    reader->file.state = AT_ELEMENT;
    return FANFOLD_FULL;
}

static int step_behind_item(fanfold_reader *reader, uint8_t c) {
    reader->file.state = AT_ITEM;
    if (c == '\n' || c == '[' || c == '{') return FANFOLD_FULL;
    search_begin(reader, reader->input.at, 0, AT_ITEM);
    search_line(reader, reader->input.at, 1);
    return search_says(reader, FANFOLD_TRAILING_GARBAGE, "a line break or the next record");
}

int json_step(fanfold_reader *reader) {
    static int (*const steps[])(fanfold_reader *, uint8_t) = {
        [AT_RECORDS] = step_records,
        [AT_ITEM] = step_item,
        [BEHIND_ITEM] = step_behind_item,
        [AT_ELEMENT] = step_element,
        [BEHIND_ELEMENT] = step_behind_element,
        [AT_DOCUMENT] = document_step,
        [AT_MEMBER] = member_step,
        [AT_VALUE] = value_step,
        [BEHIND_VALUE] = behind_value_step,
    };
    Input *input = &reader->input;
    State state = reader->file.state;
    if (state == IN_SEARCH) return step_search(reader);
    const uint8_t *p = input_byte(input, input->at);
    while (is_blank(*p) && (state != BEHIND_ITEM || *p != '\n')) p++;
    input->at = input_offset(input, p);
    return p < input_stop(input) ? steps[state](reader, *p) : step_end(reader);
}
