"""What lies in landing: what is taken, in which run, and what is said of the rest."""

import gzip
import json
import subprocess
import sys
from typing import Any

import pytest
import zstandard

from fanfold.errors import SpecError
from fanfold.feed import not_taken, runs
from fanfold.input_formats import PATTERNS
from fanfold.steps.check_for_files import check_for_files
from fanfold.steps.list_files import list_files, list_ready, list_run
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.steps.stage_files import stage_files
from tests.conftest import TS, FeedDir, MakeFeed, tree

FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
LATER = "20260103T030405Z"


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fanfold", *arguments], capture_output=True, text=True, check=False)


def test_every_form_is_taken_in_any_letter_case(make_feed: MakeFeed) -> None:
    """Without patterns, JSON, NDJSON and CSV are taken and read in any letter case, compressed or not."""
    feed = make_feed(**FLAT)
    rows: dict[str, str] = {}
    for index, name in enumerate(["A.JSON", "b.JsonL", "c.NDJSON", "d.Csv", "e.csv", "f.json"]):
        for suffix, pack in (
            ("", bytes),
            (".GZ", gzip.compress),
            (".zst", zstandard.compress),
            (".Zst", zstandard.compress),
        ):
            number = f"{index + 1}{len(rows)}"
            content = f"i\n{number}\n" if "csv" in name.lower() else f'{{"i":{number}}}'
            feed.land(name + suffix, pack(content.encode()))
            rows[name + suffix] = number
    assert feed.run().files_in == len(rows) == 24
    assert sorted(feed.read().splitlines()[1:]) == sorted(rows.values())
    archived = {path.name for path in (feed.data_dir / "processed").iterdir()}
    assert {f"A_{TS}.JSON", f"A_{TS}.JSON.GZ", f"d_{TS}.Csv.Zst"} <= archived


def test_an_archive_compresses_what_is_not_compressed_in_any_letter_case(make_feed: MakeFeed) -> None:
    """archive.compression leaves `.GZ`, `.ZST` and `.PARQUET` as they are, and compresses all else."""
    feed = make_feed(**FLAT | {"archive": {"compression": "zstd"}})
    feed.land("A.JSON", '{"i":1}')
    feed.land("B.JSON.GZ", gzip.compress(b'{"i":2}'))
    feed.run()
    names = {path.name for path in (feed.data_dir / "processed").iterdir()}
    assert names == {f"A_{TS}.JSON.zst", f"B_{TS}.JSON.GZ"}
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


def test_patterns_of_a_spec_do_not_ask_for_letter_case(feed: FeedDir) -> None:
    """A pattern of the spec takes names in any letter case."""
    feed.land("ORDERS_1.DAT", "x")
    found = feed.scan(patterns=["orders_[0-9].dat"])
    assert ([file.name for file in found.ready], found.ignored) == (["ORDERS_1.DAT"], ["a.json", "sub/b.json"])


def test_parquet_is_not_taken_compressed() -> None:
    """No default pattern takes a compressed Parquet file."""
    assert "*.parquet" in PATTERNS
    assert not [pattern for pattern in PATTERNS if pattern.startswith("*.parquet.")]


def test_what_stays_in_landing_is_said_with_its_reason(make_feed: MakeFeed) -> None:
    """Each kind of file that stays in landing is counted and named, with its reason, and no other file is."""
    feed = make_feed(**FLAT | {"input": {"done_suffix": ".ok", "settle_seconds": 3000}})
    for name in ("r.txt", "s.log", "sub/t.bin", "u", "v.json", "w.json", "w.json.ok", "old.json", "old.json.ok"):
        feed.land(name, "{}")
    (feed.landing_dir / "l.json").symlink_to("v.json")
    feed.land("l.json.ok", "")
    found = list_files(feed.open())
    assert (found.ignored, found.unmarked, sorted(found.settling)) == (
        ["r.txt", "s.log", "sub/t.bin", "u"],
        ["v.json"],
        ["old.json", "w.json"],
    )
    told = not_taken.told(found, ["z.json"])
    seconds = max(found.settling.values())
    assert told == (
        "1 file waits for the next run ('z.json'), 4 files match no pattern ('r.txt', 's.log', 'sub/t.bin', …), "
        f"2 files settle for {seconds:.1f} more seconds ('old.json', 'w.json'), "
        "1 file waits for its marker ('v.json'), "
        "1 file cannot be taken ('l.json': not a regular file, but a link or a pipe: land the file itself)"
    )
    planned = plan(feed.open())
    assert (planned.ignored, planned.unmarked, planned.settling, planned.held, planned.files) == (4, 1, 2, 1, 0)


