"""Retention: what old runs have left goes, what somebody still needs stays, and nothing that was seen is forgotten."""

import itertools
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fanfold import documents
from fanfold.errors import BusyError, DataError, MissingError, PathError
from fanfold.feed import archive, lease, purged, quarantine, replay, runs
from fanfold.layout import Feed
from fanfold.manifest import Manifest
from fanfold.steps import purge, restore
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.freeze_reference import freeze_reference
from fanfold.steps.recount import recount
from fanfold.steps.verify_run import verify_run
from tests.conftest import PATIENCE_SECONDS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

OLD, OLDER, YOUNG = "20250102T000000Z", "20250101T000000Z", "20250601T000000Z"
BEFORE = datetime(2025, 3, 1, tzinfo=UTC)
KEEP = ("customers.csv", ".fanfold/feed.json", ".fanfold/runs/", ".fanfold/purged/")


def records(start: int) -> list[object]:
    return [{"id": start + n, "customer_id": "1", "items": [{"sku": "a"}]} for n in range(3)]


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """Two old runs and a young one, all with the same reference; the second has a bad record and a bad file."""
    made = make_feed(
        {"sub/a.json": records(0)},
        subdirs=2,
        input={"duplicates": "archive", "done_suffix": ".done"},
        quarantine={"max_bad_records_percent": 60},
    )
    for ts, files in (
        (OLDER, {"sub/a.json": records(0)}),
        (OLD, {"b.json": '{"id": 10, "customer_id": "1", "items": []}\n{"id": 11,}\n', "bad.json": "no JSON"}),
        (YOUNG, {"c.json": records(20)}),
    ):
        for name, content in files.items():
            made.land(name, content)
            (made.landing_dir / f"{name}.done").touch()
        made.run(ts)
    return made


def decide(feed: FeedDir) -> None:
    for item in list(quarantine.items(feed.open())):
        quarantine.discard(feed.open(), item)


def files(feed: FeedDir) -> set[str]:
    return {path for path in tree(feed.data_dir) if not path.endswith("/")}


def of(feed: FeedDir, ts: str) -> set[str]:
    """Return the files of a run by their names, which all have its timestamp."""
    return {path for path in files(feed) if ts in path and not path.startswith(".fanfold/")}


def gaps(feed: FeedDir) -> list[str]:
    return [gap for ts in runs.complete(feed.open()) for gap in recount(*runs.open_complete(feed.open(), ts)).gaps]


def test_old_runs_go_and_their_manifests_stay(feed: FeedDir) -> None:
    """All that old runs have left is gone, markers too; the young run, the manifests and the shared reference stay."""
    decide(feed)
    before = files(feed)
    going = of(feed, OLDER) | of(feed, OLD)
    size = sum((feed.data_dir / path).stat().st_size for path in going)
    shown = purge.plan(feed.open(), BEFORE)
    assert files(feed) == before
    assert purge.purge(feed.open(), BEFORE) == shown
    assert (sum(one.files for one in shown), sum(one.bytes for one in shown)) == (len(going), size)
    assert [(one.ts, one.what, one.stays) for one in shown] == [
        (OLDER, ["archive", "output"], None),
        (OLD, ["archive", "output", "quarantine"], None),
    ]
    assert before - files(feed) == going
    assert files(feed) - before == {f".fanfold/purged/{ts}.json" for ts in (OLDER, OLD)}
    assert not {"processed/sub/", f"denormalized/{OLD}/", f"quarantine/{OLD}/"} & tree(feed.data_dir).keys()
    assert purge.purge(feed.open(), BEFORE) == []
    assert gaps(feed) == []
    assert feed.audit(YOUNG).findings == []


def test_a_purged_file_that_comes_again_is_a_duplicate(feed: FeedDir) -> None:
    """The bytes of a purged run are known for ever, also without the index; its auditor agrees."""
    decide(feed)
    purge.purge(feed.open(), BEFORE)
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "fanfold")
    feed.land("again.json", records(0))
    (feed.landing_dir / "again.json.done").touch()
    assert feed.run("20250602T000000Z").rows_out == 0
    committed = runs.open_complete(feed.open(), None)[1]
    assert committed.files[0].duplicate_of == f"{OLDER}/sub/a.json"


