/* Rows of CSV from merged records: one for each element of the innermost scope of a chain. */
#include "rows.h"

/* Opening. */

/* Returns the cell that a column has its value in, and the scope that it changes with; NULL where there is none. */
static const Token *cell_of(fanfold_rows *rows, const fanfold_column *column, uint32_t *scope) {
    const fanfold_wanted *wanted = &rows->wanted;
    int is_joined = column->kind == FROM_JOIN && column->scope < wanted->join_count;
    RowJoin *join = is_joined ? &rows->joins[column->scope] : NULL;
    if (!join && column->kind != FROM_SLOT) {
        int is_there = column->kind < OWN_CELLS && column->kind != FROM_JOIN;
        *scope = 0;
        rows->counts_items |= column->kind == FROM_ITEM;
        return is_there && (column->kind != FROM_RESCUED || wanted->rescue) ? &rows->own[column->kind] : NULL;
    }
    size_t level = 0;
    *scope = join ? join->scope : column->scope;
    while (level < wanted->chain_size && rows->levels[level].scope != *scope) level++;
    if (level == wanted->chain_size || column->slot >= (join ? join->count : rows_slots(rows, *scope))) return NULL;
    return &(join ? join->cells : rows->levels[level].cells)[column->slot];
}

/* Opens the joins: of the rows of each, the slots up to the last one that is asked for are read. */
static int open_joins(fanfold_rows *rows) {
    const fanfold_wanted *wanted = &rows->wanted;
    rows->joins = memory_take(wanted->join_count, sizeof *rows->joins);
    for (size_t i = 0; i < wanted->join_count; i++) {
        RowJoin *join = &rows->joins[i];
        const fanfold_table *table = wanted->joins[i].table;
        *join = (RowJoin){.scope = wanted->joins[i].scope, .view = {.table = table, .least = ROW_BYTES}};
        for (size_t column = 0; column < wanted->column_count; column++) {
            const fanfold_column *of = &wanted->columns[column];
            if (of->kind == FROM_JOIN && of->scope == i && join->count <= of->slot) join->count = (size_t)of->slot + 1;
        }
        if (join->scope >= rows->shape.scopes.count || join->count > table->slot_count) return 0;
        join->cells = memory_take(join->count, sizeof *join->cells);
    }
    return 1;
}

static int is_ready(void *handle, const void *by) {
    fanfold_rows *rows = handle;
    const fanfold_wanted *wanted = by;
    const Shape *shape = &rows->shape;
    rows->wanted = *wanted;
    rows->is_plain = wanted->delimiter == ',' && !wanted->null.size && !wanted->escape_formulas;
    if (!wanted->chain_size || wanted->chain_size > MAX_DEPTH) return 0;
    if (!shape_open(&rows->shape, wanted->schema, 0, UINT64_MAX)) return 0;
    rows->rescued_first = memory_take(shape->nodes.count, sizeof *rows->rescued_first);
    rows->rescued_last = memory_take(shape->nodes.count, sizeof *rows->rescued_last);
    for (size_t i = 0; i < wanted->chain_size; i++) {
        RowLevel *level = &rows->levels[i];
        level->scope = wanted->chain[i].scope;
        level->elsewhere = wanted->chain[i].elsewhere;
        if (level->scope >= shape->scopes.count || !level->scope != !i) return 0;
        if (i && shape->scopes.items[level->scope].parent != wanted->chain[i - 1].scope) return 0;
        level->cells = memory_take(rows_slots(rows, level->scope), sizeof *level->cells);
    }
    if (!open_joins(rows)) return 0;
    uint32_t innermost = rows->levels[wanted->chain_size - 1].scope;
    rows->columns = memory_take(wanted->column_count, sizeof *rows->columns);
    for (size_t i = 0; i < wanted->column_count; i++) {
        const fanfold_column *column = &wanted->columns[i];
        uint32_t scope;
        rows->columns[i] = (RowColumn){.cell = cell_of(rows, column, &scope)};
        rows->columns[i].type = (Type){column->type, column->precision, column->scale};
        if (!rows->columns[i].cell || column->type >= FANFOLD_TYPES) return 0;
        int is_above = column->kind != FROM_ITEM && column->kind != FROM_RESCUED && scope != innermost;
        if (rows->prefix_columns == i) rows->prefix_columns += (size_t)is_above;
        bytes_put(&rows->columns[i].name, column->name.data, wanted->as_arrow ? column->name.size : 0);
        bytes_byte(&rows->columns[i].name, 0);
    }
    bytes_room(&rows->input, 1);
    bytes_room(&rows->file, 1);
    rows->own[FROM_FILE] = (Token){rows->file.data, 0, QUOTED};
    return 1;
}

fanfold_rows *fanfold_rows_open(const fanfold_wanted *wanted) {
    return memory_open(sizeof(fanfold_rows), is_ready, wanted, NULL);
}

void fanfold_rows_close(fanfold_rows *rows) { memory_close(rows); }

/* Writing. */

