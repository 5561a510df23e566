"""What cannot be read in an archive, or of it, is set aside by name and with a code, and costs nothing else."""

import contextlib
import gzip
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from fanfold.faults import UnreadableError
from fanfold.records import members, zip_tar
from tests.archives import (
    GOOD,
    bad_files,
    bad_records,
    check,
    damaged,
    encrypted,
    entry,
    feed_of,
    lying,
    packed,
    tar_info,
    tar_of,
    tarred,
    with_method,
    zip_of,
    zipped,
)
from tests.conftest import TS, MakeFeed

LATER = "20260103T000000Z"


# It does not become much smaller.
LONG = b'{"id": "' + random.Random(1).randbytes(9000).hex().encode()
MEMBERS: dict[str, tuple[bytes, dict[str | None, str]]] = {
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
    "lzma.zip": (with_method(14), {"b.json": "unknown_compression"}),
    "more.zip": (lying(10, b'{"id": 2'), {"b.json": "truncated"}),
    "less.zip": (lying(8), {"b.json": "unreadable"}),
    "huge.zip": (lying(2**32 - 2), {"b.json": "bomb"}),
    "bits.zip": (damaged(zipped([GOOD, ("b.json", b'{"id": 2}')], zipfile.ZIP_STORED), b'"id": 2', b'"id": 3'),
                 {"b.json": "unreadable"}),
    "gzip.zip": (zip_of((entry("b.json.gz"), b"no gzip")), {"b.json.gz": "unreadable"}),
    "short.zip": (zip_of((entry("b.json.gz"), gzip.compress(b'{"id": 2')[:-4])), {"b.json.gz": "truncated"}),
    "zeros.zip": (zip_of((entry("b.json.gz"), gzip.compress(bytes(70 << 20)))), {"b.json.gz": "bomb"}),
    "json.zip": (zip_of((entry("b.json"), b"no JSON at all")), {"b.json": "syntax"}),
    "header.zip": (zip_of((entry("b.csv"), b"id,id\n1,2\n")), {"b.csv": "bad_header"}),
    "parquet.zip": (zip_of((entry("b.parquet"), b"PAR1")), {"b.parquet": "unreadable"}),
    "front.zip": (b"#!/bin/sh\n" + zipped([GOOD]), {None: "stray_bytes"}),
    "two.zip": (zipped([("lost.json", b'{"id": 2}')]) + zipped([GOOD]), {None: "stray_bytes"}),
    "two.tar": (tarred([GOOD]) + tarred([("lost.json", b'{"id": 2}')]), {None: "stray_bytes"}),
    "endless.tar": (tar_of(end=False), {None: "truncated"}),
    "cut.tgz": (gzip.compress(tarred([("a.json", b'{"id": 1}'), ("b.json", b'{"id": 2' + b" " * 900)])[:2048]),
                {"b.json": "truncated"}),
    "cut2.tar.gz": (gzip.compress(tarred([GOOD, ("b.json", LONG)]))[:-3000], {"b.json": "truncated"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_cannot_be_read_costs_no_other(make_feed: MakeFeed, name: str, tmp_path: Path) -> None:
    """Whatever is wrong with a member, or around them, has one bad record with its code; the others are read."""
    content, wanted = MEMBERS[name]
    feed = feed_of(make_feed, {name: content})
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
                   "unknown_format"),
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


@pytest.mark.parametrize("cut_bytes", [1, 5, 8])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_the_last_line_of_a_member_that_is_cut_short_is_no_record(
    make_feed: MakeFeed, ending: str, cut_bytes: int
) -> None:
    """Half a line of CSV may have as many fields as a whole one: it is no row, and it is in quarantine once."""
    content = b"id,note\n1,hello\n2,goodbye\n"
    stored = gzip.compress(content, 0) if ending == ".csv.gz" else content
    end = 512 + len(stored) - (8 if ending == ".csv.gz" else 0) - cut_bytes
    feed = feed_of(make_feed, {"a.tar": tarred([("a" + ending, stored)])[:end]})
    summary = feed.run()
    assert (summary.records_in, summary.records_quarantined, summary.rows_out) == (2, 1, 1)
    (bad,) = bad_records(feed)
    assert (bad["record"], bad["code"], bad["raw"]) == (2, "truncated", content[16:-cut_bytes].decode())
    check(feed)


@pytest.mark.parametrize("name", FILES_THAT_ARE_BAD)
def test_an_archive_of_which_nothing_can_be_read_is_a_bad_file(make_feed: MakeFeed, name: str) -> None:
    """An archive that is damaged as such, or has no member that can be read, goes to quarantine whole, with a code."""
    content, code = FILES_THAT_ARE_BAD[name]
    feed = feed_of(make_feed, {name: content, "good.json": b'{"id": 1}'}, quarantine={"max_bad_files_percent": 100})
    summary = feed.run()
    assert bad_files(feed) == {name: code}
    assert (summary.files_quarantined, summary.records_in, bad_records(feed)) == (1, 1, [])
    assert (feed.data_dir / f"quarantine/{TS}/1/{name}").read_bytes() == content
    check(feed)


# All codes that these tests try.
CODES = {code for _, wanted in MEMBERS.values() for code in wanted.values()} | {"too_many_members", "unknown_format"}


def test_two_members_of_one_name_are_both_set_aside(make_feed: MakeFeed) -> None:
    """Of members that have one name nobody knows which one counts: each has a bad record."""
    feed = feed_of(make_feed, {"x.tar": tarred([GOOD, ("b.json", b'{"id": 2}'), ("./b.json", b'{"id": 3}')])})
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
        list(members.members(str(path), tmp_path, str))
    assert refused.value.code == "too_many_members"


def test_a_bomb_of_many_members_is_not_unpacked(tmp_path: Path) -> None:
    """What an archive has in all is limited, whatever each member has: the others are read."""
    many = {f"{n}.json": b" " * (30 << 20) for n in range(3)} | {"z.json": b'{"id": 1}'}
    (tmp_path / "x.zip").write_bytes(zipped(many.items()))
    found = [
        (one.name, one.fault and one.fault.code) for one in members.members(str(tmp_path / "x.zip"), tmp_path, str)
    ]
    assert found == [("0.json", None), ("1.json", None), ("2.json", "bomb"), ("z.json", None)]


def sparse_map(entries: int) -> bytes:
    """Make a member of a tar whose map of holes has many entries, each a number on a line."""
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "b.json",
        "GNU.sparse.realsize": "9",
    }
    info = tar_info("b.json", size=4 * entries + 1024)
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT) + (b"%d\n" % entries + b"0\n" * 2 * entries).ljust(4 * entries + 1024, b"\0")


