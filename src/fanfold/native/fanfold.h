/* Fanfold's reader and writer of bytes: JSON and CSV in, merged records, CSV rows and faults out.
 *
 * It knows no file, no spec and no policy: the caller reads files, decompresses and hashes them, and decides what a
 * fault means. Whole windows of bytes go in (1 MiB, say), whole buffers come out. The answer never depends on where one
 * window ends and the next begins.
 *
 * Memory is bounded by the largest record, never by a length that the input states. Nothing recurses by the input. A
 * handle serves one thread at a time; different handles are independent. A complete table may be read by all.
 *
 * RECORDS OF JSON (RFC 8259, UTF-8, a byte order mark at the start is passed over)
 *
 * A file is a row of items in any order, with blanks between them: records, and arrays of records; with a pointer
 * (`records_at`), documents around an array of records. An array is one of records if the file begins with an array,
 * if `{` or `]` is the first in it, or if the first bracket in it (of 4,096 bytes) begins an object with the key that
 * the first good record begins with; else it is a bad record.
 *
 * A record is good when it is one JSON object and ended well: what follows it belongs there, outside of an array a line
 * break, the next `{` or `[`, or the end, also behind commas and `]`; in an array `,`, `]`, `{`, `[` or the end (of
 * such bytes 4,096 are passed over at most); or no `}` in the next 4,096 bytes, up to the line's end, or in an array to
 * its comma, closes what nothing opens. Else it is bad, outside of an array up to the line's end.
 * What is wrong between records is a bad record of its own: what does not belong there, up to the line's end, in an
 * array also `,` or `]`, or to where the next record may begin; and in an array the place of a comma that is not there,
 * which has no text, once until a comma is there. A `[` in an array that begins an array of records there, behind a
 * record or before what belongs to no array, is a bad record too; the records in it are read. So is a `]` of an array
 * in an object of a document, if only `,` and `]` are between it and a `{` with the key of the first good record.
 *
 * Where a record is bad, reading goes on behind it, at the first place where its brackets are closed, or the next record
 * begins (see search.c). What is bad about it is then found in its own text alone. A record of more than `max_record_bytes` is
 * `record_too_large` whatever else it is. Each byte is looked at a bounded number of times.
 *
 * RECORDS OF CSV (RFC 4180, UTF-8, a byte order mark at the start is passed over)
 *
 * Another `delimiter` and `quote` stand in place of `,` and `"`; where there is no quote (0), every field is as it
 * stands. The first line that is not blank is the header; of a file that is `headless` it is a record, and the first
 * line that can be read names the columns column_1, column_2, … Lines end in LF or CRLF; a CR alone is a character;
 * blank lines are passed over. A field is in quotes as a whole or has none in it: anything else is `bad_quote`. A field
 * of nothing is null, and so is one of `nulls` that is not in quotes; `""` is an empty text. A line that is not CSV
 * ends at its first line break, whatever quotes are open; so does one whose quotes are not closed within twice
 * `max_record_bytes`, or before the end of the file.
 *
 * THE SCHEMA (a buffer, integers little-endian): the nodes of a tree, each before its children, the record first:
 *
 *   u8 kind: 0 object, 1 list (its one child is the element), 2 value
 *   u8 type of a value: see FANFOLD_VARCHAR …        u8, u8: precision and scale of a DECIMAL
 *   u32 key: 0, or the number of the value, as written, among those of its scope that are parts of keys: 1, 2, …
 *   u32 number of children                            u32 size of the name, the name
 *
 * A list opens a scope: what is inside of it, down to lists inside of it, belongs to each of its elements. The scopes
 * are numbered in the order of their lists, the record's own is 0. The values of a scope are its slots, in the order of
 * the nodes.
 *
 * MERGED RECORDS and FROZEN TABLES: what the core writes for itself alone; rows.h and table.h have their forms.
 *
 * FAULTS: entries of eleven u64, little-endian, and texts:
 *
 *   code, record number from 1, line from 1 and offset from 0 of the fault, line, offset and size in bytes of the
 *   record, size of the pointer, size of what was found, size of what was expected, size of the raw text; these four.
 *   The raw text is shorter than the record where it is larger than `max_record_bytes`; it is then empty. The pointer
 *   is RFC 6901, and a prefix of the way where the fault lies in a key.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef FANFOLD_ABI
#define FANFOLD_ABI 5
#endif

#define FANFOLD_API __attribute__((visibility("default")))

/* What a call returns. */
enum {
    FANFOLD_END = 0,    /* there is nothing more */
    FANFOLD_HUNGRY = 1, /* feed the next window */
    FANFOLD_FULL = 2,   /* take what there is, and call again */
    FANFOLD_NO_MEMORY = -1,
    FANFOLD_WRONG_CALL = -2, /* a schema or columns that do not fit, or a call out of order: the caller is at fault */
    FANFOLD_UNREADABLE = -3  /* the file of a table cannot be read, errno says why; 0: it has become shorter */
};

