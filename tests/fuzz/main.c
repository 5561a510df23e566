/* Feeds mutations of files to the core, each as a whole and cut into windows, and aborts where the answers differ or
 * contradict the input. Built with sanitizers, which abort on whatever else is wrong.
 *
 * main SEED SECONDS FILE…: prints how many inputs there were. Where it aborts, the input is in ./found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include "../../src/fanfold/native/arrow.h"
#include "../../src/fanfold/native/fanfold.h"

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} Text;

static uint64_t state;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? (state >> 11) % below : 0;
}

static void append(Text *text, const void *data, size_t size) {
    if (text->size + size > text->capacity) {
        text->capacity = (text->size + size) * 2 + 64;
        text->data = realloc(text->data, text->capacity);
        if (!text->data) abort();
    }
    if (size) memcpy(text->data + text->size, data, size);
    text->size += size;
}

/* Mutations. */

static const char *const words[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "\"\"",
    "{\"id\":",
    "\n{",
    ",{",
    "},{",
    "]\n[",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1e400",
    "-0",
    "0.10",
    "12345678901234567890",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud800",
    "\xc3\xa9",
    "\xff",
    "\xed\xa0\x80",
    "\xf0\x9f\x98\x80",
    "\xef\xbb\xbf",
    "\"id\"",
    "\"items\"",
    "\"data\"",
    "1",
    "9",
    "-",
    ".",
    "e",
    "\"a\"\"b\"",
    ";",
    "'",
    "''",
    "|",
    "#",
    "2026-01-02",
    "x",
    "\x01",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":",
    "}}}",
    "                                ",
};

static void insert(Text *text, size_t at, const void *data, size_t size) {
    if (!size) return;
    append(text, data, size);
    memmove(text->data + at + size, text->data + at, text->size - size - at);
    memcpy(text->data + at, data, size);
}

static void mutate(Text *text, const Text *other) {
    size_t at = (size_t)draw(text->size + 1);
    size_t size = (size_t)draw(draw(4) ? 8 : 64);
    switch (draw(7)) {
    case 0:
        if (at < text->size) text->data[at] = (uint8_t)draw(256);
        break;
    case 1:
        if (at < text->size) text->data[at] ^= (uint8_t)(1u << draw(8));
        break;
    case 2:
    case 3: {
        const char *word = words[draw(sizeof words / sizeof *words)];
        insert(text, at, word, strlen(word));
        break;
    }
    case 4:
        if (size > text->size - at) size = text->size - at;
        if (size) memmove(text->data + at, text->data + at + size, text->size - at - size);
        text->size -= size;
        break;
    case 5: {
        size_t from = (size_t)draw(other->size + 1);
        if (size > other->size - from) size = other->size - from;
        uint8_t piece[64];
        if (size) memcpy(piece, other->data + from, size);
        insert(text, at, piece, size);
        break;
    }
    default:
        if (draw(8) == 0) text->size = at;
    }
}

static Text input;

/* Called by the sanitizers, and where an answer differs, before the process ends. */
static void keep(void) {
    FILE *file = fopen("found", "wb");
    if (!file) abort();
    fwrite(input.data, 1, input.size, file);
    fclose(file);
}

/* One reading. */

typedef struct {
    Text merged, faults, learnt;
    fanfold_counts counts;
} Answer;

static void take(Text *text, fanfold_bytes bytes) { append(text, bytes.data, bytes.size); }

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "differs: %s\n", what);
    keep();
    abort();
}

static size_t cut(int how, size_t left) {
    size_t size = how == 0 ? left : how == 1 ? 1 : (size_t)draw(draw(3) ? 40 : 400);
    return size < left ? size : left;
}

