#include "reader.h"

#include <stdlib.h>

#include "table.h"

uint32_t fanfold_abi(void) { return FANFOLD_ABI; }

const char *fanfold_codes(void) {
    return "syntax nan trailing_comma trailing_garbage duplicate_key lone_surrogate bad_utf8 control_character "
           "truncated "
           "too_deep not_an_object too_many_values too_many_fields key_too_long record_too_large wrong_type inexact "
           "no_match "
           "ragged_line bad_quote empty_file bad_header pointer_not_found case_conflict name_conflict";
}

/* Input. */

uint64_t input_line(Input *input, uint64_t offset) {
    const uint8_t *p = input_byte(input, input->counted);
    size_t size = offset > input->counted ? (size_t)(offset - input->counted) : 0, done = 0, lines = 0;
    while (size - done) {
        /* So few that their number fits into a byte. */
        size_t piece = size - done < 128 ? size - done : 128;
        uint8_t found = 0;
        for (size_t i = 0; i < piece; i++) found += p[done + i] == '\n';
        lines += found;
        done += piece;
    }
    input->line += lines;
    input->counted += size;
    return input->line;
}

int input_pass_blanks(Input *input) {
    input->at = input->base + (uint64_t)(skip_blanks(input_byte(input, input->at)) - input->bytes.data);
    return input->at < input_end(input);
}

int input_hungry(Input *input, uint64_t start, uint64_t most) {
    uint64_t size = input_end(input) - start;
    input->enough = start + (size < most && 2 * size > most ? most : 2 * size);
    return FANFOLD_HUNGRY;
}

/* What lies before the first byte that is needed goes; the line that it is in tells whether a record begins a line. */
APART static void input_feed(Input *input, const uint8_t *window, size_t size, int last) {
    uint64_t kept = input->at > input->base + MAX_INDENT + 1 ? input->at - MAX_INDENT - 1 : input->base;
    input_line(input, input->at);
    size_t gone = (size_t)(kept - input->base);
    if (gone) memmove(input->bytes.data, input->bytes.data + gone, input->bytes.size - gone);
    input->bytes.size -= gone;
    input->base = kept;
    bytes_put(&input->bytes, window, size);
    memset(input->bytes.data + input->bytes.size, 0, PAD);
    input->last = last;
}

/* Faults. */

static void put_u64(Bytes *to, uint64_t number) {
    for (int i = 0; i < 8; i++) to->data[to->size++] = (uint8_t)(number >> (8 * i));
}

void reader_put_fault(fanfold_reader *reader, const Bad *bad, uint64_t number) {
    Input *input = &reader->input;
    Fault *fault = &reader->walk.fault;
    /* Of a record that is too large nothing is kept. */
    int kept = bad->size && bad->size <= reader->options.max_record_bytes && bad->code != FANFOLD_TOO_MANY_VALUES;
    const uint8_t *text = bad->raw ? (const uint8_t *)bad->raw : kept ? input_byte(input, bad->start) : NULL;
    if (bad->expected) {
        fault->pointer.size = fault->found.size = fault->expected.size = 0;
        bytes_text(&fault->expected, bad->expected);
        if (kept) walk_found(&reader->walk, text + (bad->at - bad->start), text + bad->size);
    }
    uint64_t line = bad->line ? bad->line : input_line(input, bad->start);
    uint64_t at_line = bad->at > bad->start ? input_line(input, bad->at) : line;
    size_t raw = kept ? (size_t)bad->size : 0;
    bytes_room(&reader->faults, 11 * 8);
    const uint64_t numbers[] = {(uint64_t)bad->code,
                                number,
                                at_line,
                                bad->at,
                                line,
                                bad->start,
                                bad->size,
                                fault->pointer.size,
                                fault->found.size,
                                fault->expected.size,
                                raw};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_u64(&reader->faults, numbers[i]);
    bytes_put(&reader->faults, fault->pointer.data, fault->pointer.size);
    bytes_put(&reader->faults, fault->found.data, fault->found.size);
    bytes_put(&reader->faults, fault->expected.data, fault->expected.size);
    bytes_put(&reader->faults, text, raw);
}