def test_the_output_of_a_later_duplicate_stays(feed: FeedDir) -> None:
    """The rows of a file that came again lately are in the old output, so that stays until the late run is old too."""
    decide(feed)
    feed.land("again.json", records(0))
    (feed.landing_dir / "again.json.done").touch()
    feed.run("20250602T000000Z")
    (first, _) = purge.purge(feed.open(), BEFORE)
    assert (first.ts, first.what) == (OLDER, ["archive"])
    assert first.stays == "its output has the rows of duplicates in run 20250602T000000Z"
    assert {path for path in of(feed, OLDER) if path.endswith(".csv")} == {f"denormalized/{OLDER}/1.csv"}
    assert gaps(feed) == []
    assert {one.ts: one.what for one in purge.purge(feed.open(), datetime(2026, 1, 1, tzinfo=UTC))} == {
        OLDER: ["output", "references"],
        OLD: ["references"],
        YOUNG: ["archive", "output", "references"],
        "20250602T000000Z": ["archive", "output", "references"],
    }
    assert {path for path in files(feed) if not path.startswith(KEEP)} == {
        path for path in files(feed) if path.startswith(".fanfold/quarantine/")
    }


def test_a_run_with_open_items_stays_whole(feed: FeedDir) -> None:
    """An item that nobody has decided about, or that no complete run has replayed yet, keeps its whole run."""
    (older, old) = purge.purge(feed.open(), BEFORE)
    assert (older.ts, old.what, old.stays) == (OLDER, [], "2 items open: fanfold quarantine list SPEC")
    for item in list(quarantine.items(feed.open())):
        fixed = b'{"id": 11, "customer_id": "1", "items": []}'
        fixed = fixed if item.bad.file == "b.json" else b"[%s]" % fixed.replace(b"11", b"12")
        replay.replay(feed.open(), item, fixed)
    assert purge.plan(feed.open(), BEFORE)[0].stays == old.stays
    feed.run("20250603T000000Z")
    assert [one.what for one in purge.purge(feed.open(), BEFORE)] == [["archive", "output", "quarantine"]]
    assert gaps(feed) == []


def test_only_the_kinds_that_are_asked_for_go(feed: FeedDir) -> None:
    """With --what output alone, a run can still be restored and made again, and its files are still compared."""
    decide(feed)
    assert [one.what for one in purge.purge(feed.open(), BEFORE, ["output"])] == [["output"], ["output"]]
    run, committed = runs.open_complete(feed.open(), OLD)
    assert restore.differences(run, committed) == []
    found = recount(run, committed)
    assert (found.gaps, found.files, found.rows) == ([], 2, 0)
    assert found.lost == "purged (output): it can no longer be counted or audited as a whole"
    original = next(feed.data_dir.glob("processed/b_*.json"))
    original.write_bytes(original.read_bytes().replace(b"10", b"12"))
    assert [gap.partition(":")[0] for gap in recount(run, committed).gaps] == [
        f"'processed/{original.name}' is changed"
    ]


def test_a_run_that_is_unfinished_stays_and_so_do_references(feed: FeedDir) -> None:
    """An unfinished run stays however old it is; references and folders stay while it may need them."""
    decide(feed)
    feed.land("d.json", records(30))
    (feed.landing_dir / "d.json.done").touch()
    stale = "20250105T000000Z"
    feed.stage(stale)
    late = datetime(2026, 1, 1, tzinfo=UTC)
    found = {one.ts: one for one in purge.purge(feed.open(), late)}
    assert set(found) == {OLDER, OLD, YOUNG}
    assert {one.stays for one in found.values()} == {"an unfinished run may join the references"}
    assert list(feed.open().references_dir.iterdir())
    assert "processed/sub/" in tree(feed.data_dir)
    for n in (1, 2):
        feed.group(n, stale)
    feed.verify(stale)
    assert feed.audit(stale).findings == []
    purge.purge(feed.open(), late)
    assert not list(feed.open().references_dir.iterdir())


def test_the_output_of_an_unfinished_duplicate_stays(feed: FeedDir) -> None:
    """The rows of a file that came again are in the old output, so that stays while the run of the file goes on."""
    decide(feed)
    late = "20250602T000000Z"
    feed.land("again.json", records(0))
    (feed.landing_dir / "again.json.done").touch()
    feed.stage(late)
    (first, _) = purge.purge(feed.open(), BEFORE, ["output"])
    assert (first.ts, first.what) == (OLDER, [])
    assert first.stays == f"its output has the rows of duplicates in run {late}"
    for n in (1, 2):
        feed.group(n, late)
    feed.verify(late)
    assert feed.audit(OLDER).findings == []


