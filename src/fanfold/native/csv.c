/* The lines of a CSV file (RFC 4180): the rules are in fanfold.h. */
#include "reader.h"

typedef struct {
    Outcome outcome;
    const uint8_t *end;  /* of a good line: its line break, or the end of the file */
    const uint8_t *at;   /* of a bad one: the field that is at fault */
    const uint8_t *stop; /* of a bad one: where that is seen */
    const uint8_t *flaw; /* the first byte that is not UTF-8; NULL: none */
    size_t flawed, cells;
} Line;

static const uint8_t *pass_character(const uint8_t *p, Line *line) {
    size_t size = *p < 0x80 ? 1 : utf8_size(p);
    if (!size && !line->flaw) {
        line->flaw = p;
        line->flawed = line->cells;
    }
    return p + (size ? size : 1);
}

/* Passes a field without quotes; returns what follows it, or NULL where a quote is in it: `cell->size` is then before
 * it. */
static const uint8_t *plain_cell(const uint8_t *p, const uint8_t *end, Token *cell, Line *line) {
    *cell = (Token){p, 0, 0};
    for (;;) {
        p = plain_run(p);
        uint8_t c = *p;
        if (c == ',' || c == '"' || c == '\n' || (c == '\r' && p[1] == '\n') || p >= end) break;
        if (c == '#' || c == '\r') cell->marks |= QUOTED;
        p = pass_character(p, line);
    }
    cell->size = (size_t)(p - cell->at);
    return *p == '"' && p < end ? NULL : p;
}

/* Passes a field in quotes; returns what follows it, NULL where it does not end. */
static const uint8_t *quoted_cell(const uint8_t *p, const uint8_t *end, Token *cell, Line *line) {
    *cell = (Token){++p, 0, 0};
    for (;;) {
        p = plain_run(p);
        if (p >= end) return NULL;
        if (*p == '"') {
            if (p[1] != '"') break;
            cell->marks |= ESCAPED | QUOTED;
            p += 2;
            continue;
        }
        if (*p == ',' || *p == '#' || *p == '\n' || *p == '\r') cell->marks |= QUOTED;
        p = pass_character(p, line);
    }
    cell->size = (size_t)(p - cell->at);
    if (!cell->size) cell->marks |= QUOTED;
    return p + 1;
}

/* Reads the line at `p`. Its cells are kept, as far as the header has names for them. */
static Line read_line(fanfold_reader *reader, const uint8_t *p, size_t most) {
    const Input *input = &reader->input;
    const uint8_t *end = input->bytes.data + input->bytes.size;
    Line line = {VALUE_GOOD, NULL, NULL, NULL, NULL, 0, 0};
    for (;; p++) {
        Token cell;
        line.at = p;
        const uint8_t *behind =
            *p == '"' && p < end ? quoted_cell(p, end, &cell, &line) : plain_cell(p, end, &cell, &line);
        /* A quote, or a CR, right at the end may mean another thing with what follows. */
        if (!input->last && (!behind || behind >= end || behind + 1 == end)) {
            line.outcome = VALUE_INCOMPLETE;
            if (behind || *p == '"' || cell.size + 1 >= (size_t)(end - p)) return line;
        }
        int ends = behind && (behind >= end || *behind == '\n' || (*behind == '\r' && behind[1] == '\n'));
        if (!behind || (!ends && *behind != ',')) {
            line.outcome = VALUE_BAD;
            line.stop = behind ? behind : *p == '"' ? end : cell.at + cell.size;
            return line;
        }
        if (line.cells < most) {
            ITEM(reader->cells, line.cells, reader->cell_capacity, &reader->exit);
            reader->cells[line.cells] = cell;
        }
        line.cells++;
        p = behind;
        if (ends) break;
    }
    line.end = p;
    return line;
}

static const uint8_t *line_break(const uint8_t *p, const uint8_t *end) { return memchr(p, '\n', (size_t)(end - p)); }

static size_t without_cr(const uint8_t *begin, const uint8_t *end) {
    return (size_t)(end - begin) - (end > begin && end[-1] == '\r');
}

