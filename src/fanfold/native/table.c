/* For pread, and files of more than 2 GiB. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "merged.h"

enum { MAX_DUPLICATES = 1000, LINE_BYTES = 1 << 10, LINES = 1 << 11, SCAN_BYTES = 1 << 18, PLACE_BITS = 40 };

static const uint8_t mark[FROZEN_HEAD] = {'F', 'A', 'N', 'F', 'O', 'L', 'D', 1};

/* The file, as it is written. */

static void put_u64(Bytes *to, uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) bytes_byte(to, (uint8_t)(number >> shift));
}

void frozen_head(Bytes *to) { bytes_put(to, mark, sizeof mark); }

void frozen_row(Bytes *to, const Bytes *key, const Bytes *slots, uint64_t line) {
    uint8_t head[20], *end = write_varint(write_varint(head, line), key ? key->size + 1 : 0);
    size_t size = (size_t)(end - head);
    put_varint(to, size + (key ? key->size : 0) + slots->size);
    bytes_put(to, head, size);
    if (key) bytes_put(to, key->data, key->size);
    bytes_put(to, slots->data, slots->size);
}

void frozen_tail(Bytes *to, uint64_t rows, uint64_t slots, uint64_t size) {
    put_u64(to, rows);
    put_u64(to, slots);
    put_u64(to, size + FROZEN_TAIL);
    bytes_put(to, mark, sizeof mark);
}

/* The file, as it is read. */

