/* Records: their fields, what is wrong with one, its values as they are read, and the record as it is merged. */
#pragma once

#include "table.h"
#include "text.h"

/* The shape: the fields of a schema, and those that are learnt, with what each was seen to hold. */

/* Nodes that the schema does not have: learnt ones, and those whose inside is one value to the caller. */
enum { NODE_LEARNT = 3, NODE_OPAQUE = 4 };
enum { MAX_DEPTH = 128, MAX_VALUES = 1000000, MAX_KEY_CHARACTERS = 4096 };
#define OPAQUE 0u /* the node of everything that has none */
#define RECORD 1u

typedef struct {
    uint32_t parent, children; /* children: of the schema, that are not loaded yet */
    uint32_t size, characters; /* of its name; of the way to it */
    size_t name_at;            /* in the texts of the keys */
    uint32_t first, next;      /* foreseen: the first key inside, and the key behind this one */
    uint32_t element;          /* the node of an array's elements; 0: none */
    uint32_t scope, slot;      /* where its value goes; of a list: the scope of its elements */
    uint32_t key;
    uint64_t stamp; /* the object that had this key last */
    Type type;
    uint8_t kind, depth, named, plain; /* plain: its name is written without escapes */
} Node;

enum { MOST_WHOLE = KINDS, MOST_SCALE, COUNTS };

/* What a field was seen to hold. */
typedef struct {
    uint64_t counts[COUNTS], last[KINDS]; /* records with each kind, and the most digits; the last such record */
    uint8_t order[KINDS], kinds;          /* the kinds, in the order of their first appearance; how many there are */
} Facts;

typedef struct {
    uint32_t parent, slots, keys;
} Scope;

/* Something seen in the record that is being read: it counts when the record turns out to be good. */
typedef struct {
    uint32_t node, kind;
    uint64_t whole, scale;
} Sighting;

/* A node has the number of its key. */
typedef struct {
    Keys keys;
    LIST(Node) nodes;
    LIST(Facts) facts;
    LIST(Scope) scopes;
    LIST(Sighting) sightings;
    size_t learnt; /* nodes whose record was good */
    size_t named, max_fields;
} Shape;

/* Loads a schema; 0 where it is not one. Without one, the record is an object of which all is learnt. */
int shape_open(Shape *, fanfold_bytes schema, int learn, uint64_t max_fields);
/* Returns the name of a node. */
static inline Token shape_name(const Shape *shape, uint32_t number) {
    return (Token){shape->keys.texts.data + shape->nodes.items[number].name_at, shape->nodes.items[number].size, 0};
}
/* Returns the node of a key in an object; 0 where there is none. */
uint32_t shape_find(const Shape *, uint32_t parent, const Token *name);
/* Makes a node for a key; 0, with a code, where there are too many, or the way to it is too long. */
uint32_t shape_add(Shape *, uint32_t parent, const Token *name, int *code);
/* Returns the node of an array's elements, which is made where there is none. */
uint32_t shape_element(Shape *, uint32_t array);
void shape_sight(Shape *, uint32_t node, int kind, uint64_t whole, uint64_t scale);
/* Says that the record with a number of its own holds such a value in a field. */
static inline void shape_hold(Shape *shape, uint32_t node, int kind, uint64_t record) {
    uint64_t *last = &shape->facts.items[node].last[kind];
    if (*last != record) shape_sight(shape, node, kind, 0, 0);
    *last = record;
}
/* The record was good: what was seen counts. It was bad: it is forgotten. */
void shape_keep(Shape *);
void shape_forget(Shape *);
/* Writes what was learnt as JSON. */
void shape_write(const Shape *, Bytes *);

/* The record as it is merged. */

typedef struct {
    const uint8_t *at;
    uint32_t size;
    uint32_t slot; /* and VALUE_QUOTED */
} Value;
#define VALUE_QUOTED 0x80000000u

typedef struct {
    size_t first, first_rest; /* of its values; of its other fields */
    uint32_t parent;          /* the element of the scope around that it lies in */
    int is_alone;             /* it stands in place of its array */
} Element;

typedef struct {
    LIST(Value) values;
    LIST(Element) elements;
    Bytes rest;  /* the fields of all elements that the schema does not have */
    size_t done; /* elements that are written */
    uint32_t slots, keys, parent;
} MergedScope;

typedef struct {
    fanfold_join join; /* its parts are slots */
    TableView view;
} MergedJoin;

