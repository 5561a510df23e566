/* What the walk reads beside the record's own text: JSON in texts, fields around the records, fields of the file. */
#pragma once

#include "record.h"

/* Reads a value, which is at `walk->way`, with all that is in it; returns what follows, or NULL. The depth of this
 * recursion, by way of `walk_text`, is that of the paths whose texts hold JSON. */
const uint8_t *walk_members(Walk *, const uint8_t *p, uint32_t node);
/* Begins to read at the ways of a record, or of what stands around records. */
const uint8_t *walk_whole(Walk *, const uint8_t *p);
/* Reads the fields around the records as if they stood at the end of the record at `at`. */
void walk_envelope(Walk *, const uint8_t *at);

/* Whether a text at `walk->way` holds JSON, which `walk_text` reads; `at` is where it stands, `behind` what follows it.
 */
int walk_is_parsed(const Walk *);
void walk_text(Walk *, uint32_t node, const Token *, const uint8_t *at, const uint8_t *behind);
/* A value at `walk->way`, which is not null, may be an array of one: returns the node of its element, else `node`. */
uint32_t walk_only(Walk *, uint32_t node, const uint8_t *at);

/* What is one text goes on elsewhere: up to `end`, then from `next` on. */
void walk_move_capture(Walk *, const uint8_t *end, const uint8_t *next);
/* Keeps a value that stands around the records, at a way. */
void walk_keep_around(Walk *, uint32_t way, const uint8_t *from, const uint8_t *end);
