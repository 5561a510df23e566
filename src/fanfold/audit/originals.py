"""Originals as they are read: unpacked, as UTF-8, a part at a time; and the members of an archive one by one."""

import base64
import codecs
import contextlib
import gzip
import hashlib
import re
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from fanfold.audit.findings import refuse
from fanfold.manifest import BadRecord

Item = TypeVar("Item")
# A record: what is in quarantine about it, and its value; None where it cannot be read.
Found = tuple[BadRecord | None, Any]
# What is read where a bad record begins: no UTF-8 has this character.
BAD = "\udc00"
BLANKS = re.compile(r"[ \t\r\n]*")
CHUNK_BYTES = 1 << 20
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, tarfile.TarError, zipfile.BadZipFile)
OUTSIDE = re.compile(r"^[/\\]|(^|[/\\])\.\.([/\\]|$)")
HIDDEN = re.compile(r"(^|[/\\])(\.[^/\\]|__MACOSX([/\\]|$))|(\.part|\.tmp|\.crdownload|~)$")
BYTE_ORDERS = {b"": "utf-16-le", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def part_of(file: Any, size: int = CHUNK_BYTES) -> bytes:
    """Return the next bytes of a file, perhaps fewer than asked for; none at the end, or if the file is damaged."""
    with contextlib.suppress(*DAMAGE):
        return bytes(file.read1(min(size, CHUNK_BYTES)))
    return b""


def opened(path: Path) -> Any:
    """Open a file to read what is in it, unpacked."""
    if path.suffix.lower() in {".gz", ".tgz"}:
        return gzip.open(path)
    file = path.open("rb")
    is_packed = path.suffix.lower() == ".zst"
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) if is_packed else file


def as_utf8(file: Any, encoding: str) -> Any:
    """Return a text file as UTF-8; bytes that are not valid in its encoding become surrogates, never in UTF-8."""
    if encoding == "utf-8":
        return file
    part = file.read(2)
    name = encoding if encoding != "utf-16" else BYTE_ORDERS.get(part) or refuse(part, "a byte order mark")
    decoder = codecs.getincrementaldecoder(name)("surrogatepass" if "16" in name else "surrogateescape")
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    while part:
        made.write(decoder.decode(part).encode("utf-8", "surrogatepass"))
        part = part_of(file)
    made.seek(0)
    return made


def members(path: Path) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    """Yield the names of the members of an archive, in their order, each with what reads it as far as it goes."""
    with contextlib.ExitStack() as stack:
        found = list[tuple[str, Callable[[], Iterator[bytes]]]]()
        if path.suffix.lower() == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            found += [
                (one.filename, partial(_unzipped, archive, one)) for one in archive.infolist() if not one.is_dir()
            ]
        else:
            content = stack.enter_context(tempfile.TemporaryFile())
            content.writelines(iter(partial(part_of, stack.enter_context(opened(path))), b""))
            content.seek(0)
            tar = tarfile.TarFile(fileobj=content)
            with contextlib.suppress(*DAMAGE):
                found.extend((m.name, partial(_part, content, m)) for m in iter(tar.next, None) if not m.isdir())
        named = [(name.removeprefix("./").encode(errors="backslashreplace").decode(), read) for name, read in found]
        yield from sorted(named, key=lambda one: one[0])


def is_hidden(name: str) -> bool:
    """Say whether a member is passed over because of its name, whatever the patterns are."""
    return not OUTSIDE.search(name) and HIDDEN.search(name) is not None


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as content:
        yield from iter(partial(content.read, CHUNK_BYTES), b"")


def _part(content: Any, member: tarfile.TarInfo) -> Iterator[bytes]:
    for at in range(0, member.size, CHUNK_BYTES):
        content.seek(member.offset_data + at)
        yield content.read(min(CHUNK_BYTES, member.size - at))


def content_of(path: Path, *, is_packed: bool = False) -> tuple[int, str]:
    """Return size and SHA-256 of a file as it landed, whether the archive has compressed it or not."""
    with contextlib.suppress(*DAMAGE), opened(path) if is_packed else path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
    return 0, ""


class Ahead(deque[Item]):
    """A source with lookahead: it holds its next items."""

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
        # The number of scalars that are in no record.
        self.left_out = 0
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
