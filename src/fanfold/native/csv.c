/* The lines of a CSV file (RFC 4180): the rules are in fanfold.h. */
#include <stdio.h>

#include "csv_line.h"
#include "inside.h"

static const char size_expected[] = "at most input.max_record_bytes";
static const char again_expected[] = " (if the file has no header, csv: {header: false})";
static const char crowd_expected[] = "no more columns than a run has fields";
static const char quote_expected[] = "quotes around the whole field, or none in it";

static const uint8_t *line_break(const uint8_t *p, const uint8_t *end) { return memchr(p, '\n', (size_t)(end - p)); }

/* Writes down that the line at the input's place is bad: at a field, or as a whole (SIZE_MAX). */
static int refuse(fanfold_reader *reader, Bad bad, size_t column) {
    bad.start = reader->input.at;
    if (bad.offset > bad.size) bad.offset = bad.size;
    if (column < reader->columns.count) bad.key = &reader->columns.items[column].name;
    reader_bad(reader, &bad);
    return FANFOLD_FULL;
}

/* Says that a field is in quotes only in part: it is shown up to its end, or that of its line, or 20 bytes of it. */
static void blame_quote(fanfold_reader *reader, const Line *line, const uint8_t *end, const Token *key) {
    Fault *fault = &reader->walk.fault;
    const uint8_t *p = line->at, *most = p + 20;
    for (; p < end && p < most && !is_break(p); p++)
        if (p >= line->stop && *p == reader->options.delimiter) break;
    while (p < end && (*p & 0xc0) == 0x80) p++;
    fault_begin(fault, quote_expected);
    if (key) fault_step(fault, key);
    bytes_put(&fault->found, line->at, (size_t)(p - line->at));
}

/* Says what is wrong. */
static void blame(Bad *bad, int code, const char *expected) {
    bad->code = code;
    bad->expected = expected;
}

/* The header. */

/* Names a column; returns the code of what is wrong with the name, or 0. */
static int take_name(fanfold_reader *reader, const Token *cell) {
    uint8_t *begin = arena_take(&reader->walk.given_texts, cell->size);
    Token name = {begin, (size_t)(undouble(cell, reader->options.quote, begin) - begin), 0};
    uint32_t node = shape_find(&reader->shape, RECORD, &name);
    int code = 0, is_new = !keys_find(&reader->keys, 0, name.at, name.size);
    if (!node && reader->mode == WALK_LEARN) node = shape_add(&reader->shape, RECORD, &name, &code);
    keys_add(&reader->keys, 0, name.at, name.size);
    ADD(reader->columns, (CsvColumn){name, node});
    if (!is_new) return FANFOLD_BAD_HEADER;
    return utf8_count(name.at, name.size) > MAX_KEY_CHARACTERS ? FANFOLD_KEY_TOO_LONG : code;
}

/* Names the columns by the cells of a line, or where that is a record by their numbers; returns the code of what is
 * wrong with the last one that is named, or 0. */
static int name_columns(fanfold_reader *reader, size_t count, int is_record) {
    int code = count > reader->options.max_fields ? FANFOLD_TOO_MANY_FIELDS : 0;
    keys_cut(&reader->keys, 0);
    for (size_t i = 0; i < count && !code; i++) {
        char number[LONGEST_FORM];
        Token name = reader->cells.items[i];
        if (is_record)
            name = (Token){(uint8_t *)number, (size_t)snprintf(number, sizeof number, "column_%zu", i + 1), 0};
        code = take_name(reader, &name);
    }
    if (!code) shape_keep(&reader->shape);
    shape_forget(&reader->shape);
    return code;
}

/* Says that a name in the header is wrong. */
static void blame_name(Bad *bad, int code, const uint8_t *begin, const Token *name) {
    blame(bad, code,
          code == FANFOLD_KEY_TOO_LONG ? "a name of at most 4,096 characters" : "no more fields than a run has");
    bad->offset = (uint64_t)(name->at - begin) - (name->marks & IN_QUOTES ? 1 : 0);
}

/* Says that the name that was taken last stands in the header twice. */
static void blame_again(fanfold_reader *reader, Bad *bad) {
    Fault *fault = &reader->walk.fault;
    const CsvColumn *columns = reader->columns.items;
    size_t last = reader->columns.count - 1, first = 0;
    const Token *name = &columns[last].name;
    while (!is_same(&columns[first].name, name)) first++;
    fault_begin(fault, name->size ? "another name for column " : "a name for column ");
    bytes_number(&fault->expected, last + 1);
    bytes_text(&fault->expected, ": column ");
    bytes_number(&fault->expected, first + 1);
    bytes_text(&fault->expected, name->size ? " has the same" : " has none, and only one may lack it");
    bytes_text(&fault->expected, again_expected);
    bytes_put(&fault->found, name->at, name->size);
    bad->expected = NULL;
}