/* Codes of faults, in the order of `fanfold_codes`. After EMPTY_FILE and BAD_HEADER reading of the file ends;
 * POINTER_NOT_FOUND is one document; CASE_CONFLICT is only a code of excluded forms. */
enum {
    FANFOLD_SYNTAX = 1, FANFOLD_NAN, FANFOLD_TRAILING_COMMA, FANFOLD_TRAILING_GARBAGE, FANFOLD_DUPLICATE_KEY,
    FANFOLD_LONE_SURROGATE, FANFOLD_BAD_UTF8, FANFOLD_CONTROL_CHARACTER, FANFOLD_TRUNCATED, FANFOLD_TOO_DEEP,
    FANFOLD_NOT_AN_OBJECT, FANFOLD_TOO_MANY_VALUES, FANFOLD_TOO_MANY_FIELDS, FANFOLD_KEY_TOO_LONG,
    FANFOLD_RECORD_TOO_LARGE, FANFOLD_WRONG_TYPE, FANFOLD_INEXACT, FANFOLD_NO_MATCH, FANFOLD_RAGGED_LINE,
    FANFOLD_BAD_QUOTE, FANFOLD_EMPTY_FILE, FANFOLD_BAD_HEADER, FANFOLD_POINTER_NOT_FOUND, FANFOLD_CASE_CONFLICT,
    FANFOLD_NAME_CONFLICT, FANFOLD_BAD_JSON_TEXT, FANFOLD_CODES
};

/* Types of values. VARCHAR is as written, numbers too; JSON is whatever it is, compact, its scalars as written. EPOCH_S
 * and EPOCH_MS are numbers, and become a TIMESTAMPTZ: seconds or milliseconds after 1970 in UTC. */
enum {
    FANFOLD_VARCHAR, FANFOLD_BIGINT, FANFOLD_DECIMAL, FANFOLD_DOUBLE, FANFOLD_BOOLEAN, FANFOLD_DATE,
    FANFOLD_TIMESTAMP, FANFOLD_TIMESTAMPTZ, FANFOLD_JSON, FANFOLD_EPOCH_S, FANFOLD_EPOCH_MS, FANFOLD_TYPES
};

enum { FANFOLD_OBJECT, FANFOLD_LIST, FANFOLD_VALUE };

/* What becomes of fields that the schema does not have. */
enum {
    FANFOLD_LEARN = 1,  /* they are learnt, and nothing is merged */
    FANFOLD_RESCUE = 2, /* they are kept as JSON: a slot of each scope, behind its values */
    FANFOLD_REFUSE = 3, /* the record is bad: too_many_fields */
    FANFOLD_LEAVE = 4   /* they are left out */
};

typedef struct {
    const uint8_t *data;
    size_t size;
} fanfold_bytes;

typedef struct fanfold_table fanfold_table;
typedef struct fanfold_reader fanfold_reader;
typedef struct fanfold_rows fanfold_rows;

/* A table that is joined to the elements of a scope, by the numbers of the values that are its key (see the schema).
 * Where `required`, a record without a match is bad. */
typedef struct {
    const fanfold_table *table;
    uint32_t scope, required;
    const uint32_t *parts;
    size_t part_count;
} fanfold_join;

/* A form that no good record has: a record that has it is bad by `code`, at the first such place.
 *
 * The path's steps are keys, each with its size before it (u32, little-endian); it leads through the elements of
 * arrays, and into values that are one JSON. Kinds 0: the field itself, whatever its value, null included; else a value
 * there of one of these kinds: 1 an object, 2 an array, 4 a scalar that is not null. With `inside`, it is the elements
 * of the array there that are of such a kind. In CSV all columns of the header are fields of each record. Faults of
 * grammar win. */
typedef struct {
    fanfold_bytes path;
    uint32_t kinds, inside, code;
} fanfold_excluded;