static void name_pointer(fanfold_reader *reader, size_t column) {
    Walk *walk = &reader->walk;
    walk->depth = 0;
    if (column >= reader->column_count) return;
    size_t begin = column ? reader->names[column - 1] : 0;
    walk->depth = 1;
    walk->levels[0] = (Level){.is_object = 1, .begun = 1};
    walk->levels[0].key = (Token){reader->header.data + begin, reader->names[column] - begin, 0};
}

static void put_line_fault(fanfold_reader *reader, const uint8_t *begin, size_t size, const uint8_t *at, int code,
                           const char *expected, size_t column) {
    Walk *walk = &reader->walk;
    uint64_t start = reader->input.base + (uint64_t)(begin - reader->input.bytes.data);
    walk_begin(walk, begin + size, ++reader->serial);
    walk->explain = 1;
    name_pointer(reader, column);
    if (at > begin + size) at = begin + size;
    walk_fault(walk, code, at, expected);
    walk->explain = 0;
    Bad bad = {start, size, 0, start + (uint64_t)(at - begin), code, NULL, NULL};
    if (reader->state == AT_HEADER)
        reader_put_fault(reader, &bad, 0);
    else
        reader_bad(reader, &bad);
}

/* The header. */

static int refuse_header(fanfold_reader *reader, const uint8_t *begin, size_t size, int code, const char *expected) {
    put_line_fault(reader, begin, size < MAX_KEY_CHARACTERS ? size : MAX_KEY_CHARACTERS, begin, code, expected,
                   SIZE_MAX);
    reader->state = AT_END;
    return FANFOLD_FULL;
}

/* Copies a field in quotes without its quotes; returns its end. */
static uint8_t *undouble(const Token *cell, uint8_t *to) {
    for (size_t i = 0; i < cell->size; i++) {
        *to++ = cell->at[i];
        i += cell->at[i] == '"';
    }
    return to;
}

static void keep_name(fanfold_reader *reader, const Token *cell, int *code) {
    Bytes *header = &reader->header;
    size_t begin = header->size, count = reader->column_count;
    bytes_room(header, cell->size);
    header->size = (size_t)(undouble(cell, header->data + begin) - header->data);
    size_t size = header->size - begin;
    ITEM(reader->columns, count, reader->column_capacity, &reader->exit);
    ITEM(reader->names, count, reader->name_capacity, &reader->exit);
    reader->names[count] = header->size;
    uint32_t node = shape_find(&reader->shape, RECORD, header->data + begin, size);
    if (!node && reader->options.others == FANFOLD_LEARN)
        node = shape_add(&reader->shape, RECORD, header->data + begin, size, code);
    reader->columns[reader->column_count++] = node;
    size_t characters = 0;
    for (size_t i = begin; i < header->size; i++) characters += (header->data[i] & 0xc0) != 0x80;
    if (characters > MAX_KEY_CHARACTERS) *code = FANFOLD_KEY_TOO_LONG;
    if (!size || !keys_add(&reader->around_keys, 0, header->data + begin, size)) *code = FANFOLD_BAD_HEADER;
}

static int step_header(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at), *end = input->bytes.data + input->bytes.size;
    const char *expected = "a name for each column, each once";
    Line line = read_line(reader, begin, reader->options.max_fields + 1);
    size_t most = (size_t)reader->options.max_record_bytes;
    if (line.outcome == VALUE_INCOMPLETE && (size_t)(end - begin) <= most + 2)
        return input_hungry(input, input->at, most + 3);
    if (line.outcome != VALUE_GOOD || (size_t)(line.end - begin) > most)
        return refuse_header(reader, begin, 0, FANFOLD_BAD_HEADER, expected);
    size_t size = (size_t)(line.end - begin);
    if (line.cells > reader->options.max_fields)
        return refuse_header(reader, begin, size, FANFOLD_TOO_MANY_FIELDS, "no more columns than a run has fields");
    if (line.flaw) return refuse_header(reader, begin, size, FANFOLD_BAD_UTF8, "UTF-8");
    keys_empty(&reader->around_keys);
    int code = 0;
    reader->header.size = 0;
    for (size_t i = 0; i < line.cells && !code; i++) keep_name(reader, &reader->cells[i], &code);
    if (code) {
        shape_forget(&reader->shape);
        return refuse_header(reader, begin, size, code, expected);
    }
    shape_keep(&reader->shape);
    input->at += size;
    reader->state = AT_LINE;
    return FANFOLD_FULL;
}

