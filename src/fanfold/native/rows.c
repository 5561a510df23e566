/* Rows of CSV from merged records: one for each element of the innermost scope of a chain. */
#include <stdlib.h>

#include "arrow.h"
#include "merged.h"
#include "table.h"

enum { FROM_SLOT, FROM_FILE, FROM_NUMBER, FROM_ITEM, FROM_JOIN, FROM_RESCUED };

/* A value of an element; `at` is NULL where it is null. */
typedef struct {
    const uint8_t *at;
    size_t size;
    int quoted;
} Cell;

/* Where in the cells of its level a column has its value. */
typedef struct {
    uint32_t level;
    size_t cell;
    size_t next; /* column of the same level */
} Source;

/* A scope of the chain, with the element of it that is open. */
typedef struct {
    Cell *cells;        /* its slots, then those of its joins, then the rescued fields, the file, the number and the item */
    size_t cell_count;
    uint32_t scope;
    uint64_t left, index; /* elements behind this one; its number, from 1 */
    int child_read;       /* the elements of the next scope of the chain are behind us */
    size_t first_column;  /* of its columns: the first */
    Bytes text;           /* of its columns, as CSV */
} Level;

struct fanfold_rows {
    jmp_buf exit;
    Shape shape;
    fanfold_join *joins;
    size_t join_count, *join_cells, *join_slots; /* of each join: its first cell, and how many columns ask for */
    Level levels[MAX_DEPTH];
    size_t depth, deepest; /* levels; the last one that has an element */
    Source *sources;
    size_t *ends;   /* of each column: where its text ends in that of its level */
    size_t *pieces; /* the columns behind which there is one of another level, or none */
    size_t column_count, piece_count;
    int rescue, as_arrow;
    ArrowColumns arrow;
    Bytes input, file, output, item, number, rescued, step;
    size_t at;              /* in the input */
    const uint8_t *p, *end; /* in the entry; `end` is NULL where none is open */
    int last;
    uint64_t count;
};

static size_t slots_of(const fanfold_rows *rows, uint32_t scope) {
    return rows->shape.scopes[scope].slots + (size_t)rows->rescue;
}

/* Reads slots into cells; returns what follows, or NULL where they are damaged. */
static const uint8_t *read_slots(const uint8_t *p, const uint8_t *end, Cell *cells, size_t count) {
    for (size_t i = 0; i < count;) {
        uint64_t header;
        if (!(p = read_varint(p, end, &header))) return NULL;
        uint64_t size = header >> 2;
        if ((header & 3) == HEADER_NULLS) {
            if (!size || size > count - i) return NULL;
            for (; size; size--) cells[i++].at = NULL;
            continue;
        }
        if (size > (size_t)(end - p)) return NULL;
        cells[i++] = (Cell){p, (size_t)size, (header & 3) == HEADER_QUOTED};
        p += size;
    }
    return p;
}

static const uint8_t *skip_slots(const uint8_t *p, const uint8_t *end, size_t count) {
    while (count) {
        uint64_t header;
        if (!(p = read_varint(p, end, &header))) return NULL;
        uint64_t size = header >> 2;
        int nulls = (header & 3) == HEADER_NULLS;
        if (size > (nulls ? count : (size_t)(end - p)) || (nulls && !size)) return NULL;
        count -= nulls ? (size_t)size : 1;
        if (!nulls) p += size;
    }
    return p;
}

/* Reads the number of an element's rows in its joins, and the rows into cells, if there are any. */
static const uint8_t *read_joins(const fanfold_rows *rows, const uint8_t *p, uint32_t scope, Cell *cells) {
    for (size_t i = 0; i < rows->join_count && p; i++) {
        uint64_t row;
        if (rows->joins[i].scope != scope) continue;
        if (!(p = read_varint(p, rows->end, &row)) || row > rows->joins[i].table->row_count) return NULL;
        if (!cells) continue;
        Cell *own = cells + rows->join_cells[i];
        for (size_t slot = 0; slot < rows->join_slots[i]; slot++) own[slot].at = NULL;
        if (!row) continue;
        size_t size;
        const uint8_t *slots = table_row(rows->joins[i].table, row - 1, &size);
        read_slots(slots, slots + size, own, rows->join_slots[i]);
    }
    return p;
}

static const uint8_t *skip_elements(const fanfold_rows *rows, const uint8_t *p, uint32_t scope);

static const uint8_t *skip_element(const fanfold_rows *rows, const uint8_t *p, uint32_t scope) {
    p = skip_slots(p, rows->end, slots_of(rows, scope));
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

/* The fields that the schema does not have: those of an element belong to the place of its array in those around it. */

/* Passes a value of compact JSON. */
static const uint8_t *pass_json(const uint8_t *p, const uint8_t *end) {
    size_t depth = 0;
    do {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\';
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--;
        }
        p++;
    } while (p < end && (depth || (*p != ',' && *p != '}' && *p != ']')));
    return p;
}

/* Finds the value of a member in the object whose first member is at `p`, if it is an object; else moves to its end. */
static const uint8_t *find_member(const uint8_t **p, const uint8_t *end, const Bytes *key) {
    while (*p < end && **p == '"') {
        const uint8_t *value = pass_json(*p, end);
        /* A key ends where its colon stands. */
        const uint8_t *colon = *p + 1;
        while (colon < end && *colon != '"') colon += 1 + (*colon == '\\');
        colon++;
        if ((size_t)(colon - *p) == key->size && !memcmp(*p, key->data, key->size) && colon[1] == '{') return colon + 2;
        *p = value < end && *value == ',' ? value + 1 : value;
    }
    return NULL;
}