/* What a field is beside its value. Paths are those of excluded forms. */
enum {
    FANFOLD_PARSED = 1, /* a text there, or in the array there, holds JSON, and is read as if that stood in its place. It
                           is bad_json_text where it does not; what is in it is not parsed again by the same path */
    FANFOLD_SINGLE = 2, /* an object or scalar there is an array of one */
    FANFOLD_AROUND = 4  /* it stands around the records (`records_at`), at a path from the document's root through
                           objects, and becomes a field of each record; one that a record has itself is name_conflict */
};

typedef struct {
    fanfold_bytes path;
    uint32_t mark;
} fanfold_marked;

typedef struct {
    fanfold_bytes key, value;
} fanfold_given;

typedef struct {
    fanfold_bytes schema;     /* may be empty where fields are learnt */
    fanfold_bytes records_at; /* the path to an array of records in a document; empty: they stand alone */
    uint64_t max_record_bytes, max_fields;
    fanfold_bytes nulls; /* of CSV: texts that mean null, each with its size before it (u32) */
    uint32_t csv;        /* 1: CSV, 0: JSON */
    uint32_t delimiter, quote, headless; /* of CSV: bytes of ASCII; whether there is no header */
    uint32_t others;                     /* FANFOLD_LEARN … */
    uint32_t frozen; /* 1: the records become rows of a frozen table, which is there to take instead of merged ones */
    const fanfold_join *joins;
    size_t join_count;
    const fanfold_excluded *excluded;
    size_t excluded_count;
    const fanfold_marked *marked;
    size_t marked_count;
    uint32_t has_envelope; /* 1: a field is FANFOLD_AROUND */
    uint32_t looks;        /* 1: no record is merged; what there is to take are the envelopes of documents, see below */
} fanfold_options;

typedef struct {
    uint64_t records, bad; /* records counts good and bad ones */
    uint64_t bytes;        /* read so far */
    uint64_t nodes;        /* of `fanfold_reader_learnt`, over all files */
    uint64_t unmatched;    /* good records without a row in one of the joined tables at least */
    uint64_t settled;      /* of a reader that `looks`: all documents that begin before here have an envelope */
} fanfold_counts;

FANFOLD_API uint32_t fanfold_abi(void);
/* The codes as Fanfold writes them, in their order, with a blank between them. */
FANFOLD_API const char *fanfold_codes(void);

/* A reader of one file after the other. Returns NULL where there is no memory, or the schema is not one. The tables
 * must outlive it. */
FANFOLD_API fanfold_reader *fanfold_reader_open(const fanfold_options *);
/* Begins a file; its name is written into the merged records. What was learnt is kept. Where the file before it was not
 * read to its end, what is left of it is dropped; the fields that its records brought so far stay. */
FANFOLD_API int fanfold_reader_begin(fanfold_reader *, const uint8_t *name, size_t size);
/* Gives fields to each record of the file that was begun, before its own; a value whose `data` is NULL is null. A
 * record that has such a field itself, with another value, is bad: name_conflict. The texts are copied. */
FANFOLD_API int fanfold_reader_give(fanfold_reader *, const fanfold_given *, size_t count);
/* Hands over the next window, which is copied; `last` where nothing follows. */
FANFOLD_API int fanfold_reader_feed(fanfold_reader *, const uint8_t *window, size_t size, int last);
/* Reads on: FANFOLD_HUNGRY, FANFOLD_FULL or FANFOLD_END. What there is to take stays until the next call. */
FANFOLD_API int fanfold_reader_next(fanfold_reader *, fanfold_bytes *merged, fanfold_bytes *faults);
/* What was learnt so far, as JSON: an array of nodes in the order of their first appearance, each `[parent, name or
 * null for an array's elements, nulls, integers, numbers, booleans, texts, objects, arrays, whole, scale, order]`: the
 * counts are of records; integers are those that 64 bits hold, by value; whole and scale are the most digits before and
 * behind the point, idle zeros not counted; order is a text of the numbers of these kinds, nulls are 0, in the order of
 * their first appearance. Node 0 is the record. Bad records left no trace. */
FANFOLD_API int fanfold_reader_learnt(fanfold_reader *, fanfold_bytes *learnt);
FANFOLD_API fanfold_counts fanfold_reader_counts(const fanfold_reader *);
/* Fields that stand around records may stand behind them. So one reader looks ahead, and writes for each document its
 * envelope: u64 its offset, u32 the size of what follows, little-endian; and objects of JSON, a line each: the keys
 * that lead to a field, and its value. Another one, of the same options but for `looks`, is given these envelopes
 * before the windows in which their documents begin. `settled` says of the first how far it is. */
