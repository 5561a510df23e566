/* What a declared type holds, and how it is written. */
#include "text.h"

static int is_word(const Token *written, const char *word) {
    return written->size == strlen(word) && !memcmp(written->at, word, written->size);
}

/* Writes a number; what a double may be beside a number is a text. */
static int check_number(Type type, int kind, const Token *written, uint8_t *room, Token *form) {
    if (type.base == FANFOLD_DOUBLE && kind == KIND_TEXT &&
        (is_word(written, "NaN") || is_word(written, "Infinity") || is_word(written, "-Infinity")))
        return 0;
    if (kind != KIND_INTEGER && kind != KIND_NUMBER && (kind != KIND_TEXT || !is_number(written)))
        return FANFOLD_WRONG_TYPE;
    Normal normal = normal_of(written);
    *form = (Token){room, 0, 0};
    form->size = type.base == FANFOLD_BIGINT    ? write_bigint(&normal, room)
                 : type.base == FANFOLD_DECIMAL ? write_decimal(&normal, type.precision, type.scale, room)
                 : type.base == FANFOLD_EPOCH_S ? write_epoch(&normal, 6, room)
                 : type.base == FANFOLD_EPOCH_MS ? write_epoch(&normal, 3, room)
                                                : write_double(&normal, room);
    return form->size ? 0 : FANFOLD_INEXACT;
}

int type_check(Type type, int kind, const Token *written, uint8_t *room, Token *form) {
    *form = *written;
    switch (type.base) {
    case FANFOLD_BIGINT:
        /* Most integers stand in their form already. */
        if (kind == KIND_INTEGER && !(written->marks & FRACTION) && written->size < BIGINT_DIGITS &&
            (written->at[0] != '-' || written->at[1] != '0'))
            return 0;
        return check_number(type, kind, written, room, form);
    case FANFOLD_DECIMAL:
    case FANFOLD_DOUBLE:
    case FANFOLD_EPOCH_S:
    case FANFOLD_EPOCH_MS:
        return check_number(type, kind, written, room, form);
    case FANFOLD_BOOLEAN:
        if (kind != KIND_BOOLEAN && kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        return is_word(written, "true") || is_word(written, "false") ? 0 : FANFOLD_WRONG_TYPE;
    case FANFOLD_DATE:
    case FANFOLD_TIMESTAMP:
    case FANFOLD_TIMESTAMPTZ:
        if (kind != KIND_TEXT) return FANFOLD_WRONG_TYPE;
        *form = (Token){room, 0, 0};
        form->size = type.base == FANFOLD_DATE ? write_date(written, room)
                                               : write_time(written, type.base == FANFOLD_TIMESTAMPTZ, room);
        return form->size ? 0 : FANFOLD_WRONG_TYPE;
    default:
        return 0;
    }
}