void reader_bad(fanfold_reader *reader, const Bad *bad) {
    reader->counts.records++;
    reader->counts.bad++;
    reader->last_code = bad->code;
    reader_put_fault(reader, bad, reader->counts.records);
}

void reader_judge(fanfold_reader *reader, uint64_t start, uint64_t size, uint64_t line) {
    Walk *walk = &reader->walk;
    if (size > reader->options.max_record_bytes) {
        reader_bad(reader,
                   &(Bad){start, size, line, start, FANFOLD_RECORD_TOO_LARGE, "at most input.max_record_bytes", NULL});
        return;
    }
    /* Its own text decides: what follows it is out of sight. */
    uint8_t *begin = reader->input.bytes.data + (start - reader->input.base), *end = begin + size, behind[PAD];
    memcpy(behind, end, PAD);
    memset(end, 0, PAD);
    walk->mode = reader->options.others == FANFOLD_LEARN ? WALK_LEARN : WALK_READ;
    shape_forget(&reader->shape);
    walk_explain(walk, begin, end, ++reader->serial);
    shape_forget(&reader->shape);
    Bad bad = {start, size, line, start, walk->fault.code, NULL, NULL};
    if (walk->fault.code) bad.at = start + (uint64_t)(walk->fault.at - begin);
    if (!walk->fault.code) bad.code = FANFOLD_SYNTAX, bad.expected = "a record, and what may follow it";
    reader_bad(reader, &bad);
    memcpy(end, behind, PAD);
}

void reader_good(fanfold_reader *reader, uint64_t start, uint64_t size) {
    reader->last_code = 0;
    if (size > reader->largest) reader->largest = size;
    if (reader->options.frozen) {
        int whole = merged_row(&reader->merged, &reader->row, &reader->row_key);
        frozen_row(&reader->output, whole ? &reader->row_key : NULL, &reader->row, input_line(&reader->input, start));
    } else if (reader->options.others == FANFOLD_LEARN) {
        shape_keep(&reader->shape);
    } else if (!merged_write(&reader->merged, reader->counts.records + 1, &reader->output)) {
        fault_no_match(&reader->walk.fault, &reader->shape, &reader->merged);
        reader_bad(reader, &(Bad){start, size, 0, start, FANFOLD_NO_MATCH, NULL, NULL});
        return;
    }
    reader->counts.records++;
}

Reading reader_value(fanfold_reader *reader, uint64_t start, int mode) {
    Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, start), *end = input->bytes.data + input->bytes.size;
    reader->walk.mode = mode;
    const uint8_t *p = walk_value(&reader->walk, begin, end, ++reader->serial);
    const uint8_t *stop = p ? p : reader->walk.stopped;
    /* What is wrong so close to the end may be right with what follows, and a number may go on. */
    int closed = p && strchr("{[\"", *begin) && *begin;
    int incomplete = !input->last && !closed && end - stop < 16;
    return (Reading){incomplete ? VALUE_INCOMPLETE : p ? VALUE_GOOD : VALUE_BAD, start + (uint64_t)(stop - begin)};
}

int reader_following(const fanfold_reader *reader, uint64_t offset, int in_array) {
    const Input *input = &reader->input;
    const uint8_t *p = input_byte(input, offset), *end = input->bytes.data + input->bytes.size;
    size_t left = (size_t)(end - p), size = 0;
    while (size < left && size < MAX_FOLLOWING &&
           (p[size] == ' ' || p[size] == '\t' || p[size] == '\r' || (in_array && p[size] == '\n')))
        size++;
    if (size == MAX_FOLLOWING) return '\n';
    if (size < left) return p[size];
    return input->last ? '\n' : -1;
}

/* The interface. */

