"""The door to an object store: two servers of S3 and one in place of Google's, each request failed in each way."""

import contextlib
import itertools
import random
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fanfold.bucket.connections import at_once
from fanfold.bucket.objects import Object, Objects
from fanfold.bucket.requests import SMALL_BYTES
from fanfold.errors import ChangedError, TakenError
from tests.stores.proxy import WAYS, Proxy
from tests.stores.servers import Bucket

SMALL, LARGE = b"some\n", random.Random(1).randbytes(SMALL_BYTES + 100_000)
# Names that a URL, a list in XML or a shell would bend.
NAMES = [
    "a%20b.json",
    "ü",
    "u\u0308",
    "a b+c",
    "a#b?c",
    "a*b~[]",
    "a\\b",
    'a"b',
    "%",
    "😀",
    "&<>",
    " x ",
    ".hidden",
    "a:b",
]
Proxied = Callable[[Bucket], tuple[Bucket, Proxy]]


def contents(bucket: Bucket) -> dict[str, bytes | None]:
    """Return name and content of every object."""
    store = bucket.objects()
    return {found.name: store.read(found.name, found.e_tag) for found in store.list()}


def put_by_others(bucket: Bucket, name: str, content: bytes) -> None:
    """Put an object as any program may: by a plain request."""
    path = urllib.parse.quote(f"{bucket.uri.partition('://')[2]}/{name}")
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{bucket.endpoint_url}/{path}", content, headers, method="PUT")
    urllib.request.urlopen(request).close()


