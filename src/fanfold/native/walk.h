/* One record of JSON: its grammar, its fields, its values. */
#ifndef FANFOLD_WALK_H
#define FANFOLD_WALK_H

#include "excluded.h"
#include "json.h"
#include "merged.h"
#include "shape.h"

/* What is wrong with a record. Pointer and texts are only there when it was asked for an explanation. */
typedef struct {
    int code;
    const uint8_t *at;
    Bytes pointer, found, expected;
} Fault;

/* An array or object that is open. */
typedef struct {
    uint32_t node;     /* of its members: of the object, or of the array's elements */
    uint32_t foreseen; /* the next key, as it was the last time */
    uint8_t is_object;
    uint8_t begun;   /* it has had a member */
    uint64_t number; /* of the object, or of the element */
    Token key;       /* of the object: the key that was read last */
    uint32_t way;    /* where it is among the ways of excluded forms; 0: nowhere */
    uint8_t way_is;
} Level;

enum {
    WALK_JUDGE, /* grammar only */
    WALK_READ,  /* values go into `merged` */
    WALK_LEARN  /* what fields hold goes into `shape` */
};

/* What a value is to the way that leads to it: the value of its last key, an element of that, or deeper in arrays. */
enum { WAY_OF_KEY, WAY_ELEMENT, WAY_DEEPER };

typedef struct {
    int mode, others, explain;
    Shape *shape;
    Merged *merged;
    const uint8_t *end;
    Fault fault;
    const uint8_t *stopped; /* where a fault leaves open where the record ends */
    int flawed;             /* the fault is one of grammar, not of what the grammar holds */
    int weak;               /* the fault gives way to any other */
    Level levels[MAX_DEPTH];
    size_t depth;
    uint64_t record, objects, values;
    Keys keys;
    /* A value that is one text to the caller, and what has to close before it ends. */
    const uint8_t *captured;
    size_t capture_depth;
    uint32_t capture_node;
    uint32_t rescue; /* the object with a field that the schema does not have, whose value comes next or is captured */
    Token rescued;   /* its key, as it is written */
    int is_object;   /* the record is one */
    Token first_key; /* as it is written, without quotes */
    const Excluded *excluded; /* NULL where nothing is */
    uint32_t way;             /* of the value that comes next, as in Level */
    uint8_t way_is;
} Walk;

void walk_open(Walk *, jmp_buf *exit);
void walk_close(Walk *);

/* Reads the value at `p`, the record with the number `record`.
 *
 * Returns where it ends; NULL where its fault leaves that open, `fault.at` is then the end where `end` cuts it off. A
 * fault that does not is in `fault` too. */
const uint8_t *walk_value(Walk *, const uint8_t *p, const uint8_t *end, uint64_t record);

/* The same for a text that is to be one record and nothing else: any fault is found, with its explanation. */
void walk_explain(Walk *, const uint8_t *p, const uint8_t *end, uint64_t record);

/* For records that are not JSON: begins one, and takes a value of it, which is of such a kind, for a field. */
void walk_begin(Walk *, const uint8_t *end, uint64_t record);
void walk_take(Walk *, uint32_t node, int kind, const Token *, const uint8_t *at);

/* What a value means to its field: of a text the characters; the node for the members of the array or object at `p`;
 * the end of a value that is one text to the caller. */
Token walk_decoded(Walk *, const Token *text);
uint32_t walk_enter(Walk *, uint32_t node, int is_object, const uint8_t *p);
void walk_end_capture(Walk *, const uint8_t *end);

/* Where forms are excluded: the key (at `at`) of an object at a way, and the value at `walk->way`, of such a kind (IS_OBJECT …). */
void walk_exclude_key(Walk *, uint32_t way, const Token *key, const uint8_t *at);
void walk_exclude_value(Walk *, int kind, const uint8_t *at);

/* Notes that a field is more than there may be: only where nothing else is wrong with the record. */
void walk_crowded(Walk *, const uint8_t *at);
/* Notes a fault at `at`, unless there was one before. */
void walk_fault(Walk *, int code, const uint8_t *at, const char *expected);
/* The same for the grammar: it wins over a fault of what the record holds. */
void walk_flaw(Walk *, int code, const uint8_t *at, const char *expected);
/* The same where nothing can be read behind it: NULL. The second finds the code. */
const uint8_t *walk_stop(Walk *, int code, const uint8_t *at, const char *expected);
const uint8_t *walk_unexpected(Walk *, const uint8_t *at, const char *expected);

/* Notes the word at `at` as what was found: up to 20 bytes, to the next blank, comma, colon, bracket or quote; one at
 * least. Of a text, its quotes belong to it. */
void walk_found(Walk *, const uint8_t *at, const uint8_t *end);

/* Says of a good record which key has no match where one is required; the pointer has no indexes of arrays. */
void fault_no_match(Fault *, const Shape *, const Merged *);

#endif
