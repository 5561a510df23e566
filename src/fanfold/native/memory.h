/* Memory: buffers and tables that grow with what is really there, never by a number that the input states.
 *
 * Where there is none left, the call of the interface that is under way is left by longjmp and returns
 * FANFOLD_NO_MEMORY; its handle can then only be closed. */
#ifndef FANFOLD_MEMORY_H
#define FANFOLD_MEMORY_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A function that calls setjmp keeps no variable: its work is done by another, which is not inlined into it. */
#if defined(__GNUC__)
#define APART __attribute__((noinline))
#else
#define APART
#endif

/* So many bytes behind the end of a buffer may be read, and written by `bytes_copy`. */
enum { PAD = 64 };

typedef struct {
    uint8_t *data;
    size_t size, capacity;
    jmp_buf *exit;
} Bytes;

/* Makes room for `more` bytes, and PAD behind them. */
void bytes_grow(Bytes *, size_t more);
void bytes_close(Bytes *);

static inline void bytes_room(Bytes *bytes, size_t more) {
    if (more > bytes->capacity - bytes->size) bytes_grow(bytes, more);
}

static inline void bytes_put(Bytes *bytes, const void *from, size_t size) {
    bytes_room(bytes, size);
    if (size) memcpy(bytes->data + bytes->size, from, size);
    bytes->size += size;
}

static inline void bytes_byte(Bytes *bytes, uint8_t byte) {
    bytes_room(bytes, 1);
    bytes->data[bytes->size++] = byte;
}

/* Copies into room that was made, in pieces of 16: both sides have PAD bytes behind them. */
static inline uint8_t *copy(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t done = 0; done < size; done += 16) memcpy(to + done, from + done, 16);
    return to + size;
}

void bytes_text(Bytes *, const char *);
void bytes_number(Bytes *, uint64_t);
/* A text of JSON, in quotes; `text` is UTF-8. */
void bytes_json(Bytes *, const uint8_t *text, size_t size);

/* Bytes that stay where they are until the arena is emptied. */
typedef struct Chunk Chunk;
typedef struct {
    Chunk *chunks;
    jmp_buf *exit;
} Arena;

/* Returns `size` bytes with PAD behind them. */
uint8_t *arena_take(Arena *, size_t size);
/* Gives back all from `taken` on, which the arena gave. */
void arena_give_back(Arena *, const uint8_t *taken);
void arena_empty(Arena *);
void arena_close(Arena *);

/* Makes room for one more item behind `count`; the new capacity is twice the old one. */
void *items_grow(void *items, size_t count, size_t *capacity, size_t item_size, jmp_buf *exit);

#define ITEM(items, count, capacity, exit)                                                                             \
    ((count) == (capacity) ? (items) = items_grow((items), (count), &(capacity), sizeof *(items), (exit)) : 0)

/* A hash that nobody outside can foresee, so that no keys can be made to collide. */
uint64_t hash_bytes(uint64_t seed, const uint8_t *bytes, size_t size);
uint64_t hash_seed(void);

/* Which keys an object has had: a set of pairs of a number (the object) and a text. */
typedef struct {
    uint64_t hash, object;
    size_t at, size;
} Key;

typedef struct {
    Key *keys;
    uint32_t *slots;
    size_t count, capacity, slot_count;
    Bytes texts;
    uint64_t seed;
} Keys;

/* Returns 1 where the key is new, 0 where the object has had it. */
int keys_add(Keys *, uint64_t object, const uint8_t *text, size_t size);
void keys_empty(Keys *);
void keys_close(Keys *);

#endif
