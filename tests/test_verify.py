"""The proof: a recount names what is missing, extra, or changed."""

import json
import random
import shutil
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanfold import documents, durable
from fanfold.cli import display
from fanfold.errors import DataError, FanfoldError, MissingError
from fanfold.feed import runs
from fanfold.steps.recount import Recount, recount
from fanfold.steps.verify_run import verify_run
from tests.conftest import TS, FeedDir, MakeFeed, new_feed, tree
from tests.test_cli import fanfold

ORIGINAL, TABLE, MANIFEST = f"processed/a_{TS}.json", f"denormalized/{TS}/1.csv", f"denormalized/{TS}/_manifest.json"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> FeedDir:
    """A complete run of two files."""
    made = new_feed(
        tmp_path_factory.mktemp("complete"),
        {
            "a.json": [{"customer_id": "1", "items": [1, 2]}, {"customer_id": "2"}],
            "sub/b.json": '{"customer_id":"9","items":[]}\n{"customer_id":"1","items":[3]}\n',
        },
        subdirs=2,
    )
    made.run()
    return made


@pytest.fixture
def feed(complete: FeedDir, tmp_path: Path) -> FeedDir:
    """A copy of the complete run, to be damaged."""
    shutil.copytree(complete.spec_path.parent, tmp_path / "copy")
    return FeedDir(tmp_path / "copy" / "feed.yaml", tmp_path / "copy" / "data")


def recounted(feed: FeedDir) -> Recount:
    return recount(*runs.open_complete(feed.open(), None))


def test_a_recount_counts_everything(feed: FeedDir) -> None:
    """A recount reads every original and every table, finds the counts of the run, and changes nothing."""
    before = tree(feed.data_dir)
    size = sum(path.stat().st_size for path in (feed.data_dir / "processed").rglob("*.json"))
    assert recounted(feed) == Recount(TS, 2, size, 4, 5, {}, [])
    assert tree(feed.data_dir) == before


def flip(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:])


