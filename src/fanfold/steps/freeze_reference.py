"""References of a run: each is read as it is now, and frozen, so that it stays the same for all groups."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fanfold import durable, mirrors
from fanfold.errors import MissingError, StillWrittenError
from fanfold.feed.claimed import version
from fanfold.layout import Feed, Run
from fanfold.manifest import Column, FrozenReference
from fanfold.records.references import Reference
from fanfold.spec.merge import Merge


class Frozen(NamedTuple):
    """A reference as it was frozen, the columns that are taken from it, and the slot of each in a frozen row."""

    reference: FrozenReference
    columns: list[Column]
    slots: list[int]


def source_of(feed: Feed, merge: Merge) -> Path:
    """Return where a reference lies.

    Raises:
        MissingError: it is not a file.
    """
    source = feed.data_dir / merge.reference
    if not source.is_file():
        msg = f"{str(source)!r} is not a file, expected the reference {merge.reference!r}"
        raise MissingError(msg)
    return source


def freeze_reference(run: Run, index: int) -> Frozen:
    """Freeze the reference of `spec.merge[index]`, with a copy of it, with which the run can be made again.

    Both appear whole, under their names, when the source was read. A second call replaces them.

    Raises:
        DataError, MissingError: as `Reference`; or there is no such file.
        StillWrittenError: the file changed while it was read.
    """
    merge, target = run.feed.spec.merge[index], run.reference_path(index)
    source = source_of(run.feed, merge)
    mirrors.present(source)
    before = source.stat()
    durable.make_dirs(target.parent)
    opened = Reference(source, merge, run.feed.spec.input.max_record_bytes)
    rows = opened.freeze(durable.fresh(target))
    found = FrozenReference(merge.reference, durable.sha256(source.resolve()), rows)
    copied, kept = _places(run, found)
    if durable.size(kept) is None:
        durable.copy(source, copied)
    if version(before) != version(source.stat()):
        raise _changed(source)
    durable.publish(target)
    return Frozen(found, opened.columns, opened.slots)


def copy_if_purged(run: Run, reference: FrozenReference) -> None:
    """Copy a reference for the run, if the copy that an earlier run has kept was purged since it was frozen.

    Raises:
        StillWrittenError: it has changed since.
    """
    copied, kept = _places(run, reference)
    if durable.size(kept) is None and durable.size(copied) is None:
        source = run.feed.data_dir / reference.path
        durable.copy(source, copied)
        if durable.sha256(copied) != reference.sha256:
            durable.remove(copied)
            raise _changed(source)


def keep_references(run: Run, references: Iterable[FrozenReference]) -> None:
    """Keep the copies of a run's references with the feed. A second call completes a first one."""
    for copied, kept in (_places(run, one) for one in references):
        if durable.size(kept) is None and copied.exists():
            durable.move(copied, kept)


def _changed(source: Path) -> StillWrittenError:
    return StillWrittenError(f"{str(source)!r} changed while it was read")


def _places(run: Run, reference: FrozenReference) -> tuple[Path, Path]:
    kept = run.feed.kept_reference_path(reference.path, reference.sha256)
    return run.references_dir / kept.name, kept