/* Puts the fields of an element, `inner`, into those around it, in `rows->rescued`: at the way to its array. */
static void put_inside(fanfold_rows *rows, uint32_t scope, const Cell *inner) {
    uint32_t way[MAX_DEPTH], list = 0;
    while (rows->shape.nodes[list].kind != FANFOLD_LIST || rows->shape.nodes[list].scope != scope) list++;
    size_t steps = 0, made = 0;
    for (uint32_t node = list; node > RECORD; node = rows->shape.nodes[node].parent)
        if (rows->shape.nodes[node].name) way[steps++] = node;
    Bytes *whole = &rows->rescued, *step = &rows->step;
    if (!whole->size) bytes_text(whole, "{}");
    const uint8_t *p = whole->data + 1, *end = whole->data + whole->size, *found;
    for (; steps; steps--) {
        step->size = 0;
        bytes_json(step, rows->shape.nodes[way[steps - 1]].name, rows->shape.nodes[way[steps - 1]].size);
        if (!(found = find_member(&p, end, step))) break;
        p = found;
    }
    while (p < end && *p != '}') {
        p = pass_json(p, end);
        p += p < end && *p == ',';
    }
    size_t at = (size_t)(p - whole->data), size = whole->size - at;
    step->size = 0;
    bytes_put(step, p, size);
    whole->size = at;
    if (whole->data[at - 1] != '{') bytes_byte(whole, ',');
    for (; steps; steps--, made++) {
        if (made) bytes_byte(whole, '{');
        bytes_json(whole, rows->shape.nodes[way[steps - 1]].name, rows->shape.nodes[way[steps - 1]].size);
        bytes_byte(whole, ':');
    }
    bytes_put(whole, inner->at + !made, inner->size - 2 * (size_t)!made);
    for (; made > 1; made--) bytes_byte(whole, '}');
    bytes_put(whole, step->data, step->size);
}

static void write_rescued(fanfold_rows *rows) {
    rows->rescued.size = 0;
    for (size_t i = 0; i <= rows->deepest; i++) {
        const Level *level = &rows->levels[i];
        const Cell *own = &level->cells[slots_of(rows, level->scope) - 1];
        if (!own->at) continue;
        if (i)
            put_inside(rows, level->scope, own);
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
        rows->p = read_slots(rows->p, rows->end, level->cells, slots_of(rows, level->scope));
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
    if (rows->p) write_item(rows);
    if (rows->p && rows->rescue) write_rescued(rows);
    for (size_t i = from; i < rows->depth && rows->p && !rows->as_arrow; i++) write_level(rows, i);
    return rows->p != NULL;
}

/* Passes what is left of the element that was written, and opens the next one; 0 where there is none, -1 where damaged. */
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
    record->cells[record->cell_count - 3] = (Cell){rows->file.data, rows->file.size, needs_quotes(rows->file.data, rows->file.size)};
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
        if (columns[i].kind == FROM_JOIN && columns[i].scope < rows->join_count && rows->join_slots[columns[i].scope] <= columns[i].slot)
            rows->join_slots[columns[i].scope] = (size_t)columns[i].slot + 1;
    for (size_t i = 0; i < rows->join_count; i++) {
        if (rows->joins[i].scope >= rows->shape.scope_count) return 0;
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
            if (source->level == rows->depth || column->slot >= slots_of(rows, column->scope)) return 0;
        } else if (column->kind == FROM_JOIN) {
            if (column->scope >= rows->join_count) return 0;
            *source = (Source){level_of(rows, rows->joins[column->scope].scope), rows->join_cells[column->scope] + column->slot, 0};
            if (source->level == rows->depth) return 0;
        } else if (column->kind <= FROM_ITEM) {
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
        if (i + 1 == rows->column_count || rows->sources[i + 1].level != rows->sources[i].level) rows->pieces[rows->piece_count++] = i;
}

typedef struct {
    fanfold_bytes schema;
    const fanfold_join *joins;
    const uint32_t *chain;
    const fanfold_column *columns;
} Wanted;

APART static int is_ready(fanfold_rows *rows, const Wanted *wanted) {
    Bytes *bytes[] = {&rows->input, &rows->file, &rows->output, &rows->item, &rows->number, &rows->rescued, &rows->step};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        bytes[i]->exit = &rows->exit;
        bytes_room(bytes[i], 1);
    }
    rows->shape.max_fields = SIZE_MAX;
    if (!shape_open(&rows->shape, wanted->schema, 0, &rows->exit)) return 0;
    rows->joins = zeroed(rows, rows->join_count, sizeof *rows->joins);
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
        if (i ? rows->shape.scopes[level->scope].parent != wanted->chain[i - 1] || !level->scope : level->scope != 0) return 0;
        level->cell_count = slots_of(rows, level->scope);
    }
    if (!place_columns(rows, wanted->columns)) return 0;
    link_columns(rows);
    return 1;
}

fanfold_rows *fanfold_rows_open(fanfold_bytes schema, uint32_t rescue, const fanfold_join *joins, size_t join_count,
                                const uint32_t *chain, size_t chain_size, const fanfold_column *columns, size_t column_count) {
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
    Bytes *bytes[] = {&rows->input, &rows->file, &rows->output, &rows->item, &rows->number, &rows->rescued, &rows->step};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) bytes_close(bytes[i]);
    for (size_t i = 0; i < rows->depth; i++) {
        bytes_close(&rows->levels[i].text);
        free(rows->levels[i].cells);
    }
    arrow_close(&rows->arrow);
    shape_close(&rows->shape);
    free(rows->joins);
    free(rows->join_cells);
    free(rows->join_slots);
    free(rows->sources);
    free(rows->ends);
    free(rows->pieces);
    free(rows);
}

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

int fanfold_rows_next(fanfold_rows *rows) { return setjmp(rows->exit) ? FANFOLD_NO_MEMORY : write_on(rows); }

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
