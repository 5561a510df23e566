"""A pytest plugin with the fixture `fanfold_feed`: a feed in a temporary folder, to test a spec.

def test_every_item_has_its_price(fanfold_feed: FeedMaker) -> None:
    feed = fanfold_feed("orders.yaml")
    feed.reference("customers.csv", [{"customer_id": "007", "name": "Ada"}])
    feed.land("a.json", [{"customer_id": "007", "items": [{"sku": "apple", "price": 1.2}]}])
    assert feed.run().rows_out == 1
    assert feed.rows()[0]["customer_name"] == "Ada"
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fanfold.manifest import BadFile, BadRecord, Summary
    from fanfold.spec.model import Spec

TS = "20260102T030405Z"
Content = str | bytes | Mapping[str, Any] | Sequence[Mapping[str, Any]]
FeedMaker = Callable[[str | os.PathLike[str]], "FanfoldFeed"]


class FanfoldFeed:
    """A feed in a folder of its own.

    Attributes:
        spec: as it was given, but with its own `data_dir`, and with files that are ready at once.
        spec_path: where the spec is.
        data_dir: the root of the feed.
    """

    def __init__(self, folder: Path, spec: "Spec") -> None:
        """Make the folders: that of the spec, its data_dir, and landing."""
        settings = spec.input.model_copy(update={"settle_seconds": 0})
        self.data_dir, self.spec_path = folder / "data", folder / f"{spec.name}.yaml"
        self.spec = spec.model_copy(update={"data_dir": str(self.data_dir), "input": settings})
        (self.data_dir / spec.input.path).mkdir(parents=True)
        # JSON is YAML.
        self.spec_path.write_text(self.spec.model_dump_json(indent=1, exclude_unset=True), encoding="utf-8")

    def land(self, name: str, content: Content) -> Path:
        """Put a file into landing, with its marker if the spec has a `done_suffix`.

        Args:
            name: of the file. A `.jsonl` or `.ndjson` file gets one record per line, a `.csv` file a header and rows,
                any other file an array of records. A `.gz` file is compressed.
            content: records, or one JSON document with records in it; str or bytes are written as they are.
        """
        path = _write(self.data_dir / self.spec.input.path / name, content)
        if self.spec.input.done_suffix:
            path.with_name(path.name + self.spec.input.done_suffix).touch()
        return path

    def reference(self, name: str, content: Content) -> Path:
        """Write or replace a reference, in the format of its name, as `land` does."""
        return _write(self.data_dir / name, content)

    def run(self, ts: str = TS) -> "Summary":
        """Do all steps of a run, and verify it: every value is accounted for, in the tables and in quarantine.

        Raises:
            FanfoldError: as `fanfold.run`.
            AssertionError: something is lost, or is duplicated.
        """
        from fanfold import api

        done = api.run(self.spec_path, ts=ts)
        if done.files_in:
            assert api.verify(self.spec_path, ts, audit=True).gaps == []  # noqa: S101 - it is a test that runs here
        return done

    def rows(self, table: str | None = None, ts: str = TS) -> list[dict[str, Any]]:
        """Return the rows that a run has published, in the order of its subdirectories.

        Every CSV value is a str, empty for null. Parquet values are as in JSON, and numbers are int or Decimal.

        Args:
            table: name of the table, where the spec has `tables`.
            ts: the run.

        Raises:
            AssertionError: there is no such table.
        """
        folder = self.data_dir / self.spec.output.path / ts / (table or "")
        paths = sorted(folder.glob(f"[0-9]*.{self.spec.output.format}"), key=lambda path: int(path.stem))
        assert paths, f"there is no table in {str(folder)!r}"  # noqa: S101
        return [row for path in paths for row in _rows(path)]

    def quarantined(self, ts: str = TS) -> "list[BadRecord | BadFile]":
        """Return what a complete run has set aside, each with its `file`, `code` and `message`."""
        from fanfold.feed import quarantine, runs

        items = quarantine.items(runs.open_feed(self.spec_path))
        return [one.bad for one in items if one.item.startswith(f"{ts}/")]


@pytest.fixture
def fanfold_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeedMaker:
    """Make feeds, each in a temporary folder of its own: `fanfold_feed(spec)`, with the path of a spec, or its text."""
    from fanfold.spec.model import load_spec, parse_spec
    from fanfold.spec.roots import ALLOWED_ROOTS

    # A feed of a test lives in no root of production.
    monkeypatch.delenv(ALLOWED_ROOTS, raising=False)

    def make(spec: str | os.PathLike[str]) -> FanfoldFeed:
        is_text = isinstance(spec, str) and ("\n" in spec or spec.lstrip().startswith("{"))
        loaded = parse_spec(str(spec), "spec") if is_text else load_spec(spec)
        return FanfoldFeed(tmp_path / f"fanfold{len(list(tmp_path.glob('fanfold*')))}", loaded)

    return make


def _write(path: Path, content: Content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz")
    if isinstance(content, str | bytes):
        raw = content.encode() if isinstance(content, str) else content
    elif isinstance(content, Mapping):
        raw = json.dumps(content).encode()
    elif name.endswith(".csv"):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in content for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
        raw = text.getvalue().encode()
    else:
        is_lines = name.endswith((".jsonl", ".ndjson"))
        raw = ("\n".join(map(json.dumps, content)) if is_lines else json.dumps([*content])).encode()
    path.write_bytes(gzip.compress(raw, mtime=0) if path.name != name and not isinstance(content, bytes) else raw)
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    from decimal import Decimal

    from fanfold import parquet

    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    lines = b"".join(parquet.windows(path)).splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]
