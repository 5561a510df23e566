/* What is read in place of the record's own text: JSON in the text of a field, and the fields around the records. */
#include "inside.h"

int walk_is_parsed(const Walk *walk) {
    return walk->way && walk->excluded->rules.items[walk->way].marks & FANFOLD_PARSED && walk->mode != WALK_JUDGE &&
           walk->way != walk->inside.way && walk->way_is != WAY_DEEPER && walk->values <= MAX_VALUES && !walk->own;
}

void walk_text(Walk *walk, uint32_t number, const Token *text, const uint8_t *at, const uint8_t *behind) {
    const Inside around = walk->inside;
    const uint8_t *end_around = walk->end, *captured = walk->captured;
    /* The end of what is read is known by the zeros behind it. */
    uint8_t *to = arena_take(&walk->merged->texts, text->size + PAD);
    uint8_t *end = text->marks & ESCAPED ? decode_text(text, to) : copy(to, text->at, text->size);
    memset(end, 0, PAD);
    /* What is wrong before the text comes first; what is wrong in it gives way to its grammar. */
    int settled = walk->fault.code && !walk->weak;
    walk->inside = (Inside){around.at ? around.at : at, walk->way, walk->depth, 0, settled};
    walk->end = end;
    if (captured) walk_move_capture(walk, at, to);
    const uint8_t *p = walk_members(walk, skip_blanks(to), number);
    if (p && (p = skip_blanks(p)) < end) walk_stop(walk, FANFOLD_TRAILING_GARBAGE, p, "the end of the text, whose JSON is whole before this");
    if (captured) walk_move_capture(walk, p ? p : walk->captured, behind);
    if (!captured) walk->captured = NULL;
    if (!captured) walk->rescue = OPAQUE;
    walk->depth = walk->inside.depth;
    walk->inside = around;
    walk->end = end_around;
}

void walk_envelope(Walk *walk, const uint8_t *at) {
    const uint8_t *p = walk->envelope.data, *end = p + walk->envelope.size;
    walk->own_code = walk->fault.code;
    if (walk->mode == WALK_JUDGE || !walk->envelope.size) return;
    walk->inside = (Inside){at, OPAQUE, 0, 1, walk->fault.code && !walk->weak};
    walk->end = end;
    while (p && p < end)
        if ((p = walk_whole(walk, p))) p = skip_blanks(p);
    walk->inside = (Inside){0};
}
