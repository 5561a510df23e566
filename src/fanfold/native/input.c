/* The bytes that a reader was fed, and the faults that are written down of them. */
#include "reader.h"

void input_begin(Input *input) {
    *input = (Input){.bytes = input->bytes, .line = 1};
    input->bytes.size = 0;
    bytes_room(&input->bytes, 1);
    memset(input->bytes.data, 0, PAD);
}

/* What lies before the first byte that is needed goes; the line that it is in tells whether a record begins a line. */
void input_feed(Input *input, const uint8_t *window, size_t size, int last) {
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

uint64_t input_line(Input *input, uint64_t offset) {
    const uint8_t *p = input_byte(input, input->counted);
    size_t size = offset > input->counted ? (size_t)(offset - input->counted) : 0;
    for (size_t left = size; left;) {
        /* The number of lines in a piece fits into a byte. */
        size_t piece = left < 128 ? left : 128;
        uint8_t found = 0;
        for (size_t i = 0; i < piece; i++) found += p[i] == '\n';
        input->line += found;
        p += piece;
        left -= piece;
    }
    input->counted += size;
    return input->line;
}

int input_hungry(Input *input, uint64_t start, uint64_t most) {
    uint64_t size = input_end(input) - start;
    input->enough = start + (size < most && 2 * size > most ? most : 2 * size);
    return FANFOLD_HUNGRY;
}

/* Faults. */

void reader_bad(fanfold_reader *reader, const Bad *bad) {
    Input *input = &reader->input;
    Fault *fault = &reader->walk.fault;
    /* Of a record that is too large nothing is kept. */
    int kept = bad->size && bad->size <= reader->options.max_record_bytes && bad->code != FANFOLD_TOO_MANY_VALUES;
    const uint8_t *text = bad->raw ? (const uint8_t *)bad->raw : kept ? input_byte(input, bad->start) : NULL;
    if (!bad->of_file) {
        reader->counts.records++;
        reader->counts.bad++;
        reader->file.last_code = bad->code;
    }
    if (bad->expected) {
        fault_begin(fault, bad->expected);
        if (bad->key) fault_step(fault, bad->key);
        if (kept) fault_found(fault, text + bad->offset, text + bad->size);
    }
    uint64_t line = bad->line ? bad->line : input_line(input, bad->start);
    uint64_t fault_line = bad->offset ? input_line(input, bad->start + bad->offset) : line;
    uint64_t raw = kept ? bad->size : 0;
    const uint64_t places[] = {fault_line, bad->start + bad->offset, line, bad->start, bad->size};
    const Bytes *texts[] = {&fault->pointer, &fault->found, &fault->expected};
    Bytes *to = &reader->faults;
    bytes_integer(to, (uint64_t)bad->code, 8);
    bytes_integer(to, bad->of_file ? 0 : reader->counts.records, 8);
    for (int i = 0; i < 5; i++) bytes_integer(to, places[i], 8);
    for (int i = 0; i < 3; i++) bytes_integer(to, texts[i]->size, 8);
    bytes_integer(to, raw, 8);
    for (int i = 0; i < 3; i++) bytes_put(to, texts[i]->data, texts[i]->size);
    bytes_put(to, text, (size_t)raw);
}

void reader_judge(fanfold_reader *reader, uint64_t start, uint64_t size, uint64_t line) {
    Walk *walk = &reader->walk;
    Bad bad = {.start = start, .size = size, .line = line};
    if (size > reader->options.max_record_bytes) {
        bad.code = FANFOLD_RECORD_TOO_LARGE;
        bad.expected = "at most input.max_record_bytes";
        reader_bad(reader, &bad);
        return;
    }
    /* Its own text decides: what follows it is out of sight. */
    uint8_t *begin = reader->input.bytes.data + (start - reader->input.base), *end = begin + size, behind[PAD];
    memcpy(behind, end, PAD);
    memset(end, 0, PAD);
    walk->mode = reader->mode;
    shape_forget(&reader->shape);
    walk->explain = 1;
    walk_value(walk, skip_blanks(begin), end, ++reader->serial);
    walk->explain = 0;
    shape_forget(&reader->shape);
    bad.code = walk->fault.code ? walk->fault.code : FANFOLD_SYNTAX;
    bad.offset = walk->fault.code ? (uint64_t)(walk->fault.at - begin) : 0;
    if (!walk->fault.code) bad.expected = "a record, and what may follow it";
    reader_bad(reader, &bad);
    memcpy(end, behind, PAD);
}