static int step_header(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at);
    size_t most = (size_t)reader->options.max_record_bytes, left = (size_t)(input_stop(input) - begin);
    Line line = read_line(reader, begin, (size_t)reader->options.max_fields + 1);
    if (line.outcome == VALUE_INCOMPLETE && left <= most + 2) return input_hungry(input, input->at, most + 3);
    const uint8_t *stop = line.outcome == VALUE_GOOD ? line.end : line.stop;
    int code, is_large = line.outcome == VALUE_INCOMPLETE || (size_t)(stop - begin) > most;
    Bad bad = {.size = is_large ? most : (size_t)(stop - begin), .of_file = 1};
    if (is_large) {
        blame(&bad, FANFOLD_BAD_HEADER, "a header line of at most input.max_record_bytes");
    } else if (line.outcome == VALUE_BAD) {
        bad.code = FANFOLD_BAD_HEADER;
        bad.offset = (uint64_t)(line.at - begin);
        /* What stands behind the byte at fault may not be there yet. */
        blame_quote(reader, &line, stop < input_stop(input) ? stop + 1 : stop, NULL);
    } else if (line.cells > reader->options.max_fields) {
        blame_name(&bad, FANFOLD_TOO_MANY_FIELDS, begin, &reader->cells.items[reader->options.max_fields]);
        bad.expected = crowd_expected;
    } else if (line.flaw) {
        blame(&bad, FANFOLD_BAD_UTF8, "UTF-8");
        bad.offset = (uint64_t)(line.flaw - begin);
    } else if ((code = name_columns(reader, line.cells, 0))) {
        blame_name(&bad, code, begin, &reader->cells.items[reader->columns.count - 1]);
        if (code == FANFOLD_BAD_HEADER) blame_again(reader, &bad);
    }
    reader->file.state = bad.code ? AT_END : AT_LINE;
    if (!bad.code) {
        input->at += bad.size;
        return FANFOLD_FULL;
    }
    if (bad.size > bad.offset + MAX_KEY_CHARACTERS) bad.size = bad.offset + MAX_KEY_CHARACTERS;
    return refuse(reader, bad, SIZE_MAX);
}

/* The lines. */

/* Says whether a text is one of those that mean null. */
static int means_null(fanfold_bytes nulls, const Token *text) {
    Token null;
    for (const uint8_t *p = nulls.data, *end = p + nulls.size; p < end && (p = read_step(p, end, &null));)
        if (is_same(&null, text)) return 1;
    return 0;
}

static void take_cell(fanfold_reader *reader, size_t column) {
    Walk *walk = &reader->walk;
    Token cell = reader->cells.items[column];
    const CsvColumn *found = &reader->columns.items[column];
    const Given *given = walk_given(walk, &found->name);
    uint32_t number = found->node;
    const uint8_t *at = cell.at;
    int is_null = !(cell.marks & IN_QUOTES) && (!cell.size || means_null(reader->options.nulls, &cell));
    if (cell.marks & ESCAPED) {
        uint8_t *to = arena_take(&reader->merged.texts, cell.size), *end = undouble(&cell, reader->options.quote, to);
        cell = (Token){to, (size_t)(end - to), cell.marks & ~(unsigned)ESCAPED};
    }
    walk->levels[0].key = found->name;
    if (is_null) cell.at = NULL;
    if (walk->excluded) walk_exclude_key(walk, RECORD, &found->name, at);
    int is_ruled = !is_null && walk->way, is_parsed = is_ruled && !given && walk_is_parsed(walk);
    if (is_ruled && !is_parsed) {
        if (walk->excluded->rules.items[walk->way].marks & FANFOLD_SINGLE) number = walk_only(walk, number, at);
        walk_exclude_value(walk, IS_SCALAR, at);
    }
    if (given)
        walk_own(walk, given, &cell, at);
    else
        walk_take_text(walk, number, &cell, at, is_parsed);
}

void csv_walk(fanfold_reader *reader, const uint8_t *begin, size_t size) {
    Walk *walk = &reader->walk;
    walk_begin(walk, begin + size, ++reader->serial);
    walk->mode = reader->mode;
    walk->explain = 1;
    walk->depth = 1;
    walk->levels[0] = (Level){.is_object = 1, .begun = 1};
    if (walk->mode == WALK_LEARN) shape_hold(&reader->shape, RECORD, KIND_OBJECT, walk->record);
    walk_give(walk, begin);
    for (size_t i = 0; i < reader->columns.count; i++) take_cell(reader, i);
    walk->explain = 0;
}

/* Takes the line at the input's place. */
static void take_line(fanfold_reader *reader, const uint8_t *begin, size_t size) {
    const Walk *walk = &reader->walk;
    csv_walk(reader, begin, size);
    if (!walk->fault.code) {
        reader_good(reader, reader->input.at, size);
        return;
    }
    shape_forget(&reader->shape);
    reader_bad(reader, &(Bad){walk->fault.code, reader->input.at, size, .offset = (uint64_t)(walk->fault.at - begin)});
}

static void put_fields(Bytes *to, size_t count) {
    bytes_number(to, count);
    bytes_text(to, count == 1 ? " field" : " fields");
}

