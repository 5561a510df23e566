"""The bytes of a Parquet file: its footer and its pages, none of whose numbers is believed."""

import os
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, islice, takewhile
from typing import Any, BinaryIO, NamedTuple

import cramjam

from fanfold.errors import count
from fanfold.parquet import encodings
from fanfold.parquet.schema import Node, columns, schema
from fanfold.parquet.thrift import STRUCT, Reader
from fanfold.parquet.values import refuse

MAGIC, TAIL_BYTES, MAX_FOOTER_BYTES = b"PAR1", 8, 64 * 1024 * 1024
# The header of a page has the smallest and the largest value in it; programs leave out those of more than 4 KiB.
HEADER_BYTES = 64 * 1024
# The most that pages take at once in memory, and what each value takes of those whose values are all made at once.
MAX_HELD_BYTES, VALUE_BYTES = 192 * 1024 * 1024, 64
# A file that says so much of so few bytes would fill disks and days: a null in a run of them takes no byte at all.
BOMB_VALUES, BOMB_BYTES, BOMB_RATIO = 4 * 1024 * 1024, 64 * 1024 * 1024, 250
# A text of a dictionary counts each time that it is used, where it is longer than names and codes are.
LONG_TEXT = 1000
# The kinds of pages, and where the header says what is in each.
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_2 = 0, 2, 3
SAID = {DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_2: 8}
UNCOMPRESSED, RUNS = 0, 3
# The field of the footer that has the groups of rows, behind schema and records.
GROUPS = 4
CODECS: dict[int, Callable[[bytes, bytearray], int]] = {
    1: cramjam.snappy.decompress_raw_into, 2: cramjam.gzip.decompress_into, 4: cramjam.brotli.decompress_into,
    6: cramjam.zstd.decompress_into, 7: cramjam.lz4.decompress_block_into,
}  # fmt: skip
# Of a value or a null: its repetition level, its definition level, and its text.
Entry = tuple[int, int, str]


class Page(NamedTuple):
    """A page.

    Attributes:
        kind: whether it has a dictionary, or data in which form.
        said: what its header says of what is in it, by the numbers of the format.
        entries: how many entries it has, or values of a dictionary.
        encoding: how the values are encoded.
        size: how many bytes it has, when decompressed.
        end: where it ends in the file.
        body: its bytes in the file.
    """

    kind: int
    said: dict[int, Any]
    entries: int
    encoding: int
    size: int
    end: int
    body: bytes = b""

    @property
    def cost(self) -> int:
        """How much memory it takes."""
        is_whole = self.kind == DICTIONARY_PAGE or self.encoding in encodings.WHOLE
        return self.size + (VALUE_BYTES * self.entries if is_whole else 0)

    def values(self, codec: int, skipped: int = 0) -> bytes:
        """Return the bytes, decompressed, behind some that are skipped and never compressed."""
        if codec == UNCOMPRESSED or self.size <= skipped:
            return self.body[skipped:]
        if codec not in CODECS:
            expected = "Snappy, gzip, Zstandard, LZ4 (raw) or Brotli: write the file with one of these"
            refuse(f"found pages compressed with an unsupported codec ({codec}), expected {expected}")
        made = bytearray(self.size - skipped)
        if CODECS[codec](self.body[skipped:], made) != len(made):
            refuse(f"found a page of another size than its header says ({self.size} bytes)")
        return bytes(made)

    def parts(self, codec: int, levels: tuple[int, int]) -> tuple[Iterator[int], Iterator[int], bytes]:
        """Return the repetition levels, the definition levels, and the bytes of the values."""
        if self.kind == DATA_PAGE_2:
            reader = Reader(self.body)
            parts = [reader.take(self.said[place]) for place in (6, 5)]
            values = self.values(codec if self.said.get(7, True) else UNCOMPRESSED, reader.at)
        else:
            if any(most and self.said[place] != RUNS for place, most in zip((4, 3), levels, strict=True)):
                refuse("found levels in an unsupported encoding, expected runs (RLE): write the file again")
            whole = self.values(codec)
            reader = Reader(whole)
            parts = [reader.take(int.from_bytes(reader.take(4), "little")) if most else b"" for most in levels]
            values = whole[reader.at :]
        repetitions, definitions = map(encodings.hybrid, parts, [most.bit_length() for most in levels])
        return repetitions, definitions, values


