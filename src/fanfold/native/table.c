/* Frozen tables: their file, and the index of their keys. */

/* For pread, and files of more than 2 GiB. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "table.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

enum { MAX_DUPLICATES = 1000, SCAN_BYTES = 1 << 18, PLACE_BITS = 40, HEAD_BYTES = 8, TAIL_BYTES = 32 };

static const uint8_t mark[HEAD_BYTES] = {'F', 'A', 'N', 'F', 'O', 'L', 'D', 1};

/* The file, as it is written. */

void frozen_head(Bytes *to) { bytes_put(to, mark, sizeof mark); }

void frozen_row(Bytes *to, const Bytes *key, const Bytes *slots, uint64_t line) {
    uint8_t head[20], *end = write_varint(write_varint(head, line), key ? key->size + 1 : 0);
    size_t size = (size_t)(end - head);
    bytes_varint(to, size + (key ? key->size : 0) + slots->size);
    bytes_put(to, head, size);
    if (key) bytes_put(to, key->data, key->size);
    bytes_put(to, slots->data, slots->size);
}

void frozen_tail(Bytes *to, uint64_t rows, uint64_t slots, uint64_t size) {
    bytes_integer(to, rows, 8);
    bytes_integer(to, slots, 8);
    bytes_integer(to, size + TAIL_BYTES, 8);
    bytes_put(to, mark, sizeof mark);
}

/* The file, as it is read. */

