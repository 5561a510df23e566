/* The lines of a CSV file (RFC 4180): the rules are in fanfold.h. */
#include "inside.h"
#include "reader.h"

typedef struct {
    Outcome outcome;
    const uint8_t *end;  /* of a good line: its line break, or the end of the file */
    const uint8_t *at;   /* of a bad one: the field that is at fault */
    const uint8_t *stop; /* of a bad one: where that is seen */
    const uint8_t *flaw; /* the first byte that is not UTF-8; NULL: none */
    size_t flawed, cells;
} Line;

static const char size_expected[] = "at most input.max_record_bytes";

static int is_break(const uint8_t *p) { return *p == '\n' || (*p == '\r' && p[1] == '\n'); }

/* Passes a field, in quotes or not; returns what follows it, or NULL where one does not end, or a quote is in the
 * other: `cell->size` is then before it. */
static const uint8_t *pass_cell(const uint8_t *p, const uint8_t *end, Token *cell, Line *line) {
    int quoted = *p == '"' && p < end;
    p += quoted;
    *cell = (Token){p, 0, 0};
    for (;;) {
        p = plain_run(p);
        uint8_t c = *p;
        if (p >= end || (!quoted && (c == ',' || c == '"' || is_break(p))) || (c == '"' && p[1] != '"')) break;
        if (c == '"' || c == ',' || c == '#' || c == '\r' || c == '\n') cell->marks |= QUOTED;
        if (c == '"') cell->marks |= ESCAPED;
        size_t size = c == '"' ? 2 : c < 0x80 ? 1 : utf8_size(p);
        if (!size && !line->flaw) {
            line->flaw = p;
            line->flawed = line->cells;
        }
        p += size ? size : 1;
    }
    cell->size = (size_t)(p - cell->at);
    if (quoted && !cell->size) cell->marks |= QUOTED;
    int ends_quoted = p < end && *p == '"';
    return quoted != ends_quoted ? NULL : p + quoted;
}

/* Reads the line at `p`. Its cells are kept, as far as the header has names for them. */
static Line read_line(fanfold_reader *reader, const uint8_t *p, size_t most) {
    const Input *input = &reader->input;
    const uint8_t *end = input_stop(input);
    Line line = {.outcome = VALUE_GOOD};
    for (reader->cells.count = 0;; p++) {
        Token cell;
        line.at = p;
        const uint8_t *behind = pass_cell(p, end, &cell, &line);
        /* A quote, or a CR, right at the end may mean another thing with what follows. */
        if (!input->last && (!behind || behind >= end || behind + 1 == end)) {
            line.outcome = VALUE_INCOMPLETE;
            if (behind || *p == '"' || cell.size + 1 >= (size_t)(end - p)) return line;
        }
        int ends = behind && (behind >= end || is_break(behind));
        if (!behind || (!ends && *behind != ',')) {
            line.outcome = VALUE_BAD;
            line.stop = behind ? behind : *p == '"' ? end : cell.at + cell.size;
            return line;
        }
        if (line.cells < most) ADD(reader->cells, cell);
        line.cells++;
        p = behind;
        if (ends) break;
    }
    line.end = p;
    return line;
}

static const uint8_t *line_break(const uint8_t *p, const uint8_t *end) { return memchr(p, '\n', (size_t)(end - p)); }

/* The pointer of a fault is the name of a column, or empty. */
static void point_to(fanfold_reader *reader, size_t column) {
    Walk *walk = &reader->walk;
    walk->depth = column < reader->columns.count;
    walk->levels[0] = (Level){.is_object = 1, .begun = 1};
    if (walk->depth) walk->levels[0].key = reader->columns.items[column].name;
}

