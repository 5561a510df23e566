"""Pure: what the name of a file says about its content. Letter case does not matter."""

import fnmatch
import functools
import os.path
import re
from collections.abc import Callable
from typing import Literal

# Any other ending is read as JSON.
FORMATS: dict[str, Literal["json", "csv", "parquet"]] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}
COMPRESSIONS = (".gz", ".zst")
# Files with other files in them.
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
# Nobody is done with these.
UNFINISHED = (".part", ".tmp", ".crdownload", "~")
# Every form that can be read; Parquet is compressed inside.
PATTERNS = [f"*{e}{packed}" for e in FORMATS for packed in ("", *COMPRESSIONS) if not (packed and e == ".parquet")]
PATTERNS += [f"*{e}" for e in ARCHIVES]
# Each name is asked about in every step of a run.
MANY_NAMES = 1 << 15


@functools.lru_cache(MANY_NAMES)
def compression(name: str) -> str:
    """Return the suffix of the compression that a file has: `.gz`, `.zst`, or nothing."""
    return next((suffix for suffix in COMPRESSIONS if name[-len(suffix) :].lower() == suffix), "")


def is_archive(name: str) -> bool:
    """Say whether a file contains other files: a zip or a tar."""
    return name.lower().endswith(ARCHIVES)


def taken_by(patterns: list[str]) -> re.Pattern[str]:
    """Return what matches the file names that one of some shell patterns takes, whatever their letter case."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)", re.IGNORECASE)


def taken_inside(archive: str, patterns: list[str]) -> Callable[[str], bool]:
    """Return what says of the name of a member of an archive whether some patterns take it, whatever its folders are.

    A pattern that ends as archives do says nothing of what is in them. Where all do, or another one takes the archive
    itself, every form that can be read is taken.
    """
    of_files = [pattern for pattern in patterns if not is_archive(pattern)]
    is_any = not of_files or taken_by(of_files).match(archive.rpartition("/")[2])
    wanted = taken_by([*patterns, *PATTERNS] if is_any else patterns)
    return lambda name: wanted.match(re.split(r"[/\\]", name)[-1]) is not None


@functools.lru_cache(MANY_NAMES)
def input_format(name: str) -> Literal["json", "csv", "parquet"]:
    """Return what a file is read as: `.csv`, `.parquet`, anything else is JSON."""
    plain = name[: len(name) - len(compression(name))].lower()
    return FORMATS.get(os.path.splitext(plain)[1], "json")  # noqa: PTH122 - as a Path it takes twice as long


def place_in(name: str, line: int | None) -> str:
    """Say where in a file a fault is, to follow its name: ` line 3`; of Parquet, which has no lines, ` record 3`."""
    return f" {'record' if input_format(name) == 'parquet' else 'line'} {line}" if line else ""


def is_hidden(name: str) -> bool:
    """Say whether a file is unfinished: it, or a folder that it is in, has a hidden name, or that of a download."""
    return any(part.startswith(".") or part.endswith(UNFINISHED) for part in name.split("/"))
