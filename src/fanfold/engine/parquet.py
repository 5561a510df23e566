"""Files of Parquet as input: a line of JSON for each row, and what the schema says of the records."""

import contextlib
import gzip
import struct
import tempfile
import zlib
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import zstandard

from fanfold.engine.parquet_pages import Copier, Footer, Group, begin, described_groups, finish, footer
from fanfold.engine.parquet_schema import REPEATED, TOO_LARGE, Columns, Node, columns, leaves, unreadable
from fanfold.engine.parquet_texts import is_large, texts
from fanfold.engine.parquet_values import is_alone, quote, writer
from fanfold.engine.session import connect, identifier, text
from fanfold.faults import UnreadableError

WINDOW_BYTES = 1024 * 1024
# Groups of rows that are decoded together have at least so many bytes, if there are so many.
PLAIN_BYTES = 16 * 1024 * 1024
# What the numbers of a footer or a page that is damaged lead to.
DAMAGE = (
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    struct.error,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    zstandard.ZstdError,
)
# Where the system gives a path to a file that has no name.
OPEN_FILES = Path("/dev/fd")


def fields(path: Path) -> Columns:
    """Return what a file says of its records; no record is read.

    Raises:
        UnreadableError: no record can be read (`unreadable`, `case_conflict`, `too_large`, `too_deep`), or none of its
            its records could be one of a run (`too_many_fields`, `key_too_long`).
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, _faults():
        told = footer(file)
        found = columns(told.root, told.records)
        for _ in described_groups(told):
            pass
        return found


def windows(path: Path, data_dir: Path) -> Iterator[bytes]:
    """Yield the records of a file as JSON, one a line, in windows of about 1 MiB; null is written as null.

    The records are in the order of the file, and their fields too. Each value is exact: see `parquet_values`. A text
    that is not UTF-8 is written as it is, and a map that has a key twice has it twice: these records are bad, and cost
    no others. Memory is bounded by the largest page and row; a file in `data_dir` that has no name takes as much room
    as the largest group of rows. Nothing is left of it, however this ends.

    Raises:
        UnreadableError: as `fields` does, `bomb`, or `too_large` where a page or a row has no room in memory; also
            behind the first records, which then do not count.
        OSError: a file cannot be read or written.
    """
    with path.open("rb") as file, _faults():
        told = footer(file)
        columns(told.root, told.records)
        copier = Copier(file, told)
        groups = described_groups(told)
        window = bytearray()
        more = True
        while more:
            with tempfile.TemporaryFile(dir=data_dir) as plain:
                begin(plain)
                copied, more = _copied(copier, groups, plain)
                finish(plain, told.root, copied)
                for line in _lines(plain, told, copied, data_dir):
                    window += line
                    if len(window) >= WINDOW_BYTES:
                        yield bytes(window)
                        window.clear()
        if window:
            yield bytes(window)


Described = Iterator[tuple[int, list[dict[int, Any]]]]


def _copied(copier: Copier, groups: Described, plain: BinaryIO) -> tuple[list[Group], bool]:
    """Copy some groups of rows into a plain file; say whether there may be more."""
    copied: list[Group] = []
    for rows, said in groups:
        group = copier.copy(rows, said, plain)
        copied += [group] if rows else []
        if plain.tell() >= PLAIN_BYTES:
            return copied, True
    return copied, False


def _lines(plain: BinaryIO, told: Footer, groups: list[Group], data_dir: Path) -> Iterator[bytes]:
    """Yield the rows of a plain file as lines of JSON."""
    if not groups:
        return
    fields_of = told.root.inside
    members = [(("," if index else "{") + quote(one.name) + ":", writer(one)) for index, one in enumerate(fields_of)]
    counter = _Counter(told.root)
    number = 0
    with contextlib.closing(_rows(plain, told.root, groups, data_dir)) as rows:
        for row in rows:
            number += 1
            counter.count(row)
            line = "".join([key + write(value) for (key, write), value in zip(members, row, strict=True)])
            yield (line + "}\n").encode("utf-8", "surrogateescape")
    if number != (expected := sum(group.rows for group in groups)):
        msg = f"found {number} rows, expected {expected}"
        raise unreadable(msg)
    counter.check(groups)


def _rows(plain: BinaryIO, root: Node, groups: list[Group], data_dir: Path) -> Generator[list[Any], None, None]:
    """Yield the rows of a plain file: columns of large texts are read by us, and all others by DuckDB."""
    large: dict[int, Iterator[bytes | None]] = {}
    for index, way in enumerate(leaves(root)):
        stored = [group.columns[index] for group in groups]
        if len(way) == 1 and is_large(way[0], stored):
            parts = [texts(plain, one, way[0], data_dir) for one in stored]
            large[root.inside.index(way[0])] = chain.from_iterable(parts)
    names = [identifier(one.plain) for place, one in enumerate(root.inside) if place not in large]
    # Without a column of its own it counts the rows.
    asked = ", ".join(names) or "NULL"
    place = OPEN_FILES / str(plain.fileno())
    place.stat()
    with connect(OPEN_FILES) as connection:
        found = connection.execute(f"SELECT {asked} FROM read_parquet({text(str(place))}, hive_partitioning = false)")
        # One by one: some rows are large.
        while (row := found.fetchone()) is not None:
            cells = list(row) if names else []
            for index, values in large.items():
                cells.insert(index, next(values))
            yield cells


class _Counter:
    """Counts what is in lists: rows that their pages do not have are null, or lack elements, and nobody says so."""

    def __init__(self, root: Node) -> None:
        self._root = root
        # Fields whose innermost list is the same have as many values as each other.
        self._leaves: list[tuple[int, tuple[Node, ...]]] = []
        self._ways: dict[tuple[Node, ...], int] = {}
        for index, way in enumerate(leaves(root)):
            repeated = [place for place, node in enumerate(way) if node.repetition == REPEATED]
            if repeated:
                self._leaves.append((index, way[: repeated[-1] + 1]))
                self._ways[way[: repeated[-1] + 1]] = 0
        self._places = {way: root.inside.index(way[0]) for way in self._ways}

    def count(self, row: list[Any]) -> None:
        """Count the values of a row."""
        for way, place in self._places.items():
            self._ways[way] += _values(row[place], way, 0)

    def check(self, groups: list[Group]) -> None:
        """Compare with what the pages say that they have."""
        for index, way in self._leaves:
            expected = sum(group.columns[index].values for group in groups)
            if self._ways[way] != expected:
                name, found = way[0].name, self._ways[way]
                msg = f"found {found} values in the rows of {name!r}, expected {expected}, as its pages say"
                raise unreadable(msg)


def _values(value: Any, way: tuple[Node, ...], at: int) -> int:
    """Return how many values a column has for what stands in a field: null and an empty list count as one."""
    node = way[at]
    if value is None or (node.repetition == REPEATED and not value):
        return 1
    if at + 1 == len(way):
        return len(value)
    inner = way[at + 1]
    if node.repetition != REPEATED:
        return _values(value[inner.plain], way, at + 1)
    return sum(_values(one if is_alone(node) or one is None else one[inner.plain], way, at + 1) for one in value)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Turn what the bytes of a file lead to into what it is: unreadable, or too large."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise UnreadableError(TOO_LARGE, _told("more than memory holds", error)) from None
    except duckdb.PermissionException:
        raise
    except duckdb.Error as error:
        # What is asked is always the same: it is the bytes.
        raise unreadable(_told("no Parquet", error)) from None
    except UnreadableError:
        raise
    except DAMAGE as error:
        msg = f"found no Parquet: its footer or a page is damaged, or cut short ({type(error).__name__}: {error})"
        raise unreadable(msg) from None


def _told(what: str, error: duckdb.Error) -> str:
    return f"found {what} ({' '.join(str(error).splitlines()[0].split())[:200]})"