/* Writes down that the line at the input's place is bad: at a field, or as a whole (SIZE_MAX). */
static int refuse(fanfold_reader *reader, Bad bad, size_t column) {
    Walk *walk = &reader->walk;
    const uint8_t *begin = input_byte(&reader->input, reader->input.at);
    bad.start = reader->input.at;
    if (bad.offset > bad.size) bad.offset = bad.size;
    walk_begin(walk, begin + bad.size, ++reader->serial);
    walk->explain = 1;
    point_to(reader, column);
    walk_fault(walk, bad.code, begin + bad.offset, bad.expected);
    walk->explain = 0;
    bad.expected = NULL;
    reader_bad(reader, &bad);
    return FANFOLD_FULL;
}

/* Says what is wrong. */
static void blame(Bad *bad, int code, const char *expected) {
    bad->code = code;
    bad->expected = expected;
}

/* The header. */

/* Copies a field in quotes without its quotes; returns its end. */
static uint8_t *undouble(const Token *cell, uint8_t *to) {
    for (size_t i = 0; i < cell->size; i++) {
        *to++ = cell->at[i];
        i += cell->at[i] == '"';
    }
    return to;
}

/* Takes a name of the header, for which there is room; returns the code of what is wrong with it, or 0. */
static int take_name(fanfold_reader *reader, const Token *cell) {
    uint8_t *begin = reader->header.data + reader->header.size;
    Token name = {begin, (size_t)(undouble(cell, begin) - begin), 0};
    uint32_t node = shape_find(&reader->shape, RECORD, &name);
    int code = 0, is_new = !keys_find(&reader->keys, 0, name.at, name.size);
    if (!node && reader->mode == WALK_LEARN) node = shape_add(&reader->shape, RECORD, &name, &code);
    reader->header.size += name.size;
    keys_add(&reader->keys, 0, name.at, name.size);
    ADD(reader->columns, (CsvColumn){name, node});
    if (!name.size || !is_new) return FANFOLD_BAD_HEADER;
    return utf8_count(name.at, name.size) > MAX_KEY_CHARACTERS ? FANFOLD_KEY_TOO_LONG : code;
}

static int step_header(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at);
    size_t most = (size_t)reader->options.max_record_bytes, left = (size_t)(input_stop(input) - begin);
    Line line = read_line(reader, begin, (size_t)reader->options.max_fields + 1);
    if (line.outcome == VALUE_INCOMPLETE && left <= most + 2) return input_hungry(input, input->at, most + 3);
    Bad bad = {.size = (uint64_t)(line.end - begin), .expected = "a name for each column, each once", .of_file = 1};
    int is_line = line.outcome == VALUE_GOOD && bad.size <= most;
    if (!is_line) bad.size = 0;
    if (!is_line)
        bad.code = FANFOLD_BAD_HEADER;
    else if (line.cells > reader->options.max_fields)
        blame(&bad, FANFOLD_TOO_MANY_FIELDS, "no more columns than a run has fields");
    else if (line.flaw)
        blame(&bad, FANFOLD_BAD_UTF8, "UTF-8");
    keys_cut(&reader->keys, 0);
    reader->header.size = 0;
    bytes_room(&reader->header, (size_t)bad.size);
    for (size_t i = 0; i < line.cells && !bad.code; i++) bad.code = take_name(reader, &reader->cells.items[i]);
    if (!bad.code) {
        shape_keep(&reader->shape);
        input->at += bad.size;
        reader->file.state = AT_LINE;
        return FANFOLD_FULL;
    }
    if (bad.size > MAX_KEY_CHARACTERS) bad.size = MAX_KEY_CHARACTERS;
    shape_forget(&reader->shape);
    reader->columns.count = 0;
    reader->file.state = AT_END;
    return refuse(reader, bad, SIZE_MAX);
}

/* The lines. */