static void read_all(const fanfold_options *options, int how, Answer *answer) {
    answer->merged.size = answer->faults.size = answer->learnt.size = 0;
    static Answer ahead;
    if (options->has_envelope && !options->looks) {
        fanfold_options looking = *options;
        looking.looks = 1;
        looking.frozen = looking.join_count = 0;
        read_all(&looking, how, &ahead);
    }
    fanfold_reader *reader = fanfold_reader_open(options);
    check(reader != NULL, "the reader opens");
    check(fanfold_reader_begin(reader, (const uint8_t *)"f", 1) == FANFOLD_HUNGRY, "a file begins");
    if (options->has_envelope && !options->looks)
        check(fanfold_reader_envelopes(reader, ahead.merged.data, ahead.merged.size) == FANFOLD_FULL, "envelopes fit");
    int done = FANFOLD_HUNGRY;
    for (size_t at = 0, last = 0; !last;) {
        size_t size = cut(how, input.size - at);
        last = at + size == input.size && (how == 0 || draw(2));
        /* A copy of the right size, so that a step behind it is seen. */
        uint8_t *window = malloc(size + !size);
        if (!window) abort();
        if (size) memcpy(window, input.data + at, size);
        check(fanfold_reader_feed(reader, window, size, (int)last) == FANFOLD_FULL, "a window is taken");
        free(window);
        at += size;
        do {
            fanfold_bytes merged, faults;
            done = fanfold_reader_next(reader, &merged, &faults);
            check(done >= 0, "reading goes on");
            take(&answer->merged, merged);
            take(&answer->faults, faults);
        } while (done == FANFOLD_FULL);
        if (done == FANFOLD_END) break;
    }
    check(done == FANFOLD_END, "the file ends");
    answer->counts = fanfold_reader_counts(reader);
    if (options->others == FANFOLD_LEARN) {
        fanfold_bytes learnt;
        check(fanfold_reader_learnt(reader, &learnt) == FANFOLD_FULL, "what is learnt is written");
        take(&answer->learnt, learnt);
    }
    fanfold_reader_close(reader);
}

static void same(const Text *one, const Text *other, const char *what) {
    check(one->size == other->size && (!one->size || !memcmp(one->data, other->data, one->size)), what);
}

static uint64_t u64(const uint8_t *p) {
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--) number = number << 8 | p[i];
    return number;
}

/* Each fault names a place in the file, and its raw text is what stands there. */
static void check_faults(const Answer *answer) {
    uint64_t bad = 0;
    for (size_t at = 0; at < answer->faults.size;) {
        const uint8_t *p = answer->faults.data + at;
        uint64_t code = u64(p), start = u64(p + 40), size = u64(p + 48), raw = u64(p + 80);
        size_t texts = (size_t)(u64(p + 56) + u64(p + 64) + u64(p + 72));
        check(code >= 1 && code < FANFOLD_CODES, "the code of a fault");
        check(start <= input.size && size <= input.size - start, "the place of a bad record");
        check(u64(p + 24) >= start && u64(p + 24) <= start + size, "the place of a fault");
        uint64_t line = 1;
        for (uint64_t i = 0; i < start; i++) line += input.data[i] == '\n';
        check(u64(p + 32) == line, "the line of a bad record");
        if (raw) check(raw == size && !memcmp(p + 88 + texts, input.data + start, (size_t)raw), "the raw text");
        bad += u64(p + 8) > 0;
        at += 88 + texts + (size_t)raw;
    }
    check(bad == answer->counts.bad, "the number of bad records");
}

#define COLUMN(kind, scope, slot) {kind, scope, slot, {NULL, 0}, 0, 0, 0}

static fanfold_rows *open_rows(const fanfold_options *options, const fanfold_level *chain, size_t chain_size,
                               const fanfold_column *columns, size_t column_count, int as_arrow) {
    fanfold_wanted wanted = {options->schema, options->others == FANFOLD_RESCUE, (uint32_t)as_arrow,
                             options->delimiter, options->headless, options->nulls, options->joins,
                             options->join_count, chain, chain_size, columns, column_count};
    return fanfold_rows_open(&wanted);
}

/* The merged records are as many as the good ones, and their rows can be written, cut anywhere. */
static void check_rows(const fanfold_options *options, const Answer *answer) {
    static const fanfold_level chain[] = {{0, 0}, {1, 0}};
    static const fanfold_column columns[] = {COLUMN(0, 0, 0), COLUMN(0, 1, 0), COLUMN(0, 0, 1), COLUMN(1, 0, 0),
                                             COLUMN(2, 0, 0), COLUMN(3, 0, 0), COLUMN(0, 1, 1), COLUMN(5, 0, 0)};
    uint32_t rescue = options->others == FANFOLD_RESCUE;
    Text csv[2] = {{0}, {0}};
    uint64_t entries = 0;
    for (size_t at = 0; at < answer->merged.size; entries++) {
        const uint8_t *p = answer->merged.data + at;
        at += 4 + (p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24);
    }
    check(entries == answer->counts.records - answer->counts.bad + 1 || (!entries && !answer->counts.records),
          "the number of merged records");
    for (int how = 0; how < 3; how += 2) {
        fanfold_rows *rows = open_rows(options, chain, 2, columns, 7 + rescue, 0);
        check(rows != NULL, "rows open");
        size_t at = 0;
        for (int last = 0; !last;) {
            size_t size = cut(how, answer->merged.size - at);
            last = at + size == answer->merged.size;
            check(fanfold_rows_feed(rows, answer->merged.data + at, size, last) == FANFOLD_FULL,
                  "merged records are taken");
            at += size;
            int done;
            do {
                fanfold_bytes piece;
                done = fanfold_rows_next(rows, &piece);
                check(done >= 0, "rows are written");
                take(&csv[how / 2], piece);
            } while (done == FANFOLD_FULL);
        }
        fanfold_rows_close(rows);
    }
    same(&csv[0], &csv[1], "rows");
    free(csv[0].data);
    free(csv[1].data);
}

