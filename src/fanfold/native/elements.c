/* Merged records taken apart again: the elements of a chain of scopes, one after the other. */
#include "rows.h"

/* Reads slots into cells, or passes them (NULL); returns what follows, or NULL where they are damaged. */
static const uint8_t *read_slots(const uint8_t *p, const uint8_t *end, Token *cells, size_t count) {
    for (size_t i = 0; i < count;) {
        uint64_t header;
        if (!(p = read_varint(p, end, &header))) return NULL;
        uint64_t size = header >> 2;
        if ((header & 3) == HEADER_NULLS) {
            if (!size || size > count - i) return NULL;
            for (uint64_t cell = i; cells && cell < i + size; cell++) cells[cell].at = NULL;
            i += (size_t)size;
            continue;
        }
        if (size > (size_t)(end - p)) return NULL;
        if (cells) cells[i] = (Token){p, (size_t)size, (header & 3) == HEADER_QUOTED ? QUOTED : 0};
        i++;
        p += size;
    }
    return p;
}

/* Empties the cells of the joins of a scope, and reads their rows at `p`, or passes them. */
static const uint8_t *read_joins(const fanfold_rows *rows, const uint8_t *p, uint32_t scope, int is_read) {
    for (RowJoin *join = rows->joins; join < rows->joins + rows->wanted.join_count && p; join++) {
        uint64_t place;
        TableRow row;
        if (join->scope != scope) continue;
        if (!(p = read_varint(p, rows->end, &place))) return NULL;
        if (!is_read || !join->count) continue;
        for (size_t i = 0; i < join->count; i++) join->cells[i].at = NULL;
        if (place && (!table_row(&join->view, place, &row) ||
                      !read_slots(row.slots, row.slots + row.size, join->cells, join->count)))
            return NULL;
    }
    return p;
}

/* Passes the elements of the scopes inside of `scope`, from the scope `first` on to the one before `end`. The depth of
 * this recursion is that of the schema. */
static const uint8_t *skip_scopes(const fanfold_rows *rows, const uint8_t *p, uint32_t scope, size_t first,
                                  size_t end) {
    for (size_t inner = first; inner < end && p; inner++) {
        uint64_t count;
        if (rows->shape.scopes.items[inner].parent != scope) continue;
        for (p = read_varint(p, rows->end, &count); p && count; count--) {
            p = read_slots(p, rows->end, NULL, rows_slots(rows, (uint32_t)inner));
            if (p) p = read_joins(rows, p, (uint32_t)inner, 0);
            if (p) p = skip_scopes(rows, p, (uint32_t)inner, inner + 1, rows->shape.scopes.count);
        }
    }
    return p;
}

static void write_item(fanfold_rows *rows) {
    rows->item.size = 0;
    for (size_t i = 1; i <= rows->deepest; i++) {
        if (i > 1) bytes_byte(&rows->item, '.');
        bytes_number(&rows->item, rows->levels[i].index);
    }
    rows->own[FROM_ITEM] = (Token){rows->deepest ? rows->item.data : NULL, rows->item.size, 0};
}

/* The levels below the deepest have no element. */
static void empty_levels(fanfold_rows *rows) {
    for (size_t i = rows->deepest + 1; i < rows->wanted.chain_size; i++) {
        uint32_t scope = rows->levels[i].scope;
        for (size_t cell = 0; cell < rows_slots(rows, scope); cell++) rows->levels[i].cells[cell].at = NULL;
        for (RowJoin *join = rows->joins; join < rows->joins + rows->wanted.join_count; join++)
            for (size_t cell = 0; cell < join->count && join->scope == scope; cell++) join->cells[cell].at = NULL;
    }
}

/* Opens the element at `rows->p`, and the first ones inside of it; returns 0 where it is damaged. It has a row, but
 * where there is none inside of it, and its values stand elsewhere. */
static int open_element(fanfold_rows *rows, size_t number) {
    rows->is_sibling = number && number + 1 == rows->wanted.chain_size;
    for (;; number++) {
        RowLevel *level = &rows->levels[number], *below = level + 1;
        uint64_t count = 0;
        rows->p = read_slots(rows->p, rows->end, level->cells, rows_slots(rows, level->scope));
        if (rows->p && rows->wanted.join_count) rows->p = read_joins(rows, rows->p, level->scope, 1);
        level->index++;
        level->left--;
        level->child_read = 0;
        if (!rows->p || number + 1 == rows->wanted.chain_size) break;
        rows->p = skip_scopes(rows, rows->p, level->scope, level->scope + 1, below->scope);
        if (rows->p) rows->p = read_varint(rows->p, rows->end, &count);
        level->child_read = 1;
        below->left = count;
        below->index = 0;
        if (!rows->p || !count) break;
    }
    if (!rows->p) return 0;
    rows->deepest = number;
    rows->has_row = number + 1 == rows->wanted.chain_size || !rows->levels[number].elsewhere;
    if (!rows->has_row) return 1;
    empty_levels(rows);
    if (rows->counts_items) write_item(rows);
    return !rows->wanted.rescue || write_rescued(rows);
}

int next_element(fanfold_rows *rows) {
    for (size_t number = rows->deepest + 1; number-- > 0;) {
        const RowLevel *level = &rows->levels[number];
        uint32_t inner = level->child_read ? rows->levels[number + 1].scope + 1 : level->scope + 1;
        rows->p = skip_scopes(rows, rows->p, level->scope, inner, rows->shape.scopes.count);
        if (!rows->p) return -1;
        if (level->left) return open_element(rows, number) ? 1 : -1;
    }
    return 0;
}

int open_entry(fanfold_rows *rows) {
    const uint8_t *p = rows->input.data + rows->at;
    size_t left = rows->input.size - rows->at, size = left < 4 ? 0 : (size_t)read_integer(p, 4);
    if (left < 4 || left - 4 < size) return rows->last && left ? -1 : 0;
    if (!size) return -1;
    rows->at += size + 4;
    if (p[4] == 0) {
        bytes_set(&rows->file, p + 5, size - 1);
        rows->own[FROM_FILE] = (Token){rows->file.data, size - 1, needs_quotes(p + 5, size - 1) ? QUOTED : 0};
        return 1;
    }
    uint64_t number;
    rows->end = p + 4 + size;
    if (!(rows->p = read_varint(p + 5, rows->end, &number))) return -1;
    rows->number.size = 0;
    bytes_number(&rows->number, number);
    rows->own[FROM_NUMBER] = (Token){rows->number.data, rows->number.size, 0};
    rows->levels[0].left = 1;
    rows->levels[0].index = 0;
    return open_element(rows, 0) ? 1 : -1;
}
