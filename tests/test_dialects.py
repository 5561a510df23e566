"""CSV in dialects, text in other encodings, and tables for spreadsheets."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import DataError, MissingError, SpecError
from fanfold.feed import quarantine, replay
from fanfold.spec.model import Spec, parse_spec
from fanfold.steps.plan import plan
from tests.conftest import FeedDir, MakeFeed

LATER = "20260102T030406Z"
ALL_BAD = {"max_bad_records_percent": 100, "max_bad_files_percent": 100}
PLAIN = {"subdirs": 1, "merge": [], "denormalize": {}, "quarantine": ALL_BAD}


def bad(feed: FeedDir) -> list[tuple[str, int]]:
    """Return code and line of what is open in quarantine."""
    return [(one.bad.code, one.bad.line or 0) for one in quarantine.items(feed.open()) if one.state == "open"]


@pytest.mark.parametrize(
    ("dialect", "content", "table"),
    [
        ({"delimiter": ";"}, 'id;t\n1;"a;b"\n2;"c,""d"\n3;e,f\n', 'id,t\n1,a;b\n2,"c,""d"\n3,"e,f"\n'),
        ({"delimiter": "\t", "nulls": ["\\N"]}, 'id\tt\n1\t\\N\n2\t"\\N"\n3\t\n', "id,t\n1,\n2,\\N\n3,\n"),
        ({"delimiter": "|", "quote": ""}, 'id|t\n1|"a\n2|5" x 3"\n3|\0\n', 'id,t\n1,"""a"\n2,"5"" x 3"""\n3,\0\n'),
        ({"quote": "'"}, "id,t\n1,'it''s, \"so\"'\n2,''\n", 'id,t\n1,"it\'s, ""so"""\n2,""\n'),
        ({"header": False, "nulls": ["N/A", "-"]}, "1,N/A\n-,-x\n", "column_1,column_2\n1,\n,-x\n"),
        ({"delimiter": " "}, 'id t\r\n1 "a b"\r\n', "id,t\n1,a b\n"),
        ({"delimiter": ";"}, "id;t\n" + "1;a\n" * 5000, "id,t\n" + "1,a\n" * 5000),
    ],
)
def test_a_dialect_is_read(dialect: dict[str, Any], content: str, table: str, make_feed: MakeFeed) -> None:
    """Delimiter, quote, texts for null and a missing header are those that the spec names, for quoted fields too."""
    feed = make_feed({"a.csv": content}, input={"csv": dialect}, **PLAIN)
    feed.run()
    assert feed.read() == table


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_without_a_name_is_one_like_any_other(form: str, make_feed: MakeFeed) -> None:
    """A column that has no name in its header is chosen, declared, joined by, used in SQL, replayed and audited."""
    keys: dict[str, Any] = {
        "subdirs": 1,
        "input": {"fields": {'""': "BIGINT"}},
        "merge": [{"reference": "customers.csv", "key": '""', "into": "r", "columns": ["", "name"]}],
        "denormalize": {"columns": ["", "id", "r_", "r_name", {"next": "_ + 1"}]},
        "quarantine": ALL_BAD,
        "output": {"format": form},
    }
    files = {"a.csv": ",id,x\n0,a,1\n1,b,2\nx,c,3\n", "b.csv": 'id,"",x\nd,02,4\n'}
    feed = make_feed(files, customers=',name\n1,Ann\n02,"Bob"\n', **keys)
    feed.run()
    if form == "csv":
        assert feed.read() == '"",id,r_,r_name,next\n0,a,,,1\n1,b,1,Ann,2\n2,d,02,Bob,3\n'
    found = feed.audit()
    assert (found.findings, found.records) == ([], 4)
    (item,) = quarantine.items(feed.open())
    assert (item.bad.code, item.bad.pointer) == ("wrong_type", "/")
    landed = replay.replay(feed.open(), item).landed_as
    assert (feed.landing_dir / str(landed)).read_bytes() == b",id,x\nx,c,3\n"


