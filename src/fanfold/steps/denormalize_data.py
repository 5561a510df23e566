"""The step that makes rows of merged records, and publishes them."""

import msgspec

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError
from fanfold.feed import groups, purged, runs
from fanfold.layout import Group
from fanfold.manifest import Published
from fanfold.records import references, table, totals
from fanfold.steps.working import on_group
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
    with on_group(subdir, data_dir, "denormalize_data") as group:
        progress = groups.progress_of(group)
        if progress is None or not (progress.published or group.merged_path.exists()):
            msg = f"{subdir} has no merged records, expected merge_data before this step"
            raise MissingError(msg)
        if progress.published is None:
            published = publish(group, progress)
        else:
            published, path = progress.published, group.run.feed.data_dir / progress.published.path
            is_there = "output" not in purged.kinds(group.run)
            if is_there and (durable.size(path) is None or durable.sha256(path) != published.sha256):
                msg = f"{published.path!r} is not as it was published, expected sha256 {published.sha256}"
                raise DataError(msg)
    return {"rows": published.rows, "bytes": published.size_bytes}


def publish(group: Group, progress: Progress) -> Published:
    """Publish what is bad, then the rows of what is good; both are in progress.json when this returns."""
    schema, target, listed = runs.schema_of(group.run), group.output_path, group.quarantined_records_path
    quarantined = None
    if progress.records_quarantined:
        durable.copy(group.bad_records_path, listed)
        size, sha256 = listed.stat().st_size, durable.sha256(listed)
        quarantined = Published(group.quarantined_records_name, progress.records_quarantined, size, sha256)
    elif listed.exists():
        # The group was published with bad records, then a file changed, and was read again.
        durable.discard(listed)
    durable.make_dirs(target.parent)
    temporary = durable.fresh(target)
    tables = references.opened_all(group.run, find=False)
    written = table.write(group.run, group.n, schema, progress.records, tables, temporary)
    sums = totals.of_merged(group, schema)
    published = Published(group.output_name, written.rows, temporary.stat().st_size, written.sha256, sums)
    durable.publish(target)
    done = msgspec.structs.replace(progress, published=published, quarantined=quarantined)
    durable.write(group.progress_path, manifest.encode(done))
    return published