class ParquetFile:
    """A file that is read from its footer: the tree of its schema, and what that says of the records."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the footer; its groups of rows are read one by one, later.

        Raises:
            UnreadableError: it is not there, is not whole, is too large, or its schema cannot be (see `schema`).
        """
        size, self._file = file.seek(0, os.SEEK_END), file.fileno()
        tail = os.pread(self._file, TAIL_BYTES, max(size - TAIL_BYTES, 0))
        length = int.from_bytes(tail[:4], "little")
        self._end = size - TAIL_BYTES - length
        if tail[4:] != MAGIC or os.pread(self._file, len(MAGIC), 0) != MAGIC or self._end < len(MAGIC):
            refuse("found no Parquet file, or only a part of one, expected PAR1 at both ends and a footer in between")
        if length > MAX_FOOTER_BYTES:
            most = f"expected at most {MAX_FOOTER_BYTES}: write the file with more rows in a group"
            refuse(f"found a footer of {length} bytes, {most}", "too_large")
        reader, said = Reader(os.pread(self._file, length, self._end)), dict[int, Any]()
        for number, kind in takewhile(lambda field: field[0] != GROUPS, reader.fields()):
            said[number] = reader.value(kind)
        self.root, self._described = schema(said[2]), reader.items()
        self.records, self.seen = said[3], columns(self.root, said[3])
        # Columns do not lie on each other: more bytes than there are would be read for ever.
        self._held, self._left, self._budget = 0, self._end, max(BOMB_VALUES, BOMB_RATIO * self._end)
        self._content = max(BOMB_BYTES, BOMB_RATIO * self._end)

    def groups(self) -> Iterator[tuple[int, list[Iterator[Entry]]]]:
        """Yield the groups of rows: their number, and the entries of each column, to be read to their end; once.

        A null has the text `null`. A page is read and checked when its turn comes.

        Raises:
            UnreadableError: the counts of the footer disagree; a page has not the checksum that it says, lies
                elsewhere, or is not read; entries are not as many as the footer says, or a bomb; or the pages have no
                room in memory.
        """
        left, nodes = self.records, list(_leaves(self.root))
        for group in self._described:
            rows, said = group[3], [column[3] for column in group[1]]
            for node, column in zip(nodes, said, strict=True):
                values, is_counted = column[5], node.levels[0] == 0
                if column[1] != node.stored or min(values, rows) < 0 or (is_counted and values != rows):
                    found = f"found {count(values, 'value')} of type {column[1]} in {node.name!r}"
                    refuse(
                        f"{found} in a group of {count(rows, 'row')}, expected one of type {node.stored} for each row"
                    )
                self._budget -= values
            if self._budget < 0:
                most = f"{BOMB_VALUES} values, or {BOMB_RATIO} for each byte of the file"
                refuse(f"found more values and nulls than a real file has, expected at most {most}", "bomb")
            left, self._held = left - rows, 0
            yield rows, list(map(self._column, nodes, said))
        if left:
            found = f"found a footer that says {count(self.records, 'row')}"
            refuse(f"{found}, expected {self.records - left}, as its groups say")

    def _column(self, node: Node, said: dict[int, Any]) -> Iterator[Entry]:
        codec, left, cost, write, top = said[4], said[5], 0, node.writer, node.levels[1]
        # Some programs write a place for a dictionary that is not there.
        at = said[11] if 0 < said.get(11, 0) < said[9] else said[9]
        # A level that is too high has none.
        nulls, dictionary, texts, has_long = ["null"] * top, list[str](), iter(list[str]()), False
        while left > 0:
            page = self._page(at, node.name, cost)
            at = page.end
            self._spend(page.size)
            if page.kind == DICTIONARY_PAGE:
                # It is there until the group ends.
                dictionary = list(map(write, islice(encodings.plain(page.values(codec), node), page.entries)))
                cost, has_long = 0, any(len(text) > LONG_TEXT for text in dictionary)
                continue
            cost, left = page.cost, left - page.entries
            repetitions, definitions, values = page.parts(codec, node.levels)
            if page.encoding in encodings.DICTIONARY:
                texts = map(dictionary.__getitem__, encodings.hybrid(values[1:], values[0]))
                if has_long:
                    texts = self._counted(texts)
            else:
                texts = map(write, encodings.encoded(values, page.encoding, node, page.entries))
            texts = chain(texts, iter(_missing, ""))
            for repetition, level in islice(zip(repetitions, definitions, strict=False), page.entries):
                yield repetition, level, next(texts) if level == top else nulls[level]
        if left:
            refuse(f"found {count(said[5] - left, 'value')} in the pages of {node.name!r}, expected {said[5]}")

    def _counted(self, texts: Iterator[str]) -> Iterator[str]:
        for text in texts:
            self._spend(len(text) if len(text) > LONG_TEXT else 0)
            yield text

    def _spend(self, size: int) -> None:
        self._content -= size
        if self._content < 0:
            most = f"{BOMB_BYTES} bytes, or {BOMB_RATIO} for each byte of the file"
            refuse(f"found more content than a real file has, expected at most {most}", "bomb")

    def _page(self, at: int, name: str, released: int) -> Page:
        """Read the page at a place, and check it; `released` is the cost of the page before it."""
        reader = Reader(os.pread(self._file, HEADER_BYTES, at) if 0 < at < self._end else b"")
        header = reader.value(STRUCT)
        kind, size, packed, said = header[1], header[2], header[3], header[SAID[header[1]]]
        start, encoding = at + reader.at, said[4 if kind == DATA_PAGE_2 else 2]
        page = Page(kind, said, said[1], encoding, max(size, packed), start + packed)
        self._left -= page.end - at
        self._held += page.cost - released
        if min(size, packed, page.entries, at - len(MAGIC), self._end - page.end, self._left) < 0:
            refuse(f"found a page of {name!r} at byte {at} that leaves the file or overlaps another page")
        if self._held > MAX_HELD_BYTES:
            found = f"found pages that take more than {MAX_HELD_BYTES} bytes of memory (at byte {at}, in {name!r})"
            refuse(f"{found}, expected less: write the file with smaller pages, or fewer rows in a group", "too_large")
        body = os.pread(self._file, packed, start)
        if header.get(4, checksum := zlib.crc32(body)) & 0xFFFFFFFF != checksum:
            refuse(f"found a wrong checksum at byte {at}: the page of {name!r} there is damaged")
        return page._replace(size=size, body=body)


def _missing() -> str:
    refuse("found fewer values in a page than its levels say")


def _leaves(node: Node) -> Iterator[Node]:
    """Yield the fields that have values, in the order of the file."""
    if not node.inside:
        yield node
    for inner in node.inside:
        yield from _leaves(inner)
