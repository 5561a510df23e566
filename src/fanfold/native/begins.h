/* Where the next record may begin. Each function says 1, or 0, or -1 where more must be known.
 *
 * The next record may begin at a `{`, or at the `[` of an array of records, which is not the value of a key, and behind
 * which in the next 4,096 bytes, outside of an array in its line, no bracket closes but those that are open around the
 * records.
 *
 * A document begins at a `{` that begins a line and is followed by the first key of the first document, or the first
 * step of `records_at`, unless records begin alike. Where it stands for a record or a value without a comma or bracket
 * behind it, behind a record without a comma, or behind a bad record, the document before it has broken off. */
#pragma once

#include "reader.h"

/* An object begins at an offset, with this key; with that of the first good record. */
int begins_with_key(const fanfold_reader *, uint64_t at, const Token *key);
int begins_like_first(const fanfold_reader *, uint64_t at);
/* A line begins at an offset, and in it a document. */
int begins_document(const fanfold_reader *, uint64_t at);
/* The `[` at an offset begins an array of records: `{` or `]` is the first in it, or the first bracket in it begins an
 * object like the first good record. Where it begins a line: `{` is next to it, or begins the next line like that. */
int begins_array(const fanfold_reader *, uint64_t at);
int begins_array_line(const fanfold_reader *, uint64_t at);
/* What stands at an offset, in what is searched, is the value of a key: 1 or 0. */
int is_member(const fanfold_reader *, uint64_t at);
/* The element at an offset is another array or document: what `follows` it does not belong to an array. */
int begins_anew(const fanfold_reader *, uint64_t at, int follows);
/* The next record or array of records begins at `search.at`, with the byte `c`, where no bracket is open. In an array,
 * and at a `[`, it has the first key of a good one: else it may belong to what is bad. */
int begins_next(fanfold_reader *, uint8_t c);
/* What stands at an offset does not belong to something that is open there: in the next 4,096 bytes, outside of an array
 * up to the line's end, no `}` closes what nothing there opens; in an array up to the end of the `element`, or up to
 * where all that is open around the records is closed. */
int is_sound_behind(fanfold_reader *, uint64_t at, int in_array, int element);
/* The same of what may stand inside of something bad: nothing is remembered, and where the file ends before an array
 * is closed, only what begins a line is taken. */
int is_sound_inside(const fanfold_reader *, uint64_t at, int in_array);