/* The same rows as columns: as many, and what is made is released. */
static void check_columns(const fanfold_options *options, const Answer *answer) {
    static const fanfold_level chain[] = {{0, 0}, {1, 0}};
    static const struct {
        uint32_t kind, scope, slot;
        uint8_t type;
    } wanted[] = {{0, 0, 0, FANFOLD_VARCHAR},     {0, 0, 1, FANFOLD_BIGINT},  {0, 1, 0, FANFOLD_VARCHAR},
                  {0, 1, 1, FANFOLD_DECIMAL},     {0, 0, 3, FANFOLD_DOUBLE},  {0, 0, 4, FANFOLD_DATE},
                  {0, 0, 5, FANFOLD_TIMESTAMPTZ}, {0, 0, 6, FANFOLD_BOOLEAN}, {3, 0, 0, FANFOLD_VARCHAR}};
    fanfold_column columns[9];
    for (size_t i = 0; i < 9; i++)
        columns[i] = (fanfold_column){
            wanted[i].kind, wanted[i].scope, wanted[i].slot, {(const uint8_t *)"name", 4}, wanted[i].type, 18, 2};
    fanfold_rows *rows = open_rows(options, chain, 2, columns, 9, 1);
    check(rows != NULL, "columns open");
    struct ArrowSchema schema;
    check(fanfold_rows_schema(rows, &schema) == FANFOLD_FULL && schema.n_children == 9, "a schema is made");
    schema.release(&schema);
    uint64_t made = 0;
    for (int last = 0; last < 2; last++) {
        size_t half = answer->merged.size / 2, begin = last ? half : 0, size = last ? answer->merged.size - half : half;
        check(fanfold_rows_feed(rows, answer->merged.data + begin, size, last) == FANFOLD_FULL,
              "merged records are taken");
        for (int done = FANFOLD_FULL; done == FANFOLD_FULL;) {
            struct ArrowArray array;
            fanfold_bytes nothing;
            check((done = fanfold_rows_next(rows, &nothing)) >= 0, "columns are made");
            check(fanfold_rows_array(rows, &array) == FANFOLD_FULL, "an array is taken");
            made += (uint64_t)array.length;
            array.release(&array);
        }
    }
    check(made == fanfold_rows_count(rows), "the number of rows in columns");
    fanfold_rows_close(rows);
}

/* Frozen tables. */

static Answer whole, other;

/* Writes bytes to a file that has no name, with one of them changed where it is to be damaged. */
static FILE *as_file(const Text *text, int damaged) {
    FILE *file = tmpfile();
    if (!file) abort();
    size_t at = (size_t)draw(text->size);
    if (damaged) text->data[at] ^= (uint8_t)(1u << draw(8));
    fwrite(text->data, 1, damaged && draw(4) == 0 ? at : text->size, file);
    if (fflush(file)) abort();
    return file;
}

/* Writes one column of merged records; what is damaged ends it. */
static void write_column(const fanfold_options *options, const Text *merged, fanfold_column column, Text *csv) {
    static const fanfold_level chain[] = {{0, 0}};
    fanfold_rows *rows = open_rows(options, chain, 1, &column, 1, 0);
    csv->size = 0;
    if (!rows) return;
    check(fanfold_rows_feed(rows, merged->data, merged->size, 1) == FANFOLD_FULL, "merged records are taken");
    fanfold_bytes piece;
    for (int done = FANFOLD_FULL; done == FANFOLD_FULL;)
        if ((done = fanfold_rows_next(rows, &piece)) >= 0) take(csv, piece);
    fanfold_rows_close(rows);
}

