/* What stands around the records of a document (`records_at`): it is judged and passed over.
 *
 * A fault that leaves no doubt where reading goes on is a bad record of its own; another makes the rest of the document
 * one, up to the next line that begins with `{`. Beside the way, arrays are passed element by element, so only other
 * values have to fit into max_record_bytes. */
#include "begins.h"

const char document_end_expected[] = "the end of the document around the records";
static const char way_expected[] = "input.records_at to lead to the records";
static const char stray_expected[] = "a document around this record";
static const char array_expected[] = "an array of records at input.records_at";

/* The rest of the document, from the input's place on, is bad: nothing, where the next one begins there. */
static int give_up(fanfold_reader *reader, int code, const char *expected) {
    Search *search = &reader->search;
    uint64_t start = reader->input.at;
    int is_next = reader->file.depth && reader->file.state != AT_VALUE && *input_byte(&reader->input, start) == '{';
    search_begin(reader, start, 0, AT_DOCUMENT);
    is_next = is_next && search->own_line && !search->indent;
    search->own_line = search->broken = 1;
    search->indent = 0;
    reader->file.depth = reader->file.way_depth = 0;
    if (is_next) reader_bad(reader, &(Bad){code, start, .expected = expected});
    if (is_next) reader->file.state = AT_DOCUMENT;
    return is_next ? FANFOLD_FULL : search_says(reader, code, expected);
}

int document_breaks_off(fanfold_reader *reader) {
    reader_bad(reader, &(Bad){FANFOLD_TRUNCATED, reader->input.at, .expected = document_end_expected});
    reader->file.depth = reader->file.way_depth = 0;
    reader->file.comma = 0;
    reader->file.state = AT_DOCUMENT;
    return FANFOLD_FULL;
}

int document_goes_on(fanfold_reader *reader, uint64_t at) {
    File *file = &reader->file;
    if (!file->depth || !reader->around[file->depth - 1].is_object || file->first_key_of != 2) return 0;
    const uint8_t *begin = input_byte(&reader->input, at), *p = begin;
    int follows = reader_following(reader, at, FRAME "\n");
    if (follows != '{') return follows < 0 ? -1 : 0;
    while (*p != '{') p++;
    int is_next = begins_document(reader, input_offset(&reader->input, p));
    int is_record = is_next ? -(is_next < 0) : begins_like_first(reader, input_offset(&reader->input, p));
    if (is_record <= 0) return is_record;
    while (is_blank(p[-1])) p--;
    Bad bad = {FANFOLD_TRAILING_GARBAGE, at, (uint64_t)(p - begin), .expected = "']' only behind the last record"};
    reader_bad(reader, &bad);
    reader->input.at = input_offset(&reader->input, p);
    file->comma = 0;
    file->lacks_comma = 0;
    file->state = BEHIND_ELEMENT;
    return 1;
}

/* Says whether a member is the next step of the way to the records. */
static int is_on_way(fanfold_reader *reader, Around *around, const Token *name) {
    int is_step = around->on_way && is_same(name, &reader->steps[reader->file.way_depth - 1]);
    around->found |= (uint8_t)is_step;
    return is_step;
}

static int open_container(fanfold_reader *reader, int is_object) {
    File *file = &reader->file;
    if (file->depth == MAX_DEPTH) return give_up(reader, FANFOLD_TOO_DEEP, "objects and arrays at most 128 levels deep");
    reader->around[file->depth++] =
        (Around){(uint8_t)is_object, (uint8_t)file->on_way, 0, file->way, is_object ? ++reader->serial : 0};
    file->way_depth += (size_t)file->on_way;
    file->comma = 0;
    file->state = AT_MEMBER;
    reader->input.at++;
    return FANFOLD_FULL;
}

static int close_container(fanfold_reader *reader) {
    const Around *around = &reader->around[--reader->file.depth];
    Bad bad = {FANFOLD_POINTER_NOT_FOUND, reader->input.at++, .expected = way_expected};
    json_idle_comma(reader, "another value behind the comma, or no comma");
    if (around->on_way && !around->found) reader_bad(reader, &bad);
    reader->file.way_depth -= around->on_way;
    return json_behind_value(reader);
}