/* Takes an RFC 6901 pointer apart; 0 where it is not one. */
static int read_pointer(fanfold_reader *reader, fanfold_bytes pointer) {
    for (size_t i = 0; i < pointer.size; i++) {
        uint8_t c = pointer.data[i];
        if (c == '/') {
            if (reader->way_count == MAX_DEPTH) return 0;
            reader->way_count++;
        } else if (!reader->way_count) {
            return 0;
        } else if (c == '~') {
            if (++i == pointer.size || (pointer.data[i] != '0' && pointer.data[i] != '1')) return 0;
            bytes_byte(&reader->way, pointer.data[i] == '0' ? '~' : '/');
        } else {
            bytes_byte(&reader->way, c);
        }
        reader->steps[reader->way_count - 1] = reader->way.size;
    }
    return 1;
}

APART static int is_ready(fanfold_reader *reader) {
    const fanfold_options *options = &reader->options;
    jmp_buf *exit = &reader->exit;
    Bytes *bytes[] = {&reader->input.bytes, &reader->first_key, &reader->output,           &reader->faults,
                      &reader->learnt,      &reader->row,       &reader->row_key,          &reader->name,
                      &reader->way,         &reader->header,    &reader->around_keys.texts};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) bytes[i]->exit = exit;
    reader->around_keys.seed = hash_seed();
    reader->shape.max_fields = options->max_fields;
    if (!shape_open(&reader->shape, options->schema, options->others == FANFOLD_LEARN, exit)) return 0;
    for (size_t i = 0; i < options->join_count; i++) {
        const fanfold_join *join = &options->joins[i];
        if (join->scope >= reader->shape.scope_count || !join->part_count || !join->table->index) return 0;
        for (size_t part = 0; part < join->part_count; part++)
            if (!join->parts[part] || join->parts[part] > reader->shape.scopes[join->scope].keys) return 0;
    }
    merged_open(&reader->merged, &reader->shape, options, exit);
    walk_open(&reader->walk, exit);
    reader->walk.shape = &reader->shape;
    reader->walk.merged = &reader->merged;
    reader->walk.others = (int)options->others;
    if (options->excluded_count) {
        if (!excluded_open(&reader->excluded, options->excluded, options->excluded_count, exit)) return 0;
        reader->walk.excluded = &reader->excluded;
    }
    bytes_room(&reader->input.bytes, 1);
    return read_pointer(reader, options->records_at);
}

fanfold_reader *fanfold_reader_open(const fanfold_options *options) {
    if (options->frozen && options->others == FANFOLD_LEARN) return NULL;
    if (options->max_record_bytes > 1u << 30 || options->others < FANFOLD_LEARN || options->others > FANFOLD_LEAVE)
        return NULL;
    fanfold_reader *volatile reader = calloc(1, sizeof *reader);
    if (!reader) return NULL;
    reader->options = *options;
    reader->state = AT_END;
    if (setjmp(reader->exit) || !is_ready(reader)) {
        fanfold_reader_close(reader);
        return NULL;
    }
    return reader;
}

void fanfold_reader_close(fanfold_reader *reader) {
    if (!reader) return;
    Bytes *bytes[] = {&reader->input.bytes, &reader->first_key, &reader->output, &reader->faults, &reader->learnt,
                      &reader->row,         &reader->row_key,   &reader->name,   &reader->way,    &reader->header};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) bytes_close(bytes[i]);
    walk_close(&reader->walk);
    merged_close(&reader->merged);
    shape_close(&reader->shape);
    excluded_close(&reader->excluded);
    keys_close(&reader->around_keys);
    free(reader->columns);
    free(reader->names);
    free(reader->cells);
    free(reader);
}