/* The records as a table that they are joined to themselves: each key is found, in memory and in the file. */
static void check_table(fanfold_options options) {
    static Answer joined, again;
    static Text own, found;
    static const uint32_t part = 1;
    options.frozen = 1;
    read_all(&options, 2, &other);
    same(&whole.faults, &other.faults, "faults of a table");
    options.frozen = 0;
    for (int damaged = 0; damaged < 2; damaged++) {
        FILE *file = as_file(&other.merged, damaged);
        fanfold_table *table = NULL;
        int opened = fanfold_table_open(fileno(file), 1, &table);
        check(damaged ? opened != FANFOLD_NO_MEMORY : opened == FANFOLD_FULL, "a table opens");
        if (table) {
            fanfold_join join = {table, 0, 0, &part, 1};
            options.joins = &join;
            options.join_count = 1;
            read_all(&options, 0, &joined);
            write_column(&options, &joined.merged, (fanfold_column)COLUMN(4, 0, 0), &found);
            if (!damaged) {
                check(fanfold_table_facts(table).rows == whole.counts.records - whole.counts.bad, "rows of a table");
                read_all(&options, 2, &again);
                same(&joined.merged, &again.merged, "joined records");
                write_column(&options, &joined.merged, (fanfold_column)COLUMN(0, 0, 0), &own);
                same(&own, &found, "keys of joined rows");
            }
        }
        fanfold_table_close(table);
        fclose(file);
    }
}

/* Schemas. */

static void node(Text *schema, uint8_t kind, uint8_t type, uint8_t key, uint32_t children, const char *name) {
    uint8_t bytes[16] = {kind, type, 18, 2, key, 0, 0, 0, (uint8_t)children, 0, 0, 0, (uint8_t)strlen(name), 0, 0, 0};
    append(schema, bytes, sizeof bytes);
    append(schema, name, strlen(name));
}

static void make_schema(Text *schema) {
    node(schema, FANFOLD_OBJECT, 0, 0, 9, "");
    node(schema, FANFOLD_VALUE, FANFOLD_VARCHAR, 1, 0, "id");
    node(schema, FANFOLD_VALUE, FANFOLD_BIGINT, 0, 0, "n");
    node(schema, FANFOLD_LIST, 0, 0, 1, "items");
    node(schema, FANFOLD_OBJECT, 0, 0, 3, "");
    node(schema, FANFOLD_VALUE, FANFOLD_VARCHAR, 0, 0, "a");
    node(schema, FANFOLD_VALUE, FANFOLD_DECIMAL, 0, 0, "price");
    node(schema, FANFOLD_LIST, 0, 0, 1, "inner");
    node(schema, FANFOLD_VALUE, FANFOLD_JSON, 0, 0, "");
    node(schema, FANFOLD_VALUE, FANFOLD_JSON, 0, 0, "v");
    node(schema, FANFOLD_VALUE, FANFOLD_DOUBLE, 0, 0, "x");
    node(schema, FANFOLD_VALUE, FANFOLD_DATE, 0, 0, "d");
    node(schema, FANFOLD_VALUE, FANFOLD_TIMESTAMPTZ, 0, 0, "t");
    node(schema, FANFOLD_OBJECT, 0, 0, 1, "o");
    node(schema, FANFOLD_VALUE, FANFOLD_BOOLEAN, 0, 0, "b");
    node(schema, FANFOLD_VALUE, FANFOLD_TIMESTAMP, 0, 0, "s");
}