/* Reads a value as a whole: beside the way, or where the way leads to one record, or to none. */
static int whole_value(fanfold_reader *reader, int is_record) {
    Input *input = &reader->input;
    uint64_t start = input->at, most = reader->options.max_record_bytes;
    int is_null = *input_byte(input, start) == 'n', on_way = reader->file.on_way;
    size_t kept = reader->walk.envelope.size;
    reader->walk.around = reader->options.looks && !is_record ? reader->file.way : OPAQUE;
    Reading reading = reader_value(reader, start, is_record ? reader->mode : WALK_JUDGE);
    uint64_t size = reading.end - start;
    int follows = reading.outcome == VALUE_GOOD ? reader_following(reader, reading.end, BLANKS) : ',';
    int begins = follows >= 0 && strchr("\n{", follows) ? begins_document(reader, start) : 0;
    int fault = reader->walk.fault.code, is_kept = !fault || fault == FANFOLD_NOT_AN_OBJECT;
    reader->walk.around = OPAQUE;
    if (reading.outcome != VALUE_GOOD || size > most || !is_kept || begins || follows < 0) reader->walk.envelope.size = kept;
    if (reading.outcome != VALUE_GOOD || size > most || fault || !is_record || begins || follows < 0) shape_forget(&reader->shape);
    if (reading.outcome == VALUE_INCOMPLETE && input_end(input) - start <= most + PAD)
        return input_hungry(input, start, most + 2 * PAD);
    if (follows < 0 || begins < 0) return input_hungry(input, start, most + MAX_FOLLOWING);
    if (begins) return document_breaks_off(reader);
    if (size > most || reading.outcome == VALUE_INCOMPLETE)
        return give_up(reader, FANFOLD_RECORD_TOO_LARGE,
                       "at most input.max_record_bytes in a value around the records");
    if (reading.outcome != VALUE_GOOD) return give_up(reader, fault, "JSON around the records");
    if (is_record && !fault)
        reader_good(reader, start, size);
    else if (fault && (is_record || fault != FANFOLD_NOT_AN_OBJECT))
        reader_judge(reader, start, size, 0);
    else if (on_way && reader->file.way_depth < reader->step_count)
        reader_bad(reader, &(Bad){FANFOLD_POINTER_NOT_FOUND, start, size, .expected = way_expected});
    else if (on_way && !is_null)
        reader_bad(reader, &(Bad){FANFOLD_NOT_AN_OBJECT, start, size, .expected = array_expected});
    input->at = reading.end;
    return json_behind_value(reader);
}

int value_step(fanfold_reader *reader, uint8_t c) {
    int on_way = reader->file.on_way, is_there = on_way && reader->file.way_depth == reader->step_count;
    if (is_there) return c == '[' ? json_begin_array(reader) : whole_value(reader, c == '{');
    /* What records take along is kept as a whole. */
    int is_around = reader->walk.excluded && reader->excluded.rules.items[reader->file.way].marks & FANFOLD_AROUND;
    return (c == '[' && !is_around) || (c == '{' && on_way) ? open_container(reader, c == '{') : whole_value(reader, 0);
}

/* Reads a key, its colon, and the blanks behind it. */
static int take_key(fanfold_reader *reader, Around *around) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at), *end = input_stop(input), *p = NULL;
    Flaw soft = {0}, hard = {0};
    Token key = {begin, 0, 0};
    if (*begin == '"') p = read_text(begin + 1, end, &key, &soft, &hard);
    const uint8_t *stop = p ? p = skip_blanks(p) : hard.code ? hard.at : begin;
    uint64_t most = reader->options.max_record_bytes;
    if (!input->last && end - stop < 16 && (uint64_t)(end - begin) <= most + PAD)
        return input_hungry(input, input->at, most + 2 * PAD);
    if ((uint64_t)(stop - begin) > most)
        return give_up(reader, FANFOLD_RECORD_TOO_LARGE, "at most input.max_record_bytes in a key around the records");
    int code = soft.code ? soft.code : hard.code ? hard.code : p && *p == ':' ? 0 : FANFOLD_SYNTAX;
    if (code) return give_up(reader, code, "a key and ':' around the records");
    if (reader->keys.keys.count > MAX_VALUES)
        return give_up(reader, FANFOLD_TOO_MANY_VALUES, "at most 1,000,000 keys around the records");
    if (reader->file.depth == 1 && !reader->file.has_document_key && key.size <= MAX_KEY_CHARACTERS) {
        bytes_set(&reader->document_key, key.at, key.size);
        reader->file.has_document_key = 1;
    }
    arena_empty(&reader->merged.texts);
    Token name = walk_decoded(&reader->walk, &key);
    if (keys_find(&reader->keys, around->number, name.at, name.size))
        return give_up(reader, FANFOLD_DUPLICATE_KEY, "each key only once in an object");
    keys_add(&reader->keys, around->number, name.at, name.size);
    reader->file.way = excluded_find(&reader->excluded, around->way, &name);
    reader->file.on_way = is_on_way(reader, around, &name);
    reader->file.state = AT_VALUE;
    input->at = input_offset(input, p + 1);
    return FANFOLD_FULL;
}

