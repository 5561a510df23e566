"""A run without Airflow: the groups on threads of one process."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fanfold.errors import BusyError
from fanfold.feed.status import status_of
from fanfold.steps import local
from fanfold.working_files import told
from tests.conftest import PATIENCE_SECONDS, TS, MakeFeed, tree
from tests.test_cli import fanfold

RECORDS = [{"id": 1, "customer_id": "1", "items": [{"qty": 1}]}]


def quiet(_n: int, _step: str, _state: str) -> None:
    """Hear of steps, and do nothing."""


@pytest.mark.parametrize(("tasks", "cores", "most"), [(3, 64, 3), (64, 3, 3), (64, 64, 5)])
def test_steps_run_at_once_as_the_spec_allows_and_on_a_core_each(
    make_feed: MakeFeed, monkeypatch: pytest.MonkeyPatch, tasks: int, cores: int, most: int
) -> None:
    """So many steps are in work at a time: as the spec has tasks, the run groups, and the machine cores; the least."""
    feed = make_feed({f"{n}.json": RECORDS for n in range(5)}, subdirs=5, concurrent_tasks=tasks)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    # As many steps as may be in work at once meet here; with a thread less, they wait for the last in vain.
    meeting = threading.Barrier(most, timeout=PATIENCE_SECONDS)

    merge = local.GROUP_STEPS[0]

    def merge_data(subdir: str, data_dir: str) -> object:
        if int(subdir[-1]) <= most:
            meeting.wait()
        return merge(subdir, data_dir)

    monkeypatch.setattr(local, "GROUP_STEPS", (merge_data, *local.GROUP_STEPS[1:]))
    counts, at_once = [0], 0

    def heard(_n: int, _step: str, state: str) -> None:
        nonlocal at_once
        at_once += 1 if state == "running" else -1
        counts.append(at_once)

    assert local.run(feed.open(), TS, heard).summary.rows_out == 5
    assert (max(counts), at_once) == (most, 0)


def test_a_group_that_fails_stops_no_other(make_feed: MakeFeed) -> None:
    """The others publish and archive; the errors come together, in the order of subdirectories, with what to do."""
    bad = '{"customer_id": "1"}\n{"id": '
    files = {"b.json": bad, "d.json": bad, "a.json": RECORDS, "c.json": RECORDS}
    feed = make_feed(files, subdirs=4, quarantine={"max_bad_records_percent": 0})
    with pytest.raises(ExceptionGroup) as failed:
        local.run(feed.open(), TS, quiet)
    groups = {path.name: n for n in range(1, 5) for path in feed.at().group(n).subdir_dir.iterdir()}
    assert sorted(groups) == ["b.json", "d.json"]
    in_order = sorted(groups, key=lambda name: groups[name])
    expected = [f"staging/{TS}/{groups[name]}" for name in in_order]
    assert [str(error).split(":")[0] for error in failed.value.exceptions] == expected
    (note,) = failed.value.__notes__
    assert note.startswith(f"run {TS} is unfinished, 2 of 4 groups failed: ")
    assert note.endswith(f"give up the run: fanfold release SPEC {TS}")
    assert sorted(path.name for path in feed.at().archive_path("a.json").parent.iterdir()) == [
        f"a_{TS}.json", f"c_{TS}.json"
    ]  # fmt: skip


def test_what_stops_several_groups_alike_is_said_once(make_feed: MakeFeed) -> None:
    """An error of several groups is one line with their numbers, in `run` and `status`, whatever they are in paths."""
    feed = make_feed({f"{n}.json": RECORDS for n in range(4)}, subdirs=4)
    feed.stage()
    for group in feed.at().groups[:3]:
        group.output_paths[0].mkdir(parents=True)
    with pytest.raises(ExceptionGroup) as failed:
        local.run(feed.open(), TS, quiet)
    (error,) = failed.value.exceptions
    assert "/1.csv' exists and is not of this run" in str(error)
    assert error.__notes__ == ["this is the error of the groups 1, 2, 3"]
    assert "3 of 4 groups failed" in failed.value.__notes__[0]
    reasons = told(status_of(feed.open(), TS).failed)
    assert [reason.partition(": ")[0] for reason in reasons] == ["denormalize_data of subdirectories 1, 2, 3"]
    feed.at().group(2).output_paths[0].rmdir()
    with pytest.raises(ExceptionGroup):
        local.run(feed.open(), TS, quiet)
    done = fanfold("run", feed.spec_path, "--ts", TS)
    assert (done.returncode, done.stderr.count("exists and is not of this run")) == (1, 1)
    assert "this is the error of the groups 1, 3" in done.stderr


def test_threads_end_in_the_tree_of_one_step_after_another(make_feed: MakeFeed) -> None:
    """Groups that run at once leave the same tree, byte for byte, as the same steps one after the other."""
    files = {f"{n}.json": RECORDS * (n + 1) for n in range(20)}
    alone = make_feed(files, folder="alone", subdirs=8)
    alone.run()
    together = make_feed(files, folder="together", subdirs=8, concurrent_tasks=2)
    local.run(together.open(), TS, quiet)
    assert tree(together.data_dir) == tree(alone.data_dir)


def test_a_second_run_is_told_who_works_and_that_the_run_is_complete(make_feed: MakeFeed) -> None:
    """Of two `fanfold run` of one run the late one ends as busy: it names the run and the other, or that it is done."""
    feed = make_feed({"a.json": RECORDS}, subdirs=1)
    begun, go_on = threading.Event(), threading.Event()

    def wait(_n: int, _step: str, _state: str) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(local.run, feed.open(), TS, wait)
        assert begun.wait(PATIENCE_SECONDS)
        with pytest.raises(BusyError, match=rf"another process works on run {TS}: .* fanfold run in process \d+"):
            local.run(feed.open(), TS, quiet)
        second = threads.submit(local.run, feed.open(), TS, quiet)
        time.sleep(0.5)
        go_on.set()
        summary = first.result().summary
        try:
            # It may also find the run complete when it looks at it for the first time.
            assert second.result().summary == summary
        except BusyError as error:
            assert str(error).startswith(f"another process has just finished run {TS}: run again to")  # noqa: PT017
    assert local.run(feed.open(), TS, quiet).summary.rows_out == 1
