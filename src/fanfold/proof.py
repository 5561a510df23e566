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
        f"+ {summary.records_quarantined:,} quarantined, as {count(summary.rows_out, 'row')}{empty}: "
        "nothing lost, nothing twice"
    )


def output_dir(summary: "Summary", data_dir: Path) -> Path | None:
    """Return the folder of the tables that a run has published; None where it has none."""
    published = [subdir.output for subdir in summary.subdirs.values() if subdir.output]
    return (data_dir / published[0]).parent if published else None