static void try_one(const Text *schema) {
    static const fanfold_bytes ways[] = {
        {(const uint8_t *)"\4\0\0\0data", 8},
        {(const uint8_t *)"\1\0\0\0a\1\0\0\0" "0", 10},
        {(const uint8_t *)"\2\0\0\0id\2\0\0\0~1", 12},
        {(const uint8_t *)"\5\0\0\0items", 9},
    };
    static const uint64_t caps[] = {8, 40, 200, 1 << 24};
    static const uint32_t modes[] = {FANFOLD_LEARN, FANFOLD_LEAVE, FANFOLD_REFUSE, FANFOLD_RESCUE};
    fanfold_options options = {0};
    if (draw(7) > 2) options.records_at = ways[draw(4)];
    options.max_record_bytes = caps[draw(4)];
    options.max_fields = draw(2) ? 10 : 10000;
    options.csv = draw(3) == 0;
    static const char delimiters[] = ",,;\t|:", quotes[] = "\"\"'";
    options.delimiter = (uint8_t)delimiters[draw(sizeof delimiters - 1)];
    options.quote = (uint8_t)quotes[draw(sizeof quotes)];
    options.headless = draw(4) == 0;
    if (draw(2)) options.nulls = (fanfold_bytes){(const uint8_t *)"\1\0\0\0001\0\0\0\0\2\0\0\0\"\"", 15};
    options.others = modes[draw(4)];
    static const fanfold_excluded forms[] = {
        {{(const uint8_t *)"\1\0\0\0n", 5}, 0, 0, FANFOLD_CASE_CONFLICT},
        {{(const uint8_t *)"\5\0\0\0items\1\0\0\0a", 14}, 3, 0, FANFOLD_WRONG_TYPE},
        {{(const uint8_t *)"\5\0\0\0items", 9}, 4, 1, FANFOLD_NAME_CONFLICT},
    };
    if (draw(3) == 0) options.excluded = forms;
    if (options.excluded) options.excluded_count = draw(4);
    static const fanfold_marked marked[] = {
        {{(const uint8_t *)"\1\0\0\0v", 5}, FANFOLD_PARSED},
        {{(const uint8_t *)"\1\0\0\0v\1\0\0\0z", 10}, FANFOLD_PARSED},
        {{(const uint8_t *)"\5\0\0\0items", 9}, FANFOLD_PARSED},
        {{(const uint8_t *)"\5\0\0\0items\1\0\0\0a", 14}, FANFOLD_PARSED},
        {{(const uint8_t *)"\5\0\0\0items", 9}, FANFOLD_SINGLE},
        {{(const uint8_t *)"\1\0\0\0n", 5}, FANFOLD_PARSED},
        {{(const uint8_t *)"\4\0\0\0meta\1\0\0\0a", 13}, FANFOLD_AROUND},
        {{(const uint8_t *)"\2\0\0\0id", 6}, FANFOLD_AROUND},
        {{(const uint8_t *)"\1\0\0\0v", 5}, FANFOLD_AROUND},
    };
    if (draw(2)) options.marked = marked;
    if (options.marked) options.marked_count = draw(10);
    options.has_envelope = options.marked_count > 6 && !options.csv && options.records_at.size;
    if (options.others != FANFOLD_LEARN || draw(2)) options.schema = (fanfold_bytes){schema->data, schema->size};
    read_all(&options, 0, &whole);
    check_faults(&whole);
    if (options.others != FANFOLD_LEARN) check_rows(&options, &whole);
    if (options.others != FANFOLD_LEARN) check_columns(&options, &whole);
    for (int how = 1; how < 3; how++) {
        read_all(&options, how, &other);
        same(&whole.merged, &other.merged, "merged records");
        same(&whole.faults, &other.faults, "faults");
        same(&whole.learnt, &other.learnt, "what is learnt");
    }
    if (options.others == FANFOLD_LEAVE) check_table(options);
}

static Text load(const char *path) {
    Text text = {0};
    uint8_t piece[4096];
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    for (size_t size; (size = fread(piece, 1, sizeof piece, file)) > 0;) append(&text, piece, size);
    fclose(file);
    return text;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    uint64_t seed = strtoull(arguments[1], NULL, 10);
    double seconds = strtod(arguments[2], NULL);
    size_t files = (size_t)count - 3;
    Text *corpus = calloc(files, sizeof *corpus), schema = {0};
    if (!corpus) abort();
    for (size_t i = 0; i < files; i++) corpus[i] = load(arguments[i + 3]);
    make_schema(&schema);
    __sanitizer_set_death_callback(keep);
    uint64_t tried = 0, end = (uint64_t)time(NULL) + (uint64_t)seconds;
    while ((uint64_t)time(NULL) < end || tried < files) {
        state = (seed << 32 ^ tried * 0x9e3779b97f4a7c15u) | 1;
        for (int i = 0; i < 8; i++) draw(2);
        const Text *from = &corpus[tried < files ? tried : draw(files)];
        input.size = 0;
        append(&input, from->data, from->size);
        for (uint64_t times = tried < files ? 0 : draw(8) + 1; times; times--) mutate(&input, &corpus[draw(files)]);
        alarm(60);
        try_one(&schema);
        tried++;
    }
    printf("%llu\n", (unsigned long long)tried);
    for (size_t i = 0; i < files; i++) free(corpus[i].data);
    free(corpus);
    free(schema.data);
    free(input.data);
    return 0;
}
