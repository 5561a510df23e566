"""What people see: progress of the groups, tables, and the result of a run with the sentence that proves its count."""

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanfold import interrupt
from fanfold.manifest import Summary
from fanfold.proof import count, outputs, sentence

STEPS = ("merge_data", "denormalize_data", "archive_files")
MARKS = {"running": ("…", "yellow"), "done": ("✔", "green"), "skipped": ("-", "dim"), "failed": ("✘", "bold red")}
NUMBERS = {"files", "records", "rows", "bytes", "seconds"}
# The cursor is hidden behind the table while that is drawn.
MEND_TERMINAL = b"\x1b[?25h\n"
PREVIEW_ROWS = 3
# As many lines as fit on a screen.
SHOWN_COLUMNS = 20
SHOWN_SUBDIRS = 40
# A field may be as large as a record.
csv.field_size_limit(2**31 - 1)


class Board:
    """A live table of the groups and their steps, on stderr where that is a terminal."""

    def __init__(self, subdirs: int) -> None:
        """Show `subdirs` groups."""
        self._subdirs = min(subdirs, SHOWN_SUBDIRS)
        self._states: dict[tuple[int, str], str] = {}
        console = Console(stderr=True)
        self._live = Live(get_renderable=self._table, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        """Start to draw."""
        if self._live.console.is_terminal:
            interrupt.write_first(MEND_TERMINAL)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the console as it was."""
        self._live.stop()
        interrupt.write_first(b"")

    def begin(self, ts: str, resumed: bool) -> "Board":  # noqa: FBT001 - told by position
        """Show another run."""
        if resumed:
            click.echo(f"resuming the unfinished run {ts}; run again for what has landed since", err=True)
        self._states.clear()
        return self

    def __call__(self, n: int, step: str, state: str) -> None:
        """Show that a step of a group is `running`, `done`, `skipped` or `failed`."""
        self._states[n, step] = state

    def _table(self) -> Table:
        table = Table("subdirectory", *STEPS, box=None, padding=(0, 2, 0, 0))
        for n in range(1, self._subdirs + 1):
            marks = [MARKS.get(self._states.get((n, step), ""), ("·", "dim")) for step in STEPS]
            table.add_row(f"subdir_{n}", *(Text(mark, style) for mark, style in marks))
        return table


def console(width: int | None = None) -> Console:
    """Return a console that prints text as it is; a line that is too long for a terminal is wrapped by that alone."""
    return Console(width=width, soft_wrap=True, highlight=False, markup=False)


def wide_console() -> Console:
    """Return a console for ids and names, which are there to be copied: a table is as wide as they are."""
    return console(width=100_000)


def print_table(to: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, unless it has no rows; numbers stand at the right."""
    table = _headed(headings)
    for row in rows:
        table.add_row(*map(Text, row))
    if table.row_count:
        to.print(table)


def print_summary(summary: Summary, seconds: Mapping[str, float], data_dir: Path) -> None:
    """Print what went where, where it is, the first rows of the result, and the sentence that proves the count."""
    to = console()
    table = _headed(("subdirectory", "files", "records", "rows", "bytes", "seconds"), title=f"run {summary.ts}")
    for n, subdir in summary.subdirs.items():
        counts = (subdir.files, subdir.records, subdir.rows, subdir.bytes)
        taken = f"{seconds[n]:.1f}" if n in seconds and subdir.files else ""
        table.add_row(n, *(f"{number:,}" for number in counts), taken, style="" if subdir.files else "dim")
    table.add_section()
    totals = (summary.files_in, summary.records_in, summary.rows_out, summary.bytes_in)
    table.add_row("all", *(f"{number:,}" for number in totals), "", style="bold")
    to.print(table)
    if published := outputs(summary, data_dir):
        to.print(f"outputs: {published[0].parent}")
        if published[0].suffix == ".csv":
            _print_rows(to, published[0])
    if summary.records_unmatched:
        names = ", ".join(reference.path for reference in summary.references)
        unmatched = f"{summary.records_unmatched:,} of {summary.records_in:,} records have no match in {names}"
        to.print(f"WARNING: {unmatched}; they are kept", style="yellow")
    if summary.records_quarantined or summary.files_quarantined:
        bad = f"{count(summary.records_quarantined, 'record')} and {count(summary.files_quarantined, 'file')}"
        to.print(f"WARNING: {bad} are bad: they lie in quarantine, each with the reason", style="yellow")
    to.print(sentence(summary), style="bold green")


def _headed(headings: Sequence[str], **options: Any) -> Table:
    table = Table(title_justify="left", **options)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    return table


def _print_rows(to: Console, path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        # A cell may have megabytes.
        rows = [[cell[:100] for cell in row] for row in itertools.islice(csv.reader(file), PREVIEW_ROWS + 1)]
    if len(rows) < 2:  # noqa: PLR2004 - a header alone has no row to show
        return
    table = Table(title=f"from {path.name}: the first {count(len(rows) - 1, 'row')}", title_justify="left", box=None)
    table.add_column("column", style="dim", no_wrap=True)
    for _ in rows[1:]:
        table.add_column(max_width=28, no_wrap=True, overflow="ellipsis")
    columns = list(zip(*rows, strict=False))
    for cells in columns[:SHOWN_COLUMNS]:
        table.add_row(*map(Text, cells))
    to.print(table)
    if more := len(columns[SHOWN_COLUMNS:]):
        to.print(f"and {count(more, 'more column')}", style="dim")
