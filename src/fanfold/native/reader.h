/* A reader: the bytes it was fed, where in them it is, and what it makes of them. */
#ifndef FANFOLD_READER_H
#define FANFOLD_READER_H

#include "walk.h"

/* The part of the file that is in memory. Positions are offsets in the file. */
typedef struct {
    Bytes bytes;
    uint64_t base;          /* the offset of its first byte */
    uint64_t at;            /* what lies before it is done */
    uint64_t enough;        /* to try again before so much is there would be idle */
    int last;               /* nothing follows */
    uint64_t line, counted; /* the line of the offset `counted` */
} Input;

/* How far the search for the end of a bad record is: see the rules in fanfold.h. */
typedef struct {
    uint64_t start, at;  /* of the record; of what comes next */
    uint64_t size, line; /* of the record's text, when its end is known; where it begins */
    int in_array, own_line;
    int to_line;      /* the record ends with its line */
    uint64_t line_at; /* the first line break that rule 2 may end it at; 0: none yet */
    int may_key;      /* rule 3 may be tried */
    int by_key;       /* rule 3 is tried: 1, up to `horizon`; 2, to the end */
    uint64_t horizon; /* rule 1 is tried up to here, before rule 3 is */
    int broken;       /* its brackets never close */
    int in_text, escaped;
    uint64_t key_at;
    size_t depth, indent;
    uint8_t blanks[256];
    uint64_t brackets[1024 / 64]; /* a bit for each open bracket: 1 for an object */
} Search;

enum { MAX_OPEN = 1024, MAX_INDENT = 256, MAX_FOLLOWING = 4096 };

typedef enum {
    AT_START,
    AT_ITEM,
    AT_ELEMENT,
    BEHIND_ELEMENT,
    AT_UNEXPECTED,
    BEHIND_ARRAY,
    IN_SEARCH,   /* JSON */
    IN_DOCUMENT, /* JSON with a pointer */
    AT_HEADER,
    AT_LINE,
    IN_LONG_LINE, /* CSV */
    AT_END
} State;

/* Where in a document around the records a reader is, and what is open there: the containers on the way of the pointer,
 * and arrays beside it, which are passed element by element. */
typedef enum { AT_DOCUMENT, AT_VALUE, AT_FIRST_MEMBER, AT_MEMBER, BEHIND_VALUE } Place;

typedef struct {
    uint8_t is_object, on_way, found; /* found: the step of the way was in it */
    uint64_t number;                  /* of the object; of the element that comes next */
} Around;

struct fanfold_reader {
    jmp_buf exit;
    fanfold_options options;
    Shape shape;
    Merged merged;
    Walk walk;
    Excluded excluded;
    Input input;
    State state, then; /* then: the state behind a bad record */
    Search search;
    Bytes first_key;   /* of the first good record, or of the bad one where there was none */
    int has_first_key; /* 1: of the bad one; 2: of the first good one */
    Bytes output, faults, learnt, row, row_key, name;
    fanfold_counts counts;
    uint64_t frozen;  /* bytes of a frozen table that are taken */
    int freezing;     /* its tail is to be written yet */
    uint64_t largest; /* of the good records */
    uint64_t spent;   /* bytes that searches have looked at */
    uint64_t serial;  /* of readings of records, over all files */
    int given_code;   /* what is wrong with the record that is searched; 0: what its text says */
    const char *given_expected;
    int last_code;              /* of the last record; 0: it was good */
    int arrays;                 /* the file begins with an array: 1; else 2; not known yet: 0 */
    uint64_t comma, comma_line; /* offset plus 1 of the comma behind the last element; its line, once it may be gone */
    /* records_at */
    Bytes way;                          /* the steps of the pointer, one behind the other */
    size_t steps[MAX_DEPTH], way_count; /* where each ends in `way` */
    Place place;
    int on_way; /* the value that comes next lies on the way */
    Around around[MAX_DEPTH];
    size_t around_depth, way_depth; /* containers that are open; those on the way */
    Keys around_keys;
    /* CSV */
    uint32_t *columns; /* the node of each column */
    size_t *names;     /* where the name of each column ends in `header` */
    size_t column_count, column_capacity, name_capacity, cell_capacity;
    Token *cells; /* of a line, as far as the header has names for them */
    Bytes header;
};

/* Input. */

static inline const uint8_t *input_byte(const Input *input, uint64_t offset) {
    return input->bytes.data + (offset - input->base);
}
static inline uint64_t input_end(const Input *input) { return input->base + input->bytes.size; }
/* The line that an offset, which is in memory, lies in; offsets are asked for in ascending order. */
uint64_t input_line(Input *, uint64_t offset);
/* Asks for more: twice what there is from `start` on, but first for `most`. */
int input_hungry(Input *, uint64_t start, uint64_t most);

/* Passes blanks; returns 1 where something follows that is in memory. */
int input_pass_blanks(Input *);

/* Faults. */

typedef struct {
    uint64_t start, size, line; /* the record; line 0: that of `start` */
    uint64_t at;                /* the fault */
    int code;
    const char *expected; /* NULL: what the fault of the walk says, of pointer and texts */
    const char *raw;      /* the text of the record; NULL: it is in memory */
} Bad;

/* Writes down a bad record, and counts it. */
void reader_bad(fanfold_reader *, const Bad *);
/* The same, where the file itself or a document is at fault. */
void reader_put_fault(fanfold_reader *, const Bad *, uint64_t number);
/* Says of the text of a record what is wrong with it. */
void reader_judge(fanfold_reader *, uint64_t start, uint64_t size, uint64_t line);
/* Writes down the good record that was read. */
void reader_good(fanfold_reader *, uint64_t start, uint64_t size);

/* The end of a bad record: FANFOLD_HUNGRY, or FANFOLD_END with `search.at` and `search.size`. */
void search_begin(fanfold_reader *, uint64_t start, int in_array, int may_key);
int search_end(fanfold_reader *);

/* What the reading of one value came to. */
typedef enum { VALUE_GOOD, VALUE_INCOMPLETE, VALUE_BAD } Outcome;
typedef struct {
    Outcome outcome;
    uint64_t end; /* of a good one; else where it stops being one */
} Reading;
/* Reads the value at an offset, in a mode of the walk. A fault that leaves no doubt about its end is in the walk. */
Reading reader_value(fanfold_reader *, uint64_t start, int mode);

/* What follows a value, behind blanks: its byte; '\n' where it need not be asked for; -1 where more must be known. */
int reader_following(const fanfold_reader *, uint64_t end, int in_array);

/* The steps of a reader: FANFOLD_FULL where one is done, else FANFOLD_HUNGRY. */
int json_step(fanfold_reader *);
int around_step(fanfold_reader *);
int csv_step(fanfold_reader *);
/* Asks for more, before what a comma is said of is gone from memory. */
int json_wait(fanfold_reader *);
/* A comma with nothing behind it is a bad record of its own. */
void json_idle_comma(fanfold_reader *, const char *expected);
/* Begins a record that is bad. */
int json_search(fanfold_reader *, uint64_t start, int in_array, int may_key, State then);

#endif
