"""`plan` before and `run` after say the same: over feeds made at random, with all keys of the spec, also cut short."""

import gzip
import io
import json
import os
import random
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from fanfold import documents
from fanfold.errors import DataError, FanfoldError
from fanfold.manifest import Manifest
from fanfold.steps import local
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.list_files import list_files
from fanfold.steps.plan import Plan, plan
from fanfold.steps.stage_files import stage_files
from tests.conftest import GROUP_STEPS, FeedDir, MakeFeed, tree

FEEDS = 6
BAD = ['{"id": 1,}', "7", '{"id": "x", "id": 2}', '{"id": NaN}', "]", '{"id": {"deep": 1}}', '{"ID": 3}']


class _Chance:
    """Draws specs and files: most are good, some are bad in one of many ways."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def __call__(self, percent: float) -> bool:
        return self._draw.random() * 100 < percent

    def of(self, *values: Any) -> Any:
        return self._draw.choice(values)

    def spec(self) -> dict[str, Any]:
        tables = {"orders": {}, "items": {"explode": ["items"], "keys": ["id"] if self(50) else []}}
        spec: dict[str, Any] = {
            "subdirs": self.of(1, 2, 3),
            "input": self._input(),
            "merge": [self._merge()] if self(60) else [],
            "denormalize": {"explode": ["items"] if self(50) else [], "single": self(30)},
            "output": {"format": self.of("csv", "csv", "parquet"), "lineage": self(30)},
            "archive": {"compression": self.of("none", "gzip", "zstd"), "name": self.of("{name}_{ts}", "{ts}-{name}")},
            "quarantine": {
                "max_bad_records_percent": self.of(0, 10, 40, 100),
                "max_bad_files_percent": self.of(0, 30, 50, 100),
                "raw": self(50),
            },
            "verify": {"totals": ["total"] if self(20) else []},
        }
        if self(20):
            sql = self.of(
                "id || id", "id || id", "9 % (id::BIGINT - 2)", "who_name || left('x', id::BIGINT)", "n::BIGINT"
            )
            spec["denormalize"]["columns"] = ["id", {"made": sql}, *(["nothing"] if self(20) else [])]
        if self(25):
            spec |= {"tables": tables, "denormalize": {"single": self(30)}}
        return spec

    def _input(self) -> dict[str, Any]:
        fields = {"id": "BIGINT", "items.sku": "VARCHAR"} | ({"total": "DECIMAL(9,2)"} if self(50) else {})
        found: dict[str, Any] = {
            "duplicates": self.of("archive", "archive", "process", "quarantine", "fail"),
            "on_drift": self.of("warn", "warn", "fail", "ignore"),
            "identity": self.of("content", "name_and_content"),
            "path_columns": self(20),
            "fields": fields if self(40) else {},
            "max_files": self.of(None, None, None, 2),
            "max_bytes": self.of(None, None, None, 300),
            "done_suffix": self.of(None, None, None, ".done"),
            "parse": ["payload"] if self(20) else [],
        }
        if self(10):
            found |= {"records_at": "/data", "envelope": ["batch"] if self(50) else []}
        if found["fields"] and self(30) and "records_at" not in found:
            found["schema"] = "declared"
        if self(20):
            found["csv"] = {"delimiter": ";", "nulls": ["-"], "header": self(70)}
        return found

    def _merge(self) -> dict[str, Any]:
        return {
            "reference": "customers.csv",
            "key": {"record": self.of("customer", "customer", "items.sku"), "reference": "customer_id"},
            "into": "who",
            "on_missing": self.of("keep", "keep", "quarantine", "fail"),
            "on_duplicate": self.of("fail", "first"),
        }

    def _record(self) -> dict[str, Any]:
        items: Any = [{"sku": self.of("1", "2", "a")} for _ in range(self.of(0, 1, 2))]
        record: dict[str, Any] = {"id": self.of(1, 2, 3), "customer": self.of("1", "2", "2", "9" if self(20) else "1")}
        record["items"] = items[0] if items and self(10) else items
        optional = {
            "total": self.of(1.5, 2, "x" if self(10) else 3),
            "payload": '{"a": 1}',
            "n": self.of(1, "one", None),
        }
        return record | {name: value for name, value in optional.items() if self(40)}

    def files(self, settings: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of some files for landing."""
        for number in range(self.of(0, 1, 2, 3, 5)):
            folder = self.of("", "", "day=1/", "sub/")
            name = f"{folder}{self.of('a', 'b', 'c')}{number}"
            lines = [json.dumps(self._record()) for _ in range(self.of(0, 1, 3, 8))]
            if self(25):
                lines.insert(self.of(0, len(lines)), self.of(*BAD))
            content = "\n".join(lines).encode()
            if settings.get("records_at"):
                content = f'{{"batch": {number}, "data": [{",".join(lines)}]}}'.encode()
            kind = self.of("json", "json", "ndjson", "json.gz", "zip", "csv", "txt")
            if kind == "csv":
                rows = [",".join((self.of("1", "2"), self.of("1", "9"), self.of("x", "-", '"'))) for _ in lines]
                content = "\n".join(["id,customer,n", *rows]).replace(",", self.of(",", ";")).encode()
            if kind == "zip":
                packed = io.BytesIO()
                with zipfile.ZipFile(packed, "w") as archive:
                    archive.writestr("inner.json", content)
                content = packed.getvalue()
            content = self.of(content, content, content, content, b"", b"no JSON")
            if kind.endswith(".gz"):
                content = gzip.compress(content, mtime=0)[: None if self(90) else -9]
            yield f"{name}.{kind}", content
            if self(15):
                yield f"{name}-again.{kind}", content
            if self(5):
                yield f"{'long' * 61}.json", content


