"""The text of an original, a part of it at a time, with the bad records that quarantine has of it at their places."""

import base64
import codecs
import contextlib
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from fanfold.audit.findings import refuse
from fanfold.audit.originals import part_of
from fanfold.manifest import BadRecord

Item = TypeVar("Item")
# A record: what is in quarantine about it, and its value; None where it cannot be read.
Found = tuple[BadRecord | None, Any]
# What is read where a bad record begins: no UTF-8 has this character.
BAD = "\udc00"
BLANKS = re.compile(r"[ \t\r\n]*")


class Ahead(deque[Item]):
    """The next items of a source, as many as are held."""

    def __init__(self, source: Iterable[Item] = ()) -> None:
        """Hold none of them yet."""
        super().__init__()
        self._source = iter(source)

    def fill(self, size: int = 1) -> bool:
        """Hold a number of them, as far as there are so many; return whether there is one."""
        self.extend(islice(self._source, max(0, size - len(self))))
        return bool(self)


class Text:
    """The text of a file, a part of it at a time, read up to `at`. It stops where a bad record begins."""

    def __init__(self, file: Any, most: int, name: str = "", bad: Ahead[BadRecord] | None = None) -> None:
        """Begin with a file whose records are not larger than `most`. The next ones of `bad` may be of its `name`."""
        self.text, self.at, self._file, self._most, self._name = "", 0, file, most, name
        self._bad, self._decoder = Ahead() if bad is None else bad, codecs.getincrementaldecoder("utf-8-sig")()

    def _distance(self) -> int:
        """Return the number of bytes up to the next bad record, or up to nothing."""
        is_near = self._bad.fill() and self._bad[0].source == self._name
        return max(0, self._bad[0].record_offset - self._file.tell()) if is_near else sys.maxsize

    def more(self) -> bool:
        """Read on; False at the end, and where a bad record begins."""
        held, data = self.text[self.at :], b""
        if len(held) > self._most:
            refuse(held)
        # As much again as is held: a long record is not read from its beginning too often.
        while len(data) <= len(held) and (part := part_of(self._file, self._distance())):
            data += part
        self.at, self.text = 0, held + self._decoder.decode(data, final=not data)
        return bool(data)

    def char(self, blanks: re.Pattern[str] = BLANKS) -> str:
        """Pass over blanks and return the next character: BAD where a bad record begins, nothing at the end."""
        while True:
            if passed := blanks.match(self.text, self.at):
                self.at = passed.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return BAD if self._distance() == 0 else ""

    def bad_record(self, read: Callable[[str], Any]) -> Found:
        """Pass over the bad record that begins here; return it with what it reads as all the same."""
        bad, raw = self._bad.popleft(), b""
        left = bad.size
        while left and (part := part_of(self._file, left)):
            left, raw = left - len(part), raw + part if len(raw) <= self._most else raw
        kept = base64.b64decode(bad.raw_base64) if bad.raw_base64 else bad.raw and bad.raw.encode()
        if left or raw != (raw if kept is None else kept):
            refuse(raw, f"the text of record {bad.record} in quarantine")
        with contextlib.suppress(ValueError, RecursionError):
            return bad, read(raw.decode())
        return bad, None
