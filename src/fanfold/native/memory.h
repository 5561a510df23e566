/* Memory: buffers, lists and sets that grow with what is really there, never by a number that the input states.
 *
 * All that is taken in a call belongs to the handle of the call, and goes with it. Where there is none left, the call
 * is left by longjmp and returns FANFOLD_NO_MEMORY. */
#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What stands before each piece of memory: its neighbours in the ring of its handle. */
typedef struct Block Block;
struct Block {
    Block *before, *behind;
};

/* The first member of each handle. */
typedef struct {
    Block ring;
    jmp_buf exit;
    int answer; /* of a call that was left */
} Memory;

/* That of the call which is under way on this thread. */
extern _Thread_local Memory *memory;

/* Begins a call: true when it was left. What its variables held is not known then. */
#define CALL_WAS_LEFT(handle) setjmp((memory = &(handle)->memory)->exit)
_Noreturn void leave_call(int answer);

/* Opens a handle, of zeros, whose first member is a Memory. `ready` takes what it is opened by, and returns 0 where
 * that does not fit. Returns NULL where it cannot be opened; `answer`, which may be NULL, says why. */
void *memory_open(size_t size, int (*ready)(void *handle, const void *by), const void *by, int *answer);
void memory_close(void *handle);
/* Makes an array of items larger; one that is new (NULL) is all zeros. */
void *memory_resize(void *items, size_t count, size_t item_size);
static inline void *memory_take(size_t count, size_t item_size) { return memory_resize(NULL, count, item_size); }
/* Takes an array out of the ring of its handle: whoever has it frees it. */
void *memory_detach(void *items);
void memory_free(void *items);

/* Lists. */
#define LIST(Type)                                                                                                     \
    struct {                                                                                                           \
        Type *items;                                                                                                   \
        size_t count, capacity;                                                                                        \
    }
#define ADD(list, ...)                                                                                                 \
    ((list).count == (list).capacity                                                                                   \
         ? (void)((list).items = list_grow((list).items, &(list).capacity, sizeof *(list).items))                      \
         : (void)0,                                                                                                    \
     (list).items[(list).count++] = (__VA_ARGS__))
void *list_grow(void *items, size_t *capacity, size_t item_size);

/* The bytes behind the end of a buffer that may be read, and written by `copy`. */
enum { PAD = 64 };

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} Bytes;

/* Makes room for `more` bytes, and PAD behind them. */
void bytes_grow(Bytes *, size_t more);

static inline void bytes_room(Bytes *bytes, size_t more) {
    if (more > bytes->capacity - bytes->size) bytes_grow(bytes, more);
}

static inline void bytes_put(Bytes *bytes, const void *from, size_t size) {
    bytes_room(bytes, size);
    if (size) memcpy(bytes->data + bytes->size, from, size);
    bytes->size += size;
}

/* Puts bytes in place of those that are there. */
static inline void bytes_set(Bytes *bytes, const void *from, size_t size) {
    bytes->size = 0;
    bytes_put(bytes, from, size);
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

/* Integers of `size` bytes, little-endian. */
void bytes_integer(Bytes *, uint64_t, size_t size);
uint64_t read_integer(const uint8_t *p, size_t size);

/* Varints (LEB128) of at most 10 bytes. */
void bytes_varint(Bytes *, uint64_t);
/* A text with its size before it, as a varint. */
void bytes_sized(Bytes *, const uint8_t *text, size_t size);

static inline uint8_t *write_varint(uint8_t *to, uint64_t number) {
    while (number >= 0x80) {
        *to++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *to++ = (uint8_t)number;
    return to;
}

/* Reads a varint; NULL where it is not one before `end`. */
static inline const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *number) {
    *number = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        *number |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p++ & 0x80)) return p;
    }
    return NULL;
}

/* Bytes that stay where they are until the arena is emptied. */
typedef struct Chunk Chunk;
typedef struct {
    Chunk *chunk;
    uint8_t *next;
    size_t left;
} Arena;

/* Returns `size` bytes with PAD behind them. */
uint8_t *arena_take(Arena *, size_t size);
uint8_t *arena_copy(Arena *, const uint8_t *from, size_t size);
void arena_empty(Arena *);

/* A hash that nobody outside can foresee, so that no keys can be made to collide. */
uint64_t hash_bytes(uint64_t seed, const uint8_t *bytes, size_t size);
uint64_t hash_seed(void);

/* The keys of objects: pairs of a number (the object) and a text, which are numbered from 1. */
typedef struct {
    uint64_t hash, object;
    size_t at, size;
} Key;

typedef struct {
    LIST(Key) keys;
    uint32_t *slots;
    size_t slot_count;
    Bytes texts;
    uint64_t seed;
} Keys;

/* Returns the number of a key: 0 where it is not there. */
uint32_t keys_find(const Keys *, uint64_t object, const uint8_t *text, size_t size);
/* Returns the number of a key, which is added where it is not there: then there is one key more. */
uint32_t keys_add(Keys *, uint64_t object, const uint8_t *text, size_t size);
/* Removes all but the first `count` keys. */
void keys_cut(Keys *, size_t count);
