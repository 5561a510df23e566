"""What is bad costs no good record beside it: garbage at every place, files that break off anywhere, and any change."""

import random
from typing import Any

import pytest

from tests.core import read_json
from tests.neighbours import ALL, AT, RECORDS, changed, differs

GARBAGE = (
    *("x", "5", "null", "-", ";", "//c", "# note", "log: ", "<html>", '"x"', '5" tall', "\\", "\x00", ",", ",,"),
    *("NaN", "[5]", "[[]]", '{"bad":NaN}', '{"id":NaN}', '{"id":01,"n":[{"id":"8"}]}', '{"id":"8","id":"9"}'),
)


def ids(content: str, records_at: str) -> list[Any]:
    """Return what the good records have as their id, in their order."""
    return [record.get("id") for record in read_json(content.encode(), records_at=records_at).values]


@pytest.mark.parametrize(("form", "records_at"), ALL)
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_beside_a_record_costs_none(form: str, records_at: str, garbage: str) -> None:
    """Whatever stands before or behind a record, it is read, and so are all others, and nothing else."""
    for number in range(1, len(RECORDS)):
        for blanks in ("%s", " %s ", "\n%s\n", "%s\n", "\n%s"):
            for placed in (f"{blanks % garbage}{RECORDS[number]}", f"{RECORDS[number]}{blanks % garbage}"):
                content = form % (*RECORDS[:number], placed, *RECORDS[number + 1 :])
                if "\n[[" in content.replace("[\n", "[").replace("[ ", "["):
                    # Behind an object, an array that begins with an array is not one of records.
                    continue
                assert ids(content, records_at) == ["1", "2", "3"], content


@pytest.mark.parametrize(("form", "records_at"), ALL)
def test_what_breaks_off_costs_nothing_behind_it(form: str, records_at: str) -> None:
    """A file that breaks off anywhere behind its first record, and begins again in a new line, has all others."""
    content = form % RECORDS
    ends = [content.index(record) + len(record) for record in RECORDS]
    for other, _ in (pair for pair in ALL if pair[1] == records_at):
        again = other % tuple(record.replace('"id":"', '"id":"1').replace('": "', '": "1') for record in RECORDS)
        for at in range(ends[0], len(content)):
            whole = [str(number) for number, end in enumerate(ends, 1) if end <= at]
            assert ids(f"{content[:at]}\n{again}", records_at) == [*whole, "11", "12", "13"], content[:at]


@pytest.mark.parametrize("seed", range(4))
def test_the_auditor_finds_the_same_records_in_any_file(seed: int) -> None:
    """Whatever is changed in a file, the auditor follows it, and finds the records that the core says are good."""
    drawn = random.Random(seed)
    for _ in range(5000):
        assert not differs(*changed(drawn))


# A byte of a record changes, is lost, or comes in.

ORDERS = tuple(
    f'{{"id":"{n}","lines":[{{"id":"{n}a","q":1}},{{"id":"{n}b","q":1}}],"to":{{"id":"{n}c"}},"t":"x, {{y}}"}}'
    for n in range(1, 4)
)
DAMAGE = [*((1, byte) for byte in ("", *'}]{[",:\\\n')), *((0, byte) for byte in '}]{[",')]


@pytest.mark.parametrize(("form", "records_at"), ALL)
def test_a_damaged_byte_loses_no_other_record(form: str, records_at: str) -> None:
    """Whichever byte of a record is damaged, each other record is a row, or stands whole in quarantine."""
    begin, end = (form % ORDERS).index(ORDERS[1]), len(ORDERS[1])
    for at in range(begin, begin + end):
        for size, byte in DAMAGE:
            content = form % ORDERS
            content = content[:at] + byte + content[at + size :]
            if records_at and content.count('{y}"') < len(ORDERS):
                # Its last text may go on into the next record: nobody knows.
                continue
            read = read_json(content.encode(), records_at=records_at)
            rows = {record.get("id") for record in read.values}
            for number in ("1", "3"):
                kept = ORDERS[int(number) - 1].encode()
                assert number in rows or any(kept in one.raw for one in read.wrong), content