def test_what_cannot_be_taken_is_said_once(make_feed: MakeFeed) -> None:
    """run and plan name a file that cannot be taken once, whether another one is taken, none is, or a run goes on."""
    feed = make_feed({"a.json": '{"i":1}', "b.json": '{"i":2}'}, **FLAT)
    (feed.landing_dir / "l.json").symlink_to("a.json")
    assert stage_files(feed.open(), TS) == 2
    (feed.landing_dir / "c.json").write_text('{"i":3}')
    for command in (["run", "--ts", TS], ["plan"], ["run"], ["run"]):
        done = cli(*command, str(feed.spec_path))
        told = done.stdout + done.stderr
        assert (done.returncode, told.count("'l.json'"), told.count("not a regular file")) == (0, 1, 1)
    assert done.stderr.endswith(": 1 file cannot be taken\n")


def test_a_marker_that_cannot_be_taken_is_named_itself(make_feed: MakeFeed) -> None:
    """Where a marker cannot be taken, the reason is told of it, and not of its file."""
    feed = make_feed({"a.json": "{}", "b.json": "{}"}, **FLAT | {"input": {"done_suffix": ".ok"}})
    (feed.landing_dir / "a.json.ok").symlink_to("a.json")
    (feed.landing_dir / "b.json.ok").touch()
    found = list_files(feed.open())
    assert [*found.held.values()] == [["a.json.ok"]]
    assert ([file.name for file in found.ready], found.ignored, found.unmarked) == (["b.json"], [], [])


