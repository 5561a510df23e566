"""Frozen references: rows in a file, found by the text of their keys."""

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fanfold.native import Beside, Field, Joined, Others, Reader, Rows, Table
from tests.core import frozen_table, read_with

RECORD = Field(kind="object", inside=(Field("id", key=1),))
COLUMNS = [(Rows.SLOT, 0, 0), (Rows.JOIN, 0, 0), (Rows.JOIN, 0, 2)]
CUSTOMER = Field(kind="object", inside=(Field("name"), Field("id", key=1), Field("town")))


def write_customers(path: Path, count: int, pad: str = "") -> None:
    """Write customers as they are frozen; the last one has the key of the first."""
    numbers = range(count)
    lines = [f"Customer {n}{pad},{n * 7919 % count},Town of {n % 97}\n" for n in numbers]
    frozen_table(path, (text.encode() for text in ("name,id,town\n", *lines, "Twin,0,\n")), CUSTOMER)


@pytest.mark.slow
def test_a_large_table_stays_in_its_file(tmp_path: Path) -> None:
    """Of a table whose file is large, no row is in memory; records find their rows, on threads too."""
    path, count = tmp_path / "frozen", 400_000
    write_customers(path, count, pad="x" * 60)
    assert path.stat().st_size > 36 << 20
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16 << 10, "KiB more than before it was opened"
    table, drawn = Table(path), random.Random(7)
    assert (len(table), table.repeated) == (count + 1, 1)
    assert (len(table), table.duplicates) == (count + 1, [(count + 1, count + 2, 2, b"0")])
    wanted = [drawn.randrange(count * 2) for _ in range(5000)]
    content = "".join(f'{{"id":{one}}}\n' for one in wanted).encode()
    back = {n * 7919 % count: n for n in range(count)}
    expected = "".join(
        f"{one},Customer {back[one]}{'x' * 60},Town of {back[one] % 97}\n" if one < count else f"{one},,\n"
        for one in wanted
    )
    answers: list[bytes] = []

    def answer(joins: list[Joined]) -> None:
        found = read_with(Reader(RECORD, Others.REFUSE, joins=joins), [content])
        answers.append(b"".join(Rows(RECORD, COLUMNS, beside=Beside(joins)).write([found.merged])))

    threads = [threading.Thread(target=answer, args=([Joined(table)],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected.encode()] * 4


MEASURE = """
import resource, sys
from pathlib import Path
from fanfold.native import Field, Joined, Others, Reader, Table
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
joins = [Joined(Table(Path(sys.argv[1])))]
reader = Reader(Field(kind="object", inside=(Field("id", key=1),)), Others.REFUSE, joins=joins)
for number in range(0, 400_000, 4000):
    list(reader.read(b"f", [b"".join(b'{"id":%d}' % (number + n) for n in range(4000))]))
    assert reader.counts.unmatched == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_rows_need_no_index_of_a_table(tmp_path: Path) -> None:
    """Where rows are written, a table is opened without a pass over it; a reader refuses such a table."""
    path = tmp_path / "frozen"
    write_customers(path, 5)
    joins = [Joined(Table(path, find=False))]
    with pytest.raises(ValueError, match="refuses to open"):
        Reader(RECORD, Others.REFUSE, joins=joins)
    found = read_with(Reader(RECORD, Others.REFUSE, joins=[Joined(Table(path))]), [b'{"id":3}'])
    written = Rows(RECORD, [COLUMNS[0], COLUMNS[2]], beside=Beside(joins)).write([found.merged])
    assert b"".join(written) == b"3,Town of 2\n"
    with pytest.raises(ValueError, match="refuses to open"):
        Rows(RECORD, [(Rows.JOIN, 0, 3)], beside=Beside(joins))


def test_a_cut_table_is_refused(tmp_path: Path) -> None:
    """A frozen file that lacks its end, or has something behind it, or rows that are not whole, is an error."""
    path = tmp_path / "frozen"
    write_customers(path, 20)
    content = path.read_bytes()
    for damaged in (*(content[:end] for end in range(len(content))), content + b"x", content[:9] + content[10:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a frozen reference of this version"):
            Table(path)
    path.write_bytes(content[:8] + b"\x7f" + content[9:])
    with pytest.raises(ValueError, match="or is incomplete"):
        Table(path)


def test_a_table_whose_file_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    """What can no longer be read is an error of the system, not a record without a match."""
    path = tmp_path / "frozen"
    write_customers(path, 400_000, pad="x" * 60)
    table = Table(path)
    path.write_bytes(b"")
    with pytest.raises(OSError, match="cannot be read: it is cut"):
        read_with(Reader(RECORD, Others.REFUSE, joins=[Joined(table)]), [b'{"id":399999}'])