static void take_cell(fanfold_reader *reader, size_t column) {
    Walk *walk = &reader->walk;
    Token cell = reader->cells.items[column];
    const CsvColumn *found = &reader->columns.items[column];
    const Given *given = walk_given(walk, &found->name);
    uint32_t number = found->node;
    const uint8_t *at = cell.at;
    int is_null = !cell.size && !(cell.marks & QUOTED);
    if (cell.marks & ESCAPED) {
        uint8_t *to = arena_take(&reader->merged.texts, cell.size), *end = undouble(&cell, to);
        cell = (Token){to, (size_t)(end - to), cell.marks & ~(unsigned)ESCAPED};
    }
    walk->levels[0].key = found->name;
    if (walk->excluded) {
        walk_exclude_key(walk, RECORD, &found->name, at);
        if (!is_null && !given && walk_is_parsed(walk)) {
            walk_parse_text(walk, number, &found->name, &cell, at);
            return;
        }
        if (!is_null && walk->excluded->marks[walk->way] & FANFOLD_SINGLE) number = walk_only(walk, number);
        if (walk->way && !is_null) walk_exclude_value(walk, IS_SCALAR, at);
    }
    if (is_null) cell.at = NULL;
    if (given)
        walk_own(walk, given, &cell, at);
    else
        walk_take_text(walk, number, &found->name, &cell, at);
}

/* Takes the line at the input's place. */
static void take_line(fanfold_reader *reader, const uint8_t *begin, size_t size) {
    Walk *walk = &reader->walk;
    walk_begin(walk, begin + size, ++reader->serial);
    walk->mode = reader->mode;
    walk->explain = 1;
    point_to(reader, 0);
    if (walk->mode == WALK_LEARN && shape_unseen(&reader->shape, RECORD, KIND_OBJECT, walk->record))
        shape_sight(&reader->shape, RECORD, KIND_OBJECT, 0, 0);
    walk_give(walk, begin);
    for (size_t i = 0; i < reader->columns.count; i++) take_cell(reader, i);
    walk->explain = 0;
    if (!walk->fault.code) {
        reader_good(reader, reader->input.at, size);
        return;
    }
    shape_forget(&reader->shape);
    reader_bad(reader, &(Bad){walk->fault.code, reader->input.at, size, .offset = (uint64_t)(walk->fault.at - begin)});
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
    int is_seen = line->outcome == VALUE_BAD && (uint64_t)(line->stop - begin) <= 2 * most;
    Bad bad = {.code = p ? FANFOLD_BAD_QUOTE : FANFOLD_TRUNCATED, .size = size - (size && end[-1] == '\r')};
    bad.expected = "quotes around the whole field, or none in it";
    bad.offset = is_seen ? (uint64_t)(line->at - begin) : 0;
    refuse(reader, bad, is_seen ? line->cells : SIZE_MAX);
    input->at += size;
    return FANFOLD_FULL;
}

static int step_line(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at);
    Line line = read_line(reader, begin, reader->columns.count);
    uint64_t most = 2 * reader->options.max_record_bytes;
    if (line.outcome == VALUE_INCOMPLETE && input_end(input) - input->at <= most + 2)
        return input_hungry(input, input->at, most + 3);
    if (line.outcome != VALUE_GOOD || (uint64_t)(line.end - begin) > most) return end_bad_line(reader, begin, &line);
    Bad bad = {.size = (uint64_t)(line.end - begin)};
    if (bad.size > reader->options.max_record_bytes)
        blame(&bad, FANFOLD_RECORD_TOO_LARGE, size_expected);
    else if (line.cells != reader->columns.count)
        blame(&bad, FANFOLD_RAGGED_LINE, "as many fields as the header has");
    else if (line.flaw)
        blame(&bad, FANFOLD_BAD_UTF8, "UTF-8");
    int is_flaw = bad.code == FANFOLD_BAD_UTF8;
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
    if (p < end) return reader->file.state == AT_HEADER ? step_header(reader) : step_line(reader);
    if (reader->file.state == AT_HEADER)
        reader_bad(reader, &(Bad){.code = FANFOLD_EMPTY_FILE, .line = 1, .expected = "a header line", .of_file = 1});
    reader->file.state = AT_END;
    return FANFOLD_FULL;
}
