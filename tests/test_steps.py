"""The life of a run: each step again at every moment, and what changes between the steps."""

import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold import documents
from fanfold.errors import DataError, EmptySubdir, MissingError
from fanfold.feed.folder import Folder
from fanfold.manifest import Manifest
from fanfold.steps.archive_files import archive_files
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.stage_files import stage_files
from fanfold.steps.verify_run import verify_run
from fanfold.working_files import Files, Progress
from tests.conftest import TS, FeedDir, MakeFeed, new_feed, tree

FILES: dict[str, Any] = {
    "a.json": [{"id": 1, "customer_id": "1", "items": [{"sku": "x"}, {"sku": "y"}]}],
    "b.json": [{"id": 2, "customer_id": "2", "items": []}, {"id": 3, "customer_id": "9"}],
    "sub/c.json.gz": [{"id": 4, "customer_id": "007", "items": [{"sku": "z"}]}],
}
SUBDIRS: dict[str, Any] = {"subdirs": 2}

Call = Callable[[FeedDir], object]


def group_call(step: Callable[[str, Path], object], n: int) -> Call:
    return lambda feed: step(f"staging/{TS}/{n}", feed.data_dir)


CALLS: dict[str, Call] = {
    "stage_files": lambda feed: stage_files(feed.open(), TS),
    "create_dynamic_taskgroups": lambda feed: create_dynamic_taskgroups(feed.data_dir, TS, 2),
    "merge_data 1": group_call(merge_data, 1),
    "denormalize_data 1": group_call(denormalize_data, 1),
    "archive_files 1": group_call(archive_files, 1),
    "merge_data 2": group_call(merge_data, 2),
    "denormalize_data 2": group_call(denormalize_data, 2),
    "archive_files 2": group_call(archive_files, 2),
    "verify_run": lambda feed: verify_run(feed.data_dir, TS, 2),
}
LABELS = list(CALLS)


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """Three files for two groups: the first has two."""
    return make_feed(FILES, **SUBDIRS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree after every step once."""
    other = new_feed(tmp_path_factory.mktemp("undisturbed"), FILES, **SUBDIRS)
    other.run()
    return tree(other.data_dir)


@pytest.mark.parametrize("again", LABELS)
def test_a_step_again_after_every_later_one(feed: FeedDir, undisturbed: dict[str, str], again: str) -> None:
    """A step that runs again, right away, after each later step, or after the commit, answers and leaves the same."""
    first: object = None
    for label, call in CALLS.items():
        answer = call(feed)
        if label == again:
            first = answer
        if first is not None:
            before = tree(feed.data_dir)
            assert CALLS[again](feed) == first, f"{again} after {label}"
            assert tree(feed.data_dir) == before, f"{again} after {label}"
    assert tree(feed.data_dir) == undisturbed


def half_staged(feed: FeedDir) -> None:
    run = feed.at()
    intent = documents.read(run.files_path, Files)
    run.files_path.write_bytes(documents.encode(msgspec.structs.replace(intent, claimed=False)))
    (run.group(1).subdir_dir / "a.json").rename(feed.landing_dir / "a.json")


def half_prepared(feed: FeedDir) -> None:
    run = feed.at()
    run.schema_path.unlink()
    run.reference_path(0).write_bytes(b"half")
    (run.reference_path(0).parent / f".{run.reference_path(0).name}.tmp").write_bytes(b"half")
    run.group(2).inputs_path.unlink()


def half_merged(feed: FeedDir) -> None:
    run = feed.at()
    run.group(1).merged_path.rename(run.group(1).merged_path.with_name(".merged.parquet.tmp"))
    run.group(1).progress_path.unlink()


def merged_without_notes(feed: FeedDir) -> None:
    feed.at().group(1).progress_path.unlink()


def half_written(feed: FeedDir) -> None:
    published_without_notes(feed)
    (feed.at().output_dir / "1.csv").rename(feed.at().output_dir / ".1.csv.tmp")


def published_without_notes(feed: FeedDir) -> None:
    run = feed.at()
    progress = documents.read(run.group(1).progress_path, Progress)
    run.group(1).progress_path.write_bytes(documents.encode(msgspec.structs.replace(progress, published=None)))


def half_archived(feed: FeedDir) -> None:
    run = feed.at()
    (run.group(1).subdir_dir / "a.json").hardlink_to(run.archive_path("a.json"))


HALF = {
    "stage_files": half_staged,
    "create_dynamic_taskgroups": half_prepared,
    "merge_data 1": half_merged,
    "merge_data 1 without notes": merged_without_notes,
    "denormalize_data 1": half_written,
    "denormalize_data 1 without notes": published_without_notes,
    "archive_files 1": half_archived,
}


@pytest.mark.parametrize("label", HALF)
def test_a_step_again_after_it_was_cut_short(feed: FeedDir, undisturbed: dict[str, str], label: str) -> None:
    """What a step leaves when it is killed in its middle, the same step completes, and the tree ends the same."""
    step = label.removesuffix(" without notes")
    answers = {name: CALLS[name](feed) for name in LABELS[: LABELS.index(step) + 1]}
    HALF[label](feed)
    assert CALLS[step](feed) == answers[step]
    for name in LABELS[LABELS.index(step) + 1 :]:
        CALLS[name](feed)
    assert tree(feed.data_dir) == undisturbed


@pytest.mark.parametrize("cut", ["before the manifest", "before the commit", "before the removal", "in the removal"])
def test_verify_run_again_after_it_was_cut_short(
    feed: FeedDir, undisturbed: dict[str, str], tmp_path: Path, cut: str
) -> None:
    """Killed at any place, verify_run is completed by a second call, with the same answer."""
    for label in LABELS[:-1]:
        CALLS[label](feed)
    shutil.copytree(feed.data_dir / "staging", tmp_path / "staging")
    answer = feed.verify()
    shutil.copytree(tmp_path / "staging", feed.data_dir / "staging", dirs_exist_ok=True)
    run = feed.at()
    if cut in {"before the manifest", "before the commit"}:
        run.commit_path.unlink()
    if cut == "before the manifest":
        run.manifest_path.rename(run.manifest_path.with_name("._manifest.json.tmp"))
    if cut == "in the removal":
        run.files_path.unlink()
        shutil.rmtree(run.group(1).subdir_dir)
    assert feed.verify() == answer
    assert tree(feed.data_dir) == undisturbed


def test_merged_records_are_remade(feed: FeedDir, undisturbed: dict[str, str]) -> None:
    """When merged.parquet is gone while the originals are staged, merge_data makes it again."""
    feed.stage()
    CALLS["merge_data 1"](feed)
    feed.at().group(1).merged_path.unlink()
    with pytest.raises(MissingError, match="has no merged records, expected merge_data before this step"):
        CALLS["denormalize_data 1"](feed)
    for n in (1, 2):
        feed.group(n)
    feed.verify()
    assert tree(feed.data_dir) == undisturbed


def test_merged_records_are_not_missed_once_published(feed: FeedDir, undisturbed: dict[str, str]) -> None:
    """When merged.parquet is gone after the originals are archived, nothing is missing."""
    feed.stage()
    feed.group(1)
    feed.at().group(1).merged_path.unlink()
    for n in (1, 2):
        feed.group(n)
    feed.verify()
    assert tree(feed.data_dir) == undisturbed


@pytest.mark.parametrize("after", LABELS)
def test_a_new_file_of_the_same_name_waits(feed: FeedDir, undisturbed: dict[str, str], after: str) -> None:
    """A file that lands under a claimed name, at any time after staging, stays in landing and disturbs nothing."""
    for label in LABELS:
        CALLS[label](feed)
        if label == after:
            feed.land("a.json", "new")
            CALLS["stage_files"](feed)
    left = tree(feed.data_dir)
    assert left.pop("transactions/a.json")
    assert left == undisturbed


def test_a_changed_file_fails_loudly_and_heals(feed: FeedDir, make_feed: MakeFeed) -> None:
    """A file that changed after it was read is not archived; merge_data reads it again, and all ends as if in time."""
    feed.stage()
    for step in ("merge_data 1", "denormalize_data 1"):
        CALLS[step](feed)
    changed = [*FILES["a.json"], {"id": 5, "customer_id": "1", "items": [{"sku": "late"}]}]
    with (feed.at().group(1).subdir_dir / "a.json").open("r+") as file:
        file.write(json.dumps(changed))
    with pytest.raises(DataError, match=r"'a\.json' changed after it was read: its writer still held it"):
        CALLS["archive_files 1"](feed)
    assert not (feed.data_dir / "processed").exists()
    for n in (1, 2):
        feed.group(n)
    feed.verify()
    other = make_feed(FILES | {"a.json": json.dumps(changed)}, "other", **SUBDIRS)
    other.run()
    rows = [sorted((one.read(1) + one.read(2)).split("\n")) for one in (feed, other)]
    assert rows[0] == rows[1]
    assert any("late" in row for row in rows[0])
    assert tree(feed.data_dir).keys() == tree(other.data_dir).keys()


def test_a_touched_file_fails_loudly(feed: FeedDir) -> None:
    """The same size and mtime do not hide a change: the ctime tells it."""
    feed.stage()
    for step in ("merge_data 1", "denormalize_data 1"):
        CALLS[step](feed)
    path = feed.at().group(1).subdir_dir / "a.json"
    before = path.stat()
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"x"', b'"w"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="changed after it was read"):
        CALLS["archive_files 1"](feed)


def test_a_changed_file_with_a_new_field_is_refused(feed: FeedDir) -> None:
    """A file that has a field now which the run's schema lacks fails its group, its name and field are told."""
    feed.stage()
    (feed.at().group(1).subdir_dir / "a.json").write_text('[{"id":1,"customer_id":"1","items":[],"new":1}]')
    with pytest.raises(DataError, match=r"'a\.json': found a field 'new' of type BIGINT, expected the fields"):
        CALLS["merge_data 1"](feed)


def test_a_touched_parquet_with_a_column_of_nulls_is_taken(make_feed: MakeFeed) -> None:
    """What a Parquet file says of a column of nothing but nulls is no reason to refuse it when it is read again."""
    feed = make_feed({"b.json": '{"v": 1}\n{"v": 2}\n'}, subdirs=1, merge=[], denormalize={})
    pq.write_table(pa.table({"v": pa.array([None, None], pa.float64())}), feed.landing_dir / "a.parquet")
    feed.stage()
    (feed.at().group(1).subdir_dir / "a.parquet").chmod(0o640)
    feed.group(1)
    feed.verify()
    assert feed.read(1) == "v\n\n\n1\n2\n"


@pytest.mark.parametrize("moment", ["before the schema", "after the schema"])
def test_a_directory_in_place_of_a_file_fails_its_group_only(
    feed: FeedDir, undisturbed: dict[str, str], moment: str
) -> None:
    """A file replaced by a directory fails its group alone; put back, the run ends well and touches no other output."""
    stage_files(feed.open(), TS)
    path = feed.at().group(1).subdir_dir / "a.json"
    if moment == "after the schema":
        feed.stage()
    aside = path.rename(feed.data_dir.parent / "aside")
    path.mkdir()
    feed.stage()
    with pytest.raises(DataError, match=r"'a\.json' is not a file in .* any more, expected the one that was claimed"):
        CALLS["merge_data 1"](feed)
    feed.group(2)
    output = feed.data_dir / f"denormalized/{TS}/2.csv"
    before = output.stat()
    with pytest.raises(DataError, match=r"groups \[1\] have published nothing"):
        feed.verify()
    path.rmdir()
    aside.rename(path)
    feed.group(1)
    feed.verify()
    after = output.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    if moment == "after the schema":
        assert tree(feed.data_dir) == undisturbed
    else:
        assert tree(feed.data_dir).keys() == undisturbed.keys()


def test_a_bad_file_fails_its_group_only(make_feed: MakeFeed) -> None:
    """A file with too many bad records fails its group with the place; the others publish, no original is lost."""
    feed = make_feed(FILES | {"bad.json": '{"id": 1}\n{"id": 1'}, subdirs=4)
    groups = feed.stage()
    where = next(n for n in groups if (feed.at().group(int(n)).subdir_dir / "bad.json").exists())
    for n in groups:
        if n == where:
            with pytest.raises(DataError, match=r"'bad\.json' line 2, byte 18: found the end"):
                feed.group(int(n))
        else:
            feed.group(int(n))
    with pytest.raises(DataError, match="have published nothing"):
        feed.verify()
    assert sorted(path.name for path in (feed.data_dir / "denormalized" / TS).iterdir()) == [
        f"{n}.csv" for n in groups if n != where
    ]
    assert (feed.at().group(int(where)).subdir_dir / "bad.json").read_text() == '{"id": 1}\n{"id": 1'


@pytest.mark.parametrize("subdirs", [1, 7])
def test_any_number_of_subdirectories(make_feed: MakeFeed, subdirs: int) -> None:
    """One subdirectory takes all files; of more than there are files the last are empty, with zeros in the summary."""
    feed = make_feed(FILES, subdirs=subdirs)
    groups = feed.stage()
    assert groups == {str(n): f"staging/{TS}/{n}" for n in range(1, subdirs + 1)}
    if subdirs > len(FILES):
        for step in (merge_data, denormalize_data, archive_files):
            with pytest.raises(EmptySubdir):
                step(groups["7"], feed.data_dir)
    summary = feed.run()
    assert [subdir.files for subdir in summary.subdirs.values()] == ([3] if subdirs == 1 else [1, 1, 1, 0, 0, 0, 0])
    assert (summary.files_in, summary.records_in, summary.rows_out, summary.records_unmatched) == (3, 4, 5, 1)
    for total, part in (("files_in", "files"), ("bytes_in", "bytes"), ("records_in", "records"), ("rows_out", "rows")):
        assert getattr(summary, total) == sum(getattr(subdir, part) for subdir in summary.subdirs.values())


def test_many_files_in_one_subdirectory(make_feed: MakeFeed) -> None:
    """The number of files of a group is not bounded by the memory of its task."""
    feed = make_feed({f"{i}.json": [{"i": i}] for i in range(100)}, subdirs=1, merge=[], denormalize={})
    assert feed.run().rows_out == 100


def test_no_files_write_nothing(make_feed: MakeFeed) -> None:
    """Without a ready file nothing is written, whatever steps run, and the summary is all zeros."""
    feed = make_feed(**SUBDIRS)
    before = tree(feed.data_dir)
    summary = feed.run()
    assert tree(feed.data_dir) == before
    assert (summary.files_in, summary.rows_out, list(summary.subdirs)) == (0, 0, ["1", "2"])


def test_files_without_records_end_well(make_feed: MakeFeed) -> None:
    """A file without a record is archived like others, an empty one goes to quarantine, their tables have no row."""
    feed = make_feed({"a.json": "[]", "b.json": ""}, **SUBDIRS)
    summary = feed.run()
    assert (summary.files_archived, summary.files_quarantined) == (1, 1)
    assert (summary.records_in, summary.rows_out) == (0, 0)


def test_the_reference_is_frozen(feed: FeedDir, undisturbed: dict[str, str]) -> None:
    """A reference replaced after the groups were prepared changes nothing in this run."""
    feed.stage()
    reference = feed.data_dir / "customers.csv"
    content = reference.read_bytes()
    reference.write_text("customer_id,other\n1,x\n1,y\n")
    for label in LABELS:
        CALLS[label](feed) if label != "stage_files" else None
    reference.write_bytes(content)
    assert tree(feed.data_dir) == undisturbed


def test_the_spec_is_frozen(feed: FeedDir, undisturbed: dict[str, str]) -> None:
    """A spec changed after a group has published changes nothing in this run, not the number of its groups either."""
    feed.stage()
    feed.group(1)
    feed.write_spec(subdirs=5, merge=[], denormalize={}, archive={"path": "old"}, output={"path": "new"})
    feed.run()
    assert tree(feed.data_dir) == undisturbed


@pytest.mark.parametrize("seed", range(3))
def test_the_tree_is_the_same_everywhere(make_feed: MakeFeed, undisturbed: dict[str, str], seed: int) -> None:
    """Files landed in another order, below another path, give the same tree byte by byte."""
    shuffled = list(FILES.items())
    random.Random(seed).shuffle(shuffled)
    feed = make_feed(dict(shuffled), f"else where/{seed}", **SUBDIRS)
    feed.stage()
    for n in random.Random(seed).sample((1, 2), 2):
        feed.group(n)
    feed.verify()
    assert tree(feed.data_dir) == undisturbed


def test_a_name_too_long_stays_in_landing(feed: FeedDir, caplog: pytest.LogCaptureFixture) -> None:
    """A name that cannot take its timestamp or its reason stays in landing, with a warning; all other files go on."""
    # Landing holds the last one, 4,090 characters deep.
    deep = "/".join("d" * 40 for _ in range(200))[: 4090 - len(f"{feed.landing_dir}//a.json")].rstrip("/")
    names = ["x" * 245 + ".json", "é" * 110 + ".reason.json.json", f"{deep}/a.json"]
    for name in names:
        feed.land(name, "[]")
    with caplog.at_level(logging.WARNING):
        assert stage_files(feed.open(), TS) == len(FILES)
    assert f"{', '.join(map(repr, sorted(names)))} stay in landing: its name is too long" in caplog.text
    for name in names:
        assert (feed.landing_dir / name).exists()


def test_what_cannot_be_looked_into_stays_in_landing(feed: FeedDir, caplog: pytest.LogCaptureFixture) -> None:
    """Directories below each other that make too long a path stay in landing, with a warning."""
    here = os.open(feed.landing_dir, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        here, above = os.open("d" * 200, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    with caplog.at_level(logging.WARNING):
        assert feed.run().files_in == len(FILES)
    assert "stays in landing: File name too long" in caplog.text


def test_vanished_files_are_told(feed: FeedDir, caplog: pytest.LogCaptureFixture) -> None:
    """A file taken out of landing between intent and claim is not in the run, with a warning."""
    stage_files(feed.open(), TS)
    half_staged(feed)
    (feed.landing_dir / "a.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert stage_files(feed.open(), TS) == 2
    assert "'a.json' was taken out of landing before it could be claimed" in caplog.text
    assert feed.run().files_in == 2


def test_the_intent_is_written_before_the_first_move(
    feed: FeedDir, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage_files that ends before it moves anything has left its intent: the next one claims these files alone."""

    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "claim", ends)
        with pytest.raises(KeyboardInterrupt):
            stage_files(feed.open(), TS)
    assert sorted(file.name for file in documents.read(feed.at().files_path, Files).files) == sorted(FILES)
    feed.land("z.json", "[]")
    feed.run()
    (feed.landing_dir / "z.json").unlink()
    assert tree(feed.data_dir) == undisturbed


def test_unfinished_runs_are_named(feed: FeedDir, caplog: pytest.LogCaptureFixture) -> None:
    """stage_files names the unfinished runs in its log, and takes none of their files."""
    feed.stage()
    feed.land("d.json", FILES["a.json"])
    with caplog.at_level(logging.WARNING):
        assert stage_files(feed.open(), "20260103T000000Z") == 1
    assert f"unfinished runs: ['{TS}']" in caplog.text


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_published_table_is_compared(feed: FeedDir, change: str) -> None:
    """denormalize_data again compares the published table with its hash."""
    feed.stage()
    feed.group(1)
    table = feed.data_dir / f"denormalized/{TS}/1.csv"
    table.write_text("x") if change == "changed" else table.unlink()
    with pytest.raises(DataError, match=r"1\.csv' is not as it was published, expected sha256"):
        CALLS["denormalize_data 1"](feed)


@pytest.mark.parametrize("label", LABELS[2:8])
def test_a_step_before_its_time_says_so(feed: FeedDir, label: str) -> None:
    """A group's step before the groups are prepared, or before the step that it needs, names what was expected."""
    stage_files(feed.open(), TS)
    with pytest.raises(MissingError, match=r"is not prepared, expected create_dynamic_taskgroups before this step"):
        CALLS[label](feed)
    feed.stage()
    if not label.startswith("merge_data"):
        with pytest.raises(MissingError, match=r"expected (merge|denormalize)_data before this step"):
            CALLS[label](feed)
    if label.startswith("archive_files"):
        CALLS[label.replace("archive_files", "merge_data")](feed)
        with pytest.raises(MissingError, match=r"has nothing published, expected denormalize_data before this step"):
            CALLS[label](feed)
        assert not (feed.data_dir / "processed").exists()


def test_nothing_is_published_before_its_time(feed: FeedDir) -> None:
    """An original is archived only when its rows are published, and the manifest appears after all of them."""
    run = feed.at()
    CALLS["stage_files"](feed)
    staged = documents.read(run.files_path, Files).files
    for label in LABELS:
        CALLS[label](feed)
        for file in staged:
            assert not run.archive_path(file.name).exists() or (run.output_dir / f"{file.subdir}.csv").exists()
        done = label == "verify_run"
        assert (run.manifest_path.exists(), run.commit_path.exists(), run.staging_dir.exists()) == (
            done,
            done,
            not done,
        )


def test_the_manifest_accounts_for_everything(feed: FeedDir) -> None:
    """The manifest names every original with its hash and its place, every table with its rows, and no clock."""
    feed.run()
    committed = documents.read(feed.at().commit_path, Manifest)
    assert feed.at().manifest_path.read_bytes() == feed.at().commit_path.read_bytes()
    after = tree(feed.data_dir)
    assert {file.archived_as: file.sha256 for file in committed.files} == {
        path: digest for path, digest in after.items() if path.startswith("processed/") and digest
    }
    assert {out.path: (out.sha256, out.rows) for out in committed.outputs.values()} == {
        f"denormalized/{TS}/1.csv": (after[f"denormalized/{TS}/1.csv"], 3),
        f"denormalized/{TS}/2.csv": (after[f"denormalized/{TS}/2.csv"], 2),
    }
    assert [column.name for column in committed.columns] == ["id", "customer_id", "items_sku", "customer_name"]


def test_start_checks_what_can_be_known(feed: FeedDir) -> None:
    """A missing reference, column or landing directory is told before the first file moves."""
    (feed.data_dir / "customers.csv").write_text("id,name\n")
    with pytest.raises(MissingError, match="column 'customer_id' is not there"):
        feed.open()
    (feed.data_dir / "customers.csv").unlink()
    with pytest.raises(MissingError, match=r"is not a file, expected the reference 'customers\.csv'"):
        feed.open()
    shutil.rmtree(feed.landing_dir)
    with pytest.raises(MissingError, match="is not a directory, expected the landing directory"):
        feed.open()