static int read_file(int file, uint8_t *to, uint64_t size, uint64_t at) {
    while (size) {
        ssize_t done = pread(file, to, (size_t)size, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (!done) errno = 0;
        if (done <= 0) return 0;
        to += done;
        at += (uint64_t)done;
        size -= (uint64_t)done;
    }
    return 1;
}

static void begin_view(TableView *view, const fanfold_table *table, uint64_t line_bytes, uint64_t line_count,
                       jmp_buf *exit) {
    *view = (TableView){.table = table, .line_bytes = line_bytes, .line_count = line_count, .exit = exit};
    view->row.exit = exit;
    if (table->data) return;
    view->lines = calloc(line_bytes * line_count + PAD, 1);
    view->held = calloc(line_count, sizeof *view->held);
    if (!view->lines || !view->held) longjmp(*exit, 1);
}

void view_open(TableView *view, const fanfold_table *table, jmp_buf *exit) {
    begin_view(view, table, LINE_BYTES, LINES, exit);
}

void view_close(TableView *view) {
    free(view->lines);
    free(view->held);
    bytes_close(&view->row);
}

static void read_or_leave(TableView *view, uint8_t *to, uint64_t size, uint64_t at) {
    if (read_file(view->table->file, to, size, at)) return;
    view->unreadable = 1;
    longjmp(*view->exit, 1);
}

/* Returns bytes of the file that lie before its tail. */
static const uint8_t *view_bytes(TableView *view, uint64_t at, uint64_t size) {
    const fanfold_table *table = view->table;
    if (table->data) return table->data + at;
    uint64_t number = at / view->line_bytes, line = number % view->line_count, begin = number * view->line_bytes;
    if (at + size > begin + view->line_bytes) {
        view->row.size = 0;
        bytes_room(&view->row, (size_t)size);
        read_or_leave(view, view->row.data, size, at);
        return view->row.data;
    }
    uint8_t *held = view->lines + line * view->line_bytes;
    if (view->held[line] != number + 1) {
        uint64_t left = table->size - begin;
        view->held[line] = 0;
        read_or_leave(view, held, left < view->line_bytes ? left : view->line_bytes, begin);
        view->held[line] = number + 1;
    }
    return held + (at - begin);
}

int table_row(TableView *view, uint64_t place, TableRow *row) {
    uint64_t end = view->table->size - FROZEN_TAIL, size, key;
    if (place < FROZEN_HEAD || place >= end) return 0;
    uint64_t most = end - place < 10 ? end - place : 10;
    const uint8_t *begin = view_bytes(view, place, most), *p = read_varint(begin, begin + most, &size), *last;
    if (!p) return 0;
    place += (uint64_t)(p - begin);
    if (size > end - place) return 0;
    p = view_bytes(view, place, size);
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

static uint64_t read_u64(const uint8_t *p) {
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--) number = number << 8 | p[i];
    return number;
}

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

static void note_duplicate(fanfold_table *table, uint64_t number, const TableRow *row, uint64_t first) {
    if (table->repeated++ >= MAX_DUPLICATES) return;
    put_u64(&table->duplicates, number);
    put_u64(&table->duplicates, row->line);
    put_u64(&table->duplicates, first);
    put_u64(&table->duplicates, row->key_size);
    bytes_put(&table->duplicates, row->key, row->key_size);
}

typedef struct {
    TableView scan, look;
} Views;

/* Goes through all rows; 0 where they are not as many as the file says. */
APART static int make_index(fanfold_table *table, Views *views) {
    uint64_t place = FROZEN_HEAD, number = 1;
    begin_view(&views->scan, table, SCAN_BYTES, 1, &table->exit);
    view_open(&views->look, table, &table->exit);
    for (TableRow row, first; place < table->size - FROZEN_TAIL; place = row.next, number++) {
        if (number > table->row_count || !table_row(&views->scan, place, &row)) return 0;
        if (!row.key) continue;
        uint64_t *entry = entry_of(&views->look, row.key, row.key_size, &first);
        if (*entry)
            note_duplicate(table, number, &row, first.line);
        else
            *entry = hash_bytes(table->seed, row.key, row.key_size) >> PLACE_BITS << PLACE_BITS | place;
    }
    return number == table->row_count + 1;
}

/* Reads the tail, and the whole file where it is small; FANFOLD_FULL where it is a frozen table. */
static int load(fanfold_table *table, int with_index) {
    uint8_t head[FROZEN_HEAD], tail[FROZEN_TAIL];
    off_t size = lseek(table->file, 0, SEEK_END);
    if (size < 0) return FANFOLD_UNREADABLE;
    table->size = (uint64_t)size;
    if (table->size < FROZEN_HEAD + FROZEN_TAIL || table->size >> PLACE_BITS) return FANFOLD_WRONG_CALL;
    if (!read_file(table->file, head, FROZEN_HEAD, 0)) return FANFOLD_UNREADABLE;
    if (!read_file(table->file, tail, FROZEN_TAIL, table->size - FROZEN_TAIL)) return FANFOLD_UNREADABLE;
    table->row_count = read_u64(tail);
    table->slot_count = read_u64(tail + 8);
    /* A row has 3 bytes at least, so what is taken for the index follows from what is there. */
    if (memcmp(head, mark, sizeof mark) || memcmp(tail + 24, mark, sizeof mark) || read_u64(tail + 16) != table->size ||
        table->row_count > table->size / 3 || table->row_count > UINT32_MAX / 2)
        return FANFOLD_WRONG_CALL;
    if (table->size <= TABLE_IN_MEMORY) {
        if (!(table->data = calloc((size_t)table->size + PAD, 1))) return FANFOLD_NO_MEMORY;
        if (!read_file(table->file, table->data, table->size, 0)) return FANFOLD_UNREADABLE;
    }
    if (!with_index) return FANFOLD_FULL;
    table->index_count = table->row_count * 4 / 3 + 2;
    table->index = calloc((size_t)table->index_count, sizeof *table->index);
    return table->index ? FANFOLD_FULL : FANFOLD_NO_MEMORY;
}

APART static int open_table(fanfold_table *table, int with_index, Views *views) {
    int answer = load(table, with_index);
    if (answer == FANFOLD_FULL && with_index && !make_index(table, views)) return FANFOLD_WRONG_CALL;
    return answer;
}

int fanfold_table_open(int file, int with_index, fanfold_table **opened) {
    fanfold_table *table = *opened = calloc(1, sizeof *table);
    Views *views = calloc(1, sizeof *views);
    int answer = FANFOLD_NO_MEMORY;
    if (table && views) {
        table->file = file;
        table->seed = hash_seed();
        table->duplicates.exit = &table->exit;
        if (!setjmp(table->exit))
            answer = open_table(table, with_index, views);
        else
            answer = views->scan.unreadable || views->look.unreadable ? FANFOLD_UNREADABLE : FANFOLD_NO_MEMORY;
    }
    if (views) {
        view_close(&views->scan);
        view_close(&views->look);
    }
    free(views);
    if (answer == FANFOLD_FULL) return answer;
    fanfold_table_close(*opened);
    *opened = NULL;
    return answer;
}

void fanfold_table_close(fanfold_table *table) {
    if (!table) return;
    bytes_close(&table->duplicates);
    free(table->index);
    free(table->data);
    free(table);
}

uint64_t fanfold_table_repeated(const fanfold_table *table) { return table->repeated; }

uint64_t fanfold_table_rows(const fanfold_table *table) { return table->row_count; }

fanfold_bytes fanfold_table_duplicates(const fanfold_table *table) {
    return (fanfold_bytes){table->duplicates.data, table->duplicates.size};
}