def _ended(feed: FeedDir) -> tuple[dict[str, Any], list[Exception]]:
    """Do the next run; return what it says, and how it failed."""
    opened = feed.open()
    try:
        done, failed = local.run_next(opened, lambda _ts, _resumed: lambda _n, _step, _state: None)
    except ExceptionGroup as group:
        return {}, list(_leaves(group))
    except FanfoldError as error:
        return {}, [error]
    found = list_files(opened, done.summary.ts)
    committed = documents.read_if_there(opened.run(done.summary.ts).commit_path, Manifest)
    duplicates = {file.name: file.duplicate_of for file in committed.files if file.duplicate_of} if committed else {}
    tables = {name: table.columns for name, table in committed.each_table.items()} if committed else {}
    said = {
        "files": done.summary.files_in,
        "bytes": done.summary.bytes_in,
        "records": done.summary.records_in,
        "subdirs": {n: (one.files, one.bytes, one.records) for n, one in done.summary.subdirs.items()},
        "columns": tables.get("", tables) or [],
        "drift": done.drift.changes if done.drift else "",
        "waiting": len(found.ready) + found.waiting,
        "ignored": len(found.ignored),
        "duplicates": sorted(duplicates),
    }
    failed = [leaf for error in failed for leaf in _leaves(error)]
    return said, failed + ([DataError(done.failed)] if done.failed else [])


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _foretold(planned: Plan) -> dict[str, Any]:
    return {
        "files": planned.files,
        "bytes": planned.bytes,
        "records": planned.records,
        "subdirs": {n: (one.files, one.bytes, one.records) for n, one in planned.subdirs.items()},
        "columns": planned.columns,
        "drift": planned.drift.changes if planned.drift else "",
        "waiting": planned.waiting + planned.settling + planned.unmarked + planned.held,
        "ignored": planned.ignored,
        "duplicates": sorted(planned.duplicates),
    }


def _reasons(told: list[str]) -> list[str]:
    """Return what is wrong without where it is: the subdirectory, the run, and the first bad record."""
    plain = (re.sub(r"^(run \w+(\.\w+)?: |run \S+ is complete, but )", "", one) for one in told)
    plain = (re.sub(r"^(subdirectory \d+|staging/\S+/\d+): ", "", one) for one in plain)
    plain = (re.sub(r"'(landing|\d{8}T[\d.]{6,13}Z)/", "'", one) for one in plain)
    return sorted(re.split(r"; (?:the first|they are in quarantine)", one)[0] for one in plain)


def _cut_short(feed: FeedDir, chance: _Chance, ts: str) -> None:
    """Do some steps of a run, and no more."""
    opened = feed.open()
    if not stage_files(opened, ts) or chance(30):
        return
    try:
        groups = create_dynamic_taskgroups(opened.data_dir, ts, opened.spec.subdirs)
        for n in groups:
            for step in GROUP_STEPS[: chance.of(0, 1, 2, 3)]:
                step(groups[n], opened.data_dir)
    except FanfoldError:
        return


@pytest.mark.parametrize("seed", range(int(os.environ.get("FEEDS", FEEDS))))
def test_plan_says_what_run_does(make_feed: MakeFeed, seed: int) -> None:
    """Verdict, reasons, files, records, columns, drift and what stays in landing are the same; plan moves nothing."""
    chance = _Chance(seed)
    spec = chance.spec()
    feed = make_feed(customers="customer_id,name\n1,Ann\n2,Bob\n" + ("2,Cy\n" if chance(10) else ""), **spec)
    for day in range(2, 6):
        for name, content in chance.files(spec["input"]):
            feed.land(name, content)
            if spec["input"]["done_suffix"] and chance(80):
                feed.land(name + ".done", b"")
        if chance(40):
            _cut_short(feed, chance, f"202601{day:02d}T030405Z")
        if chance(30):
            changed = chance.spec()
            spec |= {key: changed[key] for key in ("merge", "quarantine", "verify")}
            feed.write_spec(**spec)
        before = tree(feed.data_dir)
        try:
            planned = plan(feed.open())
        except FanfoldError as error:
            told, foretold = [str(error), *getattr(error, "__notes__", ())], {}
        else:
            told, foretold = planned.failed, _foretold(planned)
        assert tree(feed.data_dir) == before
        said, failed = _ended(feed)
        if not (failed or told == [] or said["files"]):
            # What would stop a run is told although there is no file for one yet.
            continue
        assert _reasons(told) == _reasons(list(map(str, failed)))
        # Where nothing has landed, plan tells of the run that fails, and run of it and an empty one.
        if said and (said["files"] or not failed):
            assert foretold == said
