"""Tables: what the core has reaches CSV and Parquet with its values, and SQL sees them by their types."""

import csv
import io
import json
import math
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold.engine import expressions
from fanfold.engine.answers import check
from fanfold.engine.output import write
from fanfold.engine.query import Source
from fanfold.errors import DataError
from fanfold.manifest import Column
from fanfold.native import Beside, Field, Joined, Others, Reader, Rows
from fanfold.spec.model import Output
from tests.core import frozen_table, read_with

SLOT, NUMBER, ITEM, JOIN = Rows.SLOT, Rows.NUMBER, Rows.ITEM, Rows.JOIN


def source_of(content: bytes, types: dict[str, str], declared: Sequence[str] = ()) -> Source:
    """Return records whose fields are columns of these types; only those that are declared are read with theirs."""
    fields = (Field(name, type=kind if name in declared else "VARCHAR") for name, kind in types.items())
    record = Field(kind="object", inside=tuple(fields))
    found = read_with(Reader(record, Others.REFUSE), [content])
    assert not found.wrong
    flat = [Column(name, kind, "record", [name]) for name, kind in types.items()]
    places = [(SLOT, 0, slot) for slot in range(len(flat))]
    return Source(lambda wanted, arrow: Rows(record, wanted, form=arrow), lambda: [found.merged], flat, places, 100)


def by_sql(source: Source, *columns: str) -> list[Column]:
    return [expressions.column(f"c{i}", expression, list(source.flat)) for i, expression in enumerate(columns)]


def lines(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))


EVERY_TYPE = {
    "i": "BIGINT", "n": "DECIMAL(18,2)", "x": "DOUBLE", "b": "BOOLEAN", "on": "DATE", "at": "TIMESTAMP",
    "moment": "TIMESTAMPTZ", "t": "VARCHAR",
}  # fmt: skip
ONE_OF_EACH = (
    b'{"i":7,"n":12.5,"x":0.1,"b":true,"on":"2026-01-02","at":"2026-01-02T09:15","moment":"2026-01-02T09:15+02:00",'
    b'"t":"a,\\"b\\"\\n#"}\n'
)
DECLARED = [name for name in EVERY_TYPE if name != "n"]


@pytest.mark.parametrize(
    ("expression", "kind", "written"),
    [
        ("i * 2", "BIGINT", "14"),
        ("i::HUGEINT * 10000000000000000000", "DECIMAL(38,0)", "70000000000000000000"),
        ("n", "DECIMAL(18,2)", "12.50"),
        ("(n / 100)::DECIMAL(3,3)", "DECIMAL(3,3)", "0.125"),
        ("(n / -100)::DECIMAL(3,3)", "DECIMAL(3,3)", "-0.125"),
        ("x + 0.2::DOUBLE", "DOUBLE", "0.30000000000000004"),
        ("1e16::DOUBLE", "DOUBLE", "1e+16"),
        ("NOT b", "BOOLEAN", "false"),
        ('"on" + INTERVAL 1 DAY', "TIMESTAMP", "2026-01-03T00:00:00"),
        ('"on" + 1', "DATE", "2026-01-03"),
        ('"at" + INTERVAL 5 MILLISECONDS', "TIMESTAMP", "2026-01-02T09:15:00.005000"),
        ('"at" + INTERVAL 5 SECONDS', "TIMESTAMP", "2026-01-02T09:15:05"),
        ("moment", "TIMESTAMPTZ", "2026-01-02T07:15:00Z"),
        ("moment + INTERVAL 1 MICROSECOND", "TIMESTAMPTZ", "2026-01-02T07:15:00.000001Z"),
        ("upper(t)", "VARCHAR", '"A,""B""\n#"'),
        ("left(t, 0)", "VARCHAR", '""'),
        ("left(t, 1)", "VARCHAR", "a"),
        ("CASE WHEN i = 8 THEN i END", "BIGINT", ""),
        ('CASE WHEN NOT b THEN "at" END', "TIMESTAMP", ""),
        ("CASE WHEN NOT b THEN t END", "VARCHAR", ""),
        ("1 + 1", "BIGINT", "2"),
    ],
)
def test_a_column_by_sql_has_the_form_of_its_type(tmp_path: Path, expression: str, kind: str, written: str) -> None:
    """What an expression gives stands in CSV as the core writes values of its type, and in Parquet as that type."""
    source = source_of(ONE_OF_EACH, EVERY_TYPE, DECLARED)
    columns = by_sql(source, expression, "1")
    assert columns[0].type == kind
    assert write(tmp_path / "1.csv", Output(format="csv"), columns, source) == 1
    assert (tmp_path / "1.csv").read_bytes() == f"c0,c1\n{written},1\n".encode()
    write(tmp_path / "1.parquet", Output(format="parquet"), columns, source)
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT c0 FROM '{tmp_path / '1.parquet'}'").types
    assert str(found[0]).replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") == kind


