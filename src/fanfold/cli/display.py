"""What people see: the progress of the groups, tables, and the result of a run with its proof."""

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanfold import interrupt, mirrors
from fanfold.errors import count
from fanfold.manifest import Summary, of_table
from fanfold.proof import output_dir, sentence
from fanfold.spec.texts import CsvOutput

STEPS = ("merge_data", "denormalize_data", "archive_files")
MARKS = {"running": ("…", "yellow"), "done": ("✔", "green"), "skipped": ("-", "dim"), "failed": ("✘", "bold red")}
NUMBERS = {"files", "no rows", "records", "rows", "bytes", "seconds"}
# The cursor is hidden behind the table while that is drawn.
MEND_TERMINAL = b"\x1b[?25h\n"
# As many lines as fit on a screen of usual height; on a lower one, and below what else is told of a run, fewer.
SHOWN_COLUMNS, OTHER_LINES = 20, 8
SHOWN_SUBDIRS = 40
SHOWN_ROWS = 3
SHOWN_FILES = 10
# A cell may have megabytes.
SHOWN_CHARACTERS = 28

Row = Sequence[object]


class Board(Live):
    """A live table of the groups and their steps, on stderr if it is a terminal."""

    def __init__(self, subdirs: int) -> None:
        """Show `subdirs` groups."""
        self._subdirs = min(subdirs, SHOWN_SUBDIRS)
        self._states: dict[tuple[int, str], str] = {}
        super().__init__(console=Console(stderr=True), transient=True, refresh_per_second=8)

    def start(self, refresh: bool = False) -> None:  # noqa: FBT001, FBT002 - as Live has it
        """Start to draw."""
        if self.console.is_terminal:
            interrupt.write_first(MEND_TERMINAL)
        super().start(refresh)

    def stop(self) -> None:
        """Leave the console as it was."""
        super().stop()
        interrupt.write_first(b"")

    def begin(self, ts: str, resumed: bool) -> "Board":  # noqa: FBT001 - told by position
        """Show another run."""
        if resumed:
            click.echo(f"resuming the unfinished run {ts}; run again to take files that have landed since", err=True)
        self._states.clear()
        return self

    def __call__(self, n: int, step: str, state: str) -> None:
        """Show that a step of a group is `running`, `done`, `skipped` or `failed`."""
        self._states[n, step] = state

    def get_renderable(self) -> Table:
        """Make the table."""
        table = Table("subdirectory", *STEPS, box=None, padding=(0, 2, 0, 0))
        for n in range(1, self._subdirs + 1):
            marks = [MARKS.get(self._states.get((n, step), ""), ("·", "dim")) for step in STEPS]
            table.add_row(f"subdir_{n}", *(Text(mark, style) for mark, style in marks))
        return table


def console(width: int | None = None) -> Console:
    """Return a console that prints text unchanged; only the terminal itself wraps a line that is too long for it."""
    return Console(width=width, soft_wrap=True, highlight=False, markup=False)


def wide_console() -> Console:
    """Return a console for ids and names, which people copy: a table is as wide as they are."""
    return console(width=100_000)


def print_table(to: Console, headings: Sequence[str], rows: Iterable[Row], total: Row = (), title: str = "") -> None:
    """Print a table, unless it has no rows; a `total` comes last, below a line."""
    table = Table(title=title or None, title_justify="left", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    if total:
        table.add_section()
        table.add_row(*map(_cell, total), style="bold")
    if table.row_count:
        to.print(table)


def _cell(value: object) -> Text:
    return Text("" if value is None else f"{value:,}" if isinstance(value, int) else str(value))


def print_summary(summary: Summary, seconds: Mapping[str, float], data_dir: Path, form: CsvOutput) -> None:
    """Print what went where, what is unmatched or bad, which files made no rows, and the sentence of proof."""
    from fanfold.steps.verify_run import without_rows

    to, empty, out = console(), without_rows(data_dir, summary.ts), of_table(summary.rows_out)
    took = {n: f"{of_subdir:.1f}" for n, of_subdir in seconds.items()}
    of_subdir = Counter(str(file.subdir) for file, _ in empty)
    headings: list[Any] = ["subdirectory", "files", "no rows", "records", "rows", "bytes", "seconds"]
    rows: list[list[Any]] = [
        [n, one.files, of_subdir[n], one.records, sum(of_table(one.rows).values()), one.bytes, took.get(n)]
        for n, one in summary.subdirs.items()
    ]
    total = ["all", summary.files_in, len(empty), summary.records_in, sum(out.values()), summary.bytes_in, ""]
    if not empty:
        for row in (headings, *rows, total):
            del row[2]
    print_table(to, headings, rows, total, f"run {summary.ts}")
    if published_dir := output_dir(summary, data_dir):
        to.print(f"outputs: {mirrors.named(str(published_dir))}")
        for name in out:
            _print_preview(to, sorted((published_dir / name).glob("*.csv"))[:1], published_dir, form)
    if summary.records_unmatched:
        names = ", ".join(reference.path for reference in summary.references)
        names = f"at least one of {names}" if len(summary.references) > 1 else names
        unmatched = f"{summary.records_unmatched:,} of {summary.records_in:,} records kept without a match in {names}"
        to.print(f"WARNING: {unmatched}", style="yellow")
    if summary.records_quarantined or summary.files_quarantined:
        bad = f"{count(summary.records_quarantined, 'record')} and {count(summary.files_quarantined, 'file')}"
        to.print(f"WARNING: {bad} are bad: they are in quarantine, each with its reason", style="yellow")
    for file, why in empty[:SHOWN_FILES]:
        to.print(f"{file.name!r} made no rows: it {why}")
    if more := len(empty[SHOWN_FILES:]):
        to.print(f"and {count(more, 'more file')} (the manifest has all)")
    to.print(sentence(summary, len(empty)), style="bold green")


def _print_preview(to: Console, tables: Iterable[Path], above: Path, form: CsvOutput) -> None:
    """Print the first rows of tables of CSV, a line for each column: as many rows and columns as fit the terminal."""
    lines = min(SHOWN_COLUMNS, max(1, to.height - OTHER_LINES)) if to.is_terminal else SHOWN_COLUMNS
    for path in tables:
        with path.open(encoding="utf-8-sig" if form.bom else "utf-8", newline="") as file:
            rows = list(itertools.islice(csv.reader(file, delimiter=form.delimiter), SHOWN_ROWS + 1))
        columns = list(zip(*rows, strict=False)) if rows[1:] else []
        shown = [[name, *map(_shortened, cells)] for name, *cells in columns[:lines]]
        # A name is never cut or wrapped: it is there to be copied. Each further cell has its frame.
        widest = [max(map(cell_len, cells)) + 3 for cells in zip(*shown, strict=True)]
        fitting = max(2, sum(width < to.width for width in itertools.accumulate(widest)))
        shown = [cells[:fitting] for cells in shown] if to.is_terminal else shown
        headings = [""] * max(map(len, shown), default=1)
        title = f"{path.relative_to(above)}: the first {count(len(headings) - 1, 'row')}"
        print_table(wide_console(), headings, shown, title=title)
        if more := len(columns) - len(shown):
            to.print(f"and {count(more, 'more column')}")


def _shortened(cell: str) -> str:
    return cell if len(cell) <= SHOWN_CHARACTERS else cell[: SHOWN_CHARACTERS - 1] + "…"
