/* Keys that are found by a hash. */
#include <time.h>

#include "memory.h"

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

/* Returns the slot of a key, or the empty one where it belongs. */
static size_t slot_of(const Keys *keys, const Key *wanted, const uint8_t *text) {
    size_t mask = keys->slot_count - 1, at = wanted->hash & mask;
    for (; keys->slots[at]; at = (at + 1) & mask) {
        const Key *key = &keys->keys.items[keys->slots[at] - 1];
        if (key->hash == wanted->hash && key->object == wanted->object && key->size == wanted->size &&
            (!key->size || !memcmp(keys->texts.data + key->at, text, key->size)))
            break;
    }
    return at;
}

static Key key_of(const Keys *keys, uint64_t object, const uint8_t *text, size_t size) {
    return (Key){hash_bytes(keys->seed ^ object, text, size), object, keys->texts.size, size};
}

uint32_t keys_find(const Keys *keys, uint64_t object, const uint8_t *text, size_t size) {
    if (!keys->keys.count) return 0;
    Key key = key_of(keys, object, text, size);
    return keys->slots[slot_of(keys, &key, text)];
}

static void widen(Keys *keys) {
    if (!keys->slot_count) keys->seed = hash_seed();
    memory_free(keys->slots);
    keys->slots = NULL;
    keys->slot_count = keys->slot_count ? keys->slot_count * 2 : 64;
    keys->slots = memory_take(keys->slot_count, sizeof *keys->slots);
    for (size_t i = 0; i < keys->keys.count; i++) {
        size_t at = keys->keys.items[i].hash & (keys->slot_count - 1);
        while (keys->slots[at]) at = (at + 1) & (keys->slot_count - 1);
        keys->slots[at] = (uint32_t)i + 1;
    }
}

uint32_t keys_add(Keys *keys, uint64_t object, const uint8_t *text, size_t size) {
    if (keys->keys.count * 2 >= keys->slot_count) widen(keys);
    Key key = key_of(keys, object, text, size);
    size_t at = slot_of(keys, &key, text);
    if (!keys->slots[at]) {
        ADD(keys->keys, key);
        bytes_put(&keys->texts, text, size);
        keys->slots[at] = (uint32_t)keys->keys.count;
    }
    return keys->slots[at];
}

/* The last one goes first, so that those before it are found as ever. */
void keys_cut(Keys *keys, size_t count) {
    while (keys->keys.count > count) {
        const Key *key = &keys->keys.items[keys->keys.count - 1];
        size_t at = key->hash & (keys->slot_count - 1);
        while (keys->slots[at] != keys->keys.count) at = (at + 1) & (keys->slot_count - 1);
        keys->slots[at] = 0;
        keys->texts.size = key->at;
        keys->keys.count--;
    }
}
