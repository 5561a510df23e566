/* Rows of CSV from merged records: one for each element of the innermost scope of a chain. */
#include "rows.h"

#include "rescued.h"
/* Reads the place of an element's rows in its joins, and the rows into cells, if there are any. */
static const uint8_t *read_joins(const fanfold_rows *rows, const uint8_t *p, uint32_t scope, Cell *cells) {
    for (size_t i = 0; i < rows->join_count && p; i++) {
        uint64_t place;
        TableRow row;
        if (rows->joins[i].scope != scope) continue;
        if (!(p = read_varint(p, rows->end, &place))) return NULL;
        if (!cells) continue;
        Cell *own = cells + rows->join_cells[i];
        for (size_t slot = 0; slot < rows->join_slots[i]; slot++) own[slot].at = NULL;
        if (!place || !rows->join_slots[i]) continue;
        if (!table_row(&rows->views[i], place, &row)) return NULL;
        if (!read_slots(row.slots, row.slots + row.size, own, rows->join_slots[i])) return NULL;
    }
    return p;
}

static const uint8_t *skip_elements(const fanfold_rows *rows, const uint8_t *p, uint32_t scope);

static const uint8_t *skip_element(const fanfold_rows *rows, const uint8_t *p, uint32_t scope) {
    p = skip_slots(p, rows->end, rows_slots(rows, scope));
    if (p) p = read_joins(rows, p, scope, NULL);
    for (uint32_t inner = scope + 1; p && inner < rows->shape.scope_count; inner++)
        if (rows->shape.scopes[inner].parent == scope) p = skip_elements(rows, p, inner);
    return p;
}

/* The depth of this recursion is that of the schema. */
static const uint8_t *skip_elements(const fanfold_rows *rows, const uint8_t *p, uint32_t scope) {
    uint64_t count;
    p = read_varint(p, rows->end, &count);
    for (; p && count; count--) p = skip_element(rows, p, scope);
    return p;
}

/* Texts. */

static void put_cell(Bytes *to, const Cell *cell) {
    if (!cell->at) return;
    bytes_room(to, cell->size * (cell->quoted ? 2 : 1) + 2);
    uint8_t *p = to->data + to->size;
    if (!cell->quoted) {
        to->size = (size_t)(copy(p, cell->at, cell->size) - to->data);
        return;
    }
    *p++ = '"';
    for (size_t i = 0; i < cell->size; i++) {
        if (cell->at[i] == '"') *p++ = '"';
        *p++ = cell->at[i];
    }
    *p++ = '"';
    to->size = (size_t)(p - to->data);
}

/* Writes the columns of a level; those that stand beside each other are one piece. */
static void write_level(fanfold_rows *rows, size_t number) {
    Level *level = &rows->levels[number];
    level->text.size = 0;
    for (size_t i = level->first_column; i < rows->column_count; i = rows->sources[i].next) {
        const Source *source = &rows->sources[i];
        put_cell(&level->text, &level->cells[source->cell]);
        if (source->next == i + 1 && source->next < rows->column_count) bytes_byte(&level->text, ',');
        rows->ends[i] = level->text.size;
    }
}

static void write_row(fanfold_rows *rows) {
    size_t begins[MAX_DEPTH];
    memset(begins, 0, rows->depth * sizeof *begins);
    for (size_t p = 0; p < rows->piece_count; p++) {
        size_t i = rows->pieces[p];
        uint32_t number = rows->sources[i].level;
        bytes_room(&rows->output, rows->ends[i] - begins[number] + 1);
        uint8_t *to = rows->output.data + rows->output.size;
        to = copy(to, rows->levels[number].text.data + begins[number], rows->ends[i] - begins[number]);
        *to++ = i + 1 < rows->column_count ? ',' : '\n';
        rows->output.size = (size_t)(to - rows->output.data);
        begins[number] = rows->ends[i];
    }
    rows->count++;
}

static void write_item(fanfold_rows *rows) {
    rows->item.size = 0;
    for (size_t i = 1; i <= rows->deepest; i++) {
        if (i > 1) bytes_byte(&rows->item, '.');
        bytes_number(&rows->item, rows->levels[i].index);
    }
    Level *level = &rows->levels[rows->depth - 1];
    level->cells[level->cell_count - 1] = (Cell){rows->deepest ? rows->item.data : NULL, rows->item.size, 0};
}

