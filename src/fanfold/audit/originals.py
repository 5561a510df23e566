"""Opening originals: unpacked, as UTF-8, and the members of an archive one by one."""

import codecs
import contextlib
import gzip
import hashlib
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from fanfold.audit.findings import refuse

CHUNK_BYTES = 1 << 20
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, tarfile.TarError, zipfile.BadZipFile)
OUTSIDE = re.compile(r"^[/\\]|(^|[/\\])\.\.([/\\]|$)")
HIDDEN = re.compile(r"(^|[/\\])(\.[^/\\]|__MACOSX([/\\]|$))|(\.part|\.tmp|\.crdownload|~)$")
BYTE_ORDERS = {b"": "utf-16-le", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def part_of(file: Any, size: int = CHUNK_BYTES) -> bytes:
    """Return the next bytes of a file, fewer than asked for; none at the end, and where the file is damaged."""
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
    """Return a file of text as UTF-8; bytes that its encoding does not have become surrogates, which no UTF-8 has."""
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


def members(path: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the names of the members of an archive, in their order, each with what opens it; not the hidden ones."""
    with contextlib.ExitStack() as stack:
        found = list[tuple[str, Callable[[], Any]]]()
        if path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            found += [(one.filename, partial(archive.open, one)) for one in archive.infolist() if not one.is_dir()]
        else:
            content = stack.enter_context(tempfile.TemporaryFile())
            content.writelines(iter(partial(part_of, stack.enter_context(opened(path))), b""))
            content.seek(0)
            tar = tarfile.TarFile(fileobj=content)
            with contextlib.suppress(*DAMAGE):
                found.extend((m.name, partial(tar.extractfile, m)) for m in iter(tar.next, None) if not m.isdir())
        named = [(name.removeprefix("./").encode(errors="backslashreplace").decode(), open_) for name, open_ in found]
        yield from sorted(
            (one for one in named if OUTSIDE.search(one[0]) or not HIDDEN.search(one[0])), key=lambda one: one[0]
        )


def content_of(path: Path, *, is_packed: bool = False) -> tuple[int, str]:
    """Return size and SHA-256 of a file as it came, whether the archive has compressed it or not."""
    with contextlib.suppress(*DAMAGE), opened(path) if is_packed else path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
    return 0, ""
