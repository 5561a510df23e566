/* One line of CSV, taken apart into its cells. */
#include "csv_line.h"

/* Passes a field, in quotes or not; returns what follows it, or NULL where one does not end, or a quote is in the
 * other: `cell->size` is then before it. */
static const uint8_t *pass_cell(const uint8_t *p, const uint8_t *end, const fanfold_options *options, Token *cell,
                                Line *line) {
    uint32_t delimiter = options->delimiter, quote = options->quote;
    int quoted = *p == quote && p < end;
    p += quoted;
    *cell = (Token){p, 0, quoted ? IN_QUOTES : 0};
    for (;;) {
        p = plain_run_with(p, (uint8_t)delimiter, (uint8_t)quote);
        uint8_t c = *p;
        int ends = c == delimiter || c == quote || is_break(p);
        if (p >= end || (!quoted && ends) || (c == quote && p[1] != quote)) break;
        if (c == '"' || c == ',' || c == '#' || c == '\r' || c == '\n') cell->marks |= QUOTED;
        if (c == quote) cell->marks |= ESCAPED;
        size_t size = c == quote ? 2 : c < 0x80 ? 1 : utf8_size(p);
        if (!size && !line->flaw) {
            line->flaw = p;
            line->flawed = line->cells;
        }
        p += size ? size : 1;
    }
    cell->size = (size_t)(p - cell->at);
    if (quoted && !cell->size) cell->marks |= QUOTED;
    int ends_quoted = p < end && *p == quote;
    return quoted != ends_quoted ? NULL : p + quoted;
}

Line read_line(fanfold_reader *reader, const uint8_t *p, size_t most) {
    const Input *input = &reader->input;
    const fanfold_options *options = &reader->options;
    const uint8_t *end = input_stop(input);
    Line line = {.outcome = VALUE_GOOD};
    for (reader->cells.count = 0;; p++) {
        Token cell;
        line.at = p;
        const uint8_t *behind = pass_cell(p, end, options, &cell, &line);
        /* A quote, or a CR, right at the end may mean another thing with what follows. */
        if (!input->last && (!behind || behind >= end || behind + 1 == end)) {
            line.outcome = VALUE_INCOMPLETE;
            if (behind || *p == options->quote || cell.size + 1 >= (size_t)(end - p)) return line;
        }
        int ends = behind && (behind >= end || is_break(behind));
        if (!behind || (!ends && *behind != options->delimiter)) {
            line.outcome = VALUE_BAD;
            line.stop = behind ? behind : *p == options->quote ? end : cell.at + cell.size;
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

uint8_t *undouble(const Token *cell, uint32_t quote, uint8_t *to) {
    for (size_t i = 0; i < cell->size; i++) {
        *to++ = cell->at[i];
        i += cell->at[i] == quote;
    }
    return to;
}
