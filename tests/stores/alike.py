"""One delivery on every store: the same bytes everywhere; and a feed that moves between a folder and a bucket."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.stores import delivery
from tests.stores.places import Machine, Place, copied, in_folder, started

ALL_TS = ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z")
# What is told of a tree, by how the names begin.
PARTS = {"tables": "denormalized/", "quarantine": "quarantine/", "archive": "processed/", "manifests": ".fanfold/runs/"}
Say = Callable[[str], object]


def digests(tree: Mapping[str, bytes]) -> str:
    """Return the beginning of the SHA-256 of each part of a tree."""
    told = []
    for part, begin in PARTS.items():
        digest = hashlib.sha256()
        for name, content in sorted(tree.items()):
            if name.startswith(begin):
                digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        told.append(f"{part} {digest.hexdigest()[:12]}")
    return ", ".join(told)


def differences(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Return the names whose files are not the same."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


class Alike:
    """Deliveries of one form, in a folder that stays where it is, and wherever they are compared with it."""

    def __init__(self, root: Path, form: str, files: int, say: Say) -> None:
        """Deliver to the folder."""
        self._root, self._form, self._say = root / form, form, say
        self.differences, self.doctor_seconds = list[str](), list[float]()
        made = delivery.make(self._root, **delivery.FORMS[form])
        deliveries, place = delivery.deliveries(files, max(files // 5, len(delivery.KINDS) + 2)), in_folder(made)
        self._empty = place.tree()
        self._folder, self._deliveries = place, deliveries
        # The trees of the folder after each delivery.
        self.expected = list[dict[str, bytes]]()
        for n in range(len(ALL_TS)):
            self._deliver(place, "folder", n)
        # All others have the same bytes.
        self._verify(place, "folder", "--audit")

    def on(self, store: str) -> None:
        """Deliver once into a store; then the feed moves to a folder, and back, and goes on each time."""
        with started(store, self._root) as bucket:
            new = self._begun()
            for n, at in enumerate((bucket, None, bucket)):
                where = f"{store}, {('new', 'moved to a folder', 'moved to it again')[n]}"
                new = copied(new, self._root, at)
                if at:
                    self._doctor(new, where)
                self._deliver(new, where, n)
            self._verify(new, store)

    def _verify(self, place: Place, where: str, *options: str) -> None:
        for ts in ALL_TS:
            code, told = Machine.fresh(self._root).do(place, "verify", ts, *options)
            if code:
                self._differ(f"{where}: verify {ts} ended with {code}: {told}")

    def _begun(self) -> Place:
        """Return the feed in a folder, with nothing but its references."""
        before = self._root / "before"
        before.mkdir(exist_ok=True)
        place = Place(before / "feed.yaml", before / "data")
        place.spec_path.write_text(self._folder.spec_path.read_text())
        place.put(self._empty)
        return place

    def _doctor(self, place: Place, where: str) -> None:
        began = time.monotonic()
        code, told = Machine.fresh(self._root).do(place, "doctor")
        self.doctor_seconds.append(seconds := time.monotonic() - began)
        self._say(f"{self._form}: {where}: fanfold doctor: {seconds:.1f} s")
        if code:
            self._differ(f"{where}: fanfold doctor ended with {code}: {told}")

    def _deliver(self, place: Place, where: str, n: int) -> None:
        """Land a delivery, do a run, and compare; what the folder has is what is expected of all others."""
        place.land(self._deliveries[n])
        began = time.monotonic()
        code, told = Machine.fresh(self._root).do(place, "run", "--ts", ALL_TS[n])
        seconds = time.monotonic() - began
        if code:
            self._differ(f"{where}: the run of delivery {n + 1} ended with {code}: {told}")
        tree = place.tree()
        files = f"{len(self._deliveries[n])} files"
        self._say(f"{self._form}: {where}: delivery {n + 1}, {files}, {seconds:.1f} s: {digests(tree)}")
        if n == len(self.expected):
            self.expected.append(tree)
        for name in differences(tree, self.expected[n]):
            self._differ(f"{where}: delivery {n + 1}: {name!r} is not what it is in the folder")

    def _differ(self, what: str) -> None:
        self.differences.append(what)
        self._say(f"  {self._form}: {what}")
