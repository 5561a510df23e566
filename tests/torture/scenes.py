"""What is killed: a command on a feed in some state; what is changed before its second call, and what follows then."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanfold.feed import corrections, quarantine
from tests.conftest import TS, FeedDir
from tests.torture.feeds import ORDERS, SHOP, make_shop, make_small_shop
from tests.torture.runs import FOLDER, SPEC, STEPS, Command, Runner, copy
from tests.torture.shim import Strike, operations

LATER, LAST, NEXT_MONTH = "20260102T040506Z", "20260102T050607Z", "20260202T030405Z"
RELEASE: Command = ("release", SPEC, TS)
BEGUN, COMMITTED = f"staging/{TS}/.fanfold/files.json", f".fanfold/runs/{TS}.json"
PUBLISHED = ("denormalized/*/**/[0-9]*.csv", COMMITTED)


@dataclasses.dataclass(frozen=True)
class Change:
    """What somebody changes between a kill and the next call.

    A run that has not begun is by what there is then; one that has a file of `frozen` is by what there was before.
    Between the two it is as if `kept` had been made before it began; or it is `refused`, until it is given up.
    """

    made: Callable[[FeedDir], object]
    kept: Callable[[FeedDir], object]
    frozen: tuple[str, ...] = PUBLISHED
    refused: bool = False

    def of(self, data_dir: Path) -> str:
        """Say by what a killed run goes on: `before`, `kept` or `now`."""
        if any(next(data_dir.glob(place), None) for place in self.frozen):
            return "before"
        return "kept" if (data_dir / BEGUN).exists() else "now"


@dataclasses.dataclass(frozen=True)
class Scene:
    """A feed, the command that is disturbed, and the commands that follow once it has ended.

    A call of what is done already ends with one of the exit codes `codes`. With `killed`, a run of the feed was killed
    before, when it was about to write what has this in its path.
    """

    spec: Path
    command: Command = STEPS
    then: tuple[Command, ...] = ()
    change: Change | None = None
    codes: tuple[int, ...] = (0,)
    killed: str = ""


Make = Callable[[Path], Scene]


def opened(spec: Path) -> FeedDir:
    """Return the feed of a spec."""
    return FeedDir(spec, spec.with_name("data"))


def shop(root: Path) -> Scene:
    """Do two runs of a shop, the first of which leaves files for the second."""
    return Scene(make_shop(root), then=((*STEPS, LATER),))


def second_run(root: Path) -> Scene:
    """Do the second of two runs, by the command line: it has duplicates of the first, and other archives."""
    spec = make_shop(root)
    opened(spec).run()
    return Scene(spec, ("run", SPEC, "--ts", LATER))


def leftover(root: Path) -> Scene:
    """Finish a run that was killed when one of its groups had published, as `start` does in Airflow."""
    return Scene(make_small_shop(root).spec_path, ("run", SPEC), killed="items/.2.csv.tmp")


def release(root: Path) -> Scene:
    """Give up a run that was killed when one of its groups had published."""
    later = ((*STEPS, LATER), (*STEPS, LAST))
    return Scene(make_shop(root), RELEASE, later, codes=(0, 2), killed="items/.2.csv.tmp")


def release_unpublished(root: Path) -> Scene:
    """Give up a run that was killed before it published."""
    spec = make_small_shop(root).spec_path
    return Scene(spec, RELEASE, ((*STEPS, LATER),), codes=(0, 2), killed="merged.records")


def release_marked(root: Path) -> Scene:
    """Give up a run whose files have markers."""
    feed = make_small_shop(root, input={"done_suffix": ".done", "duplicates": "archive"})
    for path in [*feed.landing_dir.iterdir()]:
        path.with_name(f"{path.name}.done").touch()
    return Scene(feed.spec_path, RELEASE, ((*STEPS, LATER),), codes=(0, 2), killed="merged.records")


def restore(root: Path) -> Scene:
    """Put the originals of a run back into landing; the next run finds them to be duplicates."""
    feed = make_small_shop(root)
    feed.run()
    return Scene(feed.spec_path, ("restore", SPEC, TS), ((*STEPS, LATER),))


def from_archive(root: Path) -> Scene:
    """Make a run again from its archive, in another data_dir."""
    feed = make_small_shop(root)
    feed.run()
    return Scene(feed.spec_path, ("run", SPEC, "--from-archive", TS, "--data-dir", f"{FOLDER}/data/again"))


def purge(root: Path) -> Scene:
    """Purge two runs of three; the third stays, with the references that it has joined."""
    feed = opened(make_shop(root))
    for number, ts in enumerate((TS, LATER, NEXT_MONTH)):
        feed.land(
            f"more-{number}.json", [{"id": f"more-{number}", "customer_id": "1", "items": [{"sku": "a", "qty": 1}]}]
        )
        feed.run(ts)
    for item in quarantine.opened(feed.open(), ()):
        quarantine.discard(feed.open(), item, None)
    return Scene(feed.spec_path, ("purge", SPEC, "--older-than", "2026-02-01", "--yes"), (("verify", SPEC),))


def discard(root: Path) -> Scene:
    """Decide of all bad records and files of a run that they are not needed."""
    feed = opened(make_shop(root))
    feed.run()
    items = [item.item for item in quarantine.opened(feed.open(), ())]
    return Scene(feed.spec_path, ("quarantine", "discard", SPEC, *items))


def replay_as_it_was(root: Path) -> Scene:
    """Land all bad records and files again, members of archives too, once they can be read."""
    feed = opened(make_shop(root))
    feed.run()
    return Scene(
        feed.spec_path,
        ("quarantine", "replay", SPEC, "--code", "truncated", "--code", "trailing_comma"),
        ((*STEPS, LATER),),
    )


def replay_corrected(root: Path) -> Scene:
    """Land all bad records and files again, corrected by one file; the next runs take them."""
    feed = opened(make_shop(root))
    feed.run()
    feed.run(LATER)
    lines = []
    for number, line in enumerate(corrections.export(feed.open())):
        if line.code == "unknown_format":
            continue
        record = {"id": f"corrected-{number}", "customer_id": "2", "items": [{"sku": "a", "qty": number}]}
        content = json.dumps([record])
        lines.append(json.dumps({"item": line.item, "raw": content}) + "\n")
    feed.spec_path.with_name("corrected.jsonl").write_text("".join(lines))
    later = tuple((*STEPS, ts) for ts in (LAST, NEXT_MONTH, "20260203T030405Z"))
    return Scene(feed.spec_path, ("quarantine", "replay", SPEC, "--with", f"{FOLDER}/corrected.jsonl"), later)


def changed_spec(now: dict[str, Any], kept: dict[str, Any], root: Path) -> Scene:
    """Change keys of the spec of a run; `kept` are those that a run takes up that has begun."""
    feed = make_small_shop(root)
    # Where input.path is changed, there is another file.
    feed.land("../elsewhere/d.json", ORDERS[3:])
    change = Change(lambda feed: feed.write_spec(**SHOP | now), lambda feed: feed.write_spec(**SHOP | kept))
    return Scene(feed.spec_path, change=change)


def refused_spec(root: Path) -> Scene:
    """Change the spec into one that does not fit what a run keeps: it is given up, and then done by the new one."""
    keys = SHOP | {"output": {"path": "processed"}, "archive": {"path": "old"}}
    change = Change(lambda feed: feed.write_spec(**keys), lambda feed: feed.write_spec(**keys), refused=True)
    return Scene(make_small_shop(root).spec_path, change=change)


def changed_reference(root: Path) -> Scene:
    """Change a reference of a run: what is joined is what was there when the schema was fixed."""

    def change(feed: FeedDir) -> None:
        (feed.data_dir / "customers.csv").write_text("customer_id,city\n1,Rome\n2,Oslo\n")

    frozen = (f"staging/{TS}/.fanfold/schema.json", COMMITTED)
    return Scene(make_small_shop(root).spec_path, change=Change(change, change, frozen))


ITEMS = {"explode": ["items"], "keys": ["id"]}
COLUMNS = {"tables": {"orders": {"columns": ["id"]}, "items": {**ITEMS, "columns": [{"twice": "items_qty * 2"}]}}}
# Of each: what is in the spec then, and what of it a run takes up that has begun.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "columns": (COLUMNS, COLUMNS),
    "tables": ({"tables": {"payments": {"explode": ["payments"]}, "items": ITEMS}},) * 2,
    "tables to none": ({"tables": {}, "denormalize": {"explode": ["items"]}},) * 2,
    "references": ({"merge": [{"reference": "customers.csv", "key": "customer_id", "into": "client"}]},) * 2,
    "types": ({"input": {"duplicates": "archive", "fields": {"items.qty": "DECIMAL(9,2)"}}},) * 2,
    "output": ({"output": {"path": "tables", "format": "parquet", "lineage": True}},) * 2,
    "subdirs": ({"subdirs": 3}, {}),
    "subdirs and columns": ({"subdirs": 1, **COLUMNS}, COLUMNS),
    "patterns": ({"input": {"duplicates": "archive", "patterns": ["*.json"]}}, {}),
    "max_files": ({"input": {"duplicates": "archive", "max_files": 1}}, {}),
    "landing": ({"input": {"duplicates": "archive", "path": "elsewhere"}}, {}),
    "archive": ({"archive": {"path": "old", "name": "{ts}_{name}", "compression": "gzip"}}, {}),
    "quarantine": ({"quarantine": {**SHOP["quarantine"], "path": "bad"}}, {}),
}
SCENES: dict[str, Make] = {
    "two runs of a shop": shop,
    "the second run": second_run,
    "a leftover run": leftover,
    "release": release,
    "release of what is not published": release_unpublished,
    "release of files with markers": release_marked,
    "restore": restore,
    "run --from-archive": from_archive,
    "purge": purge,
    "quarantine discard": discard,
    "quarantine replay": replay_as_it_was,
    "quarantine replay --with": replay_corrected,
    **{f"change of {name}": functools.partial(changed_spec, *keys) for name, keys in CHANGES.items()},
    "change that is refused": refused_spec,
    "change of a reference": changed_reference,
}


def kill(spec: Path, runner: Runner, place: str) -> None:
    """Kill a run before the first change of a place."""
    counted = spec.parent.parent / "counted"
    assert runner.run(copy(spec, counted), Strike()).code == 0
    changes = operations(counted / "data")
    at = 1 + next(at for at, what in enumerate(changes) if place in what)
    assert runner.run(spec, Strike(at)).code == -9
