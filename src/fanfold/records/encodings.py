"""Text in another encoding than UTF-8, made UTF-8 a window at a time, and back."""

import codecs
import itertools
from collections.abc import Iterator

from fanfold.faults import UnreadableError

UTF_8 = "utf-8"
# What a byte order mark says. It is kept: the core passes over it.
MARKS = {codecs.BOM_UTF8: UTF_8, codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
LONGEST_MARK = 3


def as_utf8(found: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield windows of text as UTF-8.

    Bytes that the encoding does not have become surrogates, which are not UTF-8: the core calls their record bad, and
    `as_it_was` makes the bytes of them again.

    Raises:
        UnreadableError: `wrong_encoding`: a byte order mark is of another encoding, or there has to be one;
            `truncated`: the last character is not whole; what was yielded is good.
    """
    head = next(found, b"")
    while len(head) < LONGEST_MARK and (more := next(found, b"")):
        head += more
    mark = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if head and not (mark.startswith(encoding) if mark else encoding != "utf-16"):
        for _ in found:
            # The hash of the file is made of all of it.
            pass
        named = f"the byte order mark of {mark}" if mark else "no byte order mark"
        other = "utf-16" if mark and encoding == UTF_8 else mark or "utf-16-le or utf-16-be"
        msg = f"found {named}, expected {encoding}: set input.encoding: {other}"
        raise UnreadableError("wrong_encoding", msg)
    windows = itertools.chain([head] if head else [], found)
    if encoding == UTF_8:
        yield from windows
        return
    decoder = codecs.getincrementaldecoder(mark or encoding)(_errors(encoding))
    for window in windows:
        yield decoder.decode(window).encode(UTF_8, "surrogatepass")
    try:
        yield decoder.decode(b"", final=True).encode(UTF_8, "surrogatepass")
    except UnicodeDecodeError:
        msg = f"found half of a character of {encoding} at the end, expected the rest of a character"
        raise UnreadableError("truncated", msg) from None


def as_it_was(text: bytes, encoding: str) -> bytes:
    """Return the bytes that `as_utf8` has made this text of; utf-16 has a byte order mark again."""
    if encoding == UTF_8:
        return text
    mark, name = (codecs.BOM_UTF16_LE, "utf-16-le") if encoding == "utf-16" else (b"", encoding)
    return mark + text.decode(UTF_8, "surrogatepass").encode(name, _errors(encoding))


def _errors(encoding: str) -> str:
    return "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"