/* The lines. */

static Token as_json(fanfold_reader *reader, const uint8_t *at, size_t size) {
    reader->row.size = 0;
    bytes_json(&reader->row, at, size);
    uint8_t *text = arena_take(&reader->merged.texts, reader->row.size);
    memcpy(text, reader->row.data, reader->row.size);
    return (Token){text, reader->row.size, QUOTED};
}

static void take_cell(fanfold_reader *reader, size_t column) {
    Walk *walk = &reader->walk;
    Token cell = reader->cells[column];
    uint32_t number = reader->columns[column];
    int is_null = !cell.size && !(cell.marks & QUOTED);
    if (cell.marks & ESCAPED) {
        uint8_t *text = arena_take(&reader->merged.texts, cell.size), *end = undouble(&cell, text);
        cell = (Token){text, (size_t)(end - text), cell.marks & ~(unsigned)ESCAPED};
    }
    name_pointer(reader, column);
    if (walk->excluded) {
        walk_exclude_key(walk, RECORD, &walk->levels[0].key, reader->cells[column].at);
        if (walk->way && !is_null) walk_exclude_value(walk, IS_SCALAR, reader->cells[column].at);
    }
    const Node *node = &reader->shape.nodes[number];
    if (!number && reader->options.others == FANFOLD_RESCUE) {
        size_t begin = column ? reader->names[column - 1] : 0;
        Token key = as_json(reader, reader->header.data + begin, reader->names[column] - begin);
        Token text = is_null ? (Token){(const uint8_t *)"null", 4, 0} : as_json(reader, cell.at, cell.size);
        merged_rest(&reader->merged, RECORD, (Token){key.at + 1, key.size - 2, 0}, text.at, text.size);
        return;
    }
    if (node->kind == FANFOLD_VALUE && node->type == FANFOLD_JSON && !is_null) {
        Token text = as_json(reader, cell.at, cell.size);
        if (walk->mode == WALK_READ) merged_value(&reader->merged, node->scope, node->slot, text.at, text.size, QUOTED);
        return;
    }
    if (!number && !is_null && reader->options.others == FANFOLD_REFUSE) walk_crowded(walk, reader->cells[column].at);
    if (number) walk_take(walk, number, is_null ? KIND_NULL : KIND_TEXT, &cell, reader->cells[column].at);
}

static void take_line(fanfold_reader *reader, const uint8_t *begin, const Line *line) {
    Walk *walk = &reader->walk;
    size_t size = (size_t)(line->end - begin);
    uint64_t start = reader->input.at;
    if (line->cells != reader->column_count) {
        put_line_fault(reader, begin, size, begin, FANFOLD_RAGGED_LINE, "as many fields as the header has", SIZE_MAX);
        return;
    }
    if (line->flaw) {
        put_line_fault(reader, begin, size, line->flaw, FANFOLD_BAD_UTF8, "UTF-8", line->flawed);
        return;
    }
    walk_begin(walk, line->end, ++reader->serial);
    walk->mode = reader->options.others == FANFOLD_LEARN ? WALK_LEARN : WALK_READ;
    walk->explain = 1;
    if (walk->mode == WALK_LEARN && shape_unseen(&reader->shape, RECORD, KIND_OBJECT, walk->record))
        shape_sight(&reader->shape, RECORD, KIND_OBJECT, 0, 0);
    for (size_t i = 0; i < reader->column_count; i++) take_cell(reader, i);
    walk->explain = 0;
    if (!walk->fault.code) {
        reader_good(reader, start, size);
        return;
    }
    shape_forget(&reader->shape);
    reader_bad(reader,
               &(Bad){start, size, 0, start + (uint64_t)(walk->fault.at - begin), walk->fault.code, NULL, NULL});
}