int member_step(fanfold_reader *reader, uint8_t c) {
    Around *around = &reader->around[reader->file.depth - 1];
    if (c == (around->is_object ? '}' : ']')) return close_container(reader);
    if (around->is_object) return take_key(reader, around);
    reader->row.size = 0;
    bytes_number(&reader->row, around->number++);
    reader->file.on_way = is_on_way(reader, around, &(Token){reader->row.data, reader->row.size, 0});
    reader->file.way = reader->file.on_way ? around->way : OPAQUE;
    reader->file.state = AT_VALUE;
    return value_step(reader, c);
}

int behind_value_step(fanfold_reader *reader, uint8_t c) {
    int is_object = reader->around[reader->file.depth - 1].is_object;
    reader->file.comma = 0;
    if (c == (is_object ? '}' : ']')) return close_container(reader);
    if (c != ',') return give_up(reader, FANFOLD_SYNTAX, "',' or a closing bracket around the records");
    reader->file.comma = ++reader->input.at;
    reader->file.comma_line = 0;
    reader->file.state = AT_MEMBER;
    return FANFOLD_FULL;
}

/* Says whether a record stands where a document should, behind what belongs to none: its array has ended too early. */
static int is_stray_record(const fanfold_reader *reader) {
    const File *file = &reader->file;
    const Bytes *own = &reader->first_key, *first = &reader->document_key;
    Token key = {own->data, own->size, 0};
    if (!file->is_astray || file->first_key_of != 2 || is_same(&key, &reader->steps[0])) return 0;
    if (file->has_document_key && is_same(&key, &(Token){first->data, first->size, 0})) return 0;
    return begins_like_first(reader, reader->input.at);
}

/* Keeps its text, which is a bad record. */
static int stray_record(fanfold_reader *reader) {
    Input *input = &reader->input;
    uint64_t start = input->at, most = reader->options.max_record_bytes;
    Reading reading = reader_value(reader, start, WALK_JUDGE);
    shape_forget(&reader->shape);
    if (reading.outcome == VALUE_INCOMPLETE && input_end(input) - start <= most + PAD)
        return input_hungry(input, start, most + 2 * PAD);
    if (reading.outcome != VALUE_GOOD) return give_up(reader, FANFOLD_SYNTAX, stray_expected);
    reader_bad(reader, &(Bad){FANFOLD_POINTER_NOT_FOUND, start, reading.end - start, .expected = stray_expected});
    input->at = reading.end;
    return FANFOLD_FULL;
}

int document_step(fanfold_reader *reader, uint8_t c) {
    if (c == ',' || c == ']') {
        reader_bad(reader, &(Bad){FANFOLD_TRAILING_GARBAGE, reader->input.at++, 1, .expected = "the next document"});
        reader->file.is_astray = 1;
        return FANFOLD_FULL;
    }
    int is_stray = c == '{' ? is_stray_record(reader) : 0;
    if (is_stray < 0) return FANFOLD_HUNGRY;
    if (is_stray) return stray_record(reader);
    reader->file.is_astray = 0;
    keys_cut(&reader->keys, 0);
    if (!envelope_begin(reader)) return give_up(reader, FANFOLD_SYNTAX, "a document as it was seen before");
    reader->file.on_way = 1;
    reader->file.way = reader->options.has_envelope ? RECORD : OPAQUE;
    reader->file.last_code = 0;
    return value_step(reader, c);
}
