/* A reader: the bytes it was fed, where in them it is, and what it makes of them. */
#pragma once

#include "record.h"

/* The part of the file that is in memory. Positions are offsets in the file. */
typedef struct {
    Bytes bytes;
    uint64_t base;          /* the offset of its first byte */
    uint64_t at;            /* what lies before it is done */
    uint64_t enough;        /* to try again before so much is there would be idle */
    int last;               /* nothing follows */
    uint64_t line, counted; /* the line of the offset `counted` */
} Input;

enum { MAX_OPEN = 1024, MAX_INDENT = 256, MAX_FOLLOWING = 4096 };

static inline const uint8_t *input_byte(const Input *input, uint64_t offset) {
    return input->bytes.data + (offset - input->base);
}
static inline const uint8_t *input_stop(const Input *input) { return input->bytes.data + input->bytes.size; }
static inline uint64_t input_end(const Input *input) { return input->base + input->bytes.size; }
static inline uint64_t input_offset(const Input *input, const uint8_t *p) {
    return input->base + (uint64_t)(p - input->bytes.data);
}
void input_begin(Input *);
void input_feed(Input *, const uint8_t *window, size_t size, int last);
/* The line that an offset, which is in memory, lies in; offsets are asked for in ascending order. */
uint64_t input_line(Input *, uint64_t offset);
/* Asks for more: twice what there is from `start` on, but first for `most`. */
int input_hungry(Input *, uint64_t start, uint64_t most);

/* Of JSON; from AT_DOCUMENT to BEHIND_VALUE in a document around the records; from AT_HEADER on of CSV. */
typedef enum {
    AT_START, AT_RECORDS, AT_ITEM, BEHIND_ITEM, AT_ELEMENT, BEHIND_ELEMENT, AT_DOCUMENT, AT_MEMBER, AT_VALUE,
    BEHIND_VALUE, IN_SEARCH, AT_HEADER, AT_LINE, IN_LONG_LINE, AT_END
} State;

/* How far the search for the end of a bad record is: see the rules in fanfold.h. */
typedef struct {
    uint64_t start, at;  /* of the record; of what comes next */
    uint64_t size, line; /* of the record's text, when its end is known; where it begins */
    State then;          /* the state behind the record */
    int code;            /* what is wrong with it; 0: what its text says */
    const char *expected;
    int in_array, own_line;
    int alone;        /* no other record begins in its line */
    int to_line;      /* the record ends with its line, or before the next one */
    uint64_t line_at; /* the first line break that rule 2 may end it at; 0: none yet */
    int may_key;      /* rule 3 may be tried */
    int by_key;       /* rule 3 is tried: 1, up to `horizon`; 2, to the end */
    uint64_t horizon; /* rule 1 is tried up to here, before rule 3 is */
    int broken;       /* its brackets never close */
    int in_text, escaped;
    uint64_t key_at;
    size_t depth, indent;
    uint8_t blanks[MAX_INDENT];
    uint8_t brackets[MAX_OPEN]; /* those that are open */
} Search;

/* An object or array around the records that is open: on the way of the pointer, or an array beside it. */
typedef struct {
    uint8_t is_object, on_way, found; /* found: the step of the way was in it */
    uint32_t way;                     /* where it is among the ways of fields around the records; 0: nowhere */
    uint64_t number;                  /* of the object; of the element that comes next */
} Around;

/* A column of a CSV file. */
typedef struct {
    Token name;
    uint32_t node;
} CsvColumn;

#define NO_DOCUMENT UINT64_MAX

/* What is known of the file that is read: all zeros where it begins, but for `document`. */
typedef struct {
    State state;
    int last_code;           /* of the last record; 0: it was good */
    int has_arrays;          /* it begins with an array */
    int in_doubt;            /* in an array: a comma was not there, and since then none was */
    int lacks_comma;         /* behind a record of an array: what lacks is not said yet */
    int has_document_key;    /* `document_key` is known */
    int is_astray;           /* between documents stood what belongs to none */
    uint64_t sound[2];       /* what is_sound_behind says before this offset is 1; for an element or not */
    int first_key_of;        /* 1: of the bad record that is searched; 2: of the first good one; 0: not known */
    uint64_t largest;        /* of the good records */
    uint64_t spent;          /* bytes that searches have looked at */
    uint64_t comma;          /* offset plus 1 of the comma behind the last element */
    uint64_t comma_line;     /* its line, once it may be gone from memory */
    size_t depth, way_depth; /* open around the records; those on the way of the pointer */
    int on_way;              /* the value that comes next lies on the way */
    uint32_t way;            /* of the value that comes next, around the records; 0: nowhere */
    uint64_t document;       /* the offset of the document around the records; NO_DOCUMENT: none was begun */
    uint64_t frozen;         /* bytes of a frozen table that are taken */
    int is_begun, is_ended;  /* what stands before its records, and behind them, is written */
} File;