/* Says that a line has more or fewer fields than the header. */
static void blame_ragged(fanfold_reader *reader, Bad *bad, size_t count) {
    Fault *fault = &reader->walk.fault;
    bad->code = FANFOLD_RAGGED_LINE;
    fault_begin(fault, "");
    put_fields(&fault->found, count);
    put_fields(&fault->expected, reader->columns.count);
    bytes_text(&fault->expected, reader->options.headless ? ", as in the first line" : ", as in the header");
}

/* Passes over a line that is too long. */
static int step_long_line(fanfold_reader *reader) {
    Input *input = &reader->input;
    const Search *line = &reader->search;
    const uint8_t *end = input_stop(input), *p = line_break(input_byte(input, input->at), end);
    input->at = input_offset(input, p ? p : end);
    if (!p && !input->last) return FANFOLD_HUNGRY;
    uint64_t size = input->at - line->start;
    size -= p && *input_byte(input, input->at - 1) == '\r';
    reader_bad(reader, &(Bad){FANFOLD_RECORD_TOO_LARGE, line->start, size, line->line, .expected = size_expected});
    reader->file.state = AT_LINE;
    return FANFOLD_FULL;
}

/* A line that is not CSV, or too large, ends at its first line break. */
static int end_bad_line(fanfold_reader *reader, const uint8_t *begin, const Line *line) {
    Input *input = &reader->input;
    const uint8_t *stop = input_stop(input), *p = line_break(begin, stop), *end = p ? p : stop;
    uint64_t most = reader->options.max_record_bytes;
    size_t size = (size_t)(end - begin);
    if (size > most) {
        reader->search.start = input->at;
        reader->search.line = input_line(input, input->at);
        reader->file.state = IN_LONG_LINE;
        return FANFOLD_FULL;
    }
    if (!p && !input->last) return input_hungry(input, input->at, most + 2);
    /* Where it is seen only behind so many bytes, it is not said which field it is. */
    int is_seen = line->outcome == VALUE_BAD && line->at < end && (uint64_t)(line->stop - begin) <= 2 * most;
    Bad bad = {.code = p ? FANFOLD_BAD_QUOTE : FANFOLD_TRUNCATED, .size = size - (size && end[-1] == '\r')};
    if (is_seen) {
        bad.offset = (uint64_t)(line->at - begin);
        int is_named = line->cells < reader->columns.count;
        blame_quote(reader, line, end, is_named ? &reader->columns.items[line->cells].name : NULL);
    } else {
        bad.expected = quote_expected;
    }
    refuse(reader, bad, SIZE_MAX);
    input->at += size;
    return FANFOLD_FULL;
}

static int step_line(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at);
    int is_first = !reader->columns.count;
    Line line = read_line(reader, begin, is_first ? (size_t)reader->options.max_fields + 1 : reader->columns.count);
    uint64_t most = 2 * reader->options.max_record_bytes;
    if (line.outcome == VALUE_INCOMPLETE && input_end(input) - input->at <= most + 2)
        return input_hungry(input, input->at, most + 3);
    if (line.outcome != VALUE_GOOD || (uint64_t)(line.end - begin) > most) return end_bad_line(reader, begin, &line);
    Bad bad = {.size = (uint64_t)(line.end - begin)};
    if (bad.size > reader->options.max_record_bytes)
        blame(&bad, FANFOLD_RECORD_TOO_LARGE, size_expected);
    else if (is_first && !line.flaw && name_columns(reader, line.cells, 1))
        blame(&bad, FANFOLD_TOO_MANY_FIELDS, crowd_expected);
    else if (!is_first && line.cells != reader->columns.count)
        blame_ragged(reader, &bad, line.cells);
    else if (line.flaw)
        blame(&bad, FANFOLD_BAD_UTF8, "UTF-8");
    int is_flaw = bad.code == FANFOLD_BAD_UTF8;
    if (is_first && bad.code) reader->columns.count = 0;
    if (is_flaw) bad.offset = (uint64_t)(line.flaw - begin);
    if (bad.code)
        refuse(reader, bad, is_flaw ? line.flawed : SIZE_MAX);
    else
        take_line(reader, begin, (size_t)bad.size);
    input->at += bad.size;
    return FANFOLD_FULL;
}

int csv_step(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (reader->file.state == IN_LONG_LINE) return step_long_line(reader);
    /* Line breaks are passed, and so blank lines. */
    const uint8_t *p = input_byte(input, input->at), *end = input_stop(input);
    while (p < end && is_break(p)) p++;
    input->at = input_offset(input, p);
    if (!input->last && (p == end || (*p == '\r' && p + 1 == end))) return FANFOLD_HUNGRY;
    if (p < end && reader->options.headless) reader->file.state = AT_LINE;
    if (p < end) return reader->file.state == AT_HEADER ? step_header(reader) : step_line(reader);
    const char *expected = reader->options.headless ? "a line" : "a header line";
    if (reader->file.state == AT_HEADER)
        reader_bad(reader, &(Bad){.code = FANFOLD_EMPTY_FILE, .line = 1, .expected = expected, .of_file = 1});
    reader->file.state = AT_END;
    return FANFOLD_FULL;
}
