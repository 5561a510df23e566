/* The memory of handles, and buffers in it. */
#include "memory.h"

#include <stdlib.h>

#include "fanfold.h"

_Thread_local Memory *memory;

static int make_ready(Memory *handle, int (*ready)(void *, const void *), const void *by) {
    if (setjmp((memory = handle)->exit)) return handle->answer;
    return ready(handle, by) ? FANFOLD_FULL : FANFOLD_WRONG_CALL;
}

void *memory_open(size_t size, int (*ready)(void *, const void *), const void *by, int *answer) {
    Memory *opened = calloc(1, size);
    if (opened) opened->ring = (Block){&opened->ring, &opened->ring};
    int made = opened ? make_ready(opened, ready, by) : FANFOLD_NO_MEMORY;
    if (answer) *answer = made;
    if (made == FANFOLD_FULL) return opened;
    memory_close(opened);
    return NULL;
}

void memory_close(void *handle) {
    Memory *closed = handle;
    if (!closed) return;
    while (closed->ring.behind != &closed->ring) memory_free(closed->ring.behind + 1);
    free(closed);
}

void leave_call(int answer) {
    memory->answer = answer;
    longjmp(memory->exit, 1);
}

void *memory_resize(void *items, size_t count, size_t item_size) {
    if (count > SIZE_MAX / 4 / item_size) leave_call(FANFOLD_NO_MEMORY);
    size_t size = sizeof(Block) + count * item_size;
    Block *block = items ? realloc((Block *)items - 1, size) : calloc(1, size);
    if (!block) leave_call(FANFOLD_NO_MEMORY);
    if (!items) *block = (Block){&memory->ring, memory->ring.behind};
    block->before->behind = block->behind->before = block;
    return block + 1;
}

void *memory_detach(void *items) {
    Block *block = (Block *)items - 1;
    block->before->behind = block->behind;
    block->behind->before = block->before;
    *block = (Block){block, block};
    return items;
}

void memory_free(void *items) {
    if (items) free((Block *)memory_detach(items) - 1);
}

void *list_grow(void *items, size_t *capacity, size_t item_size) {
    *capacity = *capacity ? *capacity * 2 : 16;
    return memory_resize(items, *capacity, item_size);
}

void bytes_grow(Bytes *bytes, size_t more) {
    size_t capacity = bytes->capacity ? bytes->capacity : 256;
    if (more > SIZE_MAX / 4 - bytes->size) leave_call(FANFOLD_NO_MEMORY);
    while (capacity < bytes->size + more) capacity *= 2;
    bytes->data = memory_resize(bytes->data, capacity + PAD, 1);
    bytes->capacity = capacity;
}

void bytes_text(Bytes *bytes, const char *text) { bytes_put(bytes, text, strlen(text)); }

void bytes_number(Bytes *bytes, uint64_t number) {
    uint8_t digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (uint8_t)('0' + number % 10);
    while (number /= 10);
    bytes_put(bytes, digits + at, sizeof digits - at);
}

void bytes_json(Bytes *bytes, const uint8_t *text, size_t size) {
    static const char hex[] = "0123456789abcdef";
    bytes_byte(bytes, '"');
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text[i];
        if (c < 0x20) {
            bytes_text(bytes, "\\u00");
            bytes_byte(bytes, (uint8_t)hex[c >> 4]);
            bytes_byte(bytes, (uint8_t)hex[c & 15]);
        } else {
            if (c == '"' || c == '\\') bytes_byte(bytes, '\\');
            bytes_byte(bytes, c);
        }
    }
    bytes_byte(bytes, '"');
}

void bytes_integer(Bytes *bytes, uint64_t number, size_t size) {
    for (; size; size--, number >>= 8) bytes_byte(bytes, (uint8_t)number);
}

uint64_t read_integer(const uint8_t *p, size_t size) {
    uint64_t number = 0;
    while (size) number = number << 8 | p[--size];
    return number;
}

void bytes_varint(Bytes *bytes, uint64_t number) {
    bytes_room(bytes, 10);
    bytes->size = (size_t)(write_varint(bytes->data + bytes->size, number) - bytes->data);
}

void bytes_sized(Bytes *bytes, const uint8_t *text, size_t size) {
    bytes_varint(bytes, size);
    bytes_put(bytes, text, size);
}

enum { CHUNK_BYTES = 1 << 16 };

struct Chunk {
    Chunk *before;
    size_t capacity;
    uint8_t data[];
};

uint8_t *arena_take(Arena *arena, size_t size) {
    if (!arena->chunk || size > arena->left) {
        size_t capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        Chunk *chunk = memory_take(sizeof *chunk + capacity + PAD, 1);
        chunk->before = arena->chunk;
        chunk->capacity = capacity;
        *arena = (Arena){chunk, chunk->data, capacity};
    }
    arena->next += size;
    arena->left -= size;
    return arena->next - size;
}

uint8_t *arena_copy(Arena *arena, const uint8_t *from, size_t size) {
    uint8_t *taken = arena_take(arena, size);
    memcpy(taken, from, size);
    return taken;
}

void arena_empty(Arena *arena) {
    Chunk *chunk = arena->chunk;
    while (chunk && (chunk->before || chunk->capacity > CHUNK_BYTES)) {
        Chunk *before = chunk->before;
        memory_free(chunk);
        chunk = before;
    }
    *arena = chunk ? (Arena){chunk, chunk->data, chunk->capacity} : (Arena){0};
}
