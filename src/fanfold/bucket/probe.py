"""Whether a store keeps what a feed in it rests on: tried with objects below `.fanfold/probe/`, which are removed."""

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

from fanfold import documents
from fanfold.bucket.connections import CONNECTIONS, at_once
from fanfold.bucket.objects import Objects
from fanfold.bucket.requests import LISTED_AT_ONCE, REPEATED, SMALL_BYTES
from fanfold.errors import DataError, StoreError, TakenError
from fanfold.fitness import Fitness, Trial, judged

PROBES = ".fanfold/probe"
RESULT = ".fanfold/store.json"
# A probe takes seconds: what lies there for so long was left by one that was killed.
LEFT_OVER = timedelta(hours=1)
ROUNDS = 5
# Most of the time goes by with the objects that are listed.
LISTED_CONNECTIONS = 4 * CONNECTIONS
# Somebody waits.
PATIENCE_SECONDS = 5


def probe(objects: Objects) -> Fitness:
    """Try a store, in some seconds, and write the result into it, as `.fanfold/store.json`.

    Raises:
        AccessError, StoreError: as `Objects`; nothing is written then.
    """
    place = f"{PROBES}/{secrets.token_hex(8)}"
    try:
        objects.create(f"{place}/begun", b"1")
        found = list(objects.list(PROBES))
        # By the store's clock.
        now = max(one.modified for one in found)
        for left in found:
            if now - left.modified > LEFT_OVER:
                objects.delete(left.name)
        # The store takes its time for each request: the trials wait for it together, each with names of its own.
        trials = [*_trials(objects, place)]
        kept = iter([*at_once(lambda trial: trial.keeps(), trials)])
        fitness = judged(trial._replace(keeps=kept.__next__) for trial in trials)
    finally:
        objects.delete_all(place)
    objects.replace(RESULT, documents.encode(fitness))
    return fitness


def check_fit(objects: Objects) -> None:
    """Check that a store was probed, and is fit.

    Raises:
        DataError: it was not, or is not.
    """
    content = objects.read(RESULT)
    if content is None:
        msg = f"{objects.uri!r} was never tried, expected one that keeps what a feed rests on: run fanfold doctor SPEC"
        raise DataError(msg)
    documents.decode(content, Fitness).check(objects.uri)


def _trials(objects: Objects, place: str) -> Iterator[Trial]:
    def in_place(keeps: Callable[[Objects, str], bool]) -> Callable[[], bool]:
        def tried() -> bool:
            # An object is not what it was made to be, names are not sorted, or the store never does what it should.
            with contextlib.suppress(DataError, StoreError):
                return keeps(objects, f"{place}/{keeps.__name__}")
            return False

        return tried

    yield Trial("create_if_absent", in_place(_creates_once), "of all that create a name, exactly one has it")
    yield Trial("lost_answer", in_place(_finds_its_own), "a request that is sent again finds what it has made")
    yield Trial("read_after_write", in_place(_reads), "what was written, replaced or deleted is seen at once")
    yield Trial(
        "list_after_write", in_place(_lists), f"more than {LISTED_AT_ONCE:,} objects are listed at once, by name"
    )
    yield Trial("versions", in_place(_names_versions), "an e_tag names one version, in a list and in an answer")
    yield Trial("copy", in_place(_copies), "a large object is copied by the store")
    yield Trial(
        "copy_if_absent",
        in_place(_copies_to_free_names),
        "a copy never replaces an object",
        "the name is looked for before a copy, which is compared after: what takes the name in between is replaced",
    )
    yield Trial(
        "delete_if_match",
        in_place(_deletes_versions),
        "only the version that was compared is deleted",
        "the version is compared before it is deleted: what takes its name in between is deleted",
    )
    yield Trial(
        "checksums",
        in_place(_has_md5),
        "an e_tag is the MD5 of the bytes, by which large copies are compared",
        "e_tags prove no bytes: large copies are read back and compared",
    )


def _creates_once(objects: Objects, name: str) -> bool:
    gate = threading.Barrier(CONNECTIONS)

    def has_it(n: int) -> bool:
        gate.wait()
        return _is_made(objects, name, b"%d" % n)

    winners = [n for n, made in enumerate(at_once(has_it, range(CONNECTIONS))) if made]
    late = _is_made(objects, name, b"late")
    return len(winners) == 1 and not late and objects.read(name) == b"%d" % winners[0]


def _is_made(objects: Objects, name: str, content: bytes) -> bool:
    try:
        objects.create(name, content)
    except TakenError:
        return False
    return True


def _finds_its_own(objects: Objects, name: str) -> bool:
    return objects.create(name, b"1").e_tag == objects.create(name, b"1").e_tag


def _reads(objects: Objects, name: str) -> bool:
    for n in range(ROUNDS):
        content = b"%d" % n * (n + 1)
        objects.replace(name, content)
        found = objects.head(name)
        if found is None or found.size_bytes != len(content) or objects.read(name) != content:
            return False
        objects.delete(name)
        if objects.head(name) or objects.read(name) is not None:
            return False
    return True


def _lists(objects: Objects, place: str) -> bool:
    names = [f"{place}/{n:x}" for n in range(LISTED_AT_ONCE + 1)]
    for _ in at_once(lambda name: objects.replace(name, b"1"), names, LISTED_CONNECTIONS):
        pass
    listed = [found.name for found in objects.list(place)]
    for _ in at_once(objects.delete, names, LISTED_CONNECTIONS):
        pass
    return listed == sorted(names) and not list(objects.list(place))


def _names_versions(objects: Objects, place: str) -> bool:
    before = objects.create(f"{place}/1", b"1")
    objects.replace(f"{place}/1", b"2")
    after = objects.head(f"{place}/1")
    return after is not None and after.e_tag not in {"", before.e_tag} and list(objects.list(place)) == [after]


def _copies(objects: Objects, place: str) -> bool:
    source = objects.create(f"{place}/1", bytes(SMALL_BYTES + 1))
    objects.copy(source, f"{place}/2")
    return True


def _copies_to_free_names(objects: Objects, place: str) -> bool:
    for n in (1, 2):
        objects.create(f"{place}/{n}", b"%d" % n)
    with contextlib.suppress(*REPEATED):
        objects.store.copy_if_absent(f"{place}/1", f"{place}/2")
    return objects.read(f"{place}/2") == b"2"


def _deletes_versions(objects: Objects, place: str) -> bool:
    before = objects.create(f"{place}/1", b"1")
    objects.replace(f"{place}/1", b"2")
    try:
        objects.store.delete_if_match(f"{place}/1", before.e_tag)
    except REPEATED:
        return objects.read(f"{place}/1") == b"2"
    return False


def _has_md5(objects: Objects, place: str) -> bool:
    return objects.create(f"{place}/1", b"1").e_tag == hashlib.md5(b"1", usedforsecurity=False).hexdigest()