def test_doubles_by_sql_are_written_as_they_read_back(tmp_path: Path) -> None:
    """A double that an expression gives is written like one that is passed on: the shortest text, as Python has it."""
    drawn = random.Random(5)
    numbers = [struct.unpack("<d", drawn.randbytes(8))[0] for _ in range(3_000)]
    numbers = [number for number in numbers if math.isfinite(number)]
    numbers += [0.0, -0.0, 5e-324, 1e15, 1e16, 1e-4, 1e-5, 1e22, 1e23, 123456789012345680.0]
    content = "\n".join(f'{{"x":{number!r}}}' for number in numbers).encode()
    source = source_of(content, {"x": "DOUBLE"}, ["x"])
    write(tmp_path / "1.csv", Output(format="csv"), [source.flat[0], *by_sql(source, "x")], source)
    assert lines(tmp_path / "1.csv")[1:] == [[repr(number)] * 2 for number in numbers]


def test_values_beside_sql_stay_as_they_were_written(tmp_path: Path) -> None:
    """A number that SQL sees with a type stands in CSV as it was written, in Parquet as the type."""
    content = b'{"n":12.50,"i":1E1}\n{"n":-0.0,"i":-0}\n{"n":null}\n{"n":1e2,"i":7}'
    source = source_of(content, {"n": "DECIMAL(18,2)", "i": "BIGINT"})
    columns = [*source.flat, *by_sql(source, "n * 2", "i + 1")]
    assert write(tmp_path / "1.csv", Output(format="csv"), columns, source) == 4
    assert (tmp_path / "1.csv").read_text() == ("n,i,c0,c1\n12.50,1E1,25.00,11\n-0.0,-0,0.00,1\n,,,\n1e2,7,200.00,8\n")
    write(tmp_path / "1.parquet", Output(format="parquet"), columns, source)
    assert pq.read_table(tmp_path / "1.parquet").to_pydict() == {
        "n": [Decimal("12.50"), Decimal("0.00"), None, Decimal("100.00")],
        "i": [10, 0, None, 7],
        "c0": [Decimal("25.00"), Decimal("0.00"), None, Decimal("200.00")],
        "c1": [11, 1, None, 8],
    }


TEXTS = [chr(code) for code in range(1, 0x250)]
TEXTS += [
    "",
    " a",
    "a ",
    "#x",
    "a#b",
    'a"b',
    "a,b",
    "a\tb",
    "a'b",
    "NULL",
    "\\N",
    "a\r\nb",
    ";",
    "|",
    "é\n",
    "😀",
    "\0",
]


