/* What stands around the records of a document, as far as each of them takes it along: kept by a reader that looks
 * ahead, and handed to the one that reads the records. */
#include "inside.h"
#include "reader.h"

enum { ENTRY_BYTES = 12 };

void walk_keep_around(Walk *walk, uint32_t way, const uint8_t *from, const uint8_t *end) {
    const Keys *ways = &walk->excluded->ways;
    Bytes *to = &walk->envelope;
    uint32_t steps[MAX_DEPTH];
    size_t count = 0;
    for (; way > RECORD && count < MAX_DEPTH; way = (uint32_t)ways->keys.items[way - 1].object) steps[count++] = way;
    for (size_t i = count; i-- > 0;) {
        const Key *key = &ways->keys.items[steps[i] - 1];
        bytes_byte(to, '{');
        bytes_json(to, ways->texts.data + key->at, key->size);
        bytes_byte(to, ':');
    }
    bytes_room(to, (size_t)(end - from));
    to->size = (size_t)(compact_json(from, end, to->data + to->size) - to->data);
    while (count--) bytes_byte(to, '}');
    bytes_byte(to, '\n');
}

void envelope_end(fanfold_reader *reader) {
    Bytes *envelope = &reader->walk.envelope;
    if (!reader->options.looks || reader->file.document == NO_DOCUMENT) return;
    bytes_integer(&reader->output, reader->file.document, 8);
    bytes_integer(&reader->output, envelope->size, 4);
    bytes_put(&reader->output, envelope->data, envelope->size);
    envelope->size = 0;
}

int envelope_begin(fanfold_reader *reader) {
    Bytes *envelope = &reader->walk.envelope, *ahead = &reader->ahead;
    uint64_t document = reader->input.at;
    if (!reader->options.has_envelope || reader->file.document == document) return 1;
    envelope_end(reader);
    reader->file.document = document;
    if (reader->options.looks) return 1;
    for (envelope->size = 0; ahead->size - reader->ahead_at >= ENTRY_BYTES;) {
        const uint8_t *p = ahead->data + reader->ahead_at;
        uint64_t offset = read_integer(p, 8), size = read_integer(p + 8, 4);
        if (offset > document) break;
        reader->ahead_at += ENTRY_BYTES + (size_t)size;
        if (offset < document) continue;
        bytes_put(envelope, p + ENTRY_BYTES, (size_t)size);
        bytes_room(envelope, 1);
        memset(envelope->data + envelope->size, 0, PAD);
        return 1;
    }
    return 0;
}

int fanfold_reader_envelopes(fanfold_reader *reader, const uint8_t *envelopes, size_t size) {
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    for (size_t at = 0, left = size; at < size; left = size - at) {
        if (left < ENTRY_BYTES || read_integer(envelopes + at + 8, 4) > left - ENTRY_BYTES) return FANFOLD_WRONG_CALL;
        at += ENTRY_BYTES + (size_t)read_integer(envelopes + at + 8, 4);
    }
    Bytes *ahead = &reader->ahead;
    if (ahead->size) memmove(ahead->data, ahead->data + reader->ahead_at, ahead->size - reader->ahead_at);
    ahead->size -= reader->ahead_at;
    reader->ahead_at = 0;
    bytes_put(ahead, envelopes, size);
    return FANFOLD_FULL;
}