struct fanfold_reader {
    Memory memory;
    fanfold_options options;
    Mode mode;
    Shape shape;
    Merged merged;
    Walk walk;
    Excluded excluded;
    Input input;
    File file;
    Search search;
    fanfold_counts counts;
    uint64_t serial; /* of readings of records, over all files */
    Bytes ahead;     /* the envelopes of documents that were not begun when they came */
    size_t ahead_at; /* in them: the next one */
    Bytes output, faults, learnt, row, row_key, name, first_key, document_key;
    Token steps[MAX_DEPTH]; /* of the way to the records */
    size_t step_count;
    Around around[MAX_DEPTH];
    Keys keys; /* of the objects around the records; of a header */
    LIST(CsvColumn) columns;
    LIST(Token) cells; /* of a line, as far as the header has names for them */
};

/* A bad record, or what is wrong with the file. */
typedef struct {
    int code;
    uint64_t start, size, line; /* the record; line 0: that of `start` */
    uint64_t offset;            /* of the fault, in the record */
    const char *expected;       /* NULL: what the fault of the walk says, of pointer and texts */
    const Token *key;           /* that the pointer leads to; NULL: to the record */
    const char *raw;            /* the text of the record; NULL: it is in memory */
    int of_file;
} Bad;

/* Writes a bad record down, and counts it. */
void reader_bad(fanfold_reader *, const Bad *);
/* Says of the text of a record what is wrong with it. */
void reader_judge(fanfold_reader *, uint64_t start, uint64_t size, uint64_t line);
/* Writes the good record down that was read. */
void reader_good(fanfold_reader *, uint64_t start, uint64_t size);

/* What the reading of one value came to. */
typedef enum { VALUE_GOOD, VALUE_INCOMPLETE, VALUE_BAD } Outcome;
typedef struct {
    Outcome outcome;
    uint64_t end; /* of a good one; else where it stops being one */
} Reading;
/* Reads the value at an offset. A fault that leaves no doubt about its end is in the walk. */
Reading reader_value(fanfold_reader *, uint64_t start, Mode);
/* What follows a value, behind the bytes that are passed over: its byte; '\n' at the end; FAR where it is not asked for
 * any more; -1 where more must be known. */
int reader_following(const fanfold_reader *, uint64_t end, const char *passed);
#define BLANKS " \t\r\n"
#define LINE " \t\r"
#define FRAME LINE ",]"
enum { FAR = ' ' };

/* The steps of a reader: FANFOLD_FULL where one is done, else FANFOLD_HUNGRY. */
int json_step(fanfold_reader *);
int csv_step(fanfold_reader *);
/* Reads the values of a line of CSV whose cells are known. */
void csv_walk(fanfold_reader *, const uint8_t *begin, size_t size);

/* Steps in a document around the records; `c` is the byte that comes next. */
int document_step(fanfold_reader *, uint8_t c);
int member_step(fanfold_reader *, uint8_t c);
int value_step(fanfold_reader *, uint8_t c);
int behind_value_step(fanfold_reader *, uint8_t c);

/* Begins the document at the input's place, if it has not begun: 0 where its envelope is not known. Ends the last one. */
int envelope_begin(fanfold_reader *);
void envelope_end(fanfold_reader *);

/* The document has broken off, and another begins. */
int document_breaks_off(fanfold_reader *);
/* Says whether another record follows the `]` at an offset, where a document can have none: then it did not end the
 * array, and is a bad record; -1 where more must be known. */
int document_goes_on(fanfold_reader *, uint64_t at);
extern const char document_end_expected[];

/* A comma with nothing behind it is a bad record of its own. */
void json_idle_comma(fanfold_reader *, const char *expected);
int json_begin_array(fanfold_reader *);
/* Goes on behind an array of records, or a value of the document around them. */
int json_behind_value(fanfold_reader *);

/* Begins the search for the end of a bad record, and what is said of it: 0, what its text says. */
void search_begin(fanfold_reader *, uint64_t start, int may_key, State then);
/* It ends with its line, or before the next record behind `at`, if one may begin in this line. */
void search_line(fanfold_reader *, uint64_t at, int may_begin);
int search_says(fanfold_reader *, int code, const char *expected);
/* Goes on with it: FANFOLD_HUNGRY, or FANFOLD_END with `search.at` and `search.size`. */
int search_end(fanfold_reader *);