def test_a_table_is_quoted_alike_with_sql_and_without(tmp_path: Path) -> None:
    """Header and texts, as passed on and as SQL gives them, are the bytes that the core writes."""
    content = "\n".join(json.dumps({"t": text, "#t": None if i % 2 else text}) for i, text in enumerate(TEXTS))
    source = source_of(content.encode(), {"t": "VARCHAR", "#t": "VARCHAR", 'a"\n,': "VARCHAR", "": "VARCHAR"})
    columns = [*source.flat, source.flat[0]]
    assert write(tmp_path / "1.csv", Output(format="csv"), columns, source) == len(TEXTS)
    with_sql = [*source.flat, Column("t", "VARCHAR", "spec", [], expression="t")]
    assert write(tmp_path / "2.csv", Output(format="csv"), with_sql, source) == len(TEXTS)
    assert (tmp_path / "2.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    assert (tmp_path / "1.csv").read_bytes().startswith(b't,"#t","a""\n,","",t\n')


def test_names_that_sql_does_not_tell_apart_are_columns_of_their_own(tmp_path: Path) -> None:
    """Names in two spellings, an empty name and one of letters that Fanfold uses itself do not meet."""
    names = ["A", "a", "", "_", "column_0", "merged_rows", "\ue0001"]
    content = json.dumps({name: str(i) for i, name in enumerate(names)}).encode()
    source = source_of(content, dict.fromkeys(names, "VARCHAR"))
    expression = Column("x", "VARCHAR", "spec", [], expression='"column_0" || merged_rows || A')
    assert write(tmp_path / "1.csv", Output(format="csv"), [*reversed(source.flat), expression], source) == 1
    assert lines(tmp_path / "1.csv") == [[*reversed(names), "x"], ["6", "5", "4", "3", "2", "1", "0", "450"]]
    write(tmp_path / "1.parquet", Output(format="parquet"), [source.flat[0], *source.flat[2:3], expression], source)
    assert pq.read_table(tmp_path / "1.parquet").to_pydict() == {"A": ["0"], "_": ["2"], "x": ["450"]}


ORDER = Field(
    kind="object",
    inside=(
        Field("id", key=1),
        Field("o", "object", inside=(Field("t"), Field("j", type="JSON"))),
        Field("items", "list", inside=(Field(kind="object", inside=(Field("sku"), Field("n", type="BIGINT"))),)),
    ),
)


def test_records_are_joined_exploded_and_written(tmp_path: Path) -> None:
    """Both forms have a row for each element, in order, with the record, its reference and its place beside it."""
    reference = Field(kind="object", inside=(Field("id", key=1), Field("name")))
    customers = frozen_table(tmp_path / "customers", [b"id,name\n7,Ann\n"], reference)
    joins = [Joined(customers)]
    content = (
        b'{"id":7,"o":{"t":"","j":[1.0, {"x" : "y"}]},"items":[{"n":1e1,"sku":"s"},{"sku":"r","n":2}]}\n'
        b'{"id":"8","o":{"j":"x"}}'
    )
    found = read_with(Reader(ORDER, Others.REFUSE, joins=joins), [content])
    flat = [
        Column(name, kind, "record", [])
        for name, kind in [
            ("id", "VARCHAR"), ("o_t", "VARCHAR"), ("o_j", "JSON"), ("sku", "VARCHAR"), ("n", "BIGINT"),
            ("customer_name", "VARCHAR"), ("_source_record", "BIGINT"), ("_source_item", "VARCHAR"),
        ]
    ]  # fmt: skip
    places = [
        (SLOT, 0, 0), (SLOT, 0, 1), (SLOT, 0, 2), (SLOT, 1, 0), (SLOT, 1, 1), (JOIN, 0, 1), (NUMBER, 0, 0), (ITEM, 0, 0)
    ]  # fmt: skip
    source = Source(
        lambda wanted, arrow: Rows(ORDER, wanted, ((0, False), (1, False)), beside=Beside(joins), form=arrow),
        lambda: [found.merged],
        flat,
        places,
        100,
    )
    columns = [*flat, *by_sql(source._replace(flat=flat[3:5]), "n + 1", "sku")]
    assert write(tmp_path / "1.parquet", Output(format="parquet"), columns, source) == 3
    expected = {
        "id": ["7", "7", "8"],
        "o_t": ["", "", None],
        "o_j": ['[1.0,{"x":"y"}]', '[1.0,{"x":"y"}]', '"x"'],
        "sku": ["s", "r", None],
        "n": [10, 2, None],
        "customer_name": ["Ann", "Ann", None],
        "_source_record": [1, 1, 2],
        "_source_item": ["1", "2", None],
        "c0": [11, 3, None],
        "c1": ["s", "r", None],
    }
    assert pq.read_table(tmp_path / "1.parquet").to_pydict() == expected
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT * FROM '{tmp_path / '1.parquet'}'").fetchall()
    assert rows == list(zip(*expected.values(), strict=True))
    write(tmp_path / "1.csv", Output(format="csv"), columns, source)
    assert (tmp_path / "1.csv").read_text() == (
        "id,o_t,o_j,sku,n,customer_name,_source_record,_source_item,c0,c1\n"
        '7,"","[1.0,{""x"":""y""}]",s,10,Ann,1,1,11,s\n'
        '7,"","[1.0,{""x"":""y""}]",r,2,Ann,1,2,3,r\n'
        '8,,"""x""",,,,2,,,\n'
    )


@pytest.mark.slow
def test_a_table_may_have_very_many_columns(tmp_path: Path) -> None:
    """1,500 columns, most of them null, arrive in both forms, in their order."""
    types = {f"f{i}": "DECIMAL(18,1)" if i % 3 else "VARCHAR" for i in range(1_500)}
    content = "\n".join(json.dumps({f"f{i}": i + 0.5 for i in range(row, 1_500, 7)}) for row in range(600))
    source = source_of(content.encode(), types)
    columns = [*source.flat, *by_sql(source, "f1 + 1")]
    assert write(tmp_path / "1.csv", Output(format="csv"), columns, source) == 600
    assert write(tmp_path / "1.parquet", Output(format="parquet"), columns, source) == 600
    header, first, *_ = lines(tmp_path / "1.csv")
    assert header == [*types, "c0"]
    assert first == [*(f"{i + 0.5}" if i % 7 == 0 else "" for i in range(1_500)), ""]
    table = pq.read_table(tmp_path / "1.parquet")
    assert (table.num_columns, table.column("f7")[0].as_py()) == (1_501, Decimal("7.5"))


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    """Without a record CSV is a header, with SQL and without, and Parquet a schema."""
    source = source_of(b'{"a":1}', {"a": "BIGINT", "b": "VARCHAR"})._replace(windows=list)
    columns = [*source.flat, *by_sql(source, "a + 1")]
    for number, wanted in enumerate((source.flat, columns)):
        assert write(tmp_path / f"{number}.csv", Output(format="csv"), wanted, source) == 0
        assert lines(tmp_path / f"{number}.csv") == [[column.name for column in wanted]]
    assert write(tmp_path / "1.parquet", Output(format="parquet"), columns, source) == 0
    assert str(pq.read_schema(tmp_path / "1.parquet")) == "a: int64\nb: string\nc0: int64"


def test_a_table_is_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    """What stood in the file before is gone, and so is any trace of when it was written."""
    content = "\n".join(f'{{"a":{i},"b":"x{i % 7}"}}' for i in range(100_000)).encode()
    source = source_of(content, {"a": "BIGINT", "b": "VARCHAR"})
    columns = [*source.flat, *by_sql(source, "a % 3")]
    for form in ("csv", "parquet"):
        (tmp_path / "2").write_bytes(b"before" * 1_000_000)
        made = [write(tmp_path / name, Output.model_validate({"format": form}), columns, source) for name in "12"]
        assert made == [100_000, 100_000]
        assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("a::BIGINT", " (a 'x'): Could not convert string 'x' to INT64"),
        ("1 % a_length", " (a_length '0'): Division by zero in expression (1 % a_length), expected a result"),
        ("strptime(a, '%Y') ", " (a 'x'): Could not parse string"),
        # TRY lets these pass: the record is narrowed down.
        ("a LIKE 'x' ESCAPE left('zz', 2 - a_length)", " (a 'x', a_length '0'): Invalid escape"),
        ("timezone(CASE a WHEN 'x' THEN a ELSE 'UTC' END, TIMESTAMP '2026-01-01')", " (a 'x'): Unknown TimeZone 'x'"),
    ],
)
def test_an_expression_that_fails_names_its_record(tmp_path: Path, expression: str, told: str) -> None:
    """A value that an expression has no answer for is an error of the data: record and value are named."""
    rows = ['{"a":"7","a_length":1}', '{"a":null,"a_length":2}'] * 3000
    bad = ['{"a":"x","a_length":0}', '{"a":"y","a_length":0}']
    source = source_of("\n".join([*rows, *bad]).encode(), {"a": "VARCHAR", "a_length": "BIGINT"})
    columns = by_sql(source, "CASE WHEN a = 'y' THEN a::DATE END", expression)
    wanted = f"denormalize.columns 'c1': {expression!r} fails for record 6001 of 'f'{told}"
    for form in ("csv", "parquet"):
        with pytest.raises(DataError, match=f"^{re.escape(wanted)}") as caught:
            write(tmp_path / "1", Output.model_validate({"format": form}), columns, source)
        assert str(caught.value).endswith(", and run again")
    with pytest.raises(DataError, match=re.escape(str(caught.value))):
        check(columns, source)
    check(by_sql(source, f"CASE WHEN a < 'x' THEN ({expression}) END"), source)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_error_of_reading_reaches_the_caller_as_it_is(tmp_path: Path, form: str) -> None:
    """What ends the reading of merged records, in the midst of a query, is not taken for a fault of the query."""
    content = "\n".join(f'{{"a":{i}}}' for i in range(200_000)).encode()
    source = source_of(content, {"a": "BIGINT"})
    (whole,) = source.windows()
    lost = OSError(5, "Input/output error", "merged")

    def failing() -> Iterator[bytes]:
        yield whole[: len(whole) // 2]
        raise lost

    columns = by_sql(source, "a + 1")
    with pytest.raises(OSError, match="merged") as caught:
        write(tmp_path / "1", Output.model_validate({"format": form}), columns, source._replace(windows=failing))
    assert caught.value is lost
    with pytest.raises(ValueError, match="damaged merged records"):
        write(
            tmp_path / "1",
            Output.model_validate({"format": form}),
            columns,
            source._replace(windows=lambda: [whole[:-1]]),
        )
    wrong = source._replace(flat=[Column("a", "DATE", "record", ["a"])])
    with pytest.raises(ValueError, match="refuses a call"):
        write(tmp_path / "1", Output.model_validate({"format": form}), by_sql(wrong, "a + 1"), wrong)


LARGE = """
import resource, sys
from pathlib import Path
if sys.argv[3] == "alone":
    sys.modules["pyarrow"] = None
else:
    import pyarrow.dataset
from fanfold.engine.output import write
from fanfold.engine.query import Source
from fanfold.spec.model import Output
from fanfold.manifest import Column
from fanfold.native import Field, Others, Reader, Rows

record = Field(kind="object", inside=(Field("a"), Field("t"), Field("n")))
line = '{"a":%d,"t":"a text of some length, with a comma","n":%d.25}'
content = "\\n".join(line % (i, i) for i in range(12_000))
merged = b"".join(piece.merged for piece in Reader(record, Others.REFUSE).read(b"f", [content.encode()]))
times = int(sys.argv[2])
kinds = {"a": "BIGINT", "t": "VARCHAR", "n": "DECIMAL(18,2)"}
flat = [Column(name, kind, "record", [name]) for name, kind in kinds.items()]
source = Source(
    lambda places, arrow: Rows(record, places, form=arrow),
    lambda: (merged for _ in range(times)), flat, [(0, 0, i) for i in range(3)], 60,
)
columns = [*flat, Column("d", "DECIMAL(18,2)", "spec", [], expression="(n * 2)::DECIMAL(18,2)")]
for form in ("csv", "parquet"):
    target = Path(sys.argv[1], f"{sys.argv[3]}.{form}")
    made = write(target, Output.model_validate({"format": form}), columns, source)
    print(made, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    """70 times the records take little more memory, with pyarrow there and without it, for the same bytes."""
    grown = {}
    for times, company in ((1, "alone"), (70, "alone"), (70, "pyarrow")):
        command = [sys.executable, "-c", LARGE, str(tmp_path), str(times), company]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert answer[::2] == [str(12_000 * times)] * 2
        grown[times, company] = int(answer[3])
    assert grown[70, "alone"] < grown[1, "alone"] + 100
    for form in ("csv", "parquet"):
        assert (tmp_path / f"alone.{form}").read_bytes() == (tmp_path / f"pyarrow.{form}").read_bytes()
