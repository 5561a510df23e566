/* The interface of a reader: opened, fed, read on; and what becomes of its good records. */
#include "reader.h"

uint32_t fanfold_abi(void) { return FANFOLD_ABI; }

const char *fanfold_codes(void) {
    return "syntax nan trailing_comma trailing_garbage duplicate_key lone_surrogate bad_utf8 control_character "
           "truncated too_deep not_an_object too_many_values too_many_fields key_too_long record_too_large wrong_type "
           "inexact no_match ragged_line bad_quote empty_file bad_header pointer_not_found case_conflict name_conflict "
           "bad_json_text";
}

/* Says of the good record that was read which key has no match where one is required. Its places are found by reading
 * it once more: good records, which are many, are spared the search for them. */
static void refuse_unmatched(fanfold_reader *reader, uint64_t start, uint64_t size) {
    Walk *walk = &reader->walk;
    const MergedJoin *missing = reader->merged.missing;
    const uint8_t *begin = input_byte(&reader->input, start);
    walk->keeps_places = 1;
    if (reader->options.csv)
        csv_walk(reader, begin, size);
    else
        reader_value(reader, start, reader->mode);
    walk->keeps_places = 0;
    fault_no_match(&walk->fault, &reader->shape, &reader->merged, missing);
    uint64_t offset = walk->fault.at ? (uint64_t)(walk->fault.at - begin) : 0;
    reader_bad(reader, &(Bad){.code = FANFOLD_NO_MATCH, .start = start, .size = size, .offset = offset});
}

void reader_good(fanfold_reader *reader, uint64_t start, uint64_t size) {
    reader->file.last_code = 0;
    if (size > reader->file.largest) reader->file.largest = size;
    if (reader->mode == WALK_LEARN) {
        shape_keep(&reader->shape);
    } else if (reader->options.frozen) {
        int whole = merged_row(&reader->merged, &reader->row, &reader->row_key);
        frozen_row(&reader->output, whole ? &reader->row_key : NULL, &reader->row, input_line(&reader->input, start));
    } else if (!reader->options.looks && !merged_write(&reader->merged, reader->counts.records + 1, &reader->output)) {
        refuse_unmatched(reader, start, size);
        return;
    }
    reader->counts.records++;
}

Reading reader_value(fanfold_reader *reader, uint64_t start, Mode mode) {
    const Input *input = &reader->input;
    const uint8_t *begin = input_byte(input, start), *end = input_stop(input);
    reader->walk.mode = mode;
    const uint8_t *p = walk_value(&reader->walk, begin, end, ++reader->serial);
    const uint8_t *stop = p ? p : reader->walk.stopped;
    /* What is wrong so close to the end may be right with what follows, and a number may go on. */
    int closed = p && strchr("{[\"", *begin) && *begin;
    int incomplete = !input->last && !closed && end - stop < 16;
    return (Reading){incomplete ? VALUE_INCOMPLETE : p ? VALUE_GOOD : VALUE_BAD, start + (uint64_t)(stop - begin)};
}

int reader_following(const fanfold_reader *reader, uint64_t offset, const char *passed) {
    const Input *input = &reader->input;
    const uint8_t *p = input_byte(input, offset);
    size_t left = (size_t)(input_stop(input) - p), size = 0;
    while (size < left && size < MAX_FOLLOWING && p[size] && strchr(passed, p[size])) size++;
    if (size == MAX_FOLLOWING) return FAR;
    if (size < left) return p[size];
    return input->last ? '\n' : -1;
}

/* The interface. */

static int read_steps(fanfold_reader *reader) {
    const fanfold_bytes *path = &reader->options.records_at;
    const uint8_t *p = path->data, *end = p + path->size;
    while (p && p < end && reader->step_count < MAX_DEPTH) p = read_step(p, end, &reader->steps[reader->step_count++]);
    return p == end;
}

static int is_ready(void *handle, const void *by) {
    fanfold_reader *reader = handle;
    const fanfold_options *options = by;
    int learns = options->others == FANFOLD_LEARN;
    reader->options = *options;
    reader->mode = learns ? WALK_LEARN : WALK_READ;
    reader->file.state = AT_END;
    if (options->others < FANFOLD_LEARN || options->others > FANFOLD_LEAVE || (options->frozen && learns)) return 0;
    if (options->csv && (!options->delimiter || (options->delimiter | options->quote) > 0x7f)) return 0;
    /* Where there is no quote, no byte is one. */
    if (!options->quote) reader->options.quote = UINT8_MAX + 1;
    if (options->max_record_bytes > 1u << 30) return 0;
    if (!shape_open(&reader->shape, options->schema, learns, options->max_fields)) return 0;
    if (!merged_open(&reader->merged, &reader->shape, options)) return 0;
    if (!excluded_open(&reader->excluded, options)) return 0;
    reader->walk.shape = &reader->shape;
    reader->walk.merged = &reader->merged;
    reader->walk.others = (int)options->others;
    reader->walk.excluded = options->excluded_count + options->marked_count ? &reader->excluded : NULL;
    input_begin(&reader->input);
    return read_steps(reader);
}

