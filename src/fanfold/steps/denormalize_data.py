"""The step that makes rows of merged records, and publishes them."""

import os

import msgspec

from fanfold import documents, durable
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError
from fanfold.feed import groups, purged, runs, store
from fanfold.layout import Group
from fanfold.manifest import Published
from fanfold.records import references, table, totals
from fanfold.steps.leased import on_group
from fanfold.working_files import Progress


def denormalize_data(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Explode and flatten the merged records of a subdirectory, and publish the rows.

    Each table appears under its final name when it is complete, atomically, and counts when all of them are there. A
    second call compares their hashes.

    Returns:
        `rows`, `bytes`; with `tables`, `rows.<table>` of each table, and the bytes of all.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: merge_data has not run.
        DataError: a published table was changed.
    """
    with on_group(subdir, data_dir, "denormalize_data") as group:
        progress = groups.progress_of(group)
        if progress is None or not (progress.outputs or group.merged_path.exists()):
            msg = f"{subdir} has no merged records, expected merge_data before this step"
            raise MissingError(msg)
        if not progress.outputs:
            outputs = publish(group, progress)
        else:
            outputs = progress.outputs
            for published in outputs.values() if "output" not in purged.kinds(group.run) else ():
                path = group.run.feed.data_dir / published.path
                if durable.size(path) is None or durable.sha256(path) != published.sha256:
                    msg = f"{published.path!r} is not as it was published, expected sha256 {published.sha256}"
                    raise DataError(msg)
    rows = {f"rows.{name}" if name else "rows": one.rows for name, one in outputs.items()}
    return {**rows, "bytes": sum(one.size_bytes for one in outputs.values())}


def publish(group: Group, progress: Progress) -> dict[str, Published]:
    """Publish what is bad, then the rows of what is good by table; all is in progress.json when this returns.

    Raises:
        DataError: an expression fails for a value; somebody else has put a file there.
    """
    schema, listed = runs.schema_of(group.run), group.quarantined_records_path
    joined = references.opened_all(group.run, find=False)
    outputs = dict[str, Published]()
    for name, path in group.output_names.items():
        target = group.run.feed.data_dir / path
        durable.make_dirs(target.parent)
        temporary = durable.fresh(target)
        merged = table.of_group(group, schema, progress.records, joined)
        with durable.whole(target):
            written = table.write(merged, schema.each_table[name], temporary, group.spill_dir)
        sums = totals.of_merged(group, schema, schema.each_table[name])
        outputs[name] = Published(path, written.rows, temporary.stat().st_size, written.sha256, sums)
    quarantined = None
    if progress.records_quarantined:
        size, sha256 = group.bad_records_path.stat().st_size, durable.sha256(group.bad_records_path)
        quarantined = Published(group.quarantined_records_name, progress.records_quarantined, size, sha256)
    is_again = runs.has_begun_to_publish(group)
    if not is_again:
        for one in (*outputs.values(), *([quarantined] if quarantined else [])):
            _check_free(group, one)
    files = store.of(group.run.feed)
    files.seal(group)
    places, markers = groups.last_places(group, progress.files)
    files.keep(places | markers)
    if not is_again:
        durable.write(group.publishing_path, b"")
    if quarantined:
        durable.copy(group.bad_records_path, listed)
    elif is_again:
        # It may have been published with bad records; then a file changed, and was read again.
        durable.discard(listed)
    for target in group.output_paths:
        durable.publish(target)
    done = msgspec.structs.replace(progress, quarantined=quarantined).with_outputs(outputs)
    durable.write(group.progress_path, documents.encode(done))
    return outputs


def _check_free(group: Group, output: Published) -> None:
    """Check that a name is free for what is published, or has it already."""
    path = group.run.feed.data_dir / output.path
    is_it = durable.size(path) == output.size_bytes and durable.sha256(path) == output.sha256
    if os.path.lexists(path) and not is_it:
        msg = (
            f"{str(path)!r} exists and is not of this run, expected the name to be free: nothing is "
            "overwritten; move it away, and run again"
        )
        raise DataError(msg)
