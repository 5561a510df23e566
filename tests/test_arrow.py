"""Streams of columns: read as often as one likes, left early, of any shape."""

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from fanfold.native import arrow
from fanfold.native.arrow import Stream
from tests.test_output import source_of


def test_a_stream_may_be_left_early_and_read_again() -> None:
    """DuckDB and pyarrow may ask for a stream as often as they like; when it goes, nothing of it stays."""
    content = "\n".join(f'{{"a":{i}}}' for i in range(300_000)).encode()
    source = source_of(content, {"a": "BIGINT"})
    stream = Stream([("a", "BIGINT")], lambda arrow: source.rows(source.places, arrow), source.windows)
    with duckdb.connect() as connection:
        connection.register("s", stream)
        assert connection.execute("SELECT a FROM s LIMIT 1").fetchall() == [("0",)]
        assert connection.execute("SELECT count(*), sum(a::BIGINT) FROM s").fetchall() == [(300_000, 44999850000)]
    assert pa.table(stream).num_rows == 300_000
    left = pa.RecordBatchReader.from_stream(stream)
    assert left.read_next_batch().num_rows > 1_000
    stream.__arrow_c_stream__()
    del left, stream
    assert not arrow._readings  # noqa: SLF001 - what stays there stays for good


@pytest.mark.slow
def test_batches_of_columns_without_a_value_are_small_too() -> None:
    """What a batch takes is bounded where nearly all of its values are null."""
    source = source_of(b"{}\n" * 20_000, {f"f{i}": "VARCHAR" for i in range(1_500)})
    columns = [(column.name, column.type) for column in source.flat]
    stream = Stream(columns, lambda arrow: source.rows(source.places, arrow), source.windows)
    sizes = [batch.nbytes for batch in pa.RecordBatchReader.from_stream(stream)]
    assert len(sizes) > 50
    assert max(sizes) < 2 << 20


def test_a_stream_without_columns_has_its_rows() -> None:
    """Rows are there even where nothing is asked of them, and so is a stream without any."""
    source = source_of(b'{"a":1}\n{"a":2}', {"a": "BIGINT"})
    for windows, rows in ((source.windows, 2), (list, 0)):
        table = pa.table(Stream([], lambda arrow: source.rows([], arrow), windows))
        assert (table.num_rows, table.num_columns) == (rows, 0)