/* Says whether a spreadsheet would run a text. */
static int is_formula(const Token *text) {
    int is_infinity = text->size == 9 && !memcmp(text->at, "-Infinity", 9);
    return text->size && text->at[0] && strchr("=+-@\t\r", text->at[0]) && !is_infinity && !is_number(text);
}

/* Returns a cell as a form of CSV has it that is not the plain one; `escaped` says whether a ' stands before it. */
static Token cell_in_form(const fanfold_rows *rows, const Token *cell, int *escaped) {
    const fanfold_wanted *wanted = &rows->wanted;
    const fanfold_bytes *null = &wanted->null;
    *escaped = 0;
    if (!cell->at) return (Token){null->data, null->size, 0};
    *escaped = wanted->escape_formulas && is_formula(cell);
    int quoted = !cell->size;
    for (size_t i = 0; i < cell->size && !quoted; i++) {
        uint8_t c = cell->at[i];
        quoted = c == wanted->delimiter || c == '"' || c == '\n' || c == '\r' || c == '#';
    }
    size_t begin = (size_t)*escaped;
    /* An empty text has its quotes already; a text for null may have no bytes to point to. */
    if (!quoted && null->size == cell->size + begin && (!begin || null->data[0] == '\'') &&
        !memcmp(null->data + begin, cell->at, cell->size))
        quoted = 1;
    return (Token){cell->at, cell->size, quoted ? QUOTED : 0};
}

/* Writes a cell, and what stands behind it. */
static void put_cell(fanfold_rows *rows, const Token *of, uint8_t behind) {
    Bytes *to = &rows->output;
    int escaped = 0;
    Token cell = rows->is_plain ? *of : cell_in_form(rows, of, &escaped);
    size_t size = cell.at ? cell.size : 0;
    bytes_room(to, 2 * size + 4);
    uint8_t *p = to->data + to->size;
    if (escaped && !(cell.marks & QUOTED)) *p++ = '\'';
    if (size && !(cell.marks & QUOTED)) p = copy(p, cell.at, size);
    if (cell.at && cell.marks & QUOTED) {
        *p++ = '"';
        if (escaped) *p++ = '\'';
        for (size_t i = 0; i < size; i++) {
            if (cell.at[i] == '"') *p++ = '"';
            *p++ = cell.at[i];
        }
        *p++ = '"';
    }
    *p++ = behind;
    to->size = (size_t)(p - to->data);
}

static void write_row(fanfold_rows *rows) {
    Bytes *output = &rows->output;
    size_t begin = output->size, i = 0, count = rows->wanted.column_count;
    uint8_t delimiter = (uint8_t)rows->wanted.delimiter;
    if (rows->is_sibling && rows->prefix_size) {
        bytes_room(output, rows->prefix_size);
        copy(output->data + begin, output->data + rows->prefix_begin, rows->prefix_size);
        output->size += rows->prefix_size;
        i = rows->prefix_columns;
    }
    for (; i < count; i++) {
        put_cell(rows, rows->columns[i].cell, i + 1 < count ? delimiter : '\n');
        if (i + 1 == rows->prefix_columns) rows->prefix_size = output->size - begin;
    }
    rows->prefix_begin = begin;
}

enum { ENOUGH_OUTPUT = 1 << 20, ENOUGH_ROWS = 1 << 16 };

static int write_on(fanfold_rows *rows) {
    rows->output.size = rows->prefix_size = 0;
    while (rows->output.size < ENOUGH_OUTPUT && rows->arrow_bytes < ENOUGH_OUTPUT && rows->arrow_rows < ENOUGH_ROWS) {
        int opened = rows->end ? next_element(rows) : open_entry(rows);
        if (opened < 0) return FANFOLD_WRONG_CALL;
        if (!opened && !rows->end) return rows->last ? FANFOLD_END : FANFOLD_HUNGRY;
        if (!opened) {
            rows->end = NULL;
        } else if (rows->end && rows->has_row) {
            rows->count++;
            if (!rows->wanted.as_arrow)
                write_row(rows);
            else if (!arrow_put(rows))
                return FANFOLD_WRONG_CALL;
        }
    }
    return FANFOLD_FULL;
}

int fanfold_rows_feed(fanfold_rows *rows, const uint8_t *window, size_t size, int last) {
    Bytes *input = &rows->input;
    if (rows->last || rows->end) return FANFOLD_WRONG_CALL;
    if (CALL_WAS_LEFT(rows)) return rows->memory.answer;
    memmove(input->data, input->data + rows->at, input->size - rows->at);
    input->size -= rows->at;
    rows->at = 0;
    rows->last = last;
    bytes_put(input, window, size);
    return FANFOLD_FULL;
}

int fanfold_rows_next(fanfold_rows *rows, fanfold_bytes *csv) {
    if (CALL_WAS_LEFT(rows)) return rows->memory.answer;
    int answer = write_on(rows);
    *csv = (fanfold_bytes){rows->output.data, rows->output.size};
    return answer;
}

uint64_t fanfold_rows_count(const fanfold_rows *rows) { return rows->count; }
