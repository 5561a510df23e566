"""The step that makes rows of merged records, and publishes them."""

import msgspec

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError
from fanfold.feed import groups, runs
from fanfold.layout import Run
from fanfold.manifest import Published
from fanfold.records import references, table, totals
from fanfold.steps.group import group
from fanfold.steps.verify_run import is_as_published
from fanfold.working_files import Progress


def denormalize_data(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Explode and flatten the merged records of a subdirectory, and publish the rows.

    The table appears under its final name when it is complete, atomically. A second call compares its hash.

    Returns:
        `rows`, `bytes`.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: merge_data has not run.
        DataError: the published table was changed.
    """
    with group(subdir, data_dir, "denormalize_data") as (run, n):
        progress = groups.progress_of(run.group(n))
        if progress is None or not (progress.published or run.group(n).merged_path.exists()):
            msg = f"{subdir} has no merged records, expected merge_data before this step"
            raise MissingError(msg)
        published = progress.published
        if published is None:
            published = publish(run, n, progress)
        elif not is_as_published(run.feed, published):
            msg = f"{published.path!r} is not as it was published, expected sha256 {published.sha256}"
            raise DataError(msg)
    return {"rows": published.rows, "bytes": published.size_bytes}


def publish(run: Run, n: int, progress: Progress) -> Published:
    """Publish what is bad, then the rows of what is good; both are in progress.json when this returns."""
    schema, target = runs.schema_of(run), run.group(n).output_path
    quarantined = None
    if progress.records_quarantined:
        listed = run.group(n).quarantined_records_path
        durable.copy(run.group(n).bad_records_path, listed)
        size, sha256 = listed.stat().st_size, durable.sha256(listed)
        quarantined = Published(run.group(n).quarantined_records_name, progress.records_quarantined, size, sha256)
    elif (stale := run.group(n).quarantined_records_path).exists():
        # The group was published with bad records, then a file changed, and was read again.
        durable.discard(stale)
    durable.make_dirs(target.parent)
    temporary = durable.fresh(target)
    written = table.write(run, n, schema, progress.records, references.opened_all(run, find=False), temporary)
    sums = totals.of_merged(run, n, schema)
    published = Published(run.group(n).output_name, written.rows, temporary.stat().st_size, written.sha256, sums)
    durable.publish(target)
    done = msgspec.structs.replace(progress, published=published, quarantined=quarantined)
    durable.write(run.group(n).progress_path, manifest.encode(done))
    return published
