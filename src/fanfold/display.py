"""What people see: progress of the groups, the table of a run, the sentence that proves the count."""

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanfold import interrupt
from fanfold.manifest import Summary

STEPS = ("merge_data", "denormalize_data", "archive_files")
MARKS = {"running": ("…", "yellow"), "done": ("✔", "green"), "skipped": ("-", "dim"), "failed": ("✘", "bold red")}
# The cursor is hidden behind the table while that is drawn.
MEND_TERMINAL = b"\x1b[?25h\n"
PREVIEW_ROWS = 3
# As many lines as fit on a screen.
SHOWN_COLUMNS = 20
# A field may be as large as a record.
csv.field_size_limit(2**31 - 1)
SHOWN_SUBDIRS = 40


class Board:
    """A live table of the groups and their steps; silent where the console is no terminal."""

    def __init__(self, console: Console, subdirs: int) -> None:
        """Show `subdirs` groups on `console`."""
        self._live = Live(console=console, transient=True, refresh_per_second=8) if console.is_terminal else None
        self._states: dict[tuple[int, str], str] = {}
        self._subdirs = subdirs

    def __enter__(self) -> Self:
        """Start to draw."""
        if self._live:
            interrupt.write_first(MEND_TERMINAL)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the console as it was."""
        if self._live:
            self._live.stop()
            interrupt.write_first(b"")

    def begin(self) -> None:
        """Show another run."""
        self._states.clear()

    def update(self, n: int, step: str, state: str) -> None:
        """Show that a step of a group is `running`, `done`, `skipped` or `failed`."""
        self._states[n, step] = state
        if self._live:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("subdirectory", *STEPS):
            table.add_column(heading)
        for n in range(1, min(self._subdirs, SHOWN_SUBDIRS) + 1):
            marks = [MARKS.get(self._states.get((n, step), ""), ("·", "dim")) for step in STEPS]
            table.add_row(f"subdir_{n}", *(Text(mark, style) for mark, style in marks))
        return table


def print_summary(console: Console, summary: Summary, seconds: Mapping[str, float], data_dir: Path) -> None:
    """Print what went where, where it is, the first rows of the result, and the sentence that proves the count."""
    table = Table(title=f"run {summary.ts}", title_justify="left")
    table.add_column("subdirectory")
    for heading in ("files", "records", "rows", "bytes", "seconds"):
        table.add_column(heading, justify="right")
    for n, subdir in summary.subdirs.items():
        counts = (subdir.files, subdir.records, subdir.rows, subdir.bytes)
        taken = f"{seconds[n]:.1f}" if n in seconds and subdir.files else ""
        table.add_row(n, *(f"{count:,}" for count in counts), taken, style="" if subdir.files else "dim")
    table.add_section()
    totals = (summary.files_in, summary.records_in, summary.rows_out, summary.bytes_in)
    table.add_row("all", *(f"{count:,}" for count in totals), "", style="bold")
    console.print(table)
    outputs = [subdir.output for subdir in summary.subdirs.values() if subdir.output]
    if outputs:
        console.print(f"outputs: {data_dir / Path(outputs[0]).parent}", soft_wrap=True, highlight=False, markup=False)
        if outputs[0].endswith(".csv"):
            _print_rows(console, data_dir / outputs[0])
    if summary.records_unmatched:
        names = ", ".join(reference.path for reference in summary.references)
        console.print(
            f"WARNING: {summary.records_unmatched:,} of {summary.records_in:,} records "
            f"have no match in {names}; they are kept",
            style="yellow",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if summary.records_quarantined or summary.files_quarantined:
        counted = f"{count(summary.records_quarantined, 'record')} and {count(summary.files_quarantined, 'file')}"
        console.print(
            f"WARNING: {counted} are bad: they lie in quarantine, each with the reason",
            style="yellow",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    console.print(sentence(summary), style="bold green", soft_wrap=True, highlight=False, markup=False)


def _print_rows(console: Console, path: Path) -> None:
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
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    if more := len(columns[SHOWN_COLUMNS:]):
        console.print(f"and {count(more, 'more column')}", style="dim", highlight=False)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `1,000 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def sentence(summary: Summary) -> str:
    """Return the proof in words."""
    if not summary.files_in:
        return "verified: no file was ready, nothing was written"
    published = f"{summary.records_in - summary.records_quarantined:,}"
    return (
        f"verified: {count(summary.files_in, 'file')} in = {summary.files_archived:,} archived + "
        f"{summary.files_quarantined:,} quarantined; {count(summary.records_in, 'record')} in = {published} published "
        f"+ {summary.records_quarantined:,} quarantined, as {count(summary.rows_out, 'row')}: "
        "nothing lost, nothing twice"
    )
