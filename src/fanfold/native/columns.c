/* The columns of rows: opened, and put in their places. */
#include <stdlib.h>

#include "rows.h"

static void *zeroed(fanfold_rows *rows, size_t count, size_t size) {
    void *items = calloc(count + 1, size);
    if (!items) longjmp(rows->exit, 1);
    return items;
}

/* Finds the level of a scope; `depth` where it is not in the chain. */
static uint32_t level_of(const fanfold_rows *rows, uint32_t scope) {
    uint32_t level = 0;
    while (level < rows->depth && rows->levels[level].scope != scope) level++;
    return level;
}

/* Finds where each column has its value; the cells of joins are behind those of their scope. */
static int place_columns(fanfold_rows *rows, const fanfold_column *columns) {
    for (size_t i = 0; i < rows->column_count; i++)
        if (columns[i].kind == FROM_JOIN && columns[i].scope < rows->join_count &&
            rows->join_slots[columns[i].scope] <= columns[i].slot)
            rows->join_slots[columns[i].scope] = (size_t)columns[i].slot + 1;
    for (size_t i = 0; i < rows->join_count; i++) {
        if (rows->joins[i].scope >= rows->shape.scope_count) return 0;
        if (rows->join_slots[i] > rows->joins[i].table->slot_count) return 0;
        if (rows->join_slots[i]) view_open(&rows->views[i], rows->joins[i].table, &rows->exit);
        uint32_t level = level_of(rows, rows->joins[i].scope);
        if (level == rows->depth) continue;
        rows->join_cells[i] = rows->levels[level].cell_count;
        rows->levels[level].cell_count += rows->join_slots[i];
    }
    for (size_t i = 0; i < rows->depth; i++) {
        rows->levels[i].cell_count += 4;
        rows->levels[i].cells = zeroed(rows, rows->levels[i].cell_count, sizeof(Cell));
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        const fanfold_column *column = &columns[i];
        Source *source = &rows->sources[i];
        uint32_t deepest = (uint32_t)rows->depth - 1;
        if (column->kind == FROM_SLOT) {
            *source = (Source){level_of(rows, column->scope), column->slot, 0};
            if (source->level == rows->depth || column->slot >= rows_slots(rows, column->scope)) return 0;
        } else if (column->kind == FROM_JOIN) {
            if (column->scope >= rows->join_count) return 0;
            *source = (Source){level_of(rows, rows->joins[column->scope].scope),
                               rows->join_cells[column->scope] + column->slot, 0};
            if (source->level == rows->depth) return 0;
        } else if (column->kind <= FROM_ITEM) {
            rows->counts_items |= column->kind == FROM_ITEM;
            source->level = column->kind == FROM_ITEM ? deepest : 0;
            source->cell = rows->levels[source->level].cell_count - 4 + column->kind;
        } else if (column->kind == FROM_RESCUED && rows->rescue) {
            source->level = deepest;
            source->cell = rows->levels[deepest].cell_count - 4;
        } else {
            return 0;
        }
    }
    return 1;
}

/* Notes for each level which columns it has, and which of them stand beside each other. */
static void link_columns(fanfold_rows *rows) {
    for (size_t i = 0; i < rows->depth; i++) rows->levels[i].first_column = rows->column_count;
    for (size_t i = rows->column_count; i-- > 0;) {
        Level *level = &rows->levels[rows->sources[i].level];
        rows->sources[i].next = level->first_column;
        level->first_column = i;
    }
    for (size_t i = 0; i < rows->column_count; i++)
        if (i + 1 == rows->column_count || rows->sources[i + 1].level != rows->sources[i].level)
            rows->pieces[rows->piece_count++] = i;
}

typedef struct {
    fanfold_bytes schema;
    const fanfold_join *joins;
    const uint32_t *chain;
    const fanfold_column *columns;
} Wanted;

APART static int is_ready(fanfold_rows *rows, const Wanted *wanted) {
    Bytes *bytes[] = {&rows->input,  &rows->file,    &rows->output, &rows->item,
                      &rows->number, &rows->rescued, &rows->step};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        bytes[i]->exit = &rows->exit;
        bytes_room(bytes[i], 1);
    }
    rows->shape.max_fields = SIZE_MAX;
    if (!shape_open(&rows->shape, wanted->schema, 0, &rows->exit)) return 0;
    rows->joins = zeroed(rows, rows->join_count, sizeof *rows->joins);
    rows->views = zeroed(rows, rows->join_count, sizeof *rows->views);
    rows->join_cells = zeroed(rows, rows->join_count, sizeof *rows->join_cells);
    rows->join_slots = zeroed(rows, rows->join_count, sizeof *rows->join_slots);
    if (rows->join_count) memcpy(rows->joins, wanted->joins, rows->join_count * sizeof *rows->joins);
    rows->sources = zeroed(rows, rows->column_count, sizeof *rows->sources);
    rows->ends = zeroed(rows, rows->column_count, sizeof *rows->ends);
    rows->pieces = zeroed(rows, rows->column_count, sizeof *rows->pieces);
    for (size_t i = 0; i < rows->depth; i++) {
        Level *level = &rows->levels[i];
        level->scope = wanted->chain[i];
        level->text.exit = &rows->exit;
        bytes_room(&level->text, 1);
        if (level->scope >= rows->shape.scope_count) return 0;
        if (i ? rows->shape.scopes[level->scope].parent != wanted->chain[i - 1] || !level->scope : level->scope != 0)
            return 0;
        level->cell_count = rows_slots(rows, level->scope);
    }
    if (!place_columns(rows, wanted->columns)) return 0;
    link_columns(rows);
    return 1;
}

fanfold_rows *fanfold_rows_open(fanfold_bytes schema, uint32_t rescue, const fanfold_join *joins, size_t join_count,
                                const uint32_t *chain, size_t chain_size, const fanfold_column *columns,
                                size_t column_count) {
    if (!chain_size || chain_size > MAX_DEPTH) return NULL;
    fanfold_rows *volatile rows = calloc(1, sizeof *rows);
    if (!rows) return NULL;
    const Wanted wanted = {schema, joins, chain, columns};
    rows->rescue = rescue != 0;
    rows->join_count = join_count;
    rows->depth = chain_size;
    rows->column_count = column_count;
    if (setjmp(rows->exit) || !is_ready(rows, &wanted)) {
        fanfold_rows_close(rows);
        return NULL;
    }
    return rows;
}

void fanfold_rows_close(fanfold_rows *rows) {
    if (!rows) return;
    Bytes *bytes[] = {&rows->input,  &rows->file,    &rows->output, &rows->item,
                      &rows->number, &rows->rescued, &rows->step};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) bytes_close(bytes[i]);
    for (size_t i = 0; i < rows->depth; i++) {
        bytes_close(&rows->levels[i].text);
        free(rows->levels[i].cells);
    }
    arrow_close(&rows->arrow);
    shape_close(&rows->shape);
    for (size_t i = 0; i < rows->join_count && rows->views; i++) view_close(&rows->views[i]);
    free(rows->views);
    free(rows->joins);
    free(rows->join_cells);
    free(rows->join_slots);
    free(rows->sources);
    free(rows->ends);
    free(rows->pieces);
    free(rows);
}