typedef struct {
    const Shape *shape;
    MergedScope *scopes;
    MergedJoin *joins;
    size_t scope_count, join_count;
    uint64_t file_unmatched;   /* records of the file without a row in one join at least */
    int is_lacking;            /* an element of the record has no row in some join */
    const MergedJoin *missing; /* the first join that is required and has no row */
    size_t missing_at, missing_part; /* the element of its scope; the first part of its key that is null, else 0 */
    int is_part_missing;
    Arena texts;
    Bytes key, lost; /* lost: the key of the join that is missing */
} Merged;

/* Returns 0 where a join does not fit the schema. */
int merged_open(Merged *, const Shape *, const fanfold_options *);
/* Begins a record. */
void merged_clear(Merged *);
/* Begins an element of a scope. */
void merged_element(Merged *, uint32_t scope);

static inline void merged_value(Merged *merged, uint32_t number, uint32_t slot, const Token *text) {
    MergedScope *scope = &merged->scopes[number];
    ADD(scope->values, (Value){text->at, (uint32_t)text->size, slot | (text->marks & QUOTED ? VALUE_QUOTED : 0)});
}

/* Keeps a field of the object `node` that the schema does not have; key and value are JSON, the key without quotes. */
void merged_rest(Merged *, uint32_t node, const Token *key, const Token *value);
/* Writes the record to `to`; returns 0, and writes nothing, where a join that is required has no row. */
int merged_write(Merged *, uint64_t record, Bytes *to);
/* Writes the slots of the record's own scope only, and the text of its keys; returns 0 where a part of them is null. */
int merged_row(Merged *, Bytes *slots, Bytes *key);

enum { HEADER_NULLS = 0, HEADER_PLAIN = 1, HEADER_QUOTED = 2 };

/* Forms that no good record has. */

/* What a form says: of a field itself, of the kind of its value, of the kind of its array's elements. */
enum { EXCLUDED_FIELD, EXCLUDED_KIND, EXCLUDED_ELEMENT = EXCLUDED_KIND + 3, EXCLUDED_PLACES = EXCLUDED_ELEMENT + 3 };
enum { IS_OBJECT, IS_ARRAY, IS_SCALAR };

/* What holds at a path: codes, 0 where nothing is excluded, and marks. */
typedef struct {
    uint8_t codes[EXCLUDED_PLACES], marks;
} Rule;

/* The paths of the forms, and of the fields that are marked, as a tree, which the walk follows. */
typedef struct {
    Keys ways;
    LIST(Rule) rules;
} Excluded;

enum { LEADS_AROUND = 8 }; /* a mark of the objects that a field lies in which stands around the records */

/* Loads the forms and the marks; 0 where one is not. */
int excluded_open(Excluded *, const fanfold_options *);
/* Returns the node of a key; 0 where there is none. */
static inline uint32_t excluded_find(const Excluded *excluded, uint32_t way, const Token *name) {
    return way ? keys_find(&excluded->ways, way, name->at, name->size) : OPAQUE;
}

/* The walk: reads one record. */

/* What is wrong with a record. Pointer and texts are only there when it was asked for an explanation. */
typedef struct {
    int code;
    const uint8_t *at;
    Bytes pointer, found, expected;
} Fault;

/* What a value is to the way that leads to it: the value of its last key, an element of that, or deeper in arrays. */
enum { WAY_OF_KEY, WAY_ELEMENT, WAY_DEEPER };

/* An array or object that is open. */
typedef struct {
    uint32_t node;             /* of its members: of the object, or of the array's elements */
    uint32_t foreseen, before; /* the next key, as it was the last time; the key before it */
    uint8_t is_object, begun;  /* begun: it has had a member */
    uint8_t way_is;
    uint32_t way;    /* where it is among the ways of excluded forms; 0: nowhere */
    uint64_t number; /* of the object, or of the element */
    Token key;       /* of the object: the key that was read last */
} Level;

/* What is read in place of the record's own text. */
typedef struct {
    const uint8_t *at;      /* the place in the record that faults are said of; NULL: its own text is read */
    uint32_t way;           /* of the field whose text it is */
    size_t depth;           /* of that field */
    int is_envelope;        /* it is what stands around the records */
    int flawed;             /* a fault of its grammar, or one before it, is the one that counts */
} Inside;

typedef enum {
    WALK_JUDGE, /* grammar only; with `around`, what stands around records is kept */
    WALK_READ,  /* values go into `merged` */
    WALK_LEARN  /* what fields hold goes into `shape` */
} Mode;

/* A field that the file gives to each of its records; its value is null where it is nowhere. `object` is the last one
 * that has it itself. */
typedef struct {
    Token key, value;
    uint32_t node;
    uint64_t object;
} Given;