APART static int begin(fanfold_reader *reader, const uint8_t *name, size_t size) {
    shape_forget(&reader->shape);
    Input *input = &reader->input;
    input->bytes.size = 0;
    memset(input->bytes.data, 0, PAD);
    input->base = input->at = input->enough = input->counted = 0;
    input->line = 1;
    input->last = 0;
    reader->counts = (fanfold_counts){0};
    reader->has_first_key = reader->last_code = 0;
    reader->largest = reader->spent = reader->merged.file_unmatched = 0;
    reader->comma = 0;
    reader->arrays = 0;
    reader->around_depth = reader->way_depth = 0;
    reader->place = AT_DOCUMENT;
    reader->column_count = 0;
    reader->state = AT_START;
    reader->output.size = reader->faults.size = 0;
    reader->frozen = 0;
    reader->freezing = reader->options.frozen != 0;
    reader->name.size = 0;
    bytes_put(&reader->name, name, size);
    return FANFOLD_HUNGRY;
}

/* Why a call was left. */
static int failure(const fanfold_reader *reader) {
    return merged_unreadable(&reader->merged) ? FANFOLD_UNREADABLE : FANFOLD_NO_MEMORY;
}

int fanfold_reader_begin(fanfold_reader *reader, const uint8_t *name, size_t size) {
    return setjmp(reader->exit) ? FANFOLD_NO_MEMORY : begin(reader, name, size);
}

/* What there was to take is gone. */
static void take_output(fanfold_reader *reader) {
    reader->frozen += reader->output.size;
    reader->output.size = reader->faults.size = 0;
}

int fanfold_reader_feed(fanfold_reader *reader, const uint8_t *window, size_t size, int last) {
    if (reader->input.last) return FANFOLD_WRONG_CALL;
    if (setjmp(reader->exit)) return FANFOLD_NO_MEMORY;
    take_output(reader);
    input_feed(&reader->input, window, size, last);
    return FANFOLD_FULL;
}

enum { ENOUGH_OUTPUT = 1 << 20 };

APART static int read_on(fanfold_reader *reader) {
    Input *input = &reader->input;
    take_output(reader);
    if (reader->freezing && !reader->frozen) frozen_head(&reader->output);
    while (reader->state != AT_END) {
        if (!input->last && input_end(input) < input->enough) return FANFOLD_HUNGRY;
        if (reader->name.size && reader->options.others != FANFOLD_LEARN && !reader->options.frozen) {
            merged_file(&reader->output, (fanfold_bytes){reader->name.data, reader->name.size});
            reader->name.size = 0;
        }
        int done = reader->options.csv            ? csv_step(reader)
                   : reader->state == IN_DOCUMENT ? around_step(reader)
                                                  : json_step(reader);
        if (done != FANFOLD_FULL) return done;
        if (reader->output.size + reader->faults.size >= ENOUGH_OUTPUT) return FANFOLD_FULL;
    }
    if (reader->freezing) {
        reader->freezing = 0;
        frozen_tail(&reader->output, reader->counts.records - reader->counts.bad, reader->shape.scopes[0].slots,
                    reader->frozen + reader->output.size);
    }
    return FANFOLD_END;
}

int fanfold_reader_next(fanfold_reader *reader) { return setjmp(reader->exit) ? failure(reader) : read_on(reader); }

fanfold_bytes fanfold_reader_merged(fanfold_reader *reader) {
    return (fanfold_bytes){reader->output.data, reader->output.size};
}

fanfold_bytes fanfold_reader_faults(fanfold_reader *reader) {
    return (fanfold_bytes){reader->faults.data, reader->faults.size};
}

fanfold_bytes fanfold_reader_learnt(fanfold_reader *reader) {
    if (setjmp(reader->exit)) return (fanfold_bytes){NULL, 0};
    shape_write(&reader->shape, &reader->learnt);
    return (fanfold_bytes){reader->learnt.data, reader->learnt.size};
}

uint64_t fanfold_reader_unmatched(const fanfold_reader *reader, size_t join) {
    return join < reader->merged.join_count ? reader->merged.unmatched[join] : 0;
}

fanfold_counts fanfold_reader_counts(const fanfold_reader *reader) {
    fanfold_counts counts = reader->counts;
    counts.bytes = input_end(&reader->input);
    counts.nodes = reader->shape.count - RECORD;
    counts.unmatched = reader->merged.file_unmatched;
    return counts;
}
