"""What a run proves, in words: the sentence that accounts for every file and record, and where its output is."""

from pathlib import Path
from typing import TYPE_CHECKING

from fanfold.errors import count

if TYPE_CHECKING:
    from fanfold.manifest import Summary


def sentence(summary: "Summary", without_rows: int = 0) -> str:
    """Return the counts of a run as the sentence that proves them; `without_rows` is how many files made none."""
    if not summary.files_in:
        return "verified: no file was ready, nothing was written"
    empty = f" ({count(without_rows, 'file')} made none)" if without_rows else ""
    published = f"{summary.records_in - summary.records_quarantined:,}"
    return (
        f"verified: {count(summary.files_in, 'file')} in = {summary.files_archived:,} archived + "
        f"{summary.files_quarantined:,} quarantined; {count(summary.records_in, 'record')} in = {published} published "
        f"+ {summary.records_quarantined:,} quarantined, as {rows_in_words(summary.rows_out)}{empty}: "
        "nothing lost, nothing twice"
    )


def rows_in_words(rows: int | dict[str, int]) -> str:
    """Return how many rows there are, by table where there are several: `1 row of orders, 3 rows of items`."""
    if isinstance(rows, int):
        return count(rows, "row")
    return ", ".join(f"{count(number, 'row')} of {name}" for name, number in rows.items())


def output_dir(summary: "Summary", data_dir: Path) -> Path | None:
    """Return the folder of the tables that a run has published; None where it has none."""
    for subdir in summary.subdirs.values():
        if isinstance(subdir.output, str):
            return (data_dir / subdir.output).parent
        if subdir.output:
            # Each table has a folder of its own.
            return (data_dir / next(iter(subdir.output.values()))).parent.parent
    return None
