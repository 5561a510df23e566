"""A zip or tar is one file of the feed: its members are read as files, and what cannot be read is set aside by name."""

import gzip
import io
import json
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from fanfold import manifest
from fanfold.errors import DataError
from fanfold.faults import UnreadableError
from fanfold.feed import quarantine, replay, runs
from fanfold.manifest import BadRecord, Manifest
from fanfold.records import members
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.steps.restore import differences, restore
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

LATER = "20260103T000000Z"
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


@pytest.fixture
def make(make_feed: MakeFeed) -> Callable[..., FeedDir]:
    """Make a feed of one subdirectory with lineage, in which most records may be bad."""

    def made(files: dict[str, bytes], folder: str = "feed", **keys: Any) -> FeedDir:
        asked = {"quarantine": {"max_bad_records_percent": 100}, "denormalize": {}, "merge": []}
        return make_feed(files, folder=folder, subdirs=1, output={"lineage": True}, **{**asked, **keys})

    return made


def bad_records(feed: FeedDir, n: int = 1) -> list[dict[str, Any]]:
    path = feed.data_dir / f"quarantine/{TS}/{n}/records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def bad_files(feed: FeedDir) -> dict[str, str]:
    return {file.name: file.code for file in manifest.read(feed.at().commit_path, Manifest).files if file.code}


def check(feed: FeedDir) -> None:
    """Recount the run, and make it again."""
    complete = runs.open_complete(feed.open(), TS)
    assert recount(*complete).gaps == []
    assert differences(*complete) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_members_make_the_table_of_the_same_files_in_a_folder(make: Callable[..., FeedDir], ending: str) -> None:
    """An archive makes the rows, columns and lineage, byte for byte, that its files make in a folder of its name."""
    keys = {"denormalize": {"explode": ["items"]}, "input": {"patterns": ["*"]}}
    others = {"a.json": b'{"id": 90}', f"day{ending}-2.json": b'{"id": 91}', "z.json": b'{"id": 92}'}
    files = {name: content for name, content in FILES.items() if name not in {"f.ndjson", "g.JSON"}}
    alone = make({**others, f"day{ending}": packed(ending, files.items())}, "packed", **keys)
    spread = make({**{f"day{ending}/{name}": one for name, one in files.items()}, **others}, "spread", **keys)
    assert (alone.run().files_in, spread.run().files_in) == (4, 9)
    rows, wanted = (sorted(feed.read().splitlines()) for feed in (alone, spread))
    assert rows == wanted
    # The order of the rows is that of the files, then of the members: a folder sorts otherwise.
    names = [line.split(",")[-3] for line in alone.read().splitlines()[1:]]
    assert list(dict.fromkeys(name.split("/")[0] for name in names)) == sorted({*others, f"day{ending}"})
    assert [name for name in names if "/" in name] == sorted(name for name in names if "/" in name)
    assert bad_records(alone) == []
    assert f"processed/day_{TS}{ending}" in tree(alone.data_dir)
    check(alone)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_order_in_an_archive_changes_nothing(make: Callable[..., FeedDir], ending: str) -> None:
    """However members are ordered in an archive, the same table comes out."""
    orders = [list(FILES.items()) for _ in range(3)]
    for seed, order in enumerate(orders):
        random.Random(seed).shuffle(order)
    feeds = [make({f"x{ending}": packed(ending, order)}, str(at)) for at, order in enumerate(orders)]
    summaries = [feed.run() for feed in feeds]
    assert len({feed.read() for feed in feeds}) == 1
    assert {one.records_in for one in summaries} == {2 + 2 + 2 + 2 + 2 + 1 + 1}
    assert [(bad["member"], bad["record"], bad["code"]) for bad in bad_records(feeds[0])] == [
        ("f.ndjson", 0, "empty_file")
    ]


def test_bad_records_count_within_their_member(make: Callable[..., FeedDir]) -> None:
    """A bad record names archive and member, and its number, line and bytes count in the member."""
    inner = b'{"id": 3}\n{"id": }\n{"id": 4}\n'
    files = {"a.csv": b"id,v\n1,2\n3\n", "k/b.jsonl": inner, "k/c.json.gz": gzip.compress(inner), "k/d.txt": b"hello"}
    feed = make({"x.zip": zipped(files.items()), "y.json": b'{"id": 5}\n{"id": ,}'})
    summary = feed.run()
    found = [
        (bad["file"], bad.get("member"), bad["record"], bad["line"], bad["record_offset"]) for bad in bad_records(feed)
    ]
    assert found == [
        ("x.zip", "a.csv", 2, 3, 9),
        ("x.zip", "k/b.jsonl", 2, 2, 10),
        ("x.zip", "k/c.json.gz", 2, 2, 10),
        ("x.zip", "k/d.txt", 0, 1, 0),
        ("y.json", None, 2, 2, 10),
    ]
    assert (summary.records_in, summary.records_quarantined, summary.rows_out, summary.files_in) == (11, 5, 6, 2)
    assert "member" not in bad_records(feed)[-1]
    check(feed)


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