static void write_rescued(fanfold_rows *rows) {
    rows->rescued.size = 0;
    for (size_t i = 0; i <= rows->deepest; i++) {
        const Level *level = &rows->levels[i];
        const Cell *own = &level->cells[rows_slots(rows, level->scope) - 1];
        if (!own->at) continue;
        if (i)
            rescued_put(&rows->rescued, &rows->step, &rows->shape, level->scope, own->at, own->size);
        else
            bytes_put(&rows->rescued, own->at, own->size);
    }
    Level *last = &rows->levels[rows->depth - 1];
    last->cells[last->cell_count - 4] = (Cell){rows->rescued.size ? rows->rescued.data : NULL, rows->rescued.size, 1};
}

/* Elements. */

/* Opens the element at `rows->p`, and the first ones inside of it; returns 0 where it is damaged. */
static int open_element(fanfold_rows *rows, size_t from) {
    size_t number = from;
    for (;; number++) {
        Level *level = &rows->levels[number];
        rows->p = read_slots(rows->p, rows->end, level->cells, rows_slots(rows, level->scope));
        if (rows->p && rows->join_count) rows->p = read_joins(rows, rows->p, level->scope, level->cells);
        level->index++;
        level->left--;
        level->child_read = 0;
        if (!rows->p || number + 1 == rows->depth) break;
        uint32_t next = rows->levels[number + 1].scope;
        for (uint32_t inner = level->scope + 1; inner < next && rows->p; inner++)
            if (rows->shape.scopes[inner].parent == level->scope) rows->p = skip_elements(rows, rows->p, inner);
        uint64_t count = 0;
        if (rows->p) rows->p = read_varint(rows->p, rows->end, &count);
        level->child_read = 1;
        rows->levels[number + 1].left = count;
        rows->levels[number + 1].index = 0;
        if (!rows->p || !count) break;
    }
    rows->deepest = number;
    for (size_t i = number + 1; i < rows->depth; i++)
        for (size_t cell = 0; cell < rows->levels[i].cell_count; cell++) rows->levels[i].cells[cell].at = NULL;
    if (rows->p && rows->counts_items) write_item(rows);
    if (rows->p && rows->rescue) write_rescued(rows);
    for (size_t i = from; i < rows->depth && rows->p && !rows->as_arrow; i++) write_level(rows, i);
    return rows->p != NULL;
}

/* Passes what is left of the element that was written, and opens the next one; 0 where there is none, -1 where damaged.
 */
static int next_element(fanfold_rows *rows) {
    for (size_t number = rows->deepest + 1; number-- > 0;) {
        Level *level = &rows->levels[number];
        uint32_t inner = level->child_read ? rows->levels[number + 1].scope + 1 : level->scope + 1;
        for (; inner < rows->shape.scope_count && rows->p; inner++)
            if (rows->shape.scopes[inner].parent == level->scope) rows->p = skip_elements(rows, rows->p, inner);
        if (!rows->p) return -1;
        if (level->left) return open_element(rows, number) ? 1 : -1;
    }
    return 0;
}

/* Opens the entry at `rows->at`: 1, or 0 where it is not whole yet, or -1 where it is damaged. */
static int open_entry(fanfold_rows *rows) {
    const uint8_t *p = rows->input.data + rows->at;
    size_t left = rows->input.size - rows->at;
    if (left < 4) return rows->last && left ? -1 : 0;
    size_t size = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (left - 4 < size) return rows->last ? -1 : 0;
    if (!size) return -1;
    rows->at += size + 4;
    if (p[4] == 0) {
        rows->file.size = 0;
        bytes_put(&rows->file, p + 5, size - 1);
        return 1;
    }
    uint64_t number;
    rows->end = p + 4 + size;
    if (!(rows->p = read_varint(p + 5, rows->end, &number))) return -1;
    rows->number.size = 0;
    bytes_number(&rows->number, number);
    Level *record = &rows->levels[0];
    record->left = 1;
    record->index = 0;
    record->cells[record->cell_count - 3] =
        (Cell){rows->file.data, rows->file.size, needs_quotes(rows->file.data, rows->file.size)};
    record->cells[record->cell_count - 2] = (Cell){rows->number.data, rows->number.size, 0};
    return open_element(rows, 0) ? 1 : -1;
}