def test_a_run_that_waits_for_files_to_settle_says_so(
    make_feed: MakeFeed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that sleeps longer than a few seconds says before it how many files settle, and how long it waits."""
    feed = make_feed({"a.json": "{}", "b.json": "{}"}, **FLAT | {"input": {"settle_seconds": 3600}})
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert list_ready(feed.open(), TS, wait=True) == []
    assert [3590 < seconds < 3601 for seconds in slept] == [True]
    assert "until 2 files have settled (input.settle_seconds)" in caplog.text
    caplog.clear()
    feed.write_spec(**FLAT | {"input": {"settle_seconds": 2}})
    list_ready(feed.open(), TS, wait=True)
    assert (len(slept), "settled" in caplog.text) == (2, False)


def test_a_run_without_a_ready_file_says_why(make_feed: MakeFeed) -> None:
    """`run` exits with 0 and says on stderr why no file was ready; `--json` counts the files that no pattern takes."""
    feed = make_feed({"orders.txt": "x"}, **FLAT)
    done = cli("run", str(feed.spec_path), "--json")
    assert (done.returncode, json.loads(done.stdout)["files_ignored"], json.loads(done.stdout)["files_waiting"]) == (
        0,
        1,
        0,
    )
    assert done.stderr == f"no file is ready in {str(feed.landing_dir)!r}: 1 file matches no pattern ('orders.txt')\n"
    feed.land("a.json", '{"i":1}')
    done = cli("run", str(feed.spec_path), "--json")
    assert (json.loads(done.stdout)["files_in"], json.loads(done.stdout)["files_ignored"]) == (1, 1)
    assert done.stderr == "in landing 1 file matches no pattern ('orders.txt')\n"
    assert (
        "landing: 0 files ready, 1 file matches no pattern ('orders.txt')" in cli("status", str(feed.spec_path)).stdout
    )
    (feed.landing_dir / "orders.txt").unlink()
    assert cli("run", str(feed.spec_path)).stderr.endswith("data/transactions': it is empty\n")


LIMITS = [
    ({"max_files": 2}, [["a", "b"], ["c", "d"], ["e"]]),
    ({"max_bytes": 16}, [["a", "b"], ["c"], ["d", "e"]]),
    ({"max_bytes": 1}, [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ({"max_files": 3, "max_bytes": 16}, [["a", "b"], ["c"], ["d", "e"]]),
    ({}, [["a", "b", "c", "d", "e"]]),
]


@pytest.mark.parametrize(("limits", "expected"), LIMITS)
def test_a_run_takes_no_more_than_its_limits(
    make_feed: MakeFeed, limits: dict[str, int], expected: list[list[str]]
) -> None:
    """A run takes files in the order of their names up to max_files and max_bytes, one at least; none is lost."""
    sizes = {"c": 17, "a": 8, "b": 8, "e": 8, "d": 8}
    files = {f"{name}.json": f'{{"i":{index}}}'.ljust(size) for index, (name, size) in enumerate(sizes.items())}
    feed = make_feed(files, **FLAT | {"input": limits})
    for day, names in enumerate(expected, start=2):
        ts = f"202601{day:02d}T030405Z"
        listed = [file.name[0] for file in list_run(feed.open(), ts)]
        planned = plan(feed.open())
        assert (listed, planned.files, planned.waiting) == (names, len(names), sum(map(len, expected[day - 1 :])))
        assert feed.run(ts).files_in == len(names)
        assert [file.name[0] for file in list_run(feed.open(), ts)] == names
    assert list_files(feed.open()).ready == []


def test_a_name_that_is_too_long_takes_no_place_of_a_run(make_feed: MakeFeed) -> None:
    """A file that can never be archived does not count for max_files: it holds up no other, and nobody waits for it."""
    name = "a" * 250 + ".json"
    feed = make_feed({name: "{}", "b.json": '{"i":1}'}, **FLAT | {"input": {"max_files": 1}})
    planned = plan(feed.open())
    assert (planned.files, planned.waiting, planned.held) == (1, 0, 1)
    done = cli("run", str(feed.spec_path), "--ts", TS, "--json")
    assert (json.loads(done.stdout)["files_in"], json.loads(done.stdout)["files_waiting"]) == (1, 1)
    (told,) = [line for line in done.stderr.splitlines() if name in line]
    assert told.startswith(f"WARNING: {name!r} stays in landing: its name is too long")
    assert tree(feed.data_dir).keys() >= {f"processed/b_{TS}.json"}
    assert "landing: 0 files ready, 1 file cannot be taken" in cli("status", str(feed.spec_path)).stdout
    assert not check_for_files(feed.open(), "20260103T030405Z")


def test_a_run_says_how_many_files_wait_for_the_next(make_feed: MakeFeed) -> None:
    """With input.max_files a run ends with how many files wait, and their names."""
    feed = make_feed({f"{i}.json": f'{{"i":{i}}}' for i in range(4)}, **FLAT | {"input": {"max_files": 1}})
    done = cli("run", str(feed.spec_path), "--json")
    assert done.stderr == "in landing 3 files wait for the next run ('1.json', '2.json', '3.json')\n"
    assert json.loads(done.stdout)["files_waiting"] == 3


def test_limits_may_change_while_a_run_is_unfinished(make_feed: MakeFeed) -> None:
    """A limit says nothing of a run whose files are staged: it goes on with them."""
    feed = make_feed({f"{i}.json": f'{{"i":{i}}}' for i in range(3)}, **FLAT)
    assert stage_files(feed.open(), TS) == 3
    feed.write_spec(**FLAT | {"input": {"max_files": 1}})
    assert check_for_files(feed.open(), TS)
    assert feed.run().files_in == 3


IDENTITY = [("content", {"x.json": "3"}), ("name_and_content", {"x.json": "3", "y.json": "3"})]


@pytest.mark.parametrize(("identity", "rows"), IDENTITY)
def test_identity_says_what_a_duplicate_is(make_feed: MakeFeed, identity: str, rows: dict[str, str]) -> None:
    """With name_and_content the same bytes under another name make rows; under the same name they never do again."""
    keys = FLAT | {"input": {"identity": identity, "duplicates": "archive"}, "output": {"lineage": True}}
    feed = make_feed({"x.json": '{"n":3}', "y.json": '{"n":3}'}, **keys)
    feed.run()
    assert [line.split(",")[:2] for line in feed.read().splitlines()[1:]] == [[n, name] for name, n in rows.items()]
    feed.land("x.json", '{"n":3}')
    feed.land("z/x.json", '{"n":3}')
    feed.run(LATER)
    made = feed.read(1, LATER).splitlines()[1:]
    assert [line.split(",")[1] for line in made] == ([] if identity == "content" else ["z/x.json"])
    for ts in (TS, LATER):
        assert recount(*runs.open_complete(feed.open(), ts)).gaps == []


def test_the_audit_tells_a_content_that_made_rows_twice_by_name(make_feed: MakeFeed) -> None:
    """Two files with one content and one name, that both have rows, are a difference with name_and_content too."""
    inputs = {"identity": "name_and_content", "duplicates": "process"}
    feed = make_feed({"x.json": '{"n":3}'}, **FLAT | {"input": inputs})
    feed.run()
    feed.land("x.json", '{"n":3}')
    feed.run(LATER)
    for path in (feed.at(LATER).commit_path, feed.at(LATER).manifest_path):
        path.write_text(path.read_text().replace('"duplicates": "process"', '"duplicates": "archive"'))
    assert [str(one) for one in feed.audit(LATER).findings] == [
        f"doubled: 'x.json': it has the bytes of '{TS}/x.json', but both have rows"
    ]
    assert len(recount(*runs.open_complete(feed.open(), LATER)).gaps) == 1


NAMES = [
    ("{name}_{ts}", f"sub/a_{TS}.json.gz", f"b_{TS}.csv.zst"),
    ("{ts}-{name}", f"sub/{TS}-a.json.gz", f"{TS}-b.csv.zst"),
    ("{date} {name}.{ts} x", f"sub/2026-01-02 a.{TS} x.json.gz", f"2026-01-02 b.{TS} x.csv.zst"),
]


@pytest.mark.parametrize(("template", "packed", "plain"), NAMES)
def test_archive_name_gives_originals_their_names(make_feed: MakeFeed, template: str, packed: str, plain: str) -> None:
    """Originals and their markers are archived by archive.name; they are found again, and what is extra is named."""
    keys = FLAT | {"archive": {"name": template, "compression": "zstd"}, "input": {"done_suffix": ".ok"}}
    feed = make_feed({"sub/a.json": "", "b.csv": "i\n1\n"}, **keys)
    (feed.landing_dir / "sub/a.json").unlink()
    feed.land("sub/a.json.gz", '{"i":2}')
    for name in ("sub/a.json.gz", "b.csv"):
        feed.land(f"{name}.ok", "")
    feed.run()
    names = {str(path.relative_to(feed.data_dir / "processed")) for path in (feed.data_dir / "processed").rglob("*.*")}
    assert names >= {packed, plain}
    assert len(names) == 4
    opened = runs.open_complete(feed.open(), TS)
    assert recount(*opened).gaps == []
    (feed.data_dir / "processed" / plain.replace("b", "c")).write_text("x")
    assert [gap.endswith("is extra: the run did not write it") for gap in recount(*opened).gaps] == [True]


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{name}",
        "{ts}",
        "{name}{ts}{ts}",
        "{name}{name}{ts}",
        "a/{name}_{ts}",
        ".{name}{ts}",
        "{n}{name}{ts}",
        "{name!r}{ts}",
        "{{name}}{ts}",
    ],
)
def test_a_name_that_may_come_twice_is_refused(feed: FeedDir, template: str) -> None:
    """lint refuses a template without {name} or {ts}, with one twice, with a folder or with other braces."""
    feed.write_spec(archive={"name": template})
    with pytest.raises(
        SpecError, match=r"feed.yaml:\d+: archive.name: found .*, expected a name with {name} and {ts} once"
    ):
        feed.open()


def test_a_run_says_which_files_made_no_rows(make_feed: MakeFeed) -> None:
    """Table and sentence of a run count the files that made no rows, and a line for each says why."""
    files = {"a.json": '{"i":1}', "b.json": '{"i":1}', "c.json": "[]", "d.json": "Error", "e.json": '{"i":2}'}
    feed = make_feed(files, **FLAT | {"input": {"duplicates": "archive"}})
    done = cli("run", str(feed.spec_path), "--ts", TS)
    assert "files ┃ no rows ┃ records" in done.stdout
    assert [line for line in done.stdout.splitlines() if " made no " in line] == [
        f"'b.json' made no rows: it has the bytes of '{TS}/a.json'",
        "'c.json' made no rows: it has no records",
        "'d.json' made no rows: it is bad (syntax)",
    ]
    assert done.stdout.endswith(", as 2 rows (3 files made none): nothing lost, nothing twice\n")
