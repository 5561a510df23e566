/* The items of a JSON file: records, and arrays of records. */
#include "reader.h"

int json_search(fanfold_reader *reader, uint64_t start, int in_array, int may_key, State then) {
    search_begin(reader, start, in_array, may_key && reader->has_first_key);
    reader->given_code = 0;
    reader->then = then;
    reader->state = IN_SEARCH;
    return FANFOLD_FULL;
}

static int give(fanfold_reader *reader, int code, const char *expected) {
    reader->given_code = code;
    reader->given_expected = expected;
    return FANFOLD_FULL;
}

/* Goes on with the search for the end of a bad record, and writes it down. */
static int step_search(fanfold_reader *reader) {
    Search *search = &reader->search;
    int answer = search_end(reader);
    if (answer == FANFOLD_HUNGRY) return answer;
    if (reader->given_code)
        reader_bad(reader, &(Bad){search->start, search->size, search->line, search->start, reader->given_code,
                                  reader->given_expected, NULL});
    else if (!search->size)
        reader_bad(reader, &(Bad){search->start, 0, search->line, search->start, FANFOLD_SYNTAX, "a record", NULL});
    else
        reader_judge(reader, search->start, search->size, search->line);
    if (reader->has_first_key == 1) reader->has_first_key = 0;
    reader->input.at = search->at;
    reader->state = reader->then;
    return FANFOLD_FULL;
}

/* Keeps the first key of the record that was read: 1, of a bad one, for its search only; 2, of a good one. */
static void keep_first_key(fanfold_reader *reader, int which) {
    const Token *key = &reader->walk.first_key;
    if (reader->has_first_key || !key->at || key->size > MAX_KEY_CHARACTERS) return;
    reader->first_key.size = 0;
    bytes_put(&reader->first_key, key->at, key->size);
    reader->has_first_key = which;
}

/* Reads the record at the input's place. */
static int step_record(fanfold_reader *reader, int in_array) {
    Input *input = &reader->input;
    uint64_t start = input->at, most = reader->options.max_record_bytes;
    State then = in_array ? BEHIND_ELEMENT : AT_ITEM;
    Reading reading = reader_value(reader, start, reader->options.others == FANFOLD_LEARN ? WALK_LEARN : WALK_READ);
    if (reading.outcome == VALUE_INCOMPLETE && input_end(input) - start <= most + PAD) {
        shape_forget(&reader->shape);
        return input_hungry(input, start, most + 2 * PAD);
    }
    uint64_t size = reading.end - start;
    if (reading.outcome != VALUE_GOOD || size > most) {
        keep_first_key(reader, 1);
        shape_forget(&reader->shape);
        return json_search(reader, start, in_array, size <= most, then);
    }
    int follows = reader_following(reader, reading.end, in_array);
    if (follows < 0) {
        shape_forget(&reader->shape);
        return input_hungry(input, start, most + MAX_FOLLOWING);
    }
    int fits = follows == '\n' || follows == '{' || (in_array && (follows == ',' || follows == ']'));
    if (!fits) {
        keep_first_key(reader, 1);
        shape_forget(&reader->shape);
        json_search(reader, start, in_array, 1, then);
        if (!in_array) {
            reader->search.to_line = 1;
            reader->search.may_key = 0;
            reader->search.at = reading.end;
        }
        return FANFOLD_FULL;
    }
    if (reader->walk.fault.code) {
        reader_judge(reader, start, size, 0);
    } else {
        keep_first_key(reader, 2);
        reader_good(reader, start, size);
    }
    input->at = reading.end;
    reader->state = in_array && follows == '{' ? AT_UNEXPECTED : then;
    return FANFOLD_FULL;
}

void json_idle_comma(fanfold_reader *reader, const char *expected) {
    if (!reader->comma) return;
    uint64_t comma = reader->comma - 1;
    reader_bad(reader, &(Bad){comma, 1, reader->comma_line, comma, FANFOLD_TRAILING_COMMA, expected, ","});
    reader->comma = 0;
}