fanfold_reader *fanfold_reader_open(const fanfold_options *options) {
    return memory_open(sizeof(fanfold_reader), is_ready, options, NULL);
}

void fanfold_reader_close(fanfold_reader *reader) { memory_close(reader); }

int fanfold_reader_begin(fanfold_reader *reader, const uint8_t *name, size_t size) {
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    bytes_set(&reader->name, name, size);
    shape_forget(&reader->shape);
    input_begin(&reader->input);
    reader->file = (File){.document = NO_DOCUMENT};
    reader->walk.envelope.size = reader->ahead.size = reader->ahead_at = 0;
    reader->counts = (fanfold_counts){0};
    reader->output.size = reader->faults.size = reader->columns.count = 0;
    reader->merged.file_unmatched = 0;
    reader->walk.given.count = 0;
    arena_empty(&reader->walk.given_texts);
    return FANFOLD_HUNGRY;
}

int fanfold_reader_feed(fanfold_reader *reader, const uint8_t *window, size_t size, int last) {
    if (reader->input.last) return FANFOLD_WRONG_CALL;
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    input_feed(&reader->input, window, size, last);
    return FANFOLD_FULL;
}

/* Passes a byte order mark; FANFOLD_HUNGRY where it may come yet. */
static int pass_mark(fanfold_reader *reader) {
    Input *input = &reader->input;
    if (!input->last && input_end(input) < 3) return FANFOLD_HUNGRY;
    if (!memcmp(input->bytes.data, "\xef\xbb\xbf", 3)) input->at = 3;
    reader->file.state = reader->options.csv ? AT_HEADER : AT_RECORDS;
    return FANFOLD_FULL;
}

/* Writes what stands before the records of a file. */
static void begin_output(fanfold_reader *reader) {
    reader->file.is_begun = 1;
    if (reader->options.frozen) frozen_head(&reader->output);
    int is_merged = !reader->options.frozen && !reader->options.looks && reader->mode != WALK_LEARN;
    if (!is_merged || !reader->name.size) return;
    bytes_integer(&reader->output, reader->name.size + 1, 4);
    bytes_byte(&reader->output, 0);
    bytes_put(&reader->output, reader->name.data, reader->name.size);
}

/* Writes what stands behind them. */
static void end_output(fanfold_reader *reader) {
    if (reader->options.frozen && !reader->file.is_ended)
        frozen_tail(&reader->output, reader->counts.records - reader->counts.bad, reader->shape.scopes.items[0].slots,
                    reader->file.frozen + reader->output.size);
    if (!reader->file.is_ended) envelope_end(reader);
    reader->file.is_ended = 1;
}

enum { ENOUGH_OUTPUT = 1 << 20 };

static int read_on(fanfold_reader *reader) {
    Input *input = &reader->input;
    /* What there was to take is gone. */
    reader->file.frozen += reader->output.size;
    reader->output.size = reader->faults.size = 0;
    if (!reader->file.is_begun) begin_output(reader);
    while (reader->file.state != AT_END) {
        if (!input->last && input_end(input) < input->enough) return FANFOLD_HUNGRY;
        int done = reader->file.state == AT_START ? pass_mark(reader)
                   : reader->options.csv          ? csv_step(reader)
                                                  : json_step(reader);
        if (done != FANFOLD_FULL) return done;
        if (reader->output.size + reader->faults.size >= ENOUGH_OUTPUT) return FANFOLD_FULL;
    }
    /* Where reading ended early, what is left of the file is passed over. */
    input->at = input_end(input);
    end_output(reader);
    return FANFOLD_END;
}

int fanfold_reader_next(fanfold_reader *reader, fanfold_bytes *merged, fanfold_bytes *faults) {
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    int answer = read_on(reader);
    *merged = (fanfold_bytes){reader->output.data, reader->output.size};
    *faults = (fanfold_bytes){reader->faults.data, reader->faults.size};
    return answer;
}

int fanfold_reader_learnt(fanfold_reader *reader, fanfold_bytes *learnt) {
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    shape_write(&reader->shape, &reader->learnt);
    *learnt = (fanfold_bytes){reader->learnt.data, reader->learnt.size};
    return FANFOLD_FULL;
}

fanfold_counts fanfold_reader_counts(const fanfold_reader *reader) {
    fanfold_counts counts = reader->counts;
    counts.bytes = input_end(&reader->input);
    counts.nodes = reader->shape.nodes.count - RECORD;
    counts.unmatched = reader->merged.file_unmatched;
    counts.settled = reader->file.document == NO_DOCUMENT ? 0 : reader->file.document;
    if (reader->file.state == AT_END) counts.settled = UINT64_MAX;
    return counts;
}