def lying(size: int) -> bytes:
    made = bytearray(zip_of((entry("b.json"), b'{"id": 2}')))
    struct.pack_into("<I", made, made.rfind(b"PK\1\2") + 24, size)
    return bytes(made)


MEMBERS: dict[str, tuple[bytes, dict[str | None, str]]] = {
    "text.zip": (zip_of((entry("read.me.txt"), b"x")), {"read.me.txt": "unknown_format"}),
    "none.zip": (zip_of((entry("LICENSE"), b"x")), {"LICENSE": "unknown_format"}),
    "nested.zip": (zip_of((entry("b.zip"), zipped([GOOD]))), {"b.zip": "nested_archive"}),
    "nested.tar": (tarred([GOOD, ("b.tgz", b"x")]), {"b.tgz": "nested_archive"}),
    "root.zip": (zip_of((entry("/etc/b.json"), b"{}")), {"/etc/b.json": "bad_member"}),
    "up.zip": (zip_of((entry("../../b.json"), b"{}")), {"../../b.json": "bad_member"}),
    "back.zip": (zip_of((entry("..\\b.json"), b"{}")), {"..\\b.json": "bad_member"}),
    "up.tar": (tarred([("a/../../b.json", b"{}"), GOOD]), {"a/../../b.json": "bad_member"}),
    "link.zip": (zip_of((entry("b.json", stat.S_IFLNK | 0o777), b"/etc/passwd")), {"b.json": "bad_member"}),
    "link.tar": (tar_of(tar_info("b.json", tarfile.SYMTYPE, link="/etc/passwd")), {"b.json": "bad_member"}),
    "hard.tar": (tar_of(tar_info("b.json", tarfile.LNKTYPE, link="good.json")), {"b.json": "bad_member"}),
    "pipe.tar": (tar_of(tar_info("b.json", tarfile.FIFOTYPE)), {"b.json": "bad_member"}),
    "disk.tar": (tar_of(tar_info("b.json", tarfile.BLKTYPE)), {"b.json": "bad_member"}),
    "latin.tar": (tarred([("b\u00e9.json", b"{}"), GOOD], tarfile.GNU_FORMAT, "latin-1"),
                  {"b\\udce9.json": "bad_member"}),
    "secret.zip": (encrypted(), {"b.json": "encrypted"}),
    "lzma.zip": (with_method(14), {"b.json": "unreadable"}),
    "more.zip": (lying(10), {"b.json": "truncated"}),
    "less.zip": (lying(8), {"b.json": "unreadable"}),
    "huge.zip": (lying(2**32 - 2), {"b.json": "bomb"}),
    "bits.zip": (damaged(zipped([GOOD, ("b.json", b'{"id": 2}')], zipfile.ZIP_STORED), b'"id": 2', b'"id": 3'),
                 {"b.json": "unreadable"}),
    "gzip.zip": (zip_of((entry("b.json.gz"), b"no gzip")), {"b.json.gz": "unreadable"}),
    "short.zip": (zip_of((entry("b.json.gz"), gzip.compress(b'{"id": 2}')[:-4])), {"b.json.gz": "truncated"}),
    "zeros.zip": (zip_of((entry("b.json.gz"), gzip.compress(bytes(70 << 20)))), {"b.json.gz": "bomb"}),
    "json.zip": (zip_of((entry("b.json"), b"no JSON at all")), {"b.json": "syntax"}),
    "header.zip": (zip_of((entry("b.csv"), b"id,id\n1,2\n")), {"b.csv": "bad_header"}),
    "parquet.zip": (zip_of((entry("b.parquet"), b"PAR1")), {"b.parquet": "unreadable"}),
    "front.zip": (b"#!/bin/sh\n" + zipped([GOOD]), {None: "stray_bytes"}),
    "two.zip": (zipped([("lost.json", b'{"id": 2}')]) + zipped([GOOD]), {None: "stray_bytes"}),
    "two.tar": (tarred([GOOD]) + tarred([("lost.json", b'{"id": 2}')]), {None: "stray_bytes"}),
    "endless.tar": (tar_of(end=False), {None: "truncated"}),
    "cut.tgz": (gzip.compress(tarred([("a.json", b'{"id": 1}'), ("b.json", b'{"id": 2}' * 900)])[:2048]),
                {"b.json": "truncated"}),
    "cut2.tar.gz": (gzip.compress(tarred([GOOD, ("b.json", random.Random(1).randbytes(9000))]))[:-3000],
                    {"b.json": "truncated"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_cannot_be_read_costs_no_other(make: Callable[..., FeedDir], name: str, tmp_path: Path) -> None:
    """Whatever is wrong with a member, or around them, has one bad record with its code; the others are read."""
    content, wanted = MEMBERS[name]
    feed = make({name: content})
    feed.run()
    assert {bad.get("member"): bad["code"] for bad in bad_records(feed)} == wanted
    assert all(bad["record"] == 0 and "\n" not in bad["message"] for bad in bad_records(feed))
    assert [line.split(",")[0] for line in feed.read().splitlines()] == ["id", "1"]
    # Nothing has a name that came with an archive.
    assert not {path.name for path in tmp_path.rglob("*")} & {"b.json", "good.json", "passwd"}
    check(feed)


FILES_THAT_ARE_BAD: dict[str, tuple[bytes, str]] = {
    "empty.zip": (zipped([]), "empty_file"),
    "hidden.zip": (zipped((name, b"{}") for name in ("__MACOSX/a.json", ".DS_Store", "k/.a.json", "a.json.part")),
                   "empty_file"),
    "zero.zip": (b"", "unreadable"),
    "zero.tar": (b"", "unreadable"),
    "json.zip": (b'{"id": 1}', "unreadable"),
    "json.tar": (b'{"id": 1}', "unreadable"),
    "json.tar.gz": (gzip.compress(b'{"id": 1}'), "unreadable"),
    "plain.tgz": (tarred([GOOD]), "unreadable"),
    "cut.zip": (zipped([GOOD])[:-10], "unreadable"),
    "quine.zip": (damaged(zipped([("a.json", b'{"id": 1}'), ("b.json", b'{"id": 1}')], zipfile.ZIP_STORED),
                          struct.pack("<I", 45) + b"b.json", struct.pack("<I", 0) + b"b.json"), "unreadable"),
    "only.zip": (zipped([("a.pdf", b"%PDF"), ("b.xml", b"<a/>")]), "unknown_format"),
    "all.zip": (zipped([("a.json", b"no"), ("b.csv", b"id,id\n")]), "syntax"),
    "names.zip": (damaged(zipped([("\u00e9.json", b"{}")]), "é".encode(), b"\xff\xfe"), "unreadable"),
    "bomb.tgz": (gzip.compress(bytes(70 << 20)), "bomb"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES_THAT_ARE_BAD)
def test_an_archive_of_which_nothing_can_be_read_is_a_bad_file(make: Callable[..., FeedDir], name: str) -> None:
    """An archive that is damaged as such, or has no member that can be read, goes to quarantine whole, with a code."""
    content, code = FILES_THAT_ARE_BAD[name]
    feed = make({name: content, "good.json": b'{"id": 1}'}, quarantine={"max_bad_files_percent": 100})
    summary = feed.run()
    assert bad_files(feed) == {name: code}
    assert (summary.files_quarantined, summary.records_in, bad_records(feed)) == (1, 1, [])
    assert (feed.data_dir / f"quarantine/{TS}/1/{name}").read_bytes() == content
    check(feed)


# All codes that these tests try.
CODES = {code for _, wanted in MEMBERS.values() for code in wanted.values()} | {"too_many_members"}


def test_two_members_of_one_name_are_both_set_aside(make: Callable[..., FeedDir]) -> None:
    """Of members that have one name nobody knows which one counts: each has a bad record."""
    feed = make({"x.tar": tarred([GOOD, ("b.json", b'{"id": 2}'), ("./b.json", b'{"id": 3}')])})
    summary = feed.run()
    assert [(bad["member"], bad["code"]) for bad in bad_records(feed)] == [("b.json", "bad_member")] * 2
    assert (summary.records_in, summary.records_quarantined) == (3, 2)
    check(feed)


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, ending: str) -> None:
    """More than 100,000 members, or a list of more than 16 MiB, make an archive a bad file, before any is read."""
    path = tmp_path / f"x{ending}"
    with path.open("wb") as file:
        if ending == ".zip":
            # The list says nothing that counts: its size is enough.
            file.truncate(17 << 20)
            file.seek(0, 2)
            file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, 17 << 20, 0, 0))
        else:
            header = tarfile.TarInfo("a.json").tobuf()
            file.writelines([header * 1000] * 101)
    with pytest.raises(UnreadableError, match="send several") as refused:
        list(members.members(str(path), tmp_path))
    assert refused.value.code == "too_many_members"


def test_what_was_bad_in_a_member_is_replayed(make: Callable[..., FeedDir]) -> None:
    """A bad record of a member, or the member itself, lands again alone, and makes its rows once."""
    files = {
        "k/a.csv": b"id,v\n1,2\n3\n",
        "b.jsonl.gz": gzip.compress(b'{"id": 4}\n{"id": }\n'),
        "c.json": b"[nothing]",
        "d.pdf": b"%PDF",
        "good.json": b'{"id": 9}',
    }
    feed = make({"x.zip": zipped(files.items())}, input={"duplicates": "archive"})
    feed.run()
    opened = feed.open()
    items = {item.bad.member: item for item in quarantine.items(opened) if isinstance(item.bad, BadRecord)}
    assert list(items) == ["b.jsonl.gz", "c.json", "d.pdf", "k/a.csv"]
    # As they are, they land with their own bytes.
    for member, landed, content in [
        ("b.jsonl.gz", "1/1/b.jsonl", b'{"id": }'),
        ("c.json", "1/2/c.json", b"[nothing]"),
        ("k/a.csv", "1/4/a.csv", b"id,v\n3\n"),
    ]:
        assert replay.replay(opened, items[member]).landed_as == f"replay/{TS}/{landed}"
        assert (feed.landing_dir / f"replay/{TS}/{landed}").read_bytes() == content
    with pytest.raises(DataError, match=r"d\.pdf' matches none of input\.patterns"):
        replay.replay(opened, items["d.pdf"])
    quarantine.discard(opened, items["d.pdf"])
    # Another member, corrected: it lands in its place.
    (feed.landing_dir / f"replay/{TS}/1/2/c.json").write_bytes(b'[{"id": 5}]')
    summary = feed.run(LATER)
    assert (summary.files_in, summary.files_quarantined, summary.records_in) == (3, 2, 1)
    assert [line.split(",")[0] for line in feed.read(1, LATER).splitlines()[1:]] == ["5"]


def test_a_member_without_a_text_is_replayed_with_another_one(make: Callable[..., FeedDir]) -> None:
    """A member that cannot be unpacked lands as the file that is given in its place, and as nothing without one."""
    feed = make({"x.zip": encrypted()})
    feed.run()
    (item,) = quarantine.items(feed.open())
    with pytest.raises(DataError, match=r"has no text \(encrypted\)"):
        replay.replay(feed.open(), item)
    assert replay.replay(feed.open(), item, b'{"id": 2}').landed_as == f"replay/{TS}/1/1/b.json"
    assert feed.run(LATER).rows_out == 1


def test_plan_lint_and_list_know_members(make: Callable[..., FeedDir]) -> None:
    """The plan counts as the run does, and each line about a bad record names its member."""
    feed = make({"x.zip": zipped(FILES.items()), "bad.tar": tarred([("a.json", b"{")])})
    planned = plan(feed.open())
    summary = feed.run()
    assert planned.records == summary.records_in == 12
    assert sorted(one.file for one in planned.faults) == ["bad.tar", "x.zip"]
    shown = fanfold("quarantine", "list", feed.spec_path).stdout
    assert f"{TS}/1:1 open: 'x.zip/f.ndjson' line 1: found nothing" in shown
    assert "'bad.tar' line 1: 'a.json': found the end" in shown


def test_a_match_that_fails_names_the_member(make: Callable[..., FeedDir]) -> None:
    """With on_missing: fail, the message says in which member the key stands."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "fail"}]
    feed = make({"x.zip": zipped([("k/a.json", b'{"customer_id": "4711"}')])}, merge=merge)
    with pytest.raises(DataError, match=r"'x\.zip/k/a\.json' line 1: customer_id '4711' is not in"):
        feed.run()


def test_an_archive_is_not_a_reference(make: Callable[..., FeedDir]) -> None:
    """A reference in an archive is refused before anything is claimed."""
    feed = make({"a.json": b'{"k": 1}'}, merge=[{"reference": "customers.zip", "key": "k", "into": "c"}])
    (feed.data_dir / "customers.zip").write_bytes(zipped([("customers.csv", b"k,v\n1,2\n")]))
    ended = fanfold("run", feed.spec_path)
    assert (ended.returncode, "customers.zip is an archive, expected a file of CSV" in ended.stderr) == (1, True)
    assert (feed.landing_dir / "a.json").exists()


def test_an_archive_is_one_file_of_the_ledger(make: Callable[..., FeedDir], tmp_path: Path) -> None:
    """Landed again an archive is a duplicate by its bytes; it is restored as it came, whatever the archive packs."""
    content = packed(".tar", FILES.items())
    feed = make({"x.tar": content}, input={"duplicates": "archive"}, archive={"compression": "gzip"})
    feed.run()
    feed.land("again.tar", content)
    assert feed.run(LATER).records_in == 0
    assert (feed.data_dir / f"processed/x_{TS}.tar").read_bytes() == content
    assert restore(*runs.open_complete(feed.open(), TS), tmp_path) == ["x.tar"]
    assert (tmp_path / "x.tar").read_bytes() == content
    archived = feed.data_dir / f"processed/x_{TS}.tar"
    archived.write_bytes(content.replace(b'"id": 15', b'"id": 16'))
    assert "is changed" in "".join(recount(*runs.open_complete(feed.open(), TS)).gaps)


def test_folders_in_an_archive_give_columns(make: Callable[..., FeedDir]) -> None:
    """Folders in and around an archive that say date=… give it to their records; the name of the archive does not."""
    files = {"day=2/a.json": b'{"id": 1}', "b.json": b'{"id": 2}', "day=3/c.json": b'{"id": }\n{"id": 3}'}
    feed = make({"shop=7/x=1.zip": zipped(files.items())}, input={"path_columns": True})
    feed.run()
    rows = [dict(zip(["shop", "id", "day"], line.split(","), strict=False)) for line in feed.read().splitlines()]
    assert rows[0] == {"shop": "shop", "id": "id", "day": "day"}
    assert [(row["shop"], row["id"], row["day"]) for row in rows[1:]] == [
        ("7", "2", ""),
        ("7", "1", "2"),
        ("7", "3", "3"),
    ]
    (item,) = quarantine.items(feed.open())
    assert replay.replay(feed.open(), item).landed_as == f"replay/{TS}/1/1/shop=7/day=3/c.json"
    check(feed)


def test_fields_around_the_records_of_a_member_come_along(make: Callable[..., FeedDir]) -> None:
    """A wrapped document in an archive gives its records what stands around them, on a replay too."""
    pages = {f"{n}.json": b'{"page": %d, "rows": [{"id": 1}, {"id": }, {"id": 3}]}' % n for n in (1, 2)}
    feed = make({"x.tgz": packed(".tgz", pages.items())}, input={"records_at": "/rows", "envelope": ["page"]})
    feed.run()
    assert sorted(line[:3] for line in feed.read().splitlines()[1:]) == ["1,1", "1,2", "3,1", "3,2"]
    item = list(quarantine.items(feed.open()))[1]
    landed = feed.landing_dir / str(replay.replay(feed.open(), item, b'{"id": 2}').landed_as)
    assert json.loads(landed.read_bytes()) == {"page": 2, "rows": [{"id": 2}]}
    check(feed)


def test_declared_fields_hold_in_members(make: Callable[..., FeedDir]) -> None:
    """With a declared schema nothing is scanned, and members are read by it all the same."""
    fields = {"schema": "declared", "fields": {"id": "BIGINT"}}
    feed = make(
        {"x.zip": zipped([GOOD, ("b.json", b'{"id": "x"}\n{"id": 2, "y": 3}'), ("c.json", b"no")])}, input=fields
    )
    feed.run()
    assert [(bad["member"], bad["record"], bad["code"]) for bad in bad_records(feed)] == [
        ("b.json", 1, "wrong_type"),
        ("c.json", 0, "syntax"),
    ]
    assert [line.split(",")[0] for line in feed.read().splitlines()] == ["id", "2", "1"]


def test_a_bomb_of_many_members_is_not_unpacked(tmp_path: Path) -> None:
    """What an archive has in all is limited, whatever each member has: the others are read."""
    many = {f"{n}.json": b" " * (30 << 20) for n in range(3)} | {"z.json": b'{"id": 1}'}
    (tmp_path / "x.zip").write_bytes(zipped(many.items()))
    found = [(one.name, one.fault and one.fault.code) for one in members.members(str(tmp_path / "x.zip"), tmp_path)]
    assert found == [("0.json", None), ("1.json", None), ("2.json", "bomb"), ("z.json", None)]


def test_members_are_unpacked_into_files_without_a_name(tmp_path: Path) -> None:
    """While a member is read nothing of it lies under a name: a kill leaves nothing behind."""
    (tmp_path / "x.tgz").write_bytes(packed(".tgz", FILES.items()))
    for member in members.members(str(tmp_path / "x.tgz"), tmp_path):
        assert Path(member.path).is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]
