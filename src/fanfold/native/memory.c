#include "memory.h"

#include <stdlib.h>
#include <time.h>

void bytes_grow(Bytes *bytes, size_t more) {
    if (more > SIZE_MAX / 4 - bytes->size) longjmp(*bytes->exit, 1);
    size_t wanted = bytes->size + more, capacity = bytes->capacity ? bytes->capacity : 256;
    while (capacity < wanted) capacity *= 2;
    uint8_t *data = realloc(bytes->data, capacity + PAD);
    if (!data) longjmp(*bytes->exit, 1);
    if (!bytes->data) memset(data, 0, capacity + PAD);
    bytes->data = data;
    bytes->capacity = capacity;
}

void bytes_close(Bytes *bytes) {
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = bytes->capacity = 0;
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

enum { CHUNK_BYTES = 1 << 16 };

struct Chunk {
    Chunk *before;
    size_t size, capacity;
    uint8_t data[];
};

uint8_t *arena_take(Arena *arena, size_t size) {
    Chunk *chunk = arena->chunks;
    if (!chunk || size > chunk->capacity - chunk->size) {
        if (size > SIZE_MAX / 4) longjmp(*arena->exit, 1);
        size_t capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + capacity + PAD);
        if (!chunk) longjmp(*arena->exit, 1);
        memset(chunk->data, 0, capacity + PAD);
        chunk->before = arena->chunks;
        chunk->size = 0;
        chunk->capacity = capacity;
        arena->chunks = chunk;
    }
    uint8_t *taken = chunk->data + chunk->size;
    chunk->size += size;
    return taken;
}

void arena_give_back(Arena *arena, const uint8_t *taken) {
    Chunk *chunk = arena->chunks;
    while (taken < chunk->data || taken > chunk->data + chunk->size) {
        arena->chunks = chunk->before;
        free(chunk);
        chunk = arena->chunks;
    }
    chunk->size = (size_t)(taken - chunk->data);
}

void arena_empty(Arena *arena) {
    Chunk *chunk = arena->chunks;
    while (chunk && (chunk->before || chunk->capacity > CHUNK_BYTES)) {
        arena->chunks = chunk->before;
        free(chunk);
        chunk = arena->chunks;
    }
    if (chunk) chunk->size = 0;
}

void arena_close(Arena *arena) {
    arena_empty(arena);
    free(arena->chunks);
    arena->chunks = NULL;
}

void *items_grow(void *items, size_t count, size_t *capacity, size_t item_size, jmp_buf *exit) {
    size_t wanted = count ? count * 2 : 16;
    if (wanted > SIZE_MAX / 4 / item_size) longjmp(*exit, 1);
    void *grown = realloc(items, wanted * item_size);
    if (!grown) longjmp(*exit, 1);
    *capacity = wanted;
    return grown;
}

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t low = (a & 0xffffffffu) * (b & 0xffffffffu), high = (a >> 32) * (b >> 32);
    uint64_t cross = (a >> 32) * (b & 0xffffffffu), other = (a & 0xffffffffu) * (b >> 32);
    return (low ^ high) + ((cross << 32) | (cross >> 32)) + ((other << 17) | (other >> 47));
}

uint64_t hash_bytes(uint64_t seed, const uint8_t *bytes, size_t size) {
    uint64_t hash = seed ^ (size * 0x9e3779b97f4a7c15u), word;
    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&word, bytes, 8);
        hash = mix(hash ^ word, 0xd6e8feb86659fd93u ^ seed);
    }
    word = 0;
    if (size) memcpy(&word, bytes, size);
    hash = mix(hash ^ word, 0xa0761d6478bd642fu);
    return hash ^ (hash >> 29);
}

uint64_t hash_seed(void) {
    int here;
    return mix((uint64_t)(uintptr_t)&here ^ (uint64_t)time(NULL), 0x2545f4914f6cdd1du + (uint64_t)clock());
}

static void keys_place(Keys *keys, uint32_t number) {
    size_t mask = keys->slot_count - 1, at = keys->keys[number].hash & mask;
    while (keys->slots[at]) at = (at + 1) & mask;
    keys->slots[at] = number + 1;
}

static void keys_widen(Keys *keys) {
    size_t wanted = keys->slot_count ? keys->slot_count * 2 : 64;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (!slots) longjmp(*keys->texts.exit, 1);
    free(keys->slots);
    keys->slots = slots;
    keys->slot_count = wanted;
    for (size_t i = 0; i < keys->count; i++) keys_place(keys, (uint32_t)i);
}

int keys_add(Keys *keys, uint64_t object, const uint8_t *text, size_t size) {
    if (keys->count * 2 >= keys->slot_count) keys_widen(keys);
    uint64_t hash = hash_bytes(keys->seed ^ object, text, size);
    size_t mask = keys->slot_count - 1;
    for (size_t at = hash & mask; keys->slots[at]; at = (at + 1) & mask) {
        const Key *key = &keys->keys[keys->slots[at] - 1];
        if (key->hash == hash && key->object == object && key->size == size &&
            (!size || !memcmp(keys->texts.data + key->at, text, size)))
            return 0;
    }
    ITEM(keys->keys, keys->count, keys->capacity, keys->texts.exit);
    keys->keys[keys->count] = (Key){hash, object, keys->texts.size, size};
    bytes_put(&keys->texts, text, size);
    keys_place(keys, (uint32_t)keys->count++);
    return 1;
}

void keys_empty(Keys *keys) {
    if (!keys->count) return;
    /* Few keys in a wide set: its slots are emptied one by one. */
    size_t mask = keys->slot_count - 1;
    if (keys->count * 8 < keys->slot_count) {
        for (size_t i = keys->count; i-- > 0;) {
            size_t at = keys->keys[i].hash & mask;
            while (keys->slots[at] != i + 1) at = (at + 1) & mask;
            keys->slots[at] = 0;
        }
    } else {
        memset(keys->slots, 0, keys->slot_count * sizeof *keys->slots);
    }
    keys->count = keys->texts.size = 0;
}

void keys_close(Keys *keys) {
    free(keys->keys);
    free(keys->slots);
    bytes_close(&keys->texts);
}