FANFOLD_API int fanfold_reader_envelopes(fanfold_reader *, const uint8_t *envelopes, size_t size);
FANFOLD_API void fanfold_reader_close(fanfold_reader *);

/* Of a table: its rows. Of one with an index also: how many rows have a key that was there before; and of the first
 * 1,000 of them four u64 (little-endian) and a text: the row from 1, its line, the line of the first one, the size of
 * the key, the key. */
typedef struct {
    uint64_t rows, repeated;
    fanfold_bytes duplicates;
} fanfold_facts;

/* A frozen table to join to: rows by the text of their keys. The first row of a key counts. `file` is a descriptor that
 * can be read at any place; it has to stay open as long as the table. Where rows are to be found by their keys, as
 * readers do, the table is opened `with_index`. In memory are 11 bytes for each row then, and of a file of at most 32
 * MiB all of it.
 *
 * Returns FANFOLD_FULL with a table; else FANFOLD_WRONG_CALL where the file is not a frozen table, or is not whole. */
FANFOLD_API int fanfold_table_open(int file, int with_index, fanfold_table **);
FANFOLD_API fanfold_facts fanfold_table_facts(const fanfold_table *);
FANFOLD_API void fanfold_table_close(fanfold_table *);

/* A column of rows. `kind` 0: slot `slot` of a scope; 1: the name of the file; 2: the number of the record; 3: the
 * number of the element, from 1, those of nested arrays with a point between them; 4: slot `slot` of the row that join
 * `scope` found; 5: the rescued fields. The rest is for Arrow alone. */
typedef struct {
    uint32_t kind, scope, slot;
    fanfold_bytes name;
    uint8_t type, precision, scale;
} fanfold_column;

/* A scope of a chain. Where its values stand `elsewhere`, in another table, an element of it without one in the next
 * scope has no row, and what is rescued of it is left out. */
typedef struct {
    uint32_t scope, elsewhere;
} fanfold_level;

/* Rows of merged records: one for each element of the innermost scope of `chain`, the scopes from the record (0) down;
 * an array that is empty or null has one row. `rescue`, schema and joins are those of the reader; the tables need no
 * index. */
typedef struct {
    fanfold_bytes schema;
    uint32_t rescue, as_arrow;
    uint32_t delimiter, escape_formulas; /* of CSV: a byte of ASCII; see below */
    fanfold_bytes null; /* of CSV: the text for null, without quotes and line breaks; it must outlive the rows */
    const fanfold_join *joins;
    size_t join_count;
    const fanfold_level *chain;
    size_t chain_size;
    const fanfold_column *columns;
    size_t column_count;
} fanfold_wanted;

/* Structures of Arrow's C data interface: see arrow.h. */
struct ArrowSchema;
struct ArrowArray;

/* Writes rows as CSV (RFC 4180, LF; another delimiter stands in place of `,`), or as columns of utf8 in Arrow's C data
 * interface, each value in the form of its column's type; one that its type does not hold is FANFOLD_WRONG_CALL.
 * Returns NULL where there is no memory, or what is wanted does not fit the schema.
 *
 * In CSV a value stands in quotes if it is empty, the text for null, or has a quote, a line break, CR, `#` or the
 * delimiter in it. With `escape_formulas` a `'` is put before texts that begin with `=`, `+`, `-`, `@`, a tab or CR,
 * unless they are written like numbers. */
FANFOLD_API fanfold_rows *fanfold_rows_open(const fanfold_wanted *);
FANFOLD_API int fanfold_rows_feed(fanfold_rows *, const uint8_t *window, size_t size, int last);
/* Writes on, as `fanfold_reader_next` reads. Columns are taken by `fanfold_rows_array`, once each time it returns; the
 * caller releases them. */
FANFOLD_API int fanfold_rows_next(fanfold_rows *, fanfold_bytes *csv);
FANFOLD_API int fanfold_rows_schema(fanfold_rows *, struct ArrowSchema *);
FANFOLD_API int fanfold_rows_array(fanfold_rows *, struct ArrowArray *);
/* Releases an ArrowArrayStream of the caller's, five pointers: the number (u64) that its private data, the last of
 * them, points to becomes 1. */
FANFOLD_API void fanfold_rows_released(void **stream);
FANFOLD_API uint64_t fanfold_rows_count(const fanfold_rows *);
FANFOLD_API void fanfold_rows_close(fanfold_rows *);