@pytest.mark.parametrize(
    ("content", "records_at", "good"),
    [
        ('{"id":"1"}\n{"id":"2","n":}[{"x":1}]}\n{"id":"3"}', "", "13"),
        ('{"id":"1","n":}[{"x":1},{"x":2}]}\n{"id":"3"}', "", "3"),
        ('{"id":"1"}\n{"id":"2","n":} [1,{"id":"x"}]}\n{"id":"3"}', "", "13"),
        ('[{"id":"0"},{"id":"1","n":}[{"id":"x"},{"id":"y"}]},{"id":"2"}]', "", "02"),
        ('[{"id":"0","n":}[{"x":1},{"x":2}]},{"id":"1"}]', "", "1"),
        ('[{"id":"1"},{"id":"2","n":{{"id":"x"},{"id":"y"}]},{"id":"3"}]', "", "13"),
        ('[{"id":"1"},{"id":"2","n":[{"id":"x"},{"id":"y"}],"a":[{"id":"z"},"z":1},{"id":"3"}]', "", "13"),
        ('{"id":"1"}\n"id":"2","n":[{"x":1},{"x":2}]}\n{"id":"3"}', "", "13"),
        ('{"id":"1"}\n"{"id":"2","n":[{"id":"x"},{"id":"y"}]}\n{"id":"3"}', "", "13"),
        ('"n":{"k":[{"x":1},{"x":2}]}}\n{"id":"3"}', "", "3"),
        ('{\n "id":"1",\n "n": [\n[ {\n "k":1\n }\n ]\n}\n{\n "id":"2"\n}\n', "", "2"),
        ('{"o":[{"id":"1"},{"id":"2","n":}[{"id":"x"},{"id":"y"}]},{"id":"3"}],"z":1}', AT, "13"),
        ('[{"id": "1"}, {"id": "2", "c": {"id": "x"}, "n', "", "1"),
        ('[{"id":"1"},{"id":"2","l":[{"id":"x"},{"id":"y"},{"i', "", "1"),
        ('[{"id":"1"},{"id":"2","l":[{"id":"x"},{"id":"y"}],"t":"a', "", "1"),
        ('[{"id":"1"}, {"id":"2, "c": {"id":"x"}, "l": [{"id":"x"}, {"id":"y"}]}, {"id":"3"}]', "", "13"),
        ('[{"id":"1","c":{"x":9}},"l":[{"id":"x"}]},{"id":"2"}]', "", "2"),
        ('{"id":"1","c":{"x":9}},\n"l":[{"x":5}]}\n{"id":"2"}', "", "2"),
        ('{\n "id":"1",\n "c":{"x":9}},\n "l":[\n  {"x":5}\n ]\n}\n{\n "id":"2"\n}', "", "2"),
        ('[{"id":"1"},"x",{"id":"2"}]', "", "12"),
        ('{"o":[{"id":"1"},{"id":"2","t":"a"b","n":[{"id":"x"},{"id":"y"}]},{"id":"3"}],"z":1}', AT, "13"),
    ],
)
def test_what_is_inside_of_a_damaged_record_is_not_a_row(content: str, records_at: str, good: str) -> None:
    """Objects in a record that broke are not taken for records of their own, even if they begin alike."""
    assert ids(content, records_at) == [*good]


BLANKS = " " * 5000


@pytest.mark.parametrize(
    ("content", "records_at"),
    [
        ('{"m":\n{"m":1}%s,"o":[{"id":"1"}]}', AT),
        ('{"m":1,"o":[\n{"m":2,"id":"1"}%s]}', AT),
        ('{"id":"1"}\n[%s]', ""),
        ('[{"id":"1"}%s]', ""),
        ('[%s{"id":"1"}\n]', ""),
        ('{"m":1,"o":[\n{"o":2,"id":"1"},\n{"m":3,"id":"2"}%s]%s}', AT),
        ('{"m":{"id":0},"o":[{"id":"1"}]}\n{"id":3,"o":[{"id":"2"}]}%s\n{"m":4,"o":[]}', AT),
    ],
)
def test_what_is_json_is_read_whatever_it_looks_like(content: str, records_at: str) -> None:
    """Objects that look like documents, and many blanks behind them, are what they are in valid JSON."""
    for blanks in ("", BLANKS):
        text = content.replace("%s", blanks).encode()
        for cuts in ((), range(7, len(text), 7)):
            read = read_json(text, *cuts, records_at=records_at)
            assert [record["id"] for record in read.values] == [*"12"[: content.count('"1"') + content.count('"2"')]]
            assert read.wrong == []


def test_the_place_of_a_comma_does_not_depend_on_windows() -> None:
    """A comma behind the last record is said of its own line, wherever a window ends."""
    content = b'{"o":[\n{"id":1},\n\n]\n}\n'
    for at in range(len(content)):
        assert [one.line for one in read_json(content, at, records_at=AT).wrong] == [2]


@pytest.mark.parametrize("content", ['{"id":"1"}\n{},"id":2\n', '[{"id":"1"},{},"id":2]', '[{},"id":2]', '{},\n"id":2'])
def test_a_record_without_a_key_may_have_one_behind_it(content: str) -> None:
    """An object without a key is closed too early if a key follows: it is bad."""
    read = read_json(content.encode())
    assert {"id": "1"} in read.values or "1" not in content
    assert {} not in read.values
