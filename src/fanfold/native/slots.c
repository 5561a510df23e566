/* The slots of merged records: headers and texts. */
#include "rows.h"

const uint8_t *read_slots(const uint8_t *p, const uint8_t *end, Cell *cells, size_t count) {
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

const uint8_t *skip_slots(const uint8_t *p, const uint8_t *end, size_t count) {
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
