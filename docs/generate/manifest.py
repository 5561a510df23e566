"""The page of the manifest: what a complete run says about itself."""

import inspect

from docs.generate.words import NOTE, joined, keys
from fanfold.documents import FORMAT
from fanfold.manifest import ArchivedFile, Column, Drift, Manifest, Packed, Published, TableOfRun

# A key without a meaning, or a meaning without a key, stops the generator.
MANIFEST = {
    "format": "The format of what Fanfold has written about the run; 0 if the key is missing.",
    "fanfold": "Version of Fanfold that made the run.",
    "duckdb": "Version of DuckDB that it used.",
    "spec": "The spec of the run, with every default and without `data_dir`.",
    "summary": "The counts: the object that [`run --json`](cli.md#the-json-of-run) prints, without `seconds`.",
    "columns": "The columns of the output, in order; empty with `tables`.",
    "files": "Every file of the run, by subdirectory and name.",
    "explode": "The paths of the arrays that were exploded, the outermost first; empty with `tables`.",
    "outputs": "The published file of each subdirectory that has one, by its number (as text); empty with `tables`.",
    "quarantined": "The file of bad records of each subdirectory that has one, by its number (as text).",
    "records_unmatched": "For each subdirectory, by its number (as text): records for which a reference has no match.",
    "totals": "The exact sums of `verify.totals`, by path, as text; empty with `tables`.",
    "released": "Files that `fanfold release` put back into landing.",
    "drift": "How the columns differ from those of the run before. The key is present only if they differ.",
    "tables": "Only with `tables` in the spec: each table, by its name, as below.",
}
TABLE = {
    "explode": "The paths of the arrays that were exploded in it, the outermost first.",
    "columns": "Its columns, in order.",
    "outputs": "Its published file of each subdirectory that has one, by its number (as text).",
    "totals": "The exact sums of `verify.totals` in it, by path, as text.",
}
COLUMN = {
    "name": "Its name.",
    "type": "Its type in Parquet and SQL. In CSV, [values](../data/values.md#values) says how it is written.",
    "source": "`record`, the `into` of a reference, `spec` for SQL, or `fanfold` for lineage and `_rescued`.",
    "path": "Path of the field in the record or reference.",
    "first_file": "The first file that has the field.",
    "expression": "The SQL expression.",
}
FILE = {
    "name": "Its name in landing, sub-folders included.",
    "subdir": "Number of its subdirectory.",
    "size_bytes": "Size of the original.",
    "sha256": "SHA-256 of the original.",
    "records": "Records in it, bad ones included.",
    "archived_as": "Where it is now, relative to `data_dir`: in the archive, or in quarantine.",
    "records_quarantined": "Bad records in it.",
    "code": "Why it is in quarantine as a whole: one of the [codes](quarantine.md#codes).",
    "reason_sha256": "SHA-256 of the `.reason.json` beside it.",
    "decision": "`new`; `new_content` under a name that was seen before; `duplicate`; or `replay`.",
    "duplicate_of": "`<ts>/<name>` of the earlier file with the same bytes.",
    "replay_of": "The bad record or file that it replays.",
    "packed": "Size and SHA-256 of the compressed file in the archive (`archive.compression`).",
    "ignored": "Members of an archive that match no pattern: how many, and the first ten names. Only if there are any.",
}
PUBLISHED = {
    "path": "Its path, relative to `data_dir`.",
    "rows": "Rows, or bad records, in it.",
    "size_bytes": "Its size.",
    "sha256": "Its SHA-256.",
    "totals": "The exact sums of `verify.totals` in it.",
}
DRIFT = {
    "since": "The run before: the newest one that was complete, with published records, when the schema was fixed.",
    "added": "Names of the columns that are new.",
    "dropped": "Names of the columns that are gone.",
    "retyped": "Columns with another type, as `name: old > new`.",
    "reordered": "Whether the columns that both runs have are in a different order.",
}
PACKED = {"size_bytes": "Its size.", "sha256": "Its SHA-256."}


def page() -> str:
    """Return the page."""
    return joined(
        [
            "# The manifest",
            NOTE,
            (
                "A complete run has one manifest. It is in two places, with the same bytes: "
                "`denormalized/<ts>/_manifest.json` says that the output is complete, `.fanfold/runs/<ts>.json` "
                "commits the run. It is JSON and holds no clock, host or process: the same input, spec and versions "
                "give the same bytes."
            ),
            keys(Manifest, MANIFEST),
            (
                f"This version writes format {FORMAT}, and reads all earlier ones. If a manifest has a later format, "
                "the message names the version that wrote it. A run that was purged keeps its manifest in "
                "`.fanfold/runs`."
            ),
            "## Each of tables",
            keys(TableOfRun, TABLE),
            "## Each of columns",
            keys(Column, COLUMN),
            "## Each of files",
            inspect.cleandoc(ArchivedFile.__doc__ or ""),
            keys(ArchivedFile, FILE),
            "`packed`:",
            keys(Packed, PACKED),
            "## Each of outputs and quarantined",
            keys(Published, PUBLISHED),
            "## Drift",
            keys(Drift, DRIFT),
        ]
    )
