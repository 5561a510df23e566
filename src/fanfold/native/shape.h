/* The fields of records: those of a schema, and those that are learnt; and what each was seen to hold. */
#ifndef FANFOLD_SHAPE_H
#define FANFOLD_SHAPE_H

#include "fanfold.h"
#include "memory.h"

enum { KIND_NULL, KIND_INTEGER, KIND_NUMBER, KIND_BOOLEAN, KIND_TEXT, KIND_OBJECT, KIND_ARRAY, KINDS };
/* Nodes that the schema does not have: learnt ones, and those whose inside is one value to the caller. */
enum { NODE_LEARNT = 3, NODE_OPAQUE = 4 };
enum { MAX_DEPTH = 128, MAX_VALUES = 1000000, MAX_KEY_CHARACTERS = 4096 };
#define OPAQUE 0u /* the node of everything that has none */
#define RECORD 1u

typedef struct {
    const uint8_t *name;
    uint32_t size, parent;
    uint32_t first, next; /* foreseen: the first key inside, and the key behind this one */
    uint32_t element;     /* the node of an array's elements; 0: none */
    uint32_t scope, slot; /* where its value goes; of a list: the scope of its elements */
    uint32_t key;
    uint32_t characters; /* of the way to it */
    uint64_t stamp;      /* the object that had this key last */
    uint8_t kind, type, precision, scale;
    uint8_t plain; /* its name is written without escapes */
} Node;

/* What a field was seen to hold. */
typedef struct {
    uint64_t records[KINDS], last[KINDS];
    uint64_t whole, scale;
    uint8_t order[KINDS], kinds; /* the kinds, in the order of their first appearance; how many there are */
} Facts;

typedef struct {
    uint32_t parent, slots, keys;
} Scope;

/* Something seen in the record that is being read: it counts when the record turns out to be good. */
typedef struct {
    uint32_t node, kind;
    uint64_t whole, scale;
} Sighting;

typedef struct {
    Node *nodes;
    Facts *facts;
    size_t count, capacity, facts_capacity, learnt; /* `learnt`: nodes whose record was good */
    size_t named, max_fields;
    uint32_t *slots;
    size_t slot_count;
    Scope *scopes;
    size_t scope_count, scope_capacity;
    Sighting *sightings;
    size_t sighting_count, sighting_capacity;
    Arena names;
    uint64_t seed;
    jmp_buf *exit;
} Shape;

/* Loads a schema; 0 where it is not one. Without one, the record is an object of which all is learnt. */
int shape_open(Shape *, fanfold_bytes schema, int learn, jmp_buf *exit);
void shape_close(Shape *);

/* Returns the node of a key in an object; 0 where there is none. */
uint32_t shape_find(const Shape *, uint32_t parent, const uint8_t *name, size_t size);
/* Makes a node for a key; 0, with a code, where there are too many, or the way to it is too long. */
uint32_t shape_add(Shape *, uint32_t parent, const uint8_t *name, size_t size, int *code);
/* Returns the node of an array's elements, which is made where there is none. */
uint32_t shape_element(Shape *, uint32_t array);

/* Notes that a record (each has a number of its own) holds such a value in a field. */
static inline int shape_unseen(Shape *shape, uint32_t node, uint32_t kind, uint64_t record) {
    uint64_t *last = &shape->facts[node].last[kind];
    int unseen = *last != record;
    *last = record;
    return unseen;
}
void shape_sight(Shape *, uint32_t node, uint32_t kind, uint64_t whole, uint64_t scale);
/* The record was good: what was seen counts. It was bad: it is forgotten. */
void shape_keep(Shape *);
void shape_forget(Shape *);
/* Writes what was learnt as JSON. */
void shape_write(const Shape *, Bytes *);

#endif