@pytest.mark.parametrize(
    "content",
    [
        b"".join(tar_info("a" * (3 << 20)).tobuf(tarfile.GNU_FORMAT) for _ in range(6)),
        tar_info("a.json", b"x", 1 << 40).tobuf() + b"0" * 600,
        tar_info("a.json", b"g", 8 << 30).tobuf(tarfile.GNU_FORMAT) + b"0" * 600,
        tar_info("a.json", b"L", 1 << 60).tobuf(tarfile.GNU_FORMAT) + b"0" * 600,
    ],
    ids=["long names", "pax", "global pax", "GNU name"],
)
def test_the_headers_of_a_tar_do_not_fill_the_memory(tmp_path: Path, content: bytes) -> None:
    """Whatever a header says of its own size, or how often there is a large one, no more than 16 MiB is kept."""
    path = tmp_path / "x.tar"
    path.write_bytes(content + bytes(1024))
    tracemalloc.start()
    with contextlib.suppress(UnreadableError):
        assert not [one for one in members.members(str(path), tmp_path, str) if one.path]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20


def test_the_map_of_a_sparse_file_is_not_read_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map counts as names do: the library would keep all of its numbers."""
    monkeypatch.setattr(zip_tar, "MAX_LIST_BYTES", 1 << 16)
    path = tmp_path / "x.tar"
    path.write_bytes(sparse_map(1 << 16) + bytes(1024))
    with pytest.raises(UnreadableError, match="send several"):
        list(members.members(str(path), tmp_path, str))
    path.write_bytes(sparse_map(1 << 12) + bytes(1024))
    assert [one.fault and one.fault.code for one in members.members(str(path), tmp_path, str)] == ["bad_member"]


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_a_damaged_archive_ends_in_members_or_a_code(tmp_path: Path, ending: str) -> None:
    """Whatever bytes of an archive change or lack, it has members, each with a place or a fault, or is unreadable."""
    chance, path = random.Random(7), tmp_path / f"x{ending}"
    whole = packed(ending, [GOOD, ("é.csv", b"a\n1\n"), ("b.jsonl", b'{"id": 1}\n' * 9)])
    for _ in range(300):
        made = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(whole) // 2)
            made[at : at + chance.choice([1, 1, 1, 9])] = chance.randbytes(chance.choice([0, 1, 1, 1]))
        path.write_bytes(made)
        with contextlib.suppress(UnreadableError):
            assert all(one.path or one.fault for one in members.members(str(path), tmp_path, str))
