"""The members of an archive, read as files: by their names, each unpacked for a while into a file without a name."""

import contextlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fanfold.faults import UnreadableError
from fanfold.input_formats import UNFINISHED, compression, is_archive
from fanfold.records.content import check_ratio, check_room, contents
from fanfold.records.zip_tar import Entry, Guarded, damage, entries


class Member(NamedTuple):
    """A member: its name, empty for the archive as such; where it lies unpacked; why it cannot be read.

    Where it is cut short, it lies there as far as it goes. One that is not wanted has neither a path nor a fault.
    """

    name: str
    path: str = ""
    fault: UnreadableError | None = None


def members(path: str, scratch_dir: Path, wanted: Callable[[str], object]) -> Generator[Member, None, None]:
    """Yield the members of an archive in the order of their names; folders are passed over.

    Each that is wanted lies at its path, decompressed, until the next one is asked for; after a kill nothing of it is
    left.

    Args:
        path: the archive.
        scratch_dir: where they are unpacked; where nobody may write there, in the system's folder for such files.
        wanted: says of a name whether its member is; a hidden one never is.

    Raises:
        UnreadableError: the archive cannot be read at all.
    """
    scratch = scratch_dir if os.access(scratch_dir, os.W_OK) else None
    with contextlib.ExitStack() as stack:
        packed = stack.enter_context(Path(path).open("rb", buffering=0))
        file, size, content_bytes = packed.fileno(), packed.seek(0, os.SEEK_END), 0
        packed.seek(0)
        is_zip, plainly = path.lower().endswith(".zip"), path.lower().replace(".tgz", ".tar.gz")
        if compression(plainly):
            # One that is cut short has no end, and says so.
            file, _ = stack.enter_context(_spooled(contents(file, plainly), scratch))
        listed = entries(stack.enter_context(Guarded(file)), is_zip=is_zip)
        for entry in sorted(_named(listed, wanted), key=lambda one: one.name):
            if not entry.windows:
                yield Member(entry.name, fault=entry.fault)
                continue
            try:
                check_ratio(content_bytes + entry.size, size)
                check_room(file, entry.size)
                with _spooled(_content(entry, scratch), scratch) as (place, cut):
                    content_bytes += os.fstat(place).st_size
                    check_ratio(content_bytes, size)
                    yield Member(entry.name, f"/dev/fd/{place}", cut)
            except UnreadableError as error:
                yield Member(entry.name, fault=error)


def _named(found: Iterable[Entry], wanted: Callable[[str], object]) -> Iterator[Entry]:
    """Yield entries with the names that they go by; those without windows are not read, for a fault or without one."""
    named = [one._replace(name=one.name.removeprefix("./")) for one in found]
    times = Counter(one.name for one in named)
    for name, size, windows, wrong in named:
        parts = re.split(r"[/\\]+", name)
        is_outside = name and (not parts[0] or ".." in parts)
        shown = name.encode(errors="backslashreplace").decode()
        if name and (not wanted(name) or (_is_hidden(parts) and not is_outside)):
            yield Entry(shown)
            continue
        fault = wrong
        if shown != name or is_outside or (name and times[name] > 1):
            msg = "found a name that is not UTF-8, leads out of the archive, or is used twice, expected another one"
            fault = UnreadableError("bad_member", msg)
        elif not fault and is_archive(name):
            msg = "found an archive inside the archive, expected files: send it separately"
            fault = UnreadableError("nested_archive", msg)
        yield Entry(shown, size, None if fault else windows, fault)


def _is_hidden(parts: list[str]) -> bool:
    return any(part[:1] == "." != part or part == "__MACOSX" for part in parts) or parts[-1].endswith(UNFINISHED)


def _content(entry: Entry, scratch: Path | None) -> Iterator[bytes]:
    """Yield what is in a member, decompressed."""
    if compression(entry.name):
        with _spooled(_whole(entry), scratch) as (file, cut):
            yield from contents(file, entry.name)
            if cut:
                raise cut
    else:
        yield from _whole(entry)


def _whole(entry: Entry) -> Iterator[bytes]:
    size = 0
    with damage():
        for window in entry.windows() if entry.windows else ():
            size += len(window)
            yield window
    if size != entry.size:
        msg = f"found the end of the member, expected {entry.size - size:,} more bytes of it"
        raise UnreadableError("truncated", msg)


@contextlib.contextmanager
def _spooled(windows: Iterator[bytes], scratch: Path | None) -> Iterator[tuple[int, UnreadableError | None]]:
    """Write windows into a file without a name, and open it to be read; where they are cut short, say so."""
    cut = None
    with tempfile.TemporaryFile(dir=scratch) as file:
        try:
            for window in windows:
                file.write(window)
        except UnreadableError as error:
            if error.code != "truncated":
                raise
            cut = error
        file.seek(0)
        yield file.fileno(), cut
