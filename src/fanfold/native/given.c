/* Fields that a file gives to each of its records, before those that they have themselves. */
#include "reader.h"

/* Takes a field of the file: the one that the shape has, or one that is learnt. */
static void take_field(fanfold_reader *reader, const fanfold_given *field) {
    Walk *walk = &reader->walk;
    Given given = {.key.size = field->key.size, .value.size = field->value.size};
    int code;
    given.key.at = arena_copy(&walk->given_texts, field->key.data, field->key.size);
    if (field->value.data) given.value.at = arena_copy(&walk->given_texts, field->value.data, field->value.size);
    if (needs_quotes(field->value.data, field->value.size)) given.value.marks = QUOTED;
    given.node = shape_find(&reader->shape, RECORD, &given.key);
    if (!given.node && reader->mode == WALK_LEARN) given.node = shape_add(&reader->shape, RECORD, &given.key, &code);
    ADD(walk->given, given);
}

int fanfold_reader_give(fanfold_reader *reader, const fanfold_given *fields, size_t count) {
    if (CALL_WAS_LEFT(reader)) return reader->memory.answer;
    for (size_t i = 0; i < count; i++) take_field(reader, &fields[i]);
    shape_keep(&reader->shape);
    return FANFOLD_HUNGRY;
}

void walk_give(Walk *walk, const uint8_t *at) {
    Level *level = &walk->levels[0];
    uint8_t begun = level->begun;
    level->begun = 1;
    for (size_t i = 0; i < walk->given.count; i++) {
        const Given *given = &walk->given.items[i];
        int is_good = !walk->fault.code;
        level->key = given->key;
        walk->shape->nodes.items[given->node].stamp = level->number;
        if (walk->excluded) {
            /* A field that stands around the records, too, is compared with this one. */
            walk->inside.is_envelope = 1;
            walk_exclude_key(walk, RECORD, &given->key, at);
            walk->inside.is_envelope = 0;
            if (walk->way && given->value.at) walk_exclude_value(walk, IS_SCALAR, at);
        }
        walk_take_text(walk, given->node, &given->value, at, 0);
        if (is_good && walk->fault.code && walk->explain)
            bytes_set(&walk->fault.found, given->value.at, given->value.size);
    }
    level->begun = begun;
}

Given *walk_given(Walk *walk, const Token *key) {
    for (size_t i = 0; i < walk->given.count; i++) {
        Given *given = &walk->given.items[i];
        if (is_same(&given->key, key)) return given;
    }
    return NULL;
}

void walk_own(Walk *walk, const Given *given, const Token *text, const uint8_t *at) {
    Token own = walk_decoded(walk, text);
    if (own.at && !(given->value.at && is_same(&own, &given->value)))
        walk_fault(walk, FANFOLD_NAME_CONFLICT, at, "the value that the path of the file gives");
    walk->own = NULL;
}