def test_without_a_header_a_bad_first_line_costs_no_other(make_feed: MakeFeed) -> None:
    """Where there is no header, the first line that can be read says how many columns there are."""
    content = '"1,2\n3,4\n5\n\xff6,7\n8,9\n'.encode("latin-1")
    feed = make_feed({"a.csv": content, "b.csv": "x,y\n"}, input={"csv": {"header": False}}, **PLAIN)
    feed.run()
    assert feed.read() == "column_1,column_2\n3,4\n8,9\nx,y\n"
    assert bad(feed) == [("bad_quote", 1), ("ragged_line", 3), ("bad_utf8", 4)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "cp437", "iso-8859-15"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_encoding_is_read(encoding: str, suffix: str, make_feed: MakeFeed) -> None:
    """CSV and JSON in another encoding have the records that their text has, compressed or not."""
    lines = "".join(f"{n},Zoë é{n}\n" for n in range(400))
    files: dict[str, str | bytes | list[Any]] = {
        "b.json": '{"id":"é"}\n[]'.encode(encoding),
    }
    feed = make_feed(files, input={"encoding": encoding, "patterns": ["*"]}, **PLAIN)
    import gzip

    raw = f"id,name\n{lines}".encode(encoding)
    feed.land(f"a.csv{suffix}", gzip.compress(raw, mtime=0) if suffix else raw)
    feed.run()
    assert feed.read() == f"id,name\n{lines}é,\n"


def test_bytes_that_an_encoding_does_not_have_make_their_record_bad(make_feed: MakeFeed) -> None:
    """A byte without a character, and half of a surrogate pair, cost their record alone; it is replayed as it was."""
    feed = make_feed({"a.csv": b"id,t\n1,\x80\n2,x\x81y\n3,\xe9\n"}, input={"encoding": "cp1252"}, **PLAIN)
    feed.run()
    assert feed.read() == "id,t\n1,€\n3,é\n"
    (item,) = quarantine.items(feed.open())
    assert (item.bad.code, item.bad.line) == ("wrong_encoding", 3)
    landed = replay.replay(feed.open(), item).landed_as
    assert (feed.landing_dir / str(landed)).read_bytes() == b"id,t\n2,x\x81y\n"
    feed.write_spec(input={"encoding": "latin-1"}, **PLAIN)
    feed.run(LATER)
    assert feed.read(1, LATER) == "id,t\n2,x\x81y\n"


def test_utf_16_is_kept_up_to_what_is_wrong(make_feed: MakeFeed) -> None:
    """Lone surrogates are bad records; a file that ends in half a character has its whole lines; one needs its mark."""
    files: dict[str, str | bytes | list[Any]] = {
        "a.json": b"\xff\xfe" + '{"id":"x\ud800"}\n{"id":"é"}'.encode("utf-16-le", "surrogatepass"),
        "b.csv": b"\xfe\xff" + "id\n1\n23".encode("utf-16-be")[:-1],
        "c.csv": "id\n7\n".encode("utf-16-le"),
    }
    feed = make_feed(files, input={"encoding": "utf-16"}, **PLAIN)
    feed.run()
    assert feed.read() == "id\né\n1\n"
    assert bad(feed) == [("wrong_encoding", 0), ("wrong_encoding", 1), ("truncated", 3)]
    (item,) = (one for one in quarantine.items(feed.open()) if one.bad.code == "wrong_encoding" and one.bad.line)
    replay.replay(feed.open(), item, '{"id":"ü"}'.encode("utf-16"))
    feed.run(LATER)
    assert feed.read(1, LATER) == "id\nü\n"


def test_a_wrong_encoding_names_the_key(make_feed: MakeFeed) -> None:
    """UTF-16 with a mark, and latin-1, in a feed of UTF-8 are bad, and the message names what to write in the spec."""
    feed = make_feed({"a.csv": "id\n1\n".encode("utf-16"), "b.csv": b"id\n\xe9\n2\n"}, **PLAIN)
    feed.run()
    messages = [one.bad.message for one in quarantine.items(feed.open())]
    assert "input.encoding: utf-16" in messages[0]
    assert "input.encoding: latin-1" in messages[1]


def test_a_replay_has_the_dialect_of_its_file(make_feed: MakeFeed) -> None:
    """A bad line is landed again behind its header, both in the dialect and encoding that they came in."""
    keys = {**PLAIN, "input": {"encoding": "utf-16-le", "csv": {"delimiter": ";", "quote": "'"}}}
    feed = make_feed({"a.csv": "'é;1';n\n1;x;y\n2;z\n".encode("utf-16-le")}, **keys)
    feed.run()
    (item,) = quarantine.items(feed.open())
    landed = replay.replay(feed.open(), item).landed_as
    assert (feed.landing_dir / str(landed)).read_bytes() == "'é;1';n\n1;x;y\n".encode("utf-16-le")


def test_a_reference_has_its_own_dialect(make_feed: MakeFeed) -> None:
    """The reference of a feed is read by the dialect and the encoding that stand at it; a wrong one is named."""
    merge = {"reference": "customers.csv", "key": "customer_id", "into": "c"}
    named = {**merge, "csv": {"delimiter": ";", "nulls": ["-"]}, "encoding": "cp1252"}
    customers = "customer_id;name;note\n1;Zoë;-\n".encode("cp1252")
    feed = make_feed({"a.csv": "customer_id\n1\n"}, customers=customers, **{**PLAIN, "merge": [named]})
    feed.run()
    assert feed.read() == "customer_id,c_name,c_note\n1,Zoë,\n"
    feed.write_spec(**{**PLAIN, "merge": [{**merge, "encoding": "cp1252"}]})
    with pytest.raises(MissingError, match=r"is ';' its merge\.csv\.delimiter"):
        feed.open()
    feed.write_spec(**{**PLAIN, "merge": [{**merge, "csv": {"delimiter": ";"}}]})
    feed.land("b.csv", "customer_id\n2\n")
    with pytest.raises(DataError, match=r"merge\.encoding: latin-1"):
        feed.run(LATER)


def test_a_header_of_one_column_is_a_warning(make_feed: MakeFeed, caplog: pytest.LogCaptureFixture) -> None:
    """A header that looks as if another delimiter stood in it is named with its file and the key, in run and plan."""
    feed = make_feed({"a.csv": "id;name\n1;a\n", "b.csv": "id\n1\n", "c.csv": "a,b\n1,2\n"}, **PLAIN)
    plan(feed.open())
    feed.run()
    hints = [record.message for record in caplog.records if "delimiter" in record.message]
    assert len(hints) == 2
    assert "'a.csv'" in hints[0]
    assert "input.csv.delimiter" in hints[0]


@pytest.mark.parametrize(("behind", "codes"), [(b"\0" * 9000, []), (b"\0" * 512 + b"x", [("unreadable", 0)])])
def test_zeros_behind_gzip_are_padding(behind: bytes, codes: list[Any], make_feed: MakeFeed) -> None:
    """Zeros behind the last member of gzip are passed over, as zcat does; what stands behind them is an error."""
    import gzip

    content = gzip.compress(b'{"id":1}\n') + gzip.compress(b'{"id":2}\n') + behind
    feed = make_feed({"a.json.gz": content, "b.json": '{"id":3}'}, **PLAIN)
    feed.run()
    assert bad(feed) == codes
    assert feed.read() == ("id\n3\n" if codes else "id\n1\n2\n3\n")


VALUES = ["=1+1", "+41 79", "-5", "-", "@x", "\tx", "\rx", "'=x", "", "NULL", "a;b", 'q"', "-Infinity", "+1.5e3", "#"]
FORMS = [
    {"bom": True},
    {"delimiter": ";"},
    {"null": "NULL"},
    {"escape_formulas": True},
    {"bom": True, "delimiter": "\t", "null": "'-", "escape_formulas": True},
]


@pytest.mark.parametrize("by_sql", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_table_has_the_form_that_is_asked_for(form: dict[str, Any], by_sql: bool, make_feed: MakeFeed) -> None:  # noqa: FBT001
    """The core and DuckDB write the same form; each value is there, and null stands apart from every text."""
    records = [{"t": value, "n": number, "=k": None} for number, value in enumerate(VALUES, start=-3)]
    keys = {"denormalize": {"columns": ["t", "n", "=k", {"u": "concat('', t)"}]}} if by_sql else {}
    feed = make_feed({"a.json": records}, **PLAIN | keys, output={"csv": form}, verify={"totals": ["n"]})
    feed.run()
    text, null = feed.read(), form.get("null", "")
    assert text.startswith("\ufeff") == form.get("bom", False)
    header, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), ""), delimiter=form.get("delimiter", ","))
    escapes = form.get("escape_formulas", False)
    stay = {"-5", "-Infinity", "+1.5e3"}
    expected = ["'" + one if escapes and one[:1] in "=+-@\t\r" and one and one not in stay else one for one in VALUES]
    assert [row[0] for row in rows] == expected
    assert [row[1] for row in rows] == [str(number) for number in range(-3, len(VALUES) - 3)]
    assert {row[2] for row in rows} == {null}
    assert header[2] == ("'=k" if escapes else "=k")
    if by_sql:
        assert [row[3] for row in rows] == expected
    if null == "NULL":
        assert '"NULL",' in text