static void read_file(const fanfold_table *table, uint8_t *to, uint64_t size, uint64_t at) {
    while (size) {
        ssize_t done = pread(table->file, to, (size_t)size, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (!done) errno = 0;
        if (done <= 0) leave_call(FANFOLD_UNREADABLE);
        to += done;
        at += (uint64_t)done;
        size -= (uint64_t)done;
    }
}

/* Returns bytes of the file that lie before its tail. */
static const uint8_t *view_bytes(TableView *view, uint64_t at, size_t size) {
    const fanfold_table *table = view->table;
    if (table->data) return table->data + at;
    if (at < view->begin || at + size > view->begin + view->piece.size) {
        uint64_t left = table->size - at;
        size_t wanted = size > view->least ? size : view->least < left ? view->least : (size_t)left;
        view->piece.size = 0;
        bytes_room(&view->piece, wanted);
        read_file(table, view->piece.data, wanted, at);
        view->piece.size = wanted;
        view->begin = at;
    }
    return view->piece.data + (at - view->begin);
}

int table_row(TableView *view, uint64_t place, TableRow *row) {
    uint64_t end = view->table->size - TAIL_BYTES, size, key;
    if (place < HEAD_BYTES || place >= end) return 0;
    size_t most = end - place < 10 ? (size_t)(end - place) : 10;
    const uint8_t *begin = view_bytes(view, place, most), *p = read_varint(begin, begin + most, &size), *last;
    if (!p) return 0;
    place += (uint64_t)(p - begin);
    if (size > end - place) return 0;
    p = view_bytes(view, place, (size_t)size);
    last = p + size;
    row->next = place + size;
    if (!(p = read_varint(p, last, &row->line)) || !(p = read_varint(p, last, &key))) return 0;
    if (key > (uint64_t)(last - p) + 1) return 0;
    row->key = key ? p : NULL;
    row->key_size = key ? (size_t)key - 1 : 0;
    row->slots = p + row->key_size;
    row->size = (size_t)(last - row->slots);
    return 1;
}

/* The index. */

/* Returns the entry of a key, or the empty one where it belongs; `found` is the row of the key. */
static uint64_t *entry_of(TableView *view, const uint8_t *key, size_t size, TableRow *found) {
    const fanfold_table *table = view->table;
    uint64_t hash = hash_bytes(table->seed, key, size), at = (hash & UINT32_MAX) * table->index_count >> 32;
    for (; table->index[at]; at = at + 1 == table->index_count ? 0 : at + 1) {
        if ((table->index[at] ^ hash) >> PLACE_BITS) continue;
        uint64_t place = table->index[at] & ((UINT64_C(1) << PLACE_BITS) - 1);
        if (table_row(view, place, found) && found->key && found->key_size == size &&
            (!size || !memcmp(found->key, key, size)))
            break;
    }
    return &table->index[at];
}

uint64_t table_find(TableView *view, const uint8_t *key, size_t size) {
    TableRow found;
    return *entry_of(view, key, size, &found) & ((UINT64_C(1) << PLACE_BITS) - 1);
}

static void add_duplicate(fanfold_table *table, uint64_t number, const TableRow *row, uint64_t first_line) {
    if (table->repeated++ >= MAX_DUPLICATES) return;
    bytes_integer(&table->duplicates, number, 8);
    bytes_integer(&table->duplicates, row->line, 8);
    bytes_integer(&table->duplicates, first_line, 8);
    bytes_integer(&table->duplicates, row->key_size, 8);
    bytes_put(&table->duplicates, row->key, row->key_size);
}

/* Goes through all rows; 0 where they are not as many as the file says. */
static int make_index(fanfold_table *table) {
    uint64_t place = HEAD_BYTES, number = 1;
    TableView scan = {.table = table, .least = SCAN_BYTES}, look = {.table = table, .least = ROW_BYTES};
    table->index_count = table->row_count * 4 / 3 + 2;
    table->index = memory_take((size_t)table->index_count, sizeof *table->index);
    for (TableRow row, first; place < table->size - TAIL_BYTES; place = row.next, number++) {
        if (number > table->row_count || !table_row(&scan, place, &row)) return 0;
        if (!row.key) continue;
        uint64_t *entry = entry_of(&look, row.key, row.key_size, &first);
        if (*entry)
            add_duplicate(table, number, &row, first.line);
        else
            *entry = hash_bytes(table->seed, row.key, row.key_size) >> PLACE_BITS << PLACE_BITS | place;
    }
    memory_free(scan.piece.data);
    memory_free(look.piece.data);
    return number == table->row_count + 1;
}

typedef struct {
    int file, with_index;
} Opened;

/* Reads the tail, and the whole file where it is small; 0 where it is not a frozen table. */
static int is_ready(void *handle, const void *by) {
    fanfold_table *table = handle;
    const Opened *opened = by;
    uint8_t head[HEAD_BYTES], tail[TAIL_BYTES];
    table->file = opened->file;
    off_t size = lseek(table->file, 0, SEEK_END);
    if (size < 0) leave_call(FANFOLD_UNREADABLE);
    table->size = (uint64_t)size;
    table->seed = hash_seed();
    if (table->size < HEAD_BYTES + TAIL_BYTES || table->size >> PLACE_BITS) return 0;
    read_file(table, head, HEAD_BYTES, 0);
    read_file(table, tail, TAIL_BYTES, table->size - TAIL_BYTES);
    table->row_count = read_integer(tail, 8);
    table->slot_count = read_integer(tail + 8, 8);
    /* A row has 3 bytes at least, so what is taken for the index follows from what is there. */
    if (memcmp(head, mark, sizeof mark) || memcmp(tail + 24, mark, sizeof mark) ||
        read_integer(tail + 16, 8) != table->size || table->row_count > table->size / 3 ||
        table->row_count > UINT32_MAX / 2)
        return 0;
    if (table->size <= TABLE_IN_MEMORY) {
        uint8_t *data = memory_take((size_t)table->size + PAD, 1);
        read_file(table, data, table->size, 0);
        table->data = data;
    }
    return !opened->with_index || make_index(table);
}

int fanfold_table_open(int file, int with_index, fanfold_table **opened) {
    int answer;
    *opened = memory_open(sizeof **opened, is_ready, &(Opened){file, with_index}, &answer);
    return answer;
}

void fanfold_table_close(fanfold_table *table) { memory_close(table); }

fanfold_facts fanfold_table_facts(const fanfold_table *table) {
    return (fanfold_facts){table->row_count, table->repeated, {table->duplicates.data, table->duplicates.size}};
}