int json_wait(fanfold_reader *reader) {
    if (reader->comma && !reader->comma_line) reader->comma_line = input_line(&reader->input, reader->comma - 1);
    return FANFOLD_HUNGRY;
}

/* Nothing is left: the file ends, inside of an array or not. */
static int step_end(fanfold_reader *reader, int in_array) {
    if (!reader->input.last) return json_wait(reader);
    if (in_array && reader->last_code != FANFOLD_TRUNCATED && reader->last_code != FANFOLD_TOO_DEEP)
        reader_bad(reader, &(Bad){reader->input.at, 0, 0, reader->input.at, FANFOLD_TRUNCATED,
                                  "the end of the array of records", NULL});
    reader->state = AT_END;
    return FANFOLD_FULL;
}

static int step_start(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (!input->at && !input->last && input_end(input) < 3) return FANFOLD_HUNGRY;
    if (!input->at && !memcmp(input->bytes.data, "\xef\xbb\xbf", 3)) input->at = 3;
    if (!input_pass_blanks(input)) {
        if (!input->last) return FANFOLD_HUNGRY;
        reader_put_fault(reader, &(Bad){0, 0, 1, 0, FANFOLD_EMPTY_FILE, "records", NULL}, 0);
        reader->state = AT_END;
        return FANFOLD_FULL;
    }
    reader->state = reader->way_count ? IN_DOCUMENT : AT_ITEM;
    return FANFOLD_FULL;
}

static int step_item(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (!input_pass_blanks(input)) return step_end(reader, 0);
    if (!reader->counts.records && !reader->arrays) reader->arrays = *input_byte(input, input->at) == '[' ? 1 : 2;
    if (reader->arrays != 1 || *input_byte(input, input->at) != '[') return step_record(reader, 0);
    input->at++;
    reader->comma = reader->last_code = 0;
    reader->state = AT_ELEMENT;
    return FANFOLD_FULL;
}

static int step_element(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (!input_pass_blanks(input)) return step_end(reader, 1);
    if (*input_byte(input, input->at) != ']') return step_record(reader, 1);
    json_idle_comma(reader, "another record behind it");
    input->at++;
    reader->state = reader->way_count ? IN_DOCUMENT : BEHIND_ARRAY;
    return FANFOLD_FULL;
}

static int step_behind_element(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (!input_pass_blanks(input)) return step_end(reader, 1);
    int comma = *input_byte(input, input->at) == ',';
    reader->comma = comma ? input->at + 1 : 0;
    reader->comma_line = 0;
    input->at += (uint64_t)comma;
    reader->state = AT_ELEMENT;
    return FANFOLD_FULL;
}

static int step_unexpected(fanfold_reader *reader) {
    if (!input_pass_blanks(&reader->input)) return FANFOLD_HUNGRY;
    json_search(reader, reader->input.at, 1, 1, BEHIND_ELEMENT);
    return give(reader, FANFOLD_SYNTAX, "',' or ']' before the next record");
}

static int step_behind_array(fanfold_reader *reader) {
    Input *input = &reader->input;
    while (input->at < input_end(input) && strchr(" \t\r", *input_byte(input, input->at)) &&
           *input_byte(input, input->at))
        input->at++;
    if (input->at == input_end(input)) return step_end(reader, 0);
    uint8_t c = *input_byte(input, input->at);
    reader->state = AT_ITEM;
    if (c == '\n' || c == '[' || c == '{') return FANFOLD_FULL;
    json_search(reader, input->at, 0, 0, AT_ITEM);
    reader->search.to_line = 1;
    return give(reader, FANFOLD_TRAILING_GARBAGE, "nothing behind the array of records");
}

int json_step(fanfold_reader *reader) {
    switch (reader->state) {
    case AT_START:
        return step_start(reader);
    case AT_ITEM:
        return step_item(reader);
    case AT_ELEMENT:
        return step_element(reader);
    case BEHIND_ELEMENT:
        return step_behind_element(reader);
    case AT_UNEXPECTED:
        return step_unexpected(reader);
    case BEHIND_ARRAY:
        return step_behind_array(reader);
    default:
        return step_search(reader);
    }
}
