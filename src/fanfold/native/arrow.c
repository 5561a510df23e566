#include "arrow.h"

#include <stdio.h>
#include <stdlib.h>

#include "types.h"

int arrow_open(ArrowColumns *columns, const fanfold_arrow_column *wanted, size_t count, jmp_buf *exit) {
    columns->exit = exit;
    columns->columns = calloc(count + 1, sizeof *columns->columns);
    if (!columns->columns) longjmp(*exit, 1);
    columns->count = count;
    for (size_t i = 0; i < count; i++) {
        ArrowColumn *column = &columns->columns[i];
        if (wanted[i].type >= FANFOLD_TYPES) return 0;
        column->type = wanted[i].type;
        column->precision = wanted[i].precision;
        column->scale = wanted[i].scale;
        column->name.exit = column->values.exit = column->offsets.exit = column->valid.exit = exit;
        bytes_put(&column->name, wanted[i].name.data, wanted[i].name.size);
        bytes_byte(&column->name, 0);
    }
    return 1;
}

void arrow_close(ArrowColumns *columns) {
    for (size_t i = 0; i < columns->count; i++) {
        ArrowColumn *column = &columns->columns[i];
        bytes_close(&column->name);
        bytes_close(&column->values);
        bytes_close(&column->offsets);
        bytes_close(&column->valid);
    }
    free(columns->columns);
    columns->columns = NULL;
    columns->count = 0;
}

static int is_text(const ArrowColumn *column) {
    return column->type == FANFOLD_VARCHAR || column->type == FANFOLD_JSON;
}

static void put_bit(Bytes *bits, uint64_t row, int bit) {
    if (row % 8 == 0) bytes_byte(bits, 0);
    bits->data[row / 8] |= (uint8_t)(bit << (row % 8));
}

static void put_offset(ArrowColumn *column) {
    uint32_t offset = (uint32_t)column->values.size;
    bytes_put(&column->offsets, &offset, sizeof offset);
}

int arrow_put(ArrowColumns *columns, size_t number, const uint8_t *at, size_t size) {
    ArrowColumn *column = &columns->columns[number];
    uint8_t value[16] = {0};
    size_t wide = column->type == FANFOLD_DECIMAL ? 16 : column->type == FANFOLD_DATE ? 4 : 8;
    put_bit(&column->valid, columns->rows, at != NULL);
    if (is_text(column)) {
        if (!columns->rows) put_offset(column);
        if (size > INT32_MAX - column->values.size) return 0;
        if (at) bytes_put(&column->values, at, size);
        put_offset(column);
        columns->bytes += (at ? size : 0) + sizeof(uint32_t);
        return 1;
    }
    columns->bytes += wide;
    if (at && !type_value(column->type, column->precision, column->scale, at, size, value)) return 0;
    if (column->type == FANFOLD_BOOLEAN)
        put_bit(&column->values, columns->rows, value[0]);
    else
        bytes_put(&column->values, value, wide);
    return 1;
}

/* What an array, with its columns, owns. */
typedef struct {
    struct ArrowArray *children, **pointers;
    const void *buffers[3];
} Owned;

static void release_array(struct ArrowArray *array) {
    Owned *owned = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++)
        if (owned->pointers[i]->release) owned->pointers[i]->release(owned->pointers[i]);
    for (int64_t i = 0; i < array->n_buffers; i++) free((void *)(uintptr_t)owned->buffers[i]);
    free(owned->children);
    free(owned->pointers);
    free(owned);
    array->release = NULL;
}

/* Makes an array that is released whole, whatever it has so far; 0 without memory. */
static int begin_array(struct ArrowArray *array, int64_t rows, size_t children) {
    Owned *owned = calloc(1, sizeof *owned);
    if (!owned) return 0;
    *array =
        (struct ArrowArray){.length = rows, .private_data = owned, .buffers = owned->buffers, .release = release_array};
    owned->children = calloc(children + 1, sizeof *owned->children);
    owned->pointers = calloc(children + 1, sizeof *owned->pointers);
    if (!owned->children || !owned->pointers) return 0;
    for (size_t i = 0; i < children; i++) owned->pointers[i] = &owned->children[i];
    array->children = owned->pointers;
    array->n_children = (int64_t)children;
    return 1;
}

static const void *taken(Bytes *bytes) {
    bytes_room(bytes, 1);
    const void *data = bytes->data;
    bytes->data = NULL;
    bytes->size = bytes->capacity = 0;
    return data;
}

static int take_array(ArrowColumns *columns, struct ArrowArray *array) {
    array->n_buffers = 1;
    for (size_t i = 0; i < columns->count; i++) {
        struct ArrowArray *child = array->children[i];
        ArrowColumn *column = &columns->columns[i];
        if (!begin_array(child, (int64_t)columns->rows, 0)) return 0;
        Owned *owned = child->private_data;
        child->null_count = -1;
        owned->buffers[child->n_buffers++] = taken(&column->valid);
        if (is_text(column)) owned->buffers[child->n_buffers++] = taken(&column->offsets);
        owned->buffers[child->n_buffers++] = taken(&column->values);
    }
    columns->rows = columns->bytes = 0;
    return 1;
}

int arrow_take(ArrowColumns *columns, struct ArrowArray *array) {
    for (size_t i = 0; i < columns->count && !columns->rows; i++)
        if (is_text(&columns->columns[i])) put_offset(&columns->columns[i]);
    if (begin_array(array, (int64_t)columns->rows, columns->count) && take_array(columns, array)) return 1;
    if (array->release) array->release(array);
    return 0;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i] && schema->children[i]->release) schema->children[i]->release(schema->children[i]);
    if (schema->n_children) free(schema->children[0]);
    free(schema->children);
    free(schema->private_data);
    schema->release = NULL;
}

/* A schema's own memory is one text: the format, and the name behind it. */
static int begin_schema(struct ArrowSchema *schema, const char *format, const Bytes *name) {
    size_t size = strlen(format) + 1;
    char *texts = malloc(size + (name ? name->size : 1));
    if (!texts) return 0;
    memcpy(texts, format, size);
    texts[size] = 0;
    if (name) memcpy(texts + size, name->data, name->size);
    *schema = (struct ArrowSchema){
        .format = texts, .name = texts + size, .flags = name ? 2 : 0, .private_data = texts, .release = release_schema};
    return 1;
}

int arrow_schema(const ArrowColumns *columns, struct ArrowSchema *schema) {
    static const char *const formats[FANFOLD_TYPES] = {"u", "l", "", "g", "b", "tdD", "tsu:", "tsu:UTC", "u"};
    if (!begin_schema(schema, "+s", NULL)) return 0;
    struct ArrowSchema *children = calloc(columns->count + 1, sizeof *children);
    schema->children = calloc(columns->count + 1, sizeof *schema->children);
    int whole = children && schema->children;
    if (whole) schema->children[0] = children;
    for (size_t i = 0; i < columns->count && whole; i++) {
        const ArrowColumn *column = &columns->columns[i];
        char format[32];
        snprintf(format, sizeof format, "d:%d,%d", column->precision, column->scale);
        schema->children[i] = &children[i];
        whole =
            begin_schema(&children[i], column->type == FANFOLD_DECIMAL ? format : formats[column->type], &column->name);
        schema->n_children = (int64_t)i + whole;
    }
    if (whole) return 1;
    if (!schema->n_children) free(children);
    schema->release(schema);
    return 0;
}
