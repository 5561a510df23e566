"""No file can block a feed, take its memory, or reach outside of it: 300 hostile ones, each with its own outcome."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.csv as pc  # type: ignore[import-untyped]
import pytest
import yaml

from tests.conftest import TS, tree
from tests.hostile import KINDS, Case, Corpus, corpus

pytestmark = pytest.mark.slow

MAX_MEMORY_KIB = 400 * 1024
MAX_SECONDS = 120
GOOD_FILES, GOOD_RECORDS = 5, 40
# Of the processes that it starts, and of those that they have waited for; a small one, so that its own size is none.
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[2:]).returncode; "
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"
)


class Feed:
    """A feed on disk with hostile files beside good ones, and canaries around its `data_dir`."""

    def __init__(self, root: Path, corpus: Corpus) -> None:
        """Land everything."""
        self.root, self.cases = root, corpus.cases
        self.data_dir = root / "data"
        self.landing_dir = self.data_dir / "transactions"
        self.landing_dir.mkdir(parents=True)
        (root / "canary.json").write_text('{"id":"canary"}')
        (root / "x").mkdir()
        (root / "x" / "customers.csv").write_text("canary")
        (self.data_dir / "customers.csv").write_text(corpus.customers, newline="")
        spec = {"version": 1, "name": "hostile", "subdirs": 3, "concurrent_tasks": 2, "output": {"lineage": True}}
        all_may_be_bad = {"max_bad_records_percent": 100, "max_bad_files_percent": 100}
        spec |= {"quarantine": all_may_be_bad, **corpus.spec}
        spec["input"] = {"settle_seconds": 0, "duplicates": "process", "patterns": PATTERNS} | corpus.spec.get(
            "input", {}
        )
        self.spec_path = root / "feed.yaml"
        self.spec_path.write_text(yaml.safe_dump(spec))
        self.good = {
            f"good_{n}.json": [{"id": f"{n}-{i}", "v": f"v{i}"} for i in range(GOOD_RECORDS)] for n in range(GOOD_FILES)
        }
        for name, records in self.good.items():
            (self.landing_dir / name).write_text("\n".join(map(json.dumps, records)))
        self.before = [self._land(case) for case in self.cases]

    def _land(self, case: Case) -> os.stat_result:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.landing_dir), os.fsencode(case.name))))  # noqa: PTH118
        if isinstance(case.content, bytes):
            path.write_bytes(case.content)
        else:
            case.content(path)
        return path.lstat()

    def run(self) -> tuple[int, str, int]:
        """Run the command line; return its exit code, what it wrote on stderr, and the peak memory in KiB."""
        memory_path = self.root / "memory"
        command = [sys.executable, "-m", "fanfold", "run", str(self.spec_path), "--ts", TS]
        with subprocess.Popen(
            [sys.executable, "-c", MEASURED, str(memory_path), *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        ) as running:  # fmt: skip
            try:
                _, errors = running.communicate(timeout=MAX_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                raise
        memory = int(memory_path.read_text())
        memory_path.unlink()
        return running.returncode, errors, memory

    def around(self) -> dict[str, str]:
        """Return everything beside `data_dir`."""
        return {name: of for name, of in tree_without(self.root, self.data_dir).items() if name != "memory"}

    def rows(self) -> dict[str, list[dict[str, str]]]:
        """Return the published rows of each file in their order: the cells that are not null."""
        found: dict[str, list[dict[str, str]]] = {}
        for path in sorted((self.data_dir / f"denormalized/{TS}").glob("*.csv")):
            for row in read_csv(path):
                name = row.pop("_source_file")
                row.pop("_source_record")
                row.pop("_source_item", None)
                found.setdefault(name, []).append(row)
        return found

    def quarantined(self) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return the code of each file that was set aside, and the codes of the records of each."""
        files: dict[str, str] = {}
        records: dict[str, list[str]] = {}
        for folder in sorted((self.data_dir / f"quarantine/{TS}").glob("*")):
            listed = folder / "records.jsonl"
            for line in listed.read_bytes().splitlines() if listed.exists() else ():
                record = json.loads(line)
                records.setdefault(record["file"], []).append(record["code"])
            for path in folder.iterdir():
                if path.name.endswith(".reason.json"):
                    reason = json.loads(path.read_bytes())
                    files[reason["file"]] = reason["code"]
                    assert len(reason["message"]) < 1000
        return files, records


PATTERNS = ["*.json", "*.jsonl", "*.json.gz", "*.json.zst", "*.csv", "*.csv.gz", "*.csv.zst", "*.parquet"]


def tree_without(root: Path, left_out: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.iterdir()):
        if path != left_out:
            found[path.name] = (
                json.dumps(tree(path)) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
            )
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table with another reader than the one that wrote it; a cell that is null is not there."""
    content = path.read_bytes()
    names = next(csv.reader(io.StringIO(content.decode(), newline="")), [])
    if not names:
        return []
    table = pc.read_csv(
        io.BytesIO(content),
        read_options=pc.ReadOptions(block_size=1 << 28, use_threads=False),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(names, "string"), null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    return [{name: cell for name, cell in row.items() if cell is not None} for row in table.to_pylist()]


def shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]} … {text[-80:]}"


def mismatches(feed: Feed) -> list[str]:
    """Return what did not end as it must."""
    rows = feed.rows()
    files, records = feed.quarantined()
    wrong = []
    for case, before in zip(feed.cases, feed.before, strict=True):
        name = os.fsdecode(case.name)
        landed = os.path.lexists(feed.landing_dir / name)
        expected = ([*case.rows], [*case.records], case.code, case.left)
        found = (rows.pop(name, []), records.pop(name, []), files.pop(name, None), landed)
        if found != expected:
            wrong.append(f"{name!a:.80}: found {shortened(found)}, expected {shortened(expected)}")
        places = [*(feed.data_dir / "processed").rglob("*"), *(feed.data_dir / "quarantine").rglob("*")]
        states = [path.lstat() for path in places if path.is_file()]
        moved = [state for state in states if state.st_ino == before.st_ino and state.st_size == before.st_size]
        if not case.left and len(moved) != 1:
            wrong.append(f"{name!a:.80}: found {len(moved)} originals behind the run, expected one")
    for name, good in feed.good.items():
        if rows.pop(name, None) != good:
            wrong.append(f"{name}: a good file is not complete")
    return [*wrong, *(f"{name!r:.80}: nobody expected it" for name in [*rows, *files, *records])]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_end_as_they_must(tmp_path: Path, kind: str) -> None:
    """Each hostile file ends as it must, good ones are complete, memory is bounded, nothing outside is touched."""
    feed = Feed(tmp_path, corpus(kind))
    around = feed.around()
    code, errors, memory = feed.run()
    assert code == 0, errors[-3000:]
    assert not (wrong := mismatches(feed)), "\n".join(wrong)
    assert memory < MAX_MEMORY_KIB
    assert feed.around() == around
    for case in feed.cases:
        if isinstance(case.name, bytes) or (case.left and len(case.name) > 200):
            assert re.search(f"{re.escape(ascii(os.fsdecode(case.name)))}.* in landing: ", errors)


def test_the_corpus_is_large() -> None:
    """There are 300 hostile files and more, each under a name of its own."""
    names = [[case.name for case in corpus(kind).cases] for kind in KINDS]
    assert [max(Counter(own).values()) for own in names] == [1] * len(KINDS)
    assert sum(map(len, names)) >= 300
