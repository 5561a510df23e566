"""What a run proves, in words: the sentence that accounts for every file and record, and where its output is."""

from pathlib import Path

from fanfold.manifest import Summary


def sentence(summary: Summary) -> str:
    """Return the counts of a run as the sentence that proves them."""
    if not summary.files_in:
        return "verified: no file was ready, nothing was written"
    published = f"{summary.records_in - summary.records_quarantined:,}"
    return (
        f"verified: {count(summary.files_in, 'file')} in = {summary.files_archived:,} archived + "
        f"{summary.files_quarantined:,} quarantined; {count(summary.records_in, 'record')} in = {published} published "
        f"+ {summary.records_quarantined:,} quarantined, as {count(summary.rows_out, 'row')}: "
        "nothing lost, nothing twice"
    )


def outputs(summary: Summary, data_dir: Path) -> list[Path]:
    """Return the published tables of a run, in the order of its subdirectories."""
    return [data_dir / subdir.output for subdir in summary.subdirs.values() if subdir.output]


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `1,000 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
