"""Forms that exclude each other over the files of a run: counted, decided, and left out of what the schema is made of.

Only where there are some: then files that have one of them are read one record at a time, whatever read them first.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from fanfold.engine.fields import Field, union
from fanfold.engine.rivals import Conflict, Count, exclude, winners_by_spec
from fanfold.engine.scan import FileScan, file_fault
from fanfold.engine.schema import draft
from fanfold.engine.source import careful_records
from fanfold.layout import Feed, Place
from fanfold.manifest import Column, Excluded, Form
from fanfold.records.canonical import Misfit
from fanfold.records.faults import Fault, UnreadableError
from fanfold.records.forms import Own, check_forms, place_of


def settle(
    feed: Feed,
    files: Mapping[str, Place],
    scans: Mapping[str, FileScan],
    taken: list[list[Column]],
    duplicates: Callable[[], Collection[str]],
) -> tuple[dict[str, FileScan], list[Excluded]]:
    """Decide which forms hold over a run.

    Args:
        feed: its spec says which fields are columns.
        files: where each lies, by its name.
        scans: what was found in them.
        taken: of each reference, the columns that are taken from it.
        duplicates: gives the files whose records do not count; asked where there is something to count.

    Returns:
        The scans, those of files with a form that is excluded without the records that have it; and what is excluded.

    Raises:
        DataError: the spec contradicts itself, or the fields.
    """
    found, excluded = dict(scans), list[Excluded]()
    passed_over: Collection[str] | None = None
    while conflicts := draft(feed.spec, union([found[name].fields for name in sorted(found)]), taken).conflicts:
        passed_over = duplicates() if passed_over is None else passed_over
        counter = _Counter(feed, conflicts, excluded)
        for name in sorted(found.keys() - {*passed_over}):
            if any(found[name].fields.has(form) for form in counter.forms):
                counter.add(Path(files[name].path))
        lost = [one for conflict in conflicts for one in exclude(conflict, counter.counts)]
        excluded += lost
        found = {name: without(feed, (name, files[name]), one, lost, excluded) for name, one in found.items()}
    return found, excluded


def without(
    feed: Feed, file: tuple[str, Place], scanned: FileScan, lost: Iterable[Excluded], excluded: Iterable[Excluded]
) -> FileScan:
    """Return what a file holds without the records that are bad by `excluded`: as it was, if it has none of `lost`."""
    if not any(scanned.fields.has(one.form) for one in lost):
        return scanned
    name, place = file
    fields, fault = Field(name, {"object"}), scanned.fault
    with contextlib.suppress(UnreadableError):
        for found in careful_records(feed.data_dir, Path(place.path), feed.spec):
            try:
                if found.value is not None:
                    check_forms(found.value, excluded)
                    fields.observe(found.value)
            except Misfit as misfit:
                misfit_fault = Fault(misfit.code, 0, misfit.pointer, misfit.message)
                fault = fault or file_fault(name, found.place, misfit_fault)
    return dataclasses.replace(scanned, fields=fields, careful=True, proved=False, fault=fault)


class _Counter:
    """Counts in how many records, which are good otherwise, there is each of some forms."""

    def __init__(self, feed: Feed, conflicts: list[Conflict], excluded: Iterable[Excluded]) -> None:
        self._feed, self._own, self._excluded = feed, Own(feed.spec), list(excluded)
        # Bad whatever the others are: what comes with its rival, and what the spec decides against.
        self._rivals: list[list[Form]] = []
        self._lost: list[Form] = []
        for conflict in conflicts:
            if (winners := winners_by_spec(conflict)) is None:
                self._rivals.append([rival.form for rival in conflict.rivals])
            else:
                self._lost += [rival.form for rival in conflict.rivals if rival not in winners]
        self._files = 0
        self.forms = {form for forms in self._rivals for form in forms}
        self.counts: dict[Form, Count] = {}

    def add(self, path: Path) -> None:
        """Count the records of the next file; none of one that turns out to be bad as a whole."""
        self._files += 1
        counts = dict(self.counts)
        try:
            for number, found in enumerate(careful_records(self._feed.data_dir, path, self._feed.spec), start=1):
                for form in self._forms_of(found.value) if found.value is not None else ():
                    before = counts.get(form, Count(0, (self._files, number)))
                    counts[form] = before._replace(records=before.records + 1)
        except UnreadableError:
            return
        self.counts = counts

    def _forms_of(self, record: Mapping[str, object]) -> list[Form]:
        """Return the forms that a record has; none of one that is bad for any other reason."""
        forms = []
        for rivals in self._rivals:
            had = [form for form in rivals if place_of(record, form) is not None]
            if len(had) > 1:
                return []
            forms += had
        try:
            check_forms(record, self._excluded)
        except Misfit:
            return []
        is_lost = any(place_of(record, form) is not None for form in self._lost)
        return forms if not is_lost and self._own.is_good(record) else []
