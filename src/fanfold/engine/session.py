"""DuckDB connections, and how names and paths get into SQL."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

MEMORY_BYTES = 160 * 1024 * 1024
# What DuckDB counts as used for each column of texts that it reads and writes; the least of it is ever touched.
COLUMN_BYTES = 320 * 1024
CHUNK_ROWS = 2048
# A chunk of large records ends where its buffer does.
CHUNK_BYTES = 32 * 1024 * 1024
# What DuckDB says of a call to the system that failed ends in the system's reason.
SYSTEM_FAULT = re.compile(r'IO Error: .*"(?P<path>.*)": (?P<reason>[^"\n]+)')
# What it says of its memory ends in settings, which a spec cannot change.
USED = re.compile(r"\([^()]* used\)")
SPECIAL = re.compile(r"[*?\[]")
REASONS = {os.strerror(number): number for number in errno.errorcode}
# What is needed is built in.
NOTHING_FETCHED = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


@contextlib.contextmanager
def connect(
    data_dir: Path | None = None, spill_dir: Path | None = None, buffers: int = 0, columns: int = 0
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB that reads and writes under `data_dir` only, and spills to `spill_dir`; nowhere without them.

    It has one thread, so that files are byte-identical. `buffers` is that of `chunk_bytes`; `columns` is how many are
    read or written at once.

    Raises:
        OSError: the system could not open, read or write a file, or DuckDB has used all its memory, and cannot spill:
            it may go away by itself.
    """
    settings = {
        "TimeZone": "UTC",
        # It would be drawn on stdout, even if that is not a terminal.
        "enable_progress_bar": False,
        # A whole group of rows of Parquet would be read at once, even if it has a gigabyte.
        "disable_parquet_prefetching": True,
        "temp_directory": str(spill_dir or ""),
        # A path is compared as it stands in the query, and once more as it was found.
        "allowed_directories": [str(data_dir), pattern(data_dir)] if data_dir else [],
        "enable_external_access": False,
        # What it learns of the values, it writes into a Parquet's schema: a column without null would be another one.
        "disabled_optimizers": "statistics_propagation",
        "lock_configuration": True,
    }
    memory = f"{MEMORY_BYTES + buffers + columns * COLUMN_BYTES}B"
    # Where others write its files, a query that fails waits for them for good (DuckDB 2.0.0).
    connection = duckdb.connect(config={"threads": 1, "async_threads": 0, "memory_limit": memory, **NOTHING_FETCHED})
    try:
        for name, value in settings.items():
            connection.execute(f"SET {name} = ?", [value])
        yield connection
    except duckdb.IOException as error:
        if (said := SYSTEM_FAULT.match(str(error))) and (reason := said["reason"]) in REASONS:
            raise OSError(REASONS[reason], reason, said["path"]) from error
        raise
    except duckdb.OutOfMemoryException as error:
        used = USED.search(str(error))
        if not used:
            raise
        what = f"DuckDB has no memory left {used[0]}, expected smaller rows, or room on the disk"
        msg = f"{what}: leave large fields out of the columns, or free some space"
        raise OSError(errno.ENOMEM, msg, str(spill_dir) if spill_dir else None) from error
    finally:
        connection.close()


def chunk_bytes(record_bytes: int) -> int:
    """Return what records of an average size take more than usual when they are read and written, a chunk at a time."""
    return 2 * min(CHUNK_BYTES, CHUNK_ROWS * record_bytes)


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Quote a text for SQL, where no parameter can stand."""
    return "'" + value.replace("'", "''") + "'"


def pattern(path: Path) -> str:
    """Return a path as DuckDB's readers take it: `*`, `?` and `[` stand for themselves."""
    return SPECIAL.sub(r"[\g<0>]", str(path))
