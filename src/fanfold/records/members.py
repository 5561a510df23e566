"""The members of an archive, read as files: by their names, each unpacked for a while into a file without a name."""

import contextlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fanfold.faults import UnreadableError
from fanfold.formats import COMPRESSIONS, FORMATS, UNFINISHED, compression, is_archive
from fanfold.records.content import check_ratio, check_room, contents
from fanfold.records.zip_tar import Entry, Guarded, damage, entries


class Member(NamedTuple):
    """A member: its name, empty for the archive as such; where it lies unpacked; or why it cannot be read."""

    name: str
    path: str = ""
    fault: UnreadableError | None = None


def members(path: str, scratch_dir: Path, only: str | None = None) -> Generator[Member, None, None]:
    """Yield the members of an archive in the order of their names; folders and hidden ones are passed over.

    Each lies at its path, decompressed, until the next one is asked for; after a kill nothing of it is left.

    Args:
        path: the archive.
        scratch_dir: where they are unpacked; where nobody may write there, in the system's folder for such files.
        only: the name of the only one that is wanted.

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
            file = stack.enter_context(_spooled(_as_far_as_there(contents(file, plainly)), scratch))
        listed = entries(stack.enter_context(Guarded(file)), is_zip=is_zip)
        for entry in sorted(_named(listed), key=lambda one: one.name):
            if only in {None, entry.name}:
                try:
                    if fault := entry.fault:
                        raise fault
                    check_ratio(content_bytes + entry.size, size)
                    check_room(file, entry.size)
                    with _spooled(_content(entry, scratch), scratch) as place:
                        content_bytes += os.fstat(place).st_size
                        check_ratio(content_bytes, size)
                        yield Member(entry.name, f"/dev/fd/{place}")
                except UnreadableError as error:
                    yield Member(entry.name, fault=error)


def _named(found: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries with the names that they go by, and with a fault where a name is one; not the hidden ones."""
    named = [one._replace(name=one.name.removeprefix("./")) for one in found]
    times = Counter(one.name for one in named)
    for one in named:
        parts, fault = re.split(r"[/\\]+", one.name), one.fault
        is_outside = one.name and (not parts[0] or ".." in parts)
        if not is_outside and _is_hidden(parts):
            continue
        shown = one.name.encode(errors="backslashreplace").decode()
        if shown != one.name or is_outside or (one.name and times[one.name] > 1):
            msg = "found a name that is not UTF-8, leads out of the archive, or is there twice, expected another one"
            fault = UnreadableError("bad_member", msg)
        elif one.name and not fault:
            fault = _of_format(one.name.lower())
        yield one._replace(name=shown, fault=fault)


def _is_hidden(parts: list[str]) -> bool:
    return any(part[:1] == "." != part or part == "__MACOSX" for part in parts) or parts[-1].endswith(UNFINISHED)


def _of_format(name: str) -> UnreadableError | None:
    if is_archive(name):
        return UnreadableError("nested_archive", "found an archive in the archive, expected files: send it by itself")
    if name.removesuffix(compression(name)).endswith(tuple(FORMATS)):
        return None
    msg = f"found a name that says no format, expected {', '.join(FORMATS)}, also with {' or '.join(COMPRESSIONS)}"
    return UnreadableError("unknown_format", msg)


def _content(entry: Entry, scratch: Path | None) -> Iterator[bytes]:
    """Yield what is in a member, decompressed."""
    if compression(entry.name):
        with _spooled(_whole(entry), scratch) as file:
            yield from contents(file, entry.name)
    else:
        yield from _whole(entry)


def _whole(entry: Entry) -> Iterator[bytes]:
    size = 0
    with damage():
        for window in entry.windows():
            size += len(window)
            yield window
    if size != entry.size:
        msg = f"found {size:,} bytes of the member, expected {entry.size:,}"
        raise UnreadableError("truncated", msg)


def _as_far_as_there(content: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what there is of a tar that is cut short: it has no end, and says so."""
    try:
        yield from content
    except UnreadableError as error:
        if error.code != "truncated":
            raise


@contextlib.contextmanager
def _spooled(windows: Iterator[bytes], scratch: Path | None) -> Iterator[int]:
    """Write windows into a file without a name, and open it to be read."""
    with tempfile.TemporaryFile(dir=scratch) as file:
        for window in windows:
            file.write(window)
        file.seek(0)
        yield file.fileno()