def add(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": (" is missing", Path.unlink),
    "changed": (" is changed", flip),
    "longer": (" is changed", add),
    "a directory": (" is missing", make_directory),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", [ORIGINAL, f"processed/sub/b_{TS}.json", TABLE, f"denormalized/{TS}/2.csv", MANIFEST])
def test_what_is_missing_or_changed_is_named(feed: FeedDir, path: str, change: str) -> None:
    """An original, a table or the manifest that is gone or has one other bit is named by its path."""
    words, act = CHANGES[change]
    act(feed.data_dir / path)
    gaps = recounted(feed).gaps
    assert len(gaps) == 1
    assert gaps[0].startswith(repr(path))
    assert words in gaps[0]


@pytest.mark.parametrize(
    "path", [f"processed/c_{TS}.json", f"processed/sub/a_{TS}.json.gz", f"denormalized/{TS}/3.csv"]
)
def test_what_is_extra_is_named(feed: FeedDir, path: str) -> None:
    """A file that bears the run's timestamp and is not of the run is named."""
    (feed.data_dir / path).write_text("x")
    assert [gap.split(":")[0] for gap in recounted(feed).gaps] == [f"{path!r} is extra"]


def test_other_runs_are_not_extra(feed: FeedDir) -> None:
    """The files of another run are no gap, and without a timestamp the newest run is recounted."""
    feed.land("a.json", [{"customer_id": "1", "items": [1]}])
    feed.run("20260103T000000Z")
    assert recounted(feed).ts == "20260103T000000Z"
    assert recounted(feed).gaps == []
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


def test_every_gap_is_named(feed: FeedDir) -> None:
    """All gaps come at once."""
    for path in (ORIGINAL, TABLE):
        (feed.data_dir / path).unlink()
    (feed.data_dir / f"denormalized/{TS}/x").write_text("")
    assert [gap.split("'")[1] for gap in recounted(feed).gaps] == [ORIGINAL, TABLE, f"denormalized/{TS}/x"]


def test_verify_run_again_compares(feed: FeedDir) -> None:
    """verify_run after the commit fails when something is gone, and succeeds when it is back."""
    path = feed.data_dir / TABLE
    path.rename(feed.data_dir / "aside")
    with pytest.raises(DataError, match=r"1\.csv' is missing: expected 2 rows"):
        feed.verify()
    (feed.data_dir / "aside").rename(path)
    feed.verify()


@pytest.mark.parametrize("path", [ORIGINAL, TABLE])
def test_a_gap_is_not_committed(make_feed: MakeFeed, path: str) -> None:
    """A run whose original or table is gone before verify_run fails and is not committed."""
    feed = make_feed({"a.json": [{"customer_id": "1", "items": [1]}]}, subdirs=1)
    feed.stage()
    feed.group(1)
    (feed.data_dir / path).unlink()
    with pytest.raises(DataError, match="is missing"):
        feed.verify()
    assert runs.unfinished(feed.open()) == [TS]
    assert not (feed.data_dir / MANIFEST).exists()


def test_a_file_left_in_staging_is_a_gap(make_feed: MakeFeed) -> None:
    """A file that somebody put into a subdirectory of the run keeps it from being committed, and is kept."""
    feed = make_feed({"a.json": [{"customer_id": "1", "items": [1]}]}, subdirs=1)
    feed.stage()
    feed.group(1)
    extra = feed.at().group(1).subdir_dir / "x.json"
    extra.write_text("x")
    with pytest.raises(DataError, match=f"'staging/{TS}/1/x.json' is left in staging"):
        feed.verify()
    extra.unlink()
    assert feed.verify().files_in == 1


def test_a_run_that_is_not_there_is_named(feed: FeedDir) -> None:
    """A recount of an unknown run names the nearest one that is complete."""
    with pytest.raises(MissingError, match=f"'20260102T030406Z' is not a complete run, did you mean '{TS}'"):
        runs.open_complete(feed.open(), "20260102T030406Z")
    assert verify_run(feed.data_dir, TS, 2).files_in == 2


def test_large_rows_are_recounted(make_feed: MakeFeed) -> None:
    """A row of several megabytes, as large as a record may be, is published, shown and counted again."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1", "text": "x" * 5_000_000, "items": []}]}, subdirs=1)
    feed.run()
    found = recounted(feed)
    assert (found.gaps, found.rows) == ([], 1)
    display.print_summary(feed.verify(), {}, feed.data_dir, feed.open().spec.output.csv)


# Every digit counts: of each value, and of a sum that no double holds.
ORDERS: list[dict[str, Any]] = [
    {
        "id": n,
        "customer_id": "1",
        "fee": f"{n}.{'0' * 10}1",
        "items": [{"qty": q, "price": f"{q}.{n:02}"} for q in range(n)],
    }
    for n in range(12)
]
TOTALS = {
    "input": {"fields": {"fee": "DECIMAL(30,11)", "items.price": "DECIMAL(18,4)", "items.qty": "BIGINT"}},
    "verify": {"totals": ["fee", "items.price", "items.qty"]},
    "denormalize": {
        "explode": ["items"],
        "columns": ["id", "fee", "items_price", "items_qty", {"double": "items_qty * 2"}, "customer_name"],
    },
}


@pytest.mark.parametrize(("output", "compression"), [("csv", "zstd"), ("parquet", "none")])
def test_sums_are_proved_to_the_last_digit(make_feed: MakeFeed, output: str, compression: str) -> None:
    """The sums of `verify.totals` are those of all records, exactly, whatever format and level they come from."""
    lines = "".join(f"{json.dumps(order)}\n" for order in ORDERS[5:])
    feed = make_feed(
        {
            "a.json": ORDERS[:5],
            "careful.json": lines + '{"id": 0.12345678901234567890123}\n',
            "c.csv": f"id,customer_id,fee\n1,1,{10**17}.5\n",
        },
        output={"format": output},
        archive={"compression": compression},
        **TOTALS,
    )
    feed.run()
    prices = [Fraction(item["price"]) for order in ORDERS for item in order["items"]]
    quantity = sum(item["qty"] for order in ORDERS for item in order["items"])
    # Once for each record, however many rows it has.
    fees = sum(Fraction(order["fee"]) for order in ORDERS)
    found = recounted(feed)
    assert found.gaps == []
    assert {name: Fraction(total) for name, total in found.totals.items()} == {
        "fee": fees + 10**17 + Fraction("0.5"),
        "items.price": sum(prices),
        "items.qty": quantity,
    }


def test_a_sum_that_the_tables_do_not_have_is_a_gap(make_feed: MakeFeed) -> None:
    """A table forged together with its hashes is found by the sums of the archive."""
    feed = make_feed({"a.json": ORDERS}, subdirs=1, **TOTALS)
    feed.run()
    run, committed = runs.open_complete(feed.open(), TS)
    table = feed.data_dir / TABLE
    table.write_text(table.read_text().replace(",3.0900,", ",3.0901,"))
    output = msgspec.structs.replace(
        committed.outputs["1"], sha256=durable.sha256(table), size_bytes=table.stat().st_size
    )
    forged = documents.encode(msgspec.structs.replace(committed, outputs={"1": output}))
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(forged)
    (gap,) = recounted(feed).gaps
    total = Decimal(committed.totals["items.price"])
    assert gap.startswith(f"the sum of 'items.price' is {total + Decimal('0.0001')}, expected {total} by the archive")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_sum_of_a_field_without_a_name_is_proved(make_feed: MakeFeed, form: str) -> None:
    """A field whose name is empty has a total in every format: Parquet calls its column `_`."""
    keys: dict[str, Any] = {"merge": [], "denormalize": {}, "verify": {"totals": ['""']}, "output": {"format": form}}
    feed = make_feed({"a.json": [{"": 1, "id": 1}, {"": 2, "id": 2}]}, **keys)
    feed.run()
    assert (recounted(feed).totals, recounted(feed).gaps) == ({'""': "3"}, [])


def test_a_sum_says_what_its_field_counts_once_for(make_feed: MakeFeed) -> None:
    """verify says of a total that stands in several rows of a record, or of an element, that it counts once for it."""
    record = {"fee": 1.5, "a": [{"n": 2, "b": [{"m": 3}, {"m": 4}]}]}
    keys: dict[str, Any] = {"merge": [], "verify": {"totals": ["fee", "a.n", "a.b.m"]}}
    feed = make_feed({"a.json": [record]}, **keys, denormalize={"explode": ["a", "a.b"]})
    feed.run()
    sums = "sum of fee 1.5 (once per record), sum of a.n 2 (once per element of a), sum of a.b.m 7:"
    assert sums in fanfold("verify", feed.spec_path).stdout
    tables = {"all": {"explode": ["a", "a.b"]}, "records": {}}
    feed = make_feed({"a.json": [record]}, "tables", **keys, tables=tables, denormalize={})
    feed.run()
    sums = "sum of all.a.n 2 (once per element of a), sum of all.a.b.m 7, sum of records.fee 1.5:"
    assert sums in fanfold("verify", feed.spec_path).stdout


@pytest.mark.parametrize(
    ("total", "message"),
    [
        ("items.prize", "verify.totals 'items.prize' is not a field of the records, did you mean 'items.price'"),
        ("id", "verify.totals 'id' is VARCHAR, expected BIGINT or DECIMAL"),
        ("extra", "verify.totals 'extra' is left out by denormalize.columns, expected it there"),
    ],
)
def test_a_total_of_what_has_none_is_an_error_before_any_group(make_feed: MakeFeed, total: str, message: str) -> None:
    """A total names a field of whole numbers or decimals; anything else is said before a group starts."""
    records = [*ORDERS, {"id": "x", "customer_id": "1", "extra": 1}]
    feed = make_feed({"a.json": records}, **(TOTALS | {"verify": {"totals": [total]}}))
    with pytest.raises(FanfoldError, match=message):
        feed.stage()


def test_each_of_fifty_changes_is_named(make_feed: MakeFeed) -> None:
    """Fifty times one byte, line or file of archive or output changed, gone or more: each time it is named, exactly."""
    feed = make_feed(
        {
            "sub/a.json": ORDERS,
            "b.json": "".join(f"{json.dumps(order)}\n" for order in ORDERS) + "{\n",
            "bad.json": "no JSON",
            "c.csv": "id,customer_id\n1,1\n",
        },
        quarantine={"max_bad_records_percent": 50},
    )
    feed.run()
    folders = [feed.data_dir / name for name in ("processed", "denormalized", "quarantine")]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    chance = random.Random(7)
    for turn in range(50):
        path = chance.choice(paths)
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        named = path
        match turn % 5:
            case 0 | 1:
                path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
            case 2:
                lines = whole.splitlines(keepends=True)
                lines.pop(chance.randrange(len(lines)))
                path.write_bytes(b"".join(lines))
            case 3:
                path.unlink()
            case 4:
                named = path.with_name(f"more_{TS}.json")
                named.write_bytes(whole)
        gaps = recounted(feed).gaps
        assert len(gaps) == 1, (turn, path, gaps)
        assert str(named.relative_to(feed.data_dir)) in gaps[0], (turn, path, gaps)
        if named != path:
            named.unlink()
        path.write_bytes(whole)
    assert recounted(feed).gaps == []


@pytest.mark.parametrize("copy", ["output", "commit"])
def test_each_changed_bit_of_a_manifest_is_named(feed: FeedDir, copy: str) -> None:
    """Whatever bit of either copy of the manifest is changed: that is said in one sentence, which names the copy."""
    run = feed.at()
    path = run.manifest_path if copy == "output" else run.commit_path
    whole, name = path.read_bytes(), repr(str(path.relative_to(feed.data_dir)))
    chance = random.Random(copy)
    for at in chance.sample(range(len(whole) * 8), 300):
        path.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
        try:
            gaps = recounted(feed).gaps
        except DataError as error:
            gaps = [str(error).replace(str(path), path.relative_to(feed.data_dir).as_posix())]
        assert len(gaps) == 1, (at, gaps)
        assert name in gaps[0], (at, gaps)
        assert len(gaps[0].splitlines()) == 1
    path.write_bytes(whole)
    assert recounted(feed).gaps == []


def test_a_changed_manifest_is_exit_1(feed: FeedDir) -> None:
    """`verify` ends with 1 and one line where a manifest is changed, be it readable or not."""
    path = feed.at().commit_path
    whole = path.read_bytes()
    for changed in (
        whole.replace(b'"records_in": 4', b'"records_in": 5'),
        b"\xff" + whole,
        whole.replace(b"}", b"\xfe"),
    ):
        path.write_bytes(changed)
        ended = fanfold("verify", feed.spec_path)
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if str(path.name) in line]
        assert (ended.returncode, len(said)) == (1, 1)
        assert "changed" in said[0]
        assert "internal" not in ended.stderr


@pytest.mark.parametrize("name", ["a\rb", "a\r\nb", "\r", "a\nb", 'a"b', '"', " a ", "a,b"])
def test_a_table_is_counted_whatever_its_columns_are_named(make_feed: MakeFeed, name: str) -> None:
    """A line end or a quote in the name of a column, or in a value, hides no row from the recount."""
    records = [{name: f"{n}{name}", "n": n} for n in range(5)]
    feed = make_feed({"a.json": records}, merge=[], denormalize={}, verify={"totals": ["n"]})
    feed.run()
    found = recounted(feed)
    assert (found.rows, found.totals, found.gaps) == (5, {"n": "10"}, [])
