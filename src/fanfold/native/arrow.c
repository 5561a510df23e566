/* Columns of texts in Arrow's C data interface (arrow.apache.org/docs/format/CDataInterface.html): each value in the
 * form of its column's type, which the caller casts it to. */
#include "arrow.h"

#include "rows.h"

static void put_offset(RowColumn *column) {
    uint32_t offset = (uint32_t)column->values.size;
    bytes_put(&column->offsets, &offset, sizeof offset);
}

int arrow_put(fanfold_rows *rows) {
    for (size_t i = 0; i < rows->wanted.column_count; i++) {
        RowColumn *column = &rows->columns[i];
        const Token *cell = column->cell;
        uint8_t room[LONGEST_FORM];
        Token form = {cell->at, cell->at ? cell->size : 0, 0};
        if (cell->at && type_check(column->type, KIND_TEXT, cell, room, &form)) return 0;
        if (form.size > INT32_MAX - column->values.size) return 0;
        if (!rows->arrow_rows) put_offset(column);
        if (rows->arrow_rows % 8 == 0) bytes_byte(&column->valid, 0);
        column->valid.data[rows->arrow_rows / 8] |= (uint8_t)((cell->at != NULL) << (rows->arrow_rows % 8));
        bytes_put(&column->values, form.at, form.size);
        put_offset(column);
        rows->arrow_bytes += form.size + sizeof(uint32_t);
    }
    rows->arrow_rows++;
    return 1;
}

/* What is handed over leaves the handle: it is released by whoever has it. */

static void release_array(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release) array->children[i]->release(array->children[i]);
    for (int64_t i = 0; i < array->n_buffers; i++) memory_free((void *)(uintptr_t)array->buffers[i]);
    memory_free(array->buffers);
    memory_free(array->children);
    memory_free(array->private_data);
    array->release = NULL;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release) schema->children[i]->release(schema->children[i]);
    memory_free((void *)(uintptr_t)schema->name);
    memory_free(schema->children);
    memory_free(schema->private_data);
    schema->release = NULL;
}

/* Nothing leaves the handle before all is there. */
int fanfold_rows_array(fanfold_rows *rows, struct ArrowArray *array) {
    if (CALL_WAS_LEFT(rows)) return rows->memory.answer;
    size_t count = rows->wanted.column_count;
    struct ArrowArray *children = memory_take(count, sizeof *children),
                      **pointers = memory_take(count, sizeof *pointers);
    const void **buffers = memory_take(1, sizeof *buffers);
    for (size_t i = 0; i < count; i++) {
        RowColumn *column = &rows->columns[i];
        if (!rows->arrow_rows) put_offset(column);
        bytes_room(&column->valid, 1);
        bytes_room(&column->values, 1);
        children[i] = (struct ArrowArray){.length = (int64_t)rows->arrow_rows, .null_count = -1, .n_buffers = 3};
        children[i].buffers = memory_take(3, sizeof *buffers);
        children[i].release = release_array;
        pointers[i] = &children[i];
    }
    for (size_t i = 0; i < count; i++) {
        Bytes *parts[] = {&rows->columns[i].valid, &rows->columns[i].offsets, &rows->columns[i].values};
        memory_detach(children[i].buffers);
        for (int part = 0; part < 3; part++) {
            children[i].buffers[part] = memory_detach(parts[part]->data);
            *parts[part] = (Bytes){0};
        }
    }
    *array = (struct ArrowArray){.length = (int64_t)rows->arrow_rows, .n_buffers = 1, .n_children = (int64_t)count};
    array->buffers = memory_detach(buffers);
    array->children = memory_detach(pointers);
    array->private_data = memory_detach(children);
    array->release = release_array;
    rows->arrow_rows = rows->arrow_bytes = 0;
    return FANFOLD_FULL;
}

int fanfold_rows_schema(fanfold_rows *rows, struct ArrowSchema *schema) {
    if (CALL_WAS_LEFT(rows)) return rows->memory.answer;
    size_t count = rows->wanted.column_count;
    struct ArrowSchema *children = memory_take(count, sizeof *children);
    struct ArrowSchema **pointers = memory_take(count, sizeof *pointers);
    for (size_t i = 0; i < count; i++) {
        const Bytes *name = &rows->columns[i].name;
        children[i] = (struct ArrowSchema){.format = "u", .flags = 2, .release = release_schema};
        children[i].name = memcpy(memory_take(name->size, 1), name->data, name->size);
        pointers[i] = &children[i];
    }
    for (size_t i = 0; i < count; i++) memory_detach((void *)(uintptr_t)children[i].name);
    *schema = (struct ArrowSchema){.format = "+s", .n_children = (int64_t)count, .release = release_schema};
    schema->children = memory_detach(pointers);
    schema->private_data = memory_detach(children);
    return FANFOLD_FULL;
}

void fanfold_rows_released(void **stream) {
    *(uint64_t *)stream[4] = 1;
    stream[3] = NULL;
}
