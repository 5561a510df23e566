"""Archives for tests: made by the standard library, whole or with something wrong in them, and feeds that take them."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import zstandard

from fanfold import documents
from fanfold.feed import runs
from fanfold.manifest import Manifest
from fanfold.steps.recount import recount
from fanfold.steps.restore import differences
from tests.conftest import TS, FeedDir, MakeFeed

Members = Iterable[tuple[str, bytes]]
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")


def zipped(files: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Make a zip, its members in the order that is given."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def tarred(files: Members, form: int = tarfile.PAX_FORMAT, encoding: str = "utf-8") -> bytes:
    """Make a tar, its members in the order that is given."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form, encoding=encoding) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def packed(ending: str, files: Members) -> bytes:
    """Make an archive of the kind that its name ends in."""
    if ending == ".zip":
        return zipped(files)
    made = tarred(files)
    if ending == ".tar.zst":
        return zstandard.ZstdCompressor().compress(made)
    return made if ending == ".tar" else gzip.compress(made, mtime=0)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), made)
    return made.getvalue()


# Fields appear in the order of names, which is not the order in which they are packed.
FILES = {
    "b.json": json.dumps([{"id": 1, "customer_id": "1", "items": [{"p": 1.50}, {"p": 2}]}, {"id": 2, "x": 1}]).encode(),
    "a/z.csv": b"id,customer_id,y\n7,007,z\n8,,\n",
    "c.jsonl.gz": gzip.compress(b'{"id": 9, "late": "caf\xc3\xa9"}\n{"id": 10}\n', mtime=0),
    "d.csv.zst": zstandard.ZstdCompressor().compress(b"id,w\n11,\n12,1\n"),
    "e.parquet": parquet([{"id": 13, "f": 0.1}, {"id": 14, "f": None}]),
    "f.ndjson": b"",
    "g.JSON": b'{"id": 15}',
    "h.json": b"[]",
}


def feed_of(make_feed: MakeFeed, files: dict[str, bytes], folder: str = "feed", **keys: Any) -> FeedDir:
    """Make a feed of one subdirectory with lineage, in which most records may be bad."""
    asked = {"quarantine": {"max_bad_records_percent": 100}, "denormalize": {}, "merge": []}
    return make_feed(files, folder=folder, subdirs=1, output={"lineage": True}, **{**asked, **keys})


def bad_records(feed: FeedDir, n: int = 1) -> list[dict[str, Any]]:
    """Return the bad records of a subdirectory."""
    path = feed.data_dir / f"quarantine/{TS}/{n}/records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def bad_files(feed: FeedDir) -> dict[str, str]:
    """Return the codes of the files that are bad as a whole."""
    return {file.name: file.code for file in documents.read(feed.at().commit_path, Manifest).files if file.code}


def check(feed: FeedDir) -> None:
    """Recount the run, and make it again."""
    complete = runs.open_complete(feed.open(), TS)
    assert recount(*complete).gaps == []
    assert differences(*complete) == []


def entry(name: str, mode: int = 0o644, **fields: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    for key, value in fields.items():
        setattr(info, key, value)
    return info


GOOD = ("good.json", b'{"id": 1}')


def zip_of(*infos: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*GOOD)
        for info, content in infos:
            archive.writestr(info, content)
    return made.getvalue()


def tar_of(*infos: tarfile.TarInfo, end: bool = True) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b'{"id": 2}') if info.size else None)
        info = tarfile.TarInfo(GOOD[0])
        info.size = len(GOOD[1])
        archive.addfile(info, io.BytesIO(GOOD[1]))
        size = archive.offset
    return made.getvalue() if end else made.getvalue()[:size]


def tar_info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def damaged(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def encrypted() -> bytes:
    """Set the flag of encryption on a member, in its own header and in the list at the end."""
    made = bytearray(zip_of((entry("b.json"), b'{"id": 2}')))
    local, central = made.find(b"PK\3\4", 4), made.rfind(b"PK\1\2")
    made[local + 6] |= 1
    made[central + 8] |= 1
    return bytes(made)


def with_method(method: int) -> bytes:
    made = bytearray(zip_of((entry("b.json"), b'{"id": 2}')))
    struct.pack_into("<H", made, made.rfind(b"PK\1\2") + 10, method)
    return bytes(made)


def lying(size: int, content: bytes = b'{"id": 2}') -> bytes:
    """Let the list of a zip say another size of a member than it has."""
    made = bytearray(zip_of((entry("b.json"), content)))
    struct.pack_into("<I", made, made.rfind(b"PK\1\2") + 24, size)
    return bytes(made)