def test_a_run_that_begins_meanwhile_keeps_its_reference(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has read a reference before a purge removes the copy that is kept has a copy of its own."""
    decide(feed)
    late, planned, frozen = "20260102T000000Z", threading.Event(), threading.Event()
    feed.land("d.json", records(30))
    (feed.landing_dir / "d.json.done").touch()
    claim, plan, freeze = runs.claim_data_dir, purge._plan, freeze_reference  # noqa: SLF001

    def claims(of: Feed) -> None:
        claim(of)
        purging.start()
        assert planned.wait(PATIENCE_SECONDS)

    def plans(*of: Any) -> Any:
        found = plan(*of)
        planned.set()
        assert frozen.wait(PATIENCE_SECONDS)
        return found

    def freezes(*of: Any) -> Any:
        found = freeze(*of)
        frozen.set()
        return found

    monkeypatch.setattr(runs, "claim_data_dir", claims)
    monkeypatch.setattr(purge, "_plan", plans)
    monkeypatch.setattr("fanfold.steps.create_dynamic_taskgroups.freeze_reference", freezes)
    opened = feed.open()
    purging = threading.Thread(target=purge.purge, args=(opened, datetime(2025, 12, 1, tzinfo=UTC)))
    feed.run(late)
    purging.join()
    assert "references" in purged.kinds(feed.at(YOUNG))
    assert gaps(feed) == []


def test_a_run_that_ends_meanwhile_keeps_what_it_needs(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends while a purge looks at the runs keeps its reference, and the rows of its duplicates."""
    decide(feed)
    late = "20260102T000000Z"
    for name, content in (("again.json", records(0)), ("d.json", records(30))):
        feed.land(name, content)
        (feed.landing_dir / f"{name}.done").touch()
    feed.stage(late)
    for n in (1, 2):
        feed.group(n, late)
    opened, ends = feed.open(), iter([feed.verify])

    def then_ends(look: Callable[[Feed], list[str]]) -> Callable[[Feed], list[str]]:
        def looks(of: Feed) -> list[str]:
            found = look(of)
            for end in ends:
                end(late)
            return found

        return looks

    with monkeypatch.context() as patched:
        patched.setattr(runs, "complete", then_ends(runs.complete))
        patched.setattr(runs, "unfinished", then_ends(runs.unfinished))
        purge.purge(opened, datetime(2025, 12, 1, tzinfo=UTC))
    assert runs.complete(opened) == [OLDER, OLD, YOUNG, late]
    assert gaps(feed) == []
    assert list(opened.references_dir.iterdir())
    assert (feed.data_dir / f"denormalized/{OLDER}/1.csv").exists()


def test_one_purges_at_a_time(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second purge is told who purges; tried again, it does its part, and what both have removed is known."""
    decide(feed)
    monkeypatch.setattr(lease, "GRACE_SECONDS", 0.1)
    record, opened = purge._record, feed.open()  # noqa: SLF001

    def records_late(*of: Any, done: bool) -> None:
        with pytest.raises(
            BusyError, match=rf"is locked by fanfold purge in process {os.getpid()} on .*try again later"
        ):
            purge.purge(opened, BEFORE, ["archive"])
        record(*of, done=done)

    with monkeypatch.context() as patched:
        patched.setattr(purge, "_record", records_late)
        purge.purge(opened, BEFORE, ["output"])
    purge.purge(opened, BEFORE, ["archive"])
    assert purged.kinds(feed.at(OLDER)) == ["archive", "output"]
    assert gaps(feed) == []
    assert not of(feed, OLDER)


def test_a_restore_of_a_run_that_is_purged_meanwhile_says_so(
    feed: FeedDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore whose run is purged while it copies ends with that reason."""
    decide(feed)
    copy_out = archive.copy_out

    def copies(*of: Any) -> None:
        purge.purge(feed.open(), BEFORE)
        copy_out(*of)

    monkeypatch.setattr(archive, "copy_out", copies)
    with pytest.raises(MissingError, match=rf"run {OLDER} was purged \(archive\), expected"):
        restore.restore(*runs.open_complete(feed.open(), OLDER), tmp_path / "target")


@pytest.mark.parametrize(
    ("look", "number"), [("feed.purged.kinds", 2), ("feed.purged.kinds", 3), ("steps.recount.damages", 1)]
)
def test_a_recount_of_a_run_that_is_purged_meanwhile_finds_no_gap(
    look: str, number: int, feed: FeedDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recount whose run is purged after any of its looks counts again what is left."""
    decide(feed)
    do, looks = pkgutil.resolve_name(f"fanfold.{look}"), itertools.count(1)

    def looked(*of: Any) -> Any:
        found = do(*of)
        if next(looks) == number:
            monkeypatch.undo()
            purge.purge(feed.open(), BEFORE, ["output"])
        return found

    run, committed = runs.open_complete(feed.open(), OLDER)
    monkeypatch.setattr(f"fanfold.{look}", looked)
    found = recount(run, committed)
    assert (found.gaps, found.lost) == ([], "purged (output): it can no longer be counted or audited as a whole")


def test_what_was_removed_by_hand_is_known_as_purged(feed: FeedDir) -> None:
    """A run whose files were deleted by hand has gaps, until a purge notes down that they are gone."""
    shutil.rmtree(feed.data_dir / "denormalized" / OLDER)
    assert gaps(feed)
    (one, _) = purge.purge(feed.open(), BEFORE, ["output"])
    assert (one.ts, one.what, one.files) == (OLDER, ["output"], 0)
    assert gaps(feed) == []


def test_commands_about_a_purged_run_say_so(feed: FeedDir, tmp_path: Path) -> None:
    """verify ends with 0 and says what is not proved; restore, replay and --from-archive name the reason, with 2."""
    decide(feed)
    purge.purge(feed.open(), BEFORE)
    run, committed = runs.open_complete(feed.open(), OLD)
    gone = "purged (archive, output, quarantine): it can no longer be counted, made again or audited as a whole"
    assert recount(run, committed).lost == gone
    for call in (
        lambda: restore.restore(run, committed, tmp_path / "target"),
        lambda: restore.stage_again(run, committed, runs.open_feed(feed.spec_path, tmp_path / "feed" / "again")),
    ):
        with pytest.raises(MissingError, match=rf"run {OLD} was purged \(archive, quarantine\), expected"):
            call()
    with pytest.raises(MissingError, match=rf"run {OLD} was purged \(quarantine\), expected"):
        quarantine.find(feed.open(), f"{OLD}/1:1")
    assert list(quarantine.items(feed.open())) == []
    # What Airflow does when somebody clears the tasks of an old run.
    for n in (1, 2):
        feed.group(n, OLD)
    denormalize_data(f"staging/{OLD}/1", feed.data_dir)
    assert verify_run(feed.data_dir, OLD, 2) == committed.summary


def test_a_changed_manifest_of_a_purged_run_is_a_gap(feed: FeedDir) -> None:
    """The manifest is all that is left of a purged run, and a byte that is changed in it is still named."""
    decide(feed)
    purge.purge(feed.open(), BEFORE)
    commit = feed.at(OLD).commit_path
    commit.write_bytes(commit.read_bytes().replace(b'"files_in": 2', b'"files_in":  2'))
    assert gaps(feed) == [f"'.fanfold/runs/{OLD}.json' is changed: expected the manifest of the run, byte for byte"]


def test_no_path_and_no_link_leads_out_of_the_feed(feed: FeedDir, tmp_path: Path) -> None:
    """A manifest that names a file elsewhere, or a folder that is a link, removes nothing at all."""
    decide(feed)
    victim = tmp_path / "victim.json"
    victim.write_text("mine")
    before = tree(feed.data_dir)
    outside = tmp_path / "outside"
    shutil.move(feed.data_dir / "processed" / "sub", outside)
    (feed.data_dir / "processed" / "sub").symlink_to(outside)
    with pytest.raises(PathError, match="is a link to"):
        purge.purge(feed.open(), BEFORE)
    (feed.data_dir / "processed" / "sub").unlink()
    shutil.move(outside, feed.data_dir / "processed" / "sub")
    assert tree(feed.data_dir) == before
    commit = feed.at(OLD).commit_path
    content = json.loads(commit.read_bytes())
    content["files"][0]["archived_as"] = "processed/../../../victim.json"
    commit.write_text(json.dumps(content))
    with pytest.raises(DataError, match="expected a file in a folder of the feed"):
        purge.purge(feed.open(), BEFORE)
    assert victim.read_text() == "mine"
    assert of(feed, OLDER)


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from fanfold.feed import runs
from fanfold.steps import purge
left = int(sys.argv[2])
def hook(event, args):
    global left
    if event in {"os.remove", "os.rename", "os.rmdir"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
feed = runs.open_feed(sys.argv[1])
sys.addaudithook(hook)
purge.purge(feed, datetime(2026, 1, 1, tzinfo=UTC))
"""


@pytest.mark.slow
def test_killed_at_any_moment_a_second_call_ends_it(feed: FeedDir) -> None:
    """Killed before any of its changes, a purge is completed by a later one, in the same tree; nothing is a gap."""
    decide(feed)
    once = FeedDir(feed.spec_path.parent / "once" / "feed.yaml", feed.spec_path.parent / "once" / "data")
    shutil.copytree(feed.data_dir, once.data_dir)
    shutil.copy(feed.spec_path, once.spec_path)
    assert subprocess.run([sys.executable, "-c", KILLED, once.spec_path, "9999"], check=False).returncode == 0
    start, kills = feed.data_dir.with_name("start"), 0
    shutil.copytree(feed.data_dir, start)
    while True:
        shutil.rmtree(feed.data_dir)
        shutil.copytree(start, feed.data_dir)
        done = subprocess.run([sys.executable, "-c", KILLED, feed.spec_path, str(kills)], check=False)
        assert done.returncode in {0, -signal.SIGKILL}
        if done.returncode == 0:
            break
        kills += 1
        assert gaps(feed) == []
        # With nothing that is old enough, what was begun is still ended.
        purge.purge(feed.open(), datetime(2026, 1, 1, tzinfo=UTC))
        assert tree(feed.data_dir) == tree(once.data_dir)
    assert kills > 20


def test_what_was_begun_is_ended_by_the_next_call(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short, a purge is completed by the next one, also where that asks for nothing of the run."""
    decide(feed)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(purge, "_remove", stop)
        with pytest.raises(KeyboardInterrupt):
            purge.purge(feed.open(), BEFORE)
    assert gaps(feed) == []
    assert of(feed, OLDER)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert [one.what for one in purge.plan(feed.open(), long_ago)] == [
        ["archive", "output"],
        ["archive", "output", "quarantine"],
    ]
    purge.purge(feed.open(), long_ago)
    assert not of(feed, OLDER) | of(feed, OLD)
    record = purged.record(feed.at(OLD))
    assert record is not None
    assert record.done


def test_a_run_that_decides_is_waited_for(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run holds the feed, a purge waits, and then says so."""
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.1)
    with lease.locked(feed.open().identity_path, 1), pytest.raises(BusyError, match="try again later"):
        purge.purge(feed.open(), BEFORE)


@pytest.mark.slow
def test_the_command_line_shows_first(feed: FeedDir) -> None:
    """`purge` shows what goes and how to do it; with --yes it does it; what is wrong with an option is named."""
    shown = fanfold("purge", feed.spec_path, "--older-than", "2025-03-01")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "nothing is removed yet: add --yes to remove this for good" in shown.stdout
    assert f"run {OLD} stays: 2 items open: fanfold quarantine list {feed.spec_path}" in shown.stdout
    assert of(feed, OLDER)
    listed = fanfold("purge", feed.spec_path, "--older-than", "90d", "--what", "output", "--json")
    assert {one["ts"]: one["what"] for one in json.loads(listed.stdout)} == {
        OLDER: ["output"],
        OLD: [],
        YOUNG: ["output"],
    }
    done = fanfold("purge", feed.spec_path, "--older-than", "2025-03-01", "--yes")
    assert (done.returncode, "purged 1 run; their manifests stay" in done.stdout) == (0, True)
    assert not of(feed, OLDER)
    assert "purged: archive, output" in fanfold("status", feed.spec_path).stdout
    verified = fanfold("verify", feed.spec_path, OLDER, "--deep", "--audit")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "purged (archive, output): it can no longer be counted, made again or audited" in verified.stdout
    assert "nothing lost" not in verified.stdout
    again = fanfold("purge", feed.spec_path, "--older-than", "2025-01-01T12:00:00Z", "--yes")
    assert again.stdout == "nothing to purge from before 2025-01-01T12:00:00Z\n"
    for options, message in (
        (["--older-than", "90"], "found '90', expected hours, days or weeks (12h, 90d, 8w), or"),
        (["--older-than", "90d", "--what", "outputs"], "found 'outputs', did you mean 'output'?"),
        ([], "Missing option '--older-than'"),
    ):
        wrong = fanfold("purge", feed.spec_path, *options)
        assert (wrong.returncode, message in wrong.stderr) == (2, True), wrong.stderr


def test_the_record_has_no_clock(feed: FeedDir) -> None:
    """Two purges at different times leave the same bytes."""
    decide(feed)
    purge.purge(feed.open(), BEFORE)
    record = json.loads(feed.at(OLD).purged_path.read_bytes())
    assert list(record) == ["format", "fanfold", "run", "what", "done"]
    assert documents.read(feed.at(OLD).commit_path, Manifest).fanfold == record["fanfold"]


def test_the_output_of_several_tables_goes(make_feed: MakeFeed) -> None:
    """The tables of a feed that has several go together, with their folders."""
    tables = {"orders": {"explode": []}, "items": {"explode": ["items"]}}
    feed = make_feed({"a.json": records(0)}, subdirs=1, denormalize={}, tables=tables)
    feed.run(OLD)
    assert [one.files for one in purge.purge(feed.open(), BEFORE, ["output"])] == [3]
    assert list((feed.data_dir / "denormalized").iterdir()) == []
    assert gaps(feed) == []
