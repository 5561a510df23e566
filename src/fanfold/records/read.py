"""The records of any file but Parquet, by its name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fanfold.layout import input_format
from fanfold.records.csv_records import CsvRecords
from fanfold.records.faults import UnreadableError
from fanfold.records.json_records import Found, JsonRecords
from fanfold.records.window import CHUNK_BYTES, Stream, Window, decompressed
from fanfold.spec import Input

SNIFFED_BYTES = 4096


def read(path: Path, settings: Input) -> Iterator[Found]:
    """Yield the records of a file of JSON or CSV, good and bad, in their order. Memory is that of the largest record.

    Args:
        path: the file; `.gz` and `.zst` are decompressed.
        settings: `max_record_bytes` and `records_at` of the spec.

    Raises:
        UnreadableError: no record of the file can be read, whatever was yielded before.
    """
    with decompressed(path) as stream:
        window = Window(stream)
        if input_format(path.name) == "csv":
            alike = settings.fields if settings.schema_mode == "infer" else None
            yield from CsvRecords(window, settings.max_record_bytes, alike)
        else:
            # What is not declared goes to one column, or a field is declared to be one: it may have anything in it.
            whole = {path for path, kind in settings.fields.items() if kind == "JSON"}
            yield from JsonRecords(
                window,
                settings.max_record_bytes,
                settings.records_at,
                whole if settings.schema_mode == "infer" else None,
            )


def json_layout(path: Path) -> Literal["array", "unstructured"]:
    """Return how the records of a JSON file follow each other, by its first character: in an array, or one by one.

    DuckDB finds that out too, but for a file of one long line it takes the memory of the line to do so.
    """
    with decompressed(path) as stream:
        try:
            head = stream.read(SNIFFED_BYTES)
        except UnreadableError:
            # Damaged: whoever reads it says so.
            head = b""
    return "array" if is_array(head) else "unstructured"


def is_array(head: bytes) -> bool:
    """Say whether the records of a JSON file that begins like this are in an array."""
    return head[:SNIFFED_BYTES].lstrip(b" \t\r\n").startswith(b"[")


def begins_with_blank_line(path: Path) -> bool:
    """Say whether a CSV file has a blank line before its header, which DuckDB would take for the header."""
    with decompressed(path) as stream:
        return stream.read(SNIFFED_BYTES).removeprefix(b"\xef\xbb\xbf").startswith((b"\r", b"\n"))


def csv_names(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file.

    Raises:
        UnreadableError: it has no header.
    """
    with decompressed(path) as stream:
        return CsvRecords(Window(stream), 1 << 24).names


def plain_lines(path: Path, columns: int) -> int | None:
    """Count the lines of a CSV file, each of so many fields by RFC 4180; None where one is not plainly such a line."""
    in_quotes, is_blank, lines, commas = False, True, 0, 0
    with decompressed(path) as stream:
        for block in _blocks(stream):
            parts = block.split(b'"')
            for position, part in enumerate(parts):
                if position:
                    in_quotes, is_blank = not in_quotes, False
                if in_quotes:
                    continue
                # A quote begins or ends a field; of two in a field, nothing is between them.
                if part and (
                    (position and part[0] not in b",\r\n") or (part is not parts[-1] and part[-1] not in b",\n")
                ):
                    return None
                first, *others = part.split(b"\n")
                commas, is_blank = commas + first.count(b","), is_blank and first in {b"", b"\r"}
                if part.count(b"\r") != part.count(b"\r\n"):
                    return None
                for line in others:
                    if not is_blank and commas != columns - 1:
                        return None
                    lines, commas, is_blank = lines + (not is_blank), line.count(b","), line in {b"", b"\r"}
    if in_quotes or (not is_blank and commas != columns - 1):
        return None
    return lines + (not is_blank)


def _blocks(stream: Stream) -> Iterator[bytes]:
    """Yield what is in a stream, cut behind line ends."""
    rest = b""
    while chunk := stream.read(CHUNK_BYTES):
        before, end, after = chunk.rpartition(b"\n")
        if end:
            yield rest + before + end
            rest = b""
        rest += after
    yield rest