/* A line that is too long is passed over. */
static int step_long_line(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *end = input->bytes.data + input->bytes.size, *p = line_break(input_byte(input, input->at), end);
    input->at = input->base + (uint64_t)((p ? p : end) - input->bytes.data);
    if (!p && !input->last) return FANFOLD_HUNGRY;
    const Search *long_line = &reader->search;
    uint64_t size = input->at - long_line->start;
    size -= p && *input_byte(input, input->at - 1) == '\r';
    reader_bad(reader, &(Bad){long_line->start, size, long_line->line, long_line->start, FANFOLD_RECORD_TOO_LARGE,
                              "at most input.max_record_bytes", NULL});
    reader->state = AT_LINE;
    return FANFOLD_FULL;
}

/* A line that is not CSV, or too large, ends at its first line break. */
static int end_bad_line(fanfold_reader *reader, const uint8_t *begin, const Line *line) {
    Input *input = &reader->input;
    const uint8_t *end = input->bytes.data + input->bytes.size, *p = line_break(begin, end);
    uint64_t most = reader->options.max_record_bytes;
    if ((size_t)((p ? p : end) - begin) > most) {
        reader->search.start = input->at;
        reader->search.line = input_line(input, input->at);
        reader->state = IN_LONG_LINE;
        return FANFOLD_FULL;
    }
    if (!p && !input->last) return input_hungry(input, input->at, most + 2);
    /* Where it is seen only behind so many bytes, it is not said which field it is. */
    int is_seen = line->outcome == VALUE_BAD && (uint64_t)(line->stop - begin) <= 2 * most;
    size_t size = without_cr(begin, p ? p : end), column = is_seen ? line->cells : SIZE_MAX;
    int code = p ? FANFOLD_BAD_QUOTE : FANFOLD_TRUNCATED;
    put_line_fault(reader, begin, size, is_seen ? line->at : begin, code,
                   "quotes around the whole field, or none in it", column);
    input->at += (uint64_t)((p ? p : end) - begin);
    return FANFOLD_FULL;
}

static int step_line(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, input->at);
    Line line = read_line(reader, begin, reader->column_count);
    uint64_t most = reader->options.max_record_bytes;
    if (line.outcome == VALUE_INCOMPLETE && input_end(input) - input->at <= 2 * most + 2)
        return input_hungry(input, input->at, 2 * most + 3);
    uint64_t size = line.outcome == VALUE_GOOD ? (uint64_t)(line.end - begin) : UINT64_MAX;
    if (size > 2 * most) return end_bad_line(reader, begin, &line);
    if (size > most)
        put_line_fault(reader, begin, (size_t)size, begin, FANFOLD_RECORD_TOO_LARGE, "at most input.max_record_bytes",
                       SIZE_MAX);
    else
        take_line(reader, begin, &line);
    input->at += size;
    return FANFOLD_FULL;
}

/* Passes line breaks, and so blank lines; FANFOLD_FULL where a line begins. */
static int pass_breaks(fanfold_reader *reader) {
    Input *input = &reader->input;
    const uint8_t *p = input_byte(input, input->at), *end = input->bytes.data + input->bytes.size;
    while (p < end && (*p == '\n' || (*p == '\r' && p[1] == '\n'))) p++;
    input->at = input->base + (uint64_t)(p - input->bytes.data);
    if (p == end || (*p == '\r' && p + 1 == end && !input->last)) {
        if (input->last) reader->state = AT_END;
        return FANFOLD_HUNGRY;
    }
    return FANFOLD_FULL;
}

int csv_step(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (reader->state == AT_START) {
        if (!input->last && input_end(input) < 3) return FANFOLD_HUNGRY;
        if (!memcmp(input->bytes.data, "\xef\xbb\xbf", 3)) input->at = 3;
        reader->state = AT_HEADER;
    }
    if (reader->state == IN_LONG_LINE) return step_long_line(reader);
    if (pass_breaks(reader) == FANFOLD_HUNGRY) {
        if (reader->state != AT_END) return FANFOLD_HUNGRY;
        if (!reader->column_count)
            reader_put_fault(reader, &(Bad){0, 0, 1, 0, FANFOLD_EMPTY_FILE, "a header line", NULL}, 0);
        return FANFOLD_FULL;
    }
    return reader->state == AT_HEADER ? step_header(reader) : step_line(reader);
}