typedef struct {
    Mode mode;
    int others, explain, keeps_places; /* places: of keys and elements, as values behind those of keys */
    Shape *shape;
    Merged *merged;
    Excluded *excluded; /* NULL where nothing is */
    const uint8_t *end;
    Fault fault;
    const uint8_t *stopped; /* where a fault leaves open where the record ends */
    int flawed;             /* the fault is one of grammar, not of what the grammar holds */
    int weak;               /* the fault gives way to any other */
    Level levels[MAX_DEPTH];
    size_t depth;
    uint64_t record, objects, values;
    Keys keys; /* of objects, where they have no node */
    /* A value that is one text to the caller, and what has to close before it ends. */
    const uint8_t *captured;
    size_t capture_depth;
    uint32_t capture_node;
    Bytes piece; /* of it: what was read before `captured`, where texts with JSON lie in it */
    Inside inside;
    Bytes envelope;  /* objects of JSON: the fields around the records; with `around`, they are added */
    uint32_t around; /* where a value is among the ways, that stands around the records; 0: nowhere, or it is a record */
    int own_code;    /* of the fault, as far as the record itself goes */
    uint32_t rescue; /* the object with a field that the schema does not have, whose value comes next or is captured */
    Token rescued;   /* its key, as it is written */
    Token first_key; /* as it is written, without quotes */
    uint32_t way;    /* of the value that comes next, as in Level */
    uint8_t way_is;
    LIST(Given) given;
    Arena given_texts;
    Given *own; /* the field that the value which comes next is of, where the file gives it too */
    Bytes json;
} Walk;

/* Reads the value at `p`, the record with the number `record`. Where faults are explained, nothing may follow it.
 *
 * Returns where it ends; NULL where its fault leaves that open, `fault.at` is then the end where `end` cuts it off. A
 * fault that does not is in `fault` too. */
const uint8_t *walk_value(Walk *, const uint8_t *p, const uint8_t *end, uint64_t record);

/* For records that are not JSON: begins one, and takes a value of it, which is of such a kind, for a field. */
void walk_begin(Walk *, const uint8_t *end, uint64_t record);
void walk_take(Walk *, uint32_t node, int kind, const Token *, const uint8_t *at);
/* The same for a text without escapes, null where it is nowhere, of the key in `levels[0]`, which may have no node; it
 * is read as JSON where it holds that. */
void walk_take_text(Walk *, uint32_t node, const Token *text, const uint8_t *at, int is_parsed);
/* Keeps where a key of a scope stands, or (0) its element that was begun last. */
void walk_place(Walk *, uint32_t scope, uint32_t key, const uint8_t *at);

/* Takes for the record that begins what its file gives; finds such a field by its key; and checks that a value which
 * the record has itself (null where it is nowhere) is the same. */
void walk_give(Walk *, const uint8_t *at);
Given *walk_given(Walk *, const Token *key);
void walk_own(Walk *, const Given *, const Token *text, const uint8_t *at);

/* What a value means to its field: of a text the characters; the node for the members of the array or object at `p`;
 * the end of a value that is one text to the caller. */
Token walk_decoded(Walk *, const Token *text);
uint32_t walk_enter(Walk *, uint32_t node, int is_object, const uint8_t *p);
void walk_capture(Walk *, uint32_t node, const uint8_t *p);
void walk_end_capture(Walk *, const uint8_t *end);
/* Where forms are excluded: the key (at `at`) of an object at a way, and the value at `walk->way`, of such a kind
 * (IS_OBJECT …). */
void walk_exclude_key(Walk *, uint32_t way, const Token *key, const uint8_t *at);
void walk_exclude_value(Walk *, int kind, const uint8_t *at);

/* Faults: the first one at `at` counts, but a field too many (crowded) gives way to any other, and the grammar (flaw)
 * wins. Nothing can be read behind the last two, which return NULL; the very last one finds the code. */
void walk_crowded(Walk *, const uint8_t *at);
void walk_fault(Walk *, int code, const uint8_t *at, const char *expected);
void walk_flaw(Walk *, int code, const uint8_t *at, const char *expected);
const uint8_t *walk_stop(Walk *, int code, const uint8_t *at, const char *expected);
const uint8_t *walk_unexpected(Walk *, const uint8_t *at, const char *expected);

/* Begins the texts of a fault: no pointer, nothing found, and what was expected. */
void fault_begin(Fault *, const char *expected);
/* Adds a key, without escapes, to the pointer. */
void fault_step(Fault *, const Token *key);
/* Keeps the word at `at` as what was found: up to 20 bytes, to the next blank, comma, colon, bracket or quote; one at
 * least. Of a text, its quotes belong to it. */
void fault_found(Fault *, const uint8_t *at, const uint8_t *end);
/* Says that a join has no row: of the first part of its key that is null, else of the first one. Places are kept. */
void fault_no_match(Fault *, const Shape *, const Merged *, const MergedJoin *);