def version(store: Objects, name: str) -> Object:
    """Return what has a name."""
    found = store.head(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_the_same(bucket: Bucket, tmp_path: Path, name: str) -> None:
    """Every name that a file may have is the same in a list, in a request and for other programs."""
    put_by_others(bucket, f"in/{name}", SMALL)
    store = bucket.objects()
    (found,) = store.list("in")
    assert found.name == f"in/{name}"
    assert store.head(found.name) == found
    assert store.read(found.name) == SMALL
    assert store.fetch(found.name, tmp_path / "file", found.e_tag) == found
    store.copy(found, f"out/{name}")
    assert store.delete(found.name, found.e_tag)
    assert contents(bucket) == {f"out/{name}": SMALL}


@pytest.mark.slow
def test_a_list_is_sorted_and_costs_one_request_for_1000(bucket: Bucket, proxied: Proxied) -> None:
    """2,100 objects are listed by name, with three requests and no other."""
    names = [f"{random.Random(n).choice('ab')}/{n:x}" for n in range(2100)]
    for _ in at_once(lambda name: put_by_others(bucket, name, SMALL), names, connections=4):
        pass
    place, proxy = proxied(bucket)
    assert [found.name for found in place.objects().list()] == sorted(names)
    assert proxy.requests == {"GET list-type": 3}


def test_a_prefix_means_whole_parts_of_a_path(bucket: Bucket) -> None:
    """What is below `a` is listed, not `a.json` or `ab/c`; names are sorted as text is, character by character."""
    store = bucket.objects()
    for name in ("a/ü", "a/z", "a/b/c", "a/b.c", "ab/c", "a.json", "a-b"):
        store.create(name, SMALL)
    assert [found.name for found in store.list("a")] == ["a/b.c", "a/b/c", "a/z", "a/ü"]
    assert [found.name for found in store.list()] == ["a-b", "a.json", "a/b.c", "a/b/c", "a/z", "a/ü", "ab/c"]
    assert list(store.list("nothing/here")) == []


def test_the_key_of_a_folder_is_not_a_file(s3_bucket: Bucket) -> None:
    """What a console makes to show a folder, a key that ends in a slash, is not listed, and breaks no order."""
    for name in ("in/", "in/sub/", "in/sub-1", "in/sub.json", "in/sub/a", "in/empty"):
        put_by_others(s3_bucket, name, b"" if name.endswith(("/", "empty")) else SMALL)
    assert [found.name for found in s3_bucket.objects().list()] == ["in/empty", "in/sub-1", "in/sub.json", "in/sub/a"]
    assert [found.name for found in s3_bucket.objects().list("in/sub")] == ["in/sub/a"]


@pytest.mark.parametrize("store", ["s3_bucket", "disk_bucket"])
def test_keys_that_cannot_be_paths_are_told_apart(store: str, request: pytest.FixtureRequest) -> None:
    """Each is passed over, and named where somebody asks; all other objects are listed as if it were not there."""
    place: Bucket = request.getfixturevalue(store)
    plain = ["a b+c%2F&=.json", "a.json", "b/\u00fc.json"]
    odd = ["../x", "./y", "a//b", "b/full/", "c\td"]
    made = []
    for name in [*plain, *odd, "empty/"]:
        with contextlib.suppress(urllib.error.HTTPError):
            put_by_others(place, name, b"" if name == "empty/" else SMALL)
            made.append(name)
    assert len(made) > len(plain)
    objects = place.objects()
    expected, found = [objects.head(name) for name in plain], list[str]()
    assert list(objects.list("", found)) == expected
    assert found == [name for name in sorted(made) if name in odd]
    assert list(objects.list()) == expected
    assert [one.name for one in objects.list("a")] == []


def test_create_keeps_what_is_there(bucket: Bucket, tmp_path: Path) -> None:
    """A second create with the same bytes gives the same object; with other bytes it fails and changes nothing."""
    store = bucket.objects()
    for content in (b"", SMALL, LARGE):
        path = tmp_path / "content"
        path.write_bytes(content)
        name = f"of-{len(content)}"
        made = store.create(name, content)
        for found in (store.create(name, path), store.head(name)):
            # When it was made, a create does not ask.
            assert found is not None
            assert found[:3] == made[:3] == (name, len(content), made.e_tag)
        for other in (content + b"x", content[:-1] + b"y"):
            with pytest.raises(TakenError, match=name):
                store.create(name, other)
    assert contents(bucket) == {"of-0": b"", "of-5": SMALL, f"of-{len(LARGE)}": LARGE}


def test_only_the_version_that_was_named_is_replaced(bucket: Bucket) -> None:
    """A version is replaced once: with the same bytes that is all, and with others the second one fails."""
    store = bucket.objects()
    before = store.create("a", SMALL)
    after = store.create("a", b"after", before)
    assert after[:3] == version(store, "a")[:3]
    assert store.create("a", b"after", before).e_tag == after.e_tag
    with pytest.raises(TakenError, match="/a exists"):
        store.create("a", b"other", before)
    assert contents(bucket) == {"a": b"after"}
    assert store.create("a", b"other", after).size_bytes == 5


def test_only_the_version_that_was_asked_for_comes(bucket: Bucket, tmp_path: Path) -> None:
    """Fetch, read, copy and delete of a version leave an object that has taken its name alone."""
    store = bucket.objects()
    before = store.create("a", SMALL)
    store.replace("a", b"other")
    assert store.fetch("a", tmp_path / "a", before.e_tag) is None
    assert store.read("a", before.e_tag) is None
    with pytest.raises(ChangedError, match="/a was replaced"):
        store.copy(before, "b")
    assert not store.delete("a", before.e_tag)
    assert contents(bucket) == {"a": b"other"}
    assert store.delete("a", version(store, "a").e_tag)
    # Now, as before, nothing of the version is there.
    assert store.delete("a", before.e_tag)
    assert store.fetch("a", tmp_path / "a") is None
    assert contents(bucket) == {}


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_a_copy_is_compared(bucket: Bucket, content: bytes) -> None:
    """A copy has the same bytes, may be made again, and never replaces others."""
    store = bucket.objects()
    source = store.create("in/a", content)
    for _ in range(2):
        store.copy(source, "out/a")
    store.create("out/b", content[:-1] + b"z")
    with pytest.raises(TakenError, match="out/b"):
        store.copy(source, "out/b")
    assert contents(bucket) == {"in/a": content, "out/a": content, "out/b": content[:-1] + b"z"}


def test_a_large_copy_does_not_come_here(s3_bucket: Bucket, proxied: Proxied) -> None:
    """A large object is copied by the store: no more than a few kilobytes go through."""
    place, proxy = proxied(s3_bucket)
    store = place.objects()
    source = store.create("in/a", LARGE)
    sent = proxy.bytes_sent.total()
    store.copy(source, "out/a")
    assert proxy.bytes_received.total() + proxy.bytes_sent.total() - sent < 10_000
    assert s3_bucket.objects().read("out/a") == LARGE


def test_a_large_copy_replaces_nothing_where_its_condition_is_lost(s3_bucket: Bucket, proxied: Proxied) -> None:
    """Also in a store that does not keep the condition, a name that is taken is seen before the copy."""
    place, proxy = proxied(s3_bucket)
    proxy.stripped["POST uploadId"] = "if-none-match"
    store = place.objects()
    source = store.create("in/a", LARGE)
    store.create("out/a", SMALL)
    with pytest.raises(TakenError, match="out/a"):
        store.copy(source, "out/a")
    assert s3_bucket.objects().read("out/a") == SMALL


def test_a_source_that_changes_meanwhile_is_seen(bucket: Bucket, proxied: Proxied) -> None:
    """Whichever request the source is replaced after: the copy holds the version that was named, or fails."""
    other = LARGE[::-1]
    place, proxy = proxied(bucket)
    store, others = place.objects(), bucket.objects()
    changed = []
    proxy.after["slow"] = lambda: others.replace("in/a", other)
    for number in itertools.count(1):
        target = f"out/{number}"
        others.replace("in/a", LARGE)
        source = version(others, "in/a")
        proxy.fail(number, "slow")
        try:
            store.copy(source, target)
        except ChangedError:
            changed.append(number)
        else:
            assert others.read(target) == LARGE
            if not proxy.failed:
                break
        proxy.failed.clear()
    # All but the last request, and those behind it.
    assert changed == list(range(1, number - 1))


def test_of_many_one_has_the_name(bucket: Bucket) -> None:
    """Of 16 that create a name at the same time with bytes of their own, one has it, and the others learn so."""
    store, gate = bucket.objects(), threading.Barrier(16)

    def race(n: int) -> int | None:
        gate.wait()
        try:
            store.create("name", f"{n}".encode())
        except TakenError:
            return None
        return n

    (winner,) = (n for n in at_once(race, range(16)) if n is not None)
    assert contents(bucket) == {"name": f"{winner}".encode()}


# Each call, and what was there before: "in/…" holds what the calls need.
def _list(store: Objects, _: Path) -> object:
    return [(found.name, found.size_bytes) for found in store.list("in")]


def _fetch(store: Objects, path: Path) -> object:
    found = store.fetch("in/large", path, version(store, "in/large").e_tag)
    return found and path.read_bytes() == LARGE


def _create_path(store: Objects, path: Path) -> object:
    path.write_bytes(LARGE)
    return store.create("out/large", path).size_bytes


def _delete_other(store: Objects, _: Path) -> object:
    return store.delete("in/small", "0123456789abcdef0123456789abcdef")


def _create_taken(store: Objects, _: Path) -> object:
    with pytest.raises(TakenError):
        store.create("in/small", b"other")
    return "taken"


CALLS: dict[str, Callable[[Objects, Path], object]] = {
    "list": _list,
    "head": lambda store, _: version(store, "in/small").size_bytes,
    "head of nothing": lambda store, _: store.head("in/nothing"),
    "read": lambda store, _: store.read("in/small", version(store, "in/small").e_tag),
    "read any": lambda store, _: store.read("in/small"),
    "read of nothing": lambda store, _: store.read("in/nothing"),
    "fetch": _fetch,
    "create": lambda store, _: store.create("out/small", SMALL).size_bytes,
    "create large": _create_path,
    "create taken": _create_taken,
    "create instead": lambda store, _: store.create("in/small", b"new", version(store, "in/small")).size_bytes,
    "replace": lambda store, _: store.replace("in/small", b"replaced"),
    "copy": lambda store, _: store.copy(version(store, "in/small"), "out/small").size_bytes,
    "copy large": lambda store, _: store.copy(version(store, "in/large"), "out/large").size_bytes,
    "delete": lambda store, _: store.delete("in/small", version(store, "in/small").e_tag),
    "delete other": _delete_other,
    "delete any": lambda store, _: store.delete("in/small"),
    "delete all": lambda store, _: store.delete_all("in"),
}


def _prepared(bucket: Bucket, place: str) -> Bucket:
    prepared = bucket.below(place)
    store = prepared.objects()
    for name, content in {"empty": b"", "large": LARGE, "small": SMALL}.items():
        store.create(f"in/{name}", content)
    return prepared


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_each_request_may_fail_in_each_way(bucket: Bucket, proxied: Proxied, tmp_path: Path, call: str) -> None:
    """Whichever request of a call fails, and however, the call has the same result, and leaves the same objects."""
    place, proxy = proxied(_prepared(bucket, "clean"))
    expected = CALLS[call](place.objects(), tmp_path / "clean")
    left = contents(bucket.below("clean"))

    def failing(case: tuple[int, str | int]) -> None:
        number, way = case
        where = f"{number}-{way}"
        prepared = _prepared(bucket, where)
        with Proxy(bucket.endpoint_url) as proxy:
            proxy.fail(number, way)
            store = prepared.objects(endpoint_url=proxy.endpoint_url)
            assert CALLS[call](store, tmp_path / where) == expected, where
            assert proxy.failed == {way: 1}, where
        assert contents(prepared) == left, where

    cases = itertools.product(range(1, proxy.requests.total() + 1), WAYS)
    for _ in at_once(failing, cases, connections=6):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_requests_may_fail_at_random(bucket: Bucket, proxied: Proxied, tmp_path: Path, seed: int) -> None:
    """While one in five requests fails, each call does as a dictionary does."""
    place, proxy = proxied(bucket)
    store, numbers = place.objects(), random.Random(seed)
    proxy.fail_at_random(seed, 0.2)
    expected: dict[str, bytes] = {}
    for turn in range(100):
        name, other = numbers.choices([f"d{n}/f" for n in range(5)], k=2)
        content = LARGE + b"%d" % turn if numbers.random() < 0.1 else b"%d" % numbers.randrange(3)
        act = numbers.choice(["create", "replace", "copy", "delete", "fetch", "list"])
        if act == "create":
            assert _is_taken(store.create, name, content) == (expected.setdefault(name, content) != content)
        elif act == "replace":
            store.replace(name, content)
            expected[name] = content
        elif act == "copy" and name in expected and other != name:
            source = version(store, name)
            assert _is_taken(store.copy, source, other) == (
                expected.setdefault(other, expected[name]) != expected[name]
            )
        elif act == "delete":
            found = store.head(name)
            assert (found is None) == (name not in expected)
            assert store.delete(name, found and found.e_tag)
            expected.pop(name, None)
        elif act == "fetch":
            found = store.fetch(name, tmp_path / "file")
            assert (found and (tmp_path / "file").read_bytes()) == expected.get(name)
        else:
            assert [found.name for found in store.list()] == sorted(expected)
    assert contents(bucket) == expected
    assert proxy.failed.total() > 20


def _is_taken(call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except TakenError:
        return True
    return False
