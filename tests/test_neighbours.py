"""What is bad costs no good record beside it: garbage at every place, files that break off anywhere, and any change."""

import random
from typing import Any

import pytest

from tests.core import read_json
from tests.neighbours import ALL, RECORDS, changed, differs

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
