"""The tables, row by row, in their order: what is there, and what the records require."""

import codecs
from collections import deque
from collections.abc import Iterator
from itertools import count

from fanfold.audit.csv_records import NOTHING, Csv, Line
from fanfold.audit.findings import Audit
from fanfold.audit.originals import Ahead, Text
from fanfold.audit.parquet_records import UnreadableError, parquet_rows
from fanfold.audit.rows import Row, Rows
from fanfold.audit.values import text_of
from fanfold.layout import Run

MOST_LINE_BYTES = 1 << 28
# A difference is explained by the rows ahead; a table with more differences than this is not followed to its end.
ROWS_AHEAD, MOST_DIFFERENCES, ROWS_AT_ONCE = 1000, 50, 64
# Stands for rows of a file that cannot be read here, however many there are.
ANY_ROWS = Row(("", 0), "", None)


class Table:
    """A table of a subdirectory, compared with the rows that are called for, which are counted."""

    def __init__(self, run: Run, rows: Rows, n: str, found: Audit) -> None:
        """Begin with a table; there may be none."""
        self._run, self._rows, self.output, self._found = run, rows, rows.table.outputs.get(n), found
        self.path, self.made, self._wanted = self.output.path if self.output else "", 0, deque[Row]()
        self._there, self._recent = Ahead(self._read() if self.output else ()), deque[Row]([], ROWS_AHEAD)
        self._differences = 0

    def _read(self) -> Iterator[Line]:
        """Yield the rows of a table as texts, once its columns are those of the manifest."""
        place, spec = self._run.feed.data_dir / self.path, self._run.feed.spec
        names, form = [column.escaped(column.name) for column in self._rows.columns], spec.output.csv
        try:
            with place.open("rb") as file:
                if spec.output.format == "parquet":
                    nameless = next("_" * n for n in count(1) if "_" * n not in names)
                    names = [name or nameless for name in names]
                    lines = ([text_of(value) for value in row] for row in parquet_rows(place))
                else:
                    mark = file.read(3)
                    file.seek(0)
                    if mark and (mark == codecs.BOM_UTF8) != form.bom:
                        self._differs(f"it begins with {mark!r}, and output.csv.bom is {form.bom}")
                    csv = Csv(form.delimiter, '"', [form.null])
                    lines = (cells for _, cells in csv.lines(Text(file, MOST_LINE_BYTES), NOTHING, has_header=False))
                if (found := next(lines, [])) != names:
                    self._differs(f"found the columns {found}, expected {names}")
                yield from lines
        except (FileNotFoundError, ValueError, UnreadableError) as error:
            self._differs(f"it cannot be read: {error}")

    def _differs(self, message: str) -> None:
        self._found.add("changed", (self.path, 0), message)

    def expect(self, row: Row) -> None:
        """Expect one more row."""
        if row.cells is None and self._wanted and self._wanted[-1] is ANY_ROWS:
            return
        self.made += row is not ANY_ROWS
        if self._differences < MOST_DIFFERENCES:
            self._wanted.append(row)
        if len(self._wanted) >= ROWS_AT_ONCE:
            self._compare(is_end=False)

    def end(self) -> None:
        """Compare what is left."""
        self._compare(is_end=True)
        if self._wanted or self._there:
            self._found.not_audited[f"{self.path!r} after {MOST_DIFFERENCES} differences"] += 1

    def _compare(self, *, is_end: bool) -> None:
        """Compare the rows that are called for with those that are there, as far as those ahead are known."""
        wanted, there = self._wanted, self._there
        while (wanted or is_end) and (there or there.fill(ROWS_AT_ONCE) or wanted):
            if self._differences >= MOST_DIFFERENCES:
                return
            if wanted and there and _fits(wanted[0], there[0]):
                self._found.rows += 1
                there.popleft()
                self._recent.append(wanted.popleft())
            elif not is_end and there and len(wanted) < ROWS_AHEAD:
                return
            elif wanted and wanted[0] is ANY_ROWS:
                while there.fill() and not (len(wanted) > 1 and _fits(wanted[1], there[0])):
                    there.popleft()
                    self.made += 1
                wanted.popleft()
            else:
                missing, extra = self._shift()
                for _ in range(max(missing, extra)):
                    self._explain(
                        wanted.popleft() if missing and wanted else None, there.popleft() if extra and there else None
                    )

    def _shift(self) -> tuple[int, int]:
        """Return how many rows are missing or extra before the next two that fit; one of each where none do."""
        wanted, there = self._wanted, self._there
        there.fill(ROWS_AHEAD)
        for k in range(1, ROWS_AHEAD if wanted and there else 1):
            if k < len(wanted) and _fits(wanted[k], there[0]):
                return k, 0
            if k < len(there) and _fits(wanted[0], there[k]):
                return 0, k
        return 1, 1

    def _explain(self, row: Row | None, cells: Line | None) -> None:
        """Say what is wrong with a row that is called for and one that is there, if anything is."""
        before = len(self._found.findings)
        if row is None:
            of = next((one for one in self._recent if _fits(one, cells or [])), None)
            message = f"the row {','.join(map(str, cells or []))[:80]!r} in {self.path!r} comes from no record"
            self._found.add("doubled" if of else "extra", of.place if of else (self.path, 0), message)
        elif cells is None:
            self._found.add("missing", row.place, f"its {row} is not in {self.path!r}")
        else:
            if len(cells) != len(self._rows.columns):
                self._found.add("changed", row.place, f"its {row} has {len(cells)} cells, not one for each column")
            for column, expected, text in zip(self._rows.columns, row.cells or (), cells, strict=False):
                if expected != text:
                    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in column.way)
                    message = f"{column.name!r} is {text!r} in its {row}, expected {expected!r}"
                    self._found.add("changed", row.place, message, pointer)
        self._differences += len(self._found.findings) - before


def _fits(row: Row, cells: Line) -> bool:
    return row is not ANY_ROWS and (row.cells is None or row.cells == cells)
