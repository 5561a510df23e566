"""What stands in an archive and is of none of its members is never lost without a word."""

import io
import struct
import tarfile
import zipfile

import pytest

from fanfold.steps.plan import plan
from tests.archives import GOOD, bad_files, bad_records, check, feed_of, tar_info, tarred, zipped
from tests.conftest import MakeFeed

HIDDEN = b'{"id": 7}'
MEMBERS = [("a.json", b'{"id": 1}'), ("k/", b""), ("z.json", b'{"id": 2}')]


def widened(content: bytes, at: int, more: bytes) -> bytes:
    """Put bytes into a zip, and move what its list says of places behind them."""
    made, list_at = bytearray(content), content.index(b"PK\1\2")
    (end,) = struct.unpack_from("<L", content, content.rindex(b"PK\5\6") + 16)
    if at <= end:
        struct.pack_into("<L", made, content.rindex(b"PK\5\6") + 16, end + len(more))
    while list_at >= 0:
        (begin,) = struct.unpack_from("<L", content, list_at + 42)
        if begin >= at:
            struct.pack_into("<L", made, list_at + 42, begin + len(more))
        list_at = content.find(b"PK\1\2", list_at + 4)
    return bytes(made[:at] + more + made[at:])


def streamed() -> bytes:
    """Make a zip as it is written to a pipe: sizes stand behind the bytes of a member."""

    class Pipe(io.BytesIO):
        def seek(self, at: int, whence: int = 0) -> int:
            raise io.UnsupportedOperation(str((at, whence)))

    made = Pipe()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS:
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


ZIP, STREAMED = zipped(MEMBERS), streamed()
SECOND, LIST, DESCRIPTOR = ZIP.index(b"PK\3\4", 1), ZIP.index(b"PK\1\2"), STREAMED.index(b"PK\7\10") + 4
PLACES = {
    "before": HIDDEN + ZIP,
    "before, and counted": widened(ZIP, 0, HIDDEN),
    "between": widened(ZIP, SECOND, HIDDEN),
    "behind zeros": widened(ZIP, SECOND, bytes(5000) + HIDDEN),
    "before the list": widened(ZIP, LIST, HIDDEN),
    "behind the end": ZIP + HIDDEN,
    "behind zeros at the end": ZIP + bytes(9000) + HIDDEN,
    "another zip": zipped([("b.json", HIDDEN)]) + ZIP,
    "behind a descriptor": widened(STREAMED, STREAMED.index(b"PK\3\4", 1), HIDDEN),
    "in place of a descriptor": STREAMED[:DESCRIPTOR] + HIDDEN + b"   " + STREAMED[DESCRIPTOR + 12 :],
}


@pytest.mark.parametrize("place", PLACES)
def test_what_hides_in_a_zip_is_named(make_feed: MakeFeed, place: str) -> None:
    """Whatever stands before, between or behind the members is one bad record; the members are read."""
    feed = feed_of(make_feed, {"x.zip": PLACES[place]})
    planned = plan(feed.open())
    summary = feed.run()
    assert (planned.records, summary.records_in, summary.records_quarantined) == (3, 3, 1)
    (bad,) = bad_records(feed)
    assert (bad["code"], bad["record"], "member" in bad) == ("stray_bytes", 0, False)
    assert [line.split(",")[0] for line in feed.read().splitlines()] == ["id", "1", "2"]
    check(feed)


def with_comment() -> bytes:
    made = io.BytesIO(ZIP)
    with zipfile.ZipFile(made, "a") as archive:
        archive.comment = b"made by PK\5 hand" * 1000
    return made.getvalue()


def of_64_bits() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in MEMBERS:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                target.write(content)
    return made.getvalue()


def with_zip64_end(content: bytes) -> bytes:
    """Let the end of a zip say places and sizes with 64 bits, as that of a large one does."""
    at = content.rindex(b"PK\5\6")
    count, size, begin = struct.unpack_from("<HLL", content, at + 10)
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, begin)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    short = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + end + locator + short


WHOLE = {
    "as it is": ZIP,
    "stored": zipped(MEMBERS, zipfile.ZIP_STORED),
    "descriptors": STREAMED,
    "zeros before": bytes(512) + ZIP,
    "zeros between": widened(ZIP, SECOND, bytes(4096)),
    "zeros behind": ZIP + bytes(4096),
    "a comment": with_comment(),
    "64 bits": of_64_bits(),
    "an end of 64 bits": with_zip64_end(ZIP),
}


@pytest.mark.parametrize("form", WHOLE)
def test_what_belongs_to_a_zip_is_not_stray(make_feed: MakeFeed, form: str) -> None:
    """Descriptors, comments, zeros and the numbers of large archives are no fault."""
    feed = feed_of(make_feed, {"x.zip": WHOLE[form]})
    feed.run()
    assert bad_records(feed) == []
    assert [line.split(",")[0] for line in feed.read().splitlines()] == ["id", "1", "2"]
    check(feed)


def test_one_part_of_a_zip_is_a_bad_file(make_feed: MakeFeed) -> None:
    """A zip that goes on in another file is not read in part."""
    made = bytearray(ZIP)
    struct.pack_into("<2H", made, made.rindex(b"PK\5\6") + 4, 2, 1)
    feed = feed_of(make_feed, {"x.zip": bytes(made), "y.json": b"{}"}, quarantine={"max_bad_files_percent": 100})
    feed.run()
    assert bad_files(feed) == {"x.zip": "unreadable"}


def test_members_in_one_place_are_found_behind_what_is_stray(make_feed: MakeFeed) -> None:
    """A zip whose members overlap is a bad file, whatever else is wrong with it."""
    made = bytearray(ZIP)
    struct.pack_into("<L", made, ZIP.rindex(b"PK\1\2") + 42, 0)
    files = {"x.zip": HIDDEN + bytes(made), "y.json": b"{}"}
    feed = feed_of(make_feed, files, quarantine={"max_bad_files_percent": 100})
    feed.run()
    assert bad_files(feed) == {"x.zip": "unreadable"}


def test_of_a_tar_in_parts_what_is_there_is_read(make_feed: MakeFeed) -> None:
    """The first part ends inside of a member, of which the whole records are read; the second begins with its rest."""
    whole = tarred([GOOD, ("z.jsonl", b'{"id": 2}\n' * 200)])
    rest = io.BytesIO()
    with tarfile.open(fileobj=rest, mode="w") as archive:
        archive.addfile(tar_info("z.jsonl", b"M", 9), io.BytesIO(b'{"id": 3}'))
        archive.addfile(tar_info("a.jsonl", size=9), io.BytesIO(b'{"id": 4}'))
    feed = feed_of(make_feed, {"x1.tar": whole[:2048], "x2.tar": rest.getvalue()})
    feed.run()
    faults = [(bad["file"], bad["member"], bad["record"], bad["code"]) for bad in bad_records(feed)]
    assert faults == [("x1.tar", "z.jsonl", 52, "truncated"), ("x2.tar", "z.jsonl", 0, "bad_member")]
    assert [line.split(",")[0] for line in feed.read().splitlines()[1:]] == ["1", *["2"] * 51, "4"]
    check(feed)
