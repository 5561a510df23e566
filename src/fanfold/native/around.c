/* What stands around the records of a document (`records_at`): it is judged and passed over.
 *
 * A fault that leaves no doubt where reading goes on is a bad record of its own; another makes the rest of the document
 * one, up to the next line that begins with `{`. Beside the way, arrays are passed element by element, so only other
 * values have to fit into max_record_bytes. */
#include "reader.h"

static uint64_t offset_of(const fanfold_reader *reader, const uint8_t *p) {
    return reader->input.base + (uint64_t)(p - reader->input.bytes.data);
}

/* The rest of the document, from `start` on, is bad. */
static int give_up(fanfold_reader *reader, uint64_t start, int code, const char *expected) {
    json_search(reader, start, 0, 0, IN_DOCUMENT);
    reader->search.own_line = reader->search.broken = 1;
    reader->search.indent = 0;
    reader->given_code = code;
    reader->given_expected = expected;
    reader->around_depth = reader->way_depth = 0;
    reader->place = AT_DOCUMENT;
    return FANFOLD_FULL;
}

/* The same for what a value, or the search for one, says. */
static int give_up_value(fanfold_reader *reader, uint64_t start, const Reading *reading) {
    if (reading->end - start > reader->options.max_record_bytes || reading->outcome == VALUE_INCOMPLETE)
        return give_up(reader, start, FANFOLD_RECORD_TOO_LARGE,
                       "at most input.max_record_bytes in a value around the records");
    return give_up(reader, start, reader->walk.fault.code, "JSON around the records");
}

static int is_at_end(fanfold_reader *reader) {
    if (!reader->input.last) return json_wait(reader);
    uint64_t at = reader->input.at;
    if (reader->place != AT_DOCUMENT && reader->last_code != FANFOLD_TRUNCATED)
        reader_bad(reader, &(Bad){at, 0, 0, at, FANFOLD_TRUNCATED, "the end of the document around the records", NULL});
    reader->state = AT_END;
    return FANFOLD_FULL;
}

static int is_step(const fanfold_reader *reader, const uint8_t *text, size_t size) {
    size_t begin = reader->way_depth > 1 ? reader->steps[reader->way_depth - 2] : 0;
    return size == reader->steps[reader->way_depth - 1] - begin &&
           (!size || !memcmp(text, reader->way.data + begin, size));
}

static int open_container(fanfold_reader *reader) {
    Input *input = &reader->input;
    int is_object = *input_byte(input, input->at) == '{';
    if (reader->around_depth == MAX_DEPTH)
        return give_up(reader, input->at, FANFOLD_TOO_DEEP, "brackets of at most 128 levels");
    reader->around[reader->around_depth++] =
        (Around){(uint8_t)is_object, (uint8_t)reader->on_way, 0, is_object ? ++reader->serial : 0};
    reader->way_depth += (size_t)reader->on_way;
    input->at++;
    reader->comma = 0;
    reader->place = AT_FIRST_MEMBER;
    return FANFOLD_FULL;
}

/* Reads a value as a whole: beside the way, or where the way leads to one record, or to none. */
static int step_whole(fanfold_reader *reader, int is_record) {
    Input *input = &reader->input;
    uint64_t start = input->at, most = reader->options.max_record_bytes;
    int mode = !is_record ? WALK_JUDGE : reader->options.others == FANFOLD_LEARN ? WALK_LEARN : WALK_READ;
    int is_null = *input_byte(input, start) == 'n', on_way = reader->on_way;
    Reading reading = reader_value(reader, start, mode);
    uint64_t size = reading.end - start;
    int fault = reader->walk.fault.code;
    if (reading.outcome != VALUE_GOOD || size > most || fault || !is_record) shape_forget(&reader->shape);
    if (reading.outcome == VALUE_INCOMPLETE && input_end(input) - start <= most + PAD)
        return input_hungry(input, start, most + 2 * PAD);
    if (reading.outcome != VALUE_GOOD || size > most) return give_up_value(reader, start, &reading);
    if (is_record && !fault) {
        reader_good(reader, start, size);
    } else if (fault && (is_record || fault != FANFOLD_NOT_AN_OBJECT)) {
        reader_judge(reader, start, size, 0);
    } else if (on_way && reader->way_depth < reader->way_count) {
        reader_bad(reader, &(Bad){start, size, 0, start, FANFOLD_POINTER_NOT_FOUND,
                                  "input.records_at to lead to the records", NULL});
    } else if (on_way && !is_null) {
        reader_bad(reader, &(Bad){start, size, 0, start, FANFOLD_NOT_AN_OBJECT,
                                  "an array of records at input.records_at", NULL});
    }
    input->at = reading.end;
    reader->place = BEHIND_VALUE;
    return FANFOLD_FULL;
}

