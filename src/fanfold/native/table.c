#include "table.h"

#include <stdlib.h>

#include "merged.h"

enum { MAX_DUPLICATES = 1000 };

fanfold_table *fanfold_table_open(void) {
    fanfold_table *table = calloc(1, sizeof *table);
    if (!table) return NULL;
    table->seed = hash_seed();
    table->texts.exit = table->duplicates.exit = &table->exit;
    return table;
}

void fanfold_table_close(fanfold_table *table) {
    if (!table) return;
    bytes_close(&table->texts);
    bytes_close(&table->duplicates);
    free(table->rows);
    free(table->lines);
    free(table->slots);
    free(table);
}

uint64_t fanfold_table_rows(const fanfold_table *table) { return table->row_count; }

fanfold_bytes fanfold_table_duplicates(const fanfold_table *table) {
    return (fanfold_bytes){table->duplicates.data, table->duplicates.size};
}

static const uint8_t *key_at(const fanfold_table *table, uint64_t at, size_t *size) {
    uint64_t found = 0;
    const uint8_t *end = table->texts.data + table->texts.size;
    const uint8_t *key = read_varint(table->texts.data + at, end, &found);
    *size = (size_t)found;
    return key;
}

const uint8_t *table_row(const fanfold_table *table, uint64_t row, size_t *size) {
    size_t key_size, end = row + 1 < table->row_count ? (size_t)table->rows[row + 1] : table->texts.size;
    const uint8_t *slots = key_at(table, table->rows[row], &key_size) + key_size;
    *size = (size_t)(table->texts.data + end - slots);
    return slots;
}

/* Returns the slot of the key, or the empty one where it belongs. */
static size_t slot_of(const fanfold_table *table, const uint8_t *key, size_t size, uint32_t hash) {
    size_t mask = table->slot_count - 1, at = hash & mask, found_size;
    for (; table->slots[at].row; at = (at + 1) & mask) {
        if (table->slots[at].hash != hash) continue;
        const uint8_t *found = key_at(table, table->slots[at].at, &found_size);
        if (found_size == size && (!size || !memcmp(found, key, size))) break;
    }
    return at;
}

static void widen(fanfold_table *table) {
    size_t wanted = table->slot_count ? table->slot_count * 2 : 1024;
    if (wanted > UINT32_MAX) longjmp(*table->texts.exit, 1);
    TableSlot *slots = calloc(wanted, sizeof *slots);
    if (!slots) longjmp(*table->texts.exit, 1);
    for (size_t i = 0; i < table->slot_count; i++) {
        if (!table->slots[i].row) continue;
        size_t at = table->slots[i].hash & (wanted - 1);
        while (slots[at].row) at = (at + 1) & (wanted - 1);
        slots[at] = table->slots[i];
    }
    free(table->slots);
    table->slots = slots;
    table->slot_count = wanted;
}

static void note_duplicate(fanfold_table *table, uint64_t line, uint32_t first) {
    uint64_t noted[3] = {table->row_count + 1, line, table->lines[first]};
    if (table->duplicates.size < MAX_DUPLICATES * sizeof noted) bytes_put(&table->duplicates, noted, sizeof noted);
}

/* Puts the key of the row that comes next into the index, unless it is there. */
static void place_key(fanfold_table *table, const Bytes *key, uint64_t line) {
    uint32_t hash = (uint32_t)hash_bytes(table->seed, key->data, key->size);
    TableSlot *slot = &table->slots[slot_of(table, key->data, key->size, hash)];
    if (slot->row) {
        note_duplicate(table, line, slot->row - 1);
    } else {
        *slot = (TableSlot){hash, (uint32_t)table->row_count + 1, table->texts.size};
        table->key_count++;
    }
}

void table_add(fanfold_table *table, const Bytes *key, const Bytes *slots, uint64_t line) {
    if (table->key_count * 3 >= table->slot_count * 2) widen(table);
    if (table->row_count >= UINT32_MAX - 1) longjmp(*table->texts.exit, 1);
    ITEM(table->rows, table->row_count, table->row_capacity, table->texts.exit);
    ITEM(table->lines, table->row_count, table->line_capacity, table->texts.exit);
    if (key) place_key(table, key, line);
    table->rows[table->row_count] = table->texts.size;
    table->lines[table->row_count++] = line;
    put_varint(&table->texts, key ? key->size : 0);
    if (key) bytes_put(&table->texts, key->data, key->size);
    bytes_put(&table->texts, slots->data, slots->size);
}

uint32_t table_find(const fanfold_table *table, const uint8_t *key, size_t size) {
    if (!table->slot_count) return 0;
    return table->slots[slot_of(table, key, size, (uint32_t)hash_bytes(table->seed, key, size))].row;
}