def test_the_audit_sees_a_form_that_is_not_asked_for(make_feed: MakeFeed) -> None:
    """A mark that goes missing, and a formula that is not escaped, are differences."""
    feed = make_feed({"a.json": [{"t": "=1"}]}, output={"csv": {"bom": True, "escape_formulas": True}}, **PLAIN)
    feed.run()
    table = feed.data_dir / "denormalized/20260102T030405Z/1.csv"
    for content in ("t\n'=1\n", "\ufefft\n=1\n", "\ufefft\n'=2\n"):
        table.write_text(content, encoding="utf-8", newline="")
        assert feed.audit().findings, content


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("input: {csv: {delimiter: ';;'}}", "expected one ASCII character"),
        ('input: {csv: {delimiter: "\\n"}}', "expected one ASCII character"),
        ("input: {csv: {delimiter: ';', quote: ';'}}", "delimiter that is neither in quote"),
        ("input: {csv: {nulls: ['a,b']}}", "delimiter that is neither in quote"),
        ("input: {encoding: utf8}", "utf-8"),
        ("output: {csv: {null: '0'}}", "does not look like a number"),
        ("output: {csv: {null: 'a,b'}}", "nor in null"),
    ],
)
def test_a_wrong_dialect_is_refused(line: str, message: str) -> None:
    """Lint says of characters and texts that cannot work which they are, in which line."""
    with pytest.raises(SpecError, match=message) as caught:
        parse_spec(f"version: 1\nname: x\n{line}\n", "s.yaml")
    assert "s.yaml:3" in str(caught.value)


def test_specs_of_before_have_the_plain_form() -> None:
    """A spec that names nothing reads and writes RFC 4180 in UTF-8."""
    spec = Spec(version=1, name="x")
    assert json.loads(spec.input.csv.model_dump_json()) == {"delimiter": ",", "quote": '"', "nulls": [], "header": True}
    assert (spec.input.encoding, spec.output.csv.bom, spec.output.csv.null) == ("utf-8", False, "")
    assert Path(spec.input.path).name == "transactions"