static int step_value(fanfold_reader *reader) {
    Input *input = &reader->input;
    uint8_t c = *input_byte(input, input->at);
    if (!reader->on_way) return c == '[' ? open_container(reader) : step_whole(reader, 0);
    if (reader->way_depth < reader->way_count)
        return c == '{' || c == '[' ? open_container(reader) : step_whole(reader, 0);
    if (c != '[') return step_whole(reader, c == '{');
    input->at++;
    reader->comma = 0;
    reader->last_code = 0;
    reader->state = AT_ELEMENT;
    reader->place = BEHIND_VALUE;
    return FANFOLD_FULL;
}

/* Reads a key, its colon, and the blanks behind it. */
static int step_key(fanfold_reader *reader, Around *around) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at), *end = input->bytes.data + input->bytes.size, *p = NULL;
    Flaw soft = {0}, hard = {0};
    Token key = {begin, 0, 0};
    if (*begin == '"') p = read_text(begin + 1, end, &key, &soft, &hard);
    const uint8_t *stop = p ? p = skip_blanks(p) : hard.code ? hard.at : begin;
    uint64_t most = reader->options.max_record_bytes;
    if (!input->last && end - stop < 16 && (uint64_t)(end - begin) <= most + PAD)
        return input_hungry(input, input->at, most + 2 * PAD);
    if ((uint64_t)(stop - begin) > most)
        return give_up(reader, input->at, FANFOLD_RECORD_TOO_LARGE,
                       "at most input.max_record_bytes in a key around the records");
    if (!p || *p != ':' || soft.code)
        return give_up(reader, input->at,
                       soft.code   ? soft.code
                       : hard.code ? hard.code
                                   : FANFOLD_SYNTAX,
                       "a key and ':' around the records");
    arena_empty(&reader->merged.texts);
    uint8_t *text = arena_take(&reader->merged.texts, key.size), *last = decode_text(&key, text);
    if (reader->around_keys.count > MAX_VALUES)
        return give_up(reader, input->at, FANFOLD_TOO_MANY_VALUES, "at most 1,000,000 keys around the records");
    if (!keys_add(&reader->around_keys, around->number, text, (size_t)(last - text)))
        return give_up(reader, input->at, FANFOLD_DUPLICATE_KEY, "each key once in an object");
    reader->on_way = around->on_way && is_step(reader, text, (size_t)(last - text));
    around->found |= (uint8_t)reader->on_way;
    input->at = offset_of(reader, p + 1);
    reader->place = AT_VALUE;
    return FANFOLD_FULL;
}

static int step_member(fanfold_reader *reader) {
    Around *around = &reader->around[reader->around_depth - 1];
    if (around->is_object) return step_key(reader, around);
    char number[24];
    size_t size = sizeof number;
    for (uint64_t left = around->number, first = 1; first || left; left /= 10, first = 0)
        number[--size] = (char)('0' + left % 10);
    reader->on_way = around->on_way && is_step(reader, (const uint8_t *)number + size, sizeof number - size);
    around->found |= (uint8_t)reader->on_way;
    around->number++;
    reader->place = AT_VALUE;
    return FANFOLD_FULL;
}

static int close_container(fanfold_reader *reader) {
    Input *input = &reader->input;
    const Around *around = &reader->around[--reader->around_depth];
    uint64_t at = input->at++;
    json_idle_comma(reader, "another member behind it");
    if (around->on_way && !around->found)
        reader_bad(reader,
                   &(Bad){at, 0, 0, at, FANFOLD_POINTER_NOT_FOUND, "input.records_at to lead to the records", NULL});
    reader->way_depth -= around->on_way;
    reader->place = BEHIND_VALUE;
    return FANFOLD_FULL;
}

static int step_behind(fanfold_reader *reader, uint8_t c) {
    Input *input = &reader->input;
    const Around *around = &reader->around[reader->around_depth - 1];
    if (c == (around->is_object ? '}' : ']')) {
        reader->comma = 0;
        return close_container(reader);
    }
    if (c != ',') return give_up(reader, input->at, FANFOLD_SYNTAX, "',' or a closing bracket around the records");
    reader->comma = ++input->at;
    reader->comma_line = 0;
    reader->place = AT_FIRST_MEMBER;
    return FANFOLD_FULL;
}

int around_step(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (reader->place == BEHIND_VALUE && !reader->around_depth) reader->place = AT_DOCUMENT;
    if (!input_pass_blanks(input)) return is_at_end(reader);
    uint8_t c = *input_byte(input, input->at);
    switch (reader->place) {
    case AT_DOCUMENT:
        keys_empty(&reader->around_keys);
        reader->on_way = 1;
        reader->last_code = 0;
        reader->place = AT_VALUE;
        return FANFOLD_FULL;
    case AT_VALUE:
        return step_value(reader);
    case AT_FIRST_MEMBER:
        if (c == (reader->around[reader->around_depth - 1].is_object ? '}' : ']')) return close_container(reader);
        reader->place = AT_MEMBER;
        return FANFOLD_FULL;
    case AT_MEMBER:
        return step_member(reader);
    default:
        return step_behind(reader, c);
    }
}