/* Puts a row into the columns; 0 where a type does not hold its value. */
static int put_row(fanfold_rows *rows) {
    for (size_t i = 0; i < rows->column_count; i++) {
        const Cell *cell = &rows->levels[rows->sources[i].level].cells[rows->sources[i].cell];
        if (!arrow_put(&rows->arrow, i, cell->at, cell->size)) return 0;
    }
    rows->arrow.rows++;
    rows->count++;
    return 1;
}

enum { ENOUGH_OUTPUT = 1 << 20, ENOUGH_ROWS = 1 << 16 };

APART static int write_on(fanfold_rows *rows) {
    rows->output.size = 0;
    while (rows->output.size < ENOUGH_OUTPUT && rows->arrow.bytes < ENOUGH_OUTPUT && rows->arrow.rows < ENOUGH_ROWS) {
        int opened = rows->end ? next_element(rows) : open_entry(rows);
        if (opened < 0) return FANFOLD_WRONG_CALL;
        if (opened && rows->end && rows->as_arrow) {
            if (!put_row(rows)) return FANFOLD_WRONG_CALL;
        } else if (opened && rows->end) {
            write_row(rows);
        }
        if (opened) continue;
        if (!rows->end) return rows->last ? FANFOLD_END : FANFOLD_HUNGRY;
        rows->end = NULL;
    }
    return FANFOLD_FULL;
}

/* The interface. */

APART static void feed(fanfold_rows *rows, const uint8_t *window, size_t size) {
    Bytes *input = &rows->input;
    memmove(input->data, input->data + rows->at, input->size - rows->at);
    input->size -= rows->at;
    rows->at = 0;
    bytes_put(input, window, size);
}

int fanfold_rows_feed(fanfold_rows *rows, const uint8_t *window, size_t size, int last) {
    if (rows->last || rows->end) return FANFOLD_WRONG_CALL;
    if (setjmp(rows->exit)) return FANFOLD_NO_MEMORY;
    rows->last = last;
    feed(rows, window, size);
    return FANFOLD_FULL;
}

/* Why a call was left. */
static int failure(const fanfold_rows *rows) {
    int unreadable = 0;
    for (size_t i = 0; i < rows->join_count; i++) unreadable |= rows->views[i].unreadable;
    return unreadable ? FANFOLD_UNREADABLE : FANFOLD_NO_MEMORY;
}

int fanfold_rows_next(fanfold_rows *rows) { return setjmp(rows->exit) ? failure(rows) : write_on(rows); }

fanfold_bytes fanfold_rows_csv(fanfold_rows *rows) { return (fanfold_bytes){rows->output.data, rows->output.size}; }

uint64_t fanfold_rows_count(const fanfold_rows *rows) { return rows->count; }

int fanfold_rows_arrow(fanfold_rows *rows, const fanfold_arrow_column *columns, size_t count) {
    if (rows->as_arrow || rows->input.size || count != rows->column_count) return FANFOLD_WRONG_CALL;
    if (setjmp(rows->exit)) return FANFOLD_NO_MEMORY;
    rows->as_arrow = 1;
    return arrow_open(&rows->arrow, columns, count, &rows->exit) ? FANFOLD_FULL : FANFOLD_WRONG_CALL;
}

int fanfold_rows_schema(fanfold_rows *rows, struct ArrowSchema *schema) {
    return arrow_schema(&rows->arrow, schema) ? FANFOLD_FULL : FANFOLD_NO_MEMORY;
}

int fanfold_rows_array(fanfold_rows *rows, struct ArrowArray *array) {
    if (setjmp(rows->exit)) return FANFOLD_NO_MEMORY;
    return arrow_take(&rows->arrow, array) ? FANFOLD_FULL : FANFOLD_NO_MEMORY;
}

void fanfold_rows_released(struct ArrowArrayStream *stream) {
    *(uint64_t *)stream->private_data = 1;
    stream->release = NULL;
}
