"""Read files before the groups start: how many records each has, good and bad, and all their fields."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fanfold import mirrors
from fanfold.faults import UnreadableError
from fanfold.input_formats import compression, input_format, is_archive
from fanfold.layout import Place
from fanfold.manifest import source_file
from fanfold.native import Field, Others, Seen
from fanfold.native.fields import merged
from fanfold.path_columns import path_columns
from fanfold.records.footer import add_footer, footer_of, with_maps
from fanfold.records.messages import MAX_FIELDS
from fanfold.records.packed import Packed
from fanfold.records.read import Door, FileRead, Rules
from fanfold.spec.model import Spec
from fanfold.working_files import Excluded, Form

# With less than this, to start threads takes longer than they save.
PARALLEL_BYTES, FILE_BYTES = 4 * 1024 * 1024, 8 * 1024
# In smaller files, threads wait for each other more than they work: Python runs one of them at a time.
LARGE_FILE_BYTES = 32 * 1024
# A byte of a file that is compressed is about this much work.
PACKED_RATIO = 8
PARTS_OF_A_THREAD = 4


class Scan(NamedTuple):
    """What was found in files, by their names, and the fields of all good records, in the order of the names."""

    files: dict[str, FileRead]
    seen: Seen


class Known(NamedTuple):
    """What is known about records in advance: declared fields, forms that no good record has, exploded arrays."""

    record: Field | None = None
    excluded: Sequence[Excluded] = ()
    arrays: Sequence[Sequence[str]] = ()


NOTHING_KNOWN = Known()


def scan(data_dir: Path, places: Mapping[str, Place], spec: Spec, known: Known = NOTHING_KNOWN) -> Scan:
    """Read files from end to end.

    The answer does not depend on the number of threads. A file of which no record can be read is an answer, not an
    error; it leaves no trace among the fields.

    Args:
        data_dir: nothing outside of it is read.
        places: where each file lies, by its name.
        spec: gives the largest record, and where records are.
        known: what is known of records before.
    """
    mirrors.will_read(place.path for place in places.values())
    size = sum(place.size_bytes * (1 if _form(name) else PACKED_RATIO) for name, place in places.items())
    parts = _parts(places, size + FILE_BYTES * len(places))
    scanner = _Scanner(data_dir, places, spec, known)
    if size < max(PARALLEL_BYTES, LARGE_FILE_BYTES * len(places)) or len(parts) == 1:
        found = [scanner.read(part) for part in parts]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(scanner.read, parts))
    seen = merged(one.seen for one in found)
    if len(seen) > MAX_FIELDS:
        found = scanner.read_in_order(parts)
        seen = merged(one.seen for one in found)
    for one in known.excluded:
        _forget(seen, one.form)
    return Scan({name: one for part in found for name, one in part.files.items()}, seen)


def _forget(seen: Seen, form: Form) -> None:
    """Forget a form that no good record has: the header of a CSV, or the footer of a Parquet file, names it still."""
    if not form.kinds:
        for around in seen.reached(form.path[:-1]):
            around.fields.pop(form.path[-1], None)
        return
    for field in seen.reached(form.path):
        if at := field.element if form.inside else field:
            at.forget(form.kinds)


def _parts(places: Mapping[str, Place], work: int) -> list[list[str]]:
    """Return the names of files, in their order, in parts of one format that are read by one reader each.

    A compressed file, and one of Parquet, may turn out to be damaged behind records that were good: each is a part. So
    is an archive: it has files of all formats.
    """
    most = max(PARALLEL_BYTES, work // ((os.cpu_count() or 1) * PARTS_OF_A_THREAD))
    parts: list[list[str]] = []
    last, size = "", 0
    for name in sorted(places):
        form = _form(name)
        work = places[name].size_bytes + FILE_BYTES
        size += work
        if not form or form != last or size > most:
            parts.append([])
            size = work
        parts[-1].append(name)
        last = form
    return parts


def _form(name: str) -> str:
    """Return the format of a file that one reader may read with others; nothing where it is read alone."""
    is_alone = is_archive(name) or compression(name) or input_format(name) == "parquet"
    return "" if is_alone else input_format(name)


class _Scanner:
    def __init__(self, data_dir: Path, places: Mapping[str, Place], spec: Spec, known: Known) -> None:
        self._data_dir, self._places, self._spec, self._known = data_dir, places, spec, known

    def read(self, names: list[str], before: Seen | None = None, cut: UnreadableError | None = None) -> Scan:
        """Read files of one format by one reader, or an archive; `before` are the fields of the files before them.

        `cut` says that they are cut short.
        """
        # Whoever reads another part is further on.
        mirrors.will_read(self._places[name].path for name in names)
        if is_archive(names[0]):
            return self._read_archive(names[0], before)
        record, footer = _as_known("", before) if before and before.fields else self._known.record, None
        if input_format(names[0]) == "parquet" and (footer := footer_of(names[0], self._places[names[0]].path)):
            record = with_maps(record, footer)
        rules = Rules(record, Others.LEARN, excluded=self._known.excluded, arrays=self._known.arrays)
        door = Door(self._data_dir, self._spec, rules)
        files, ends = dict[str, FileRead](), list[tuple[int, str]]()
        for name in names:
            for _ in door.read_file(name, self._places[name].path, cut=cut):
                pass
            mirrors.has_read(self._places[name].path)
            files[name] = door.found
            ends.append((door.reader(name).counts.nodes, name))
        good = [name for name, one in files.items() if not one.is_bad]
        if not good:
            return Scan(files, Seen())
        # The header of a CSV, and the path of a file, say which columns there are, whatever the records are.
        if len(good) < len(files) and (input_format(names[0]) == "csv" or self._spec.input.path_columns):
            return Scan(files, self.read(good, before).seen)
        seen = Seen.parse(door.reader(names[0]).learnt, ends, record)
        if footer:
            # What the path gives stands first, and is what the path says, whatever the file says of such a field.
            given = path_columns(self._spec.input, names[0])
            first = {key: seen.fields.pop(key) for key in given if key in seen.fields}
            for key in given:
                footer.fields.pop(key, None)
            # Where the run has as many fields as it may, a field that no good record has is not one of them.
            whole = len(merged([*([before] if before else []), seen, footer])) <= MAX_FIELDS
            add_footer(seen, footer, whole=whole)
            seen.fields = first | seen.fields
        return Scan(files, seen)

    def _read_archive(self, name: str, before: Seen | None) -> Scan:
        """Read the members of an archive that can be read, each as a file."""
        packed, seen = Packed(self._data_dir, self._spec, name, self._places[name].path), Seen()
        for member, fault in packed:
            if not fault:
                source = source_file(name, member.name)
                scanner = _Scanner(self._data_dir, {source: Place(member.path, 0)}, self._spec, self._known)
                one = scanner.read([source], merged([before, seen]) if before else None, member.fault)
                packed.add(member, one.files[source])
                seen.add(one.seen)
        mirrors.has_read(self._places[name].path)
        return Scan({name: packed.found}, Seen() if packed.found.is_bad else seen)

    def read_in_order(self, parts: list[list[str]]) -> list[Scan]:
        """Read all files one after the other: if a record adds more fields than a run may have, it is bad."""
        found, seen = list[Scan](), Seen()
        for part in parts:
            found.append(self.read(part, merged([seen])))
            seen.add(found[-1].seen)
        return found


def _as_known(name: str, seen: Seen) -> Field:
    """Return fields that were seen as the core takes them: any value may be in them."""
    inner = seen.through_arrays
    return Field(name, "object", inside=tuple(_as_known(key, one) for key, one in inner.fields.items()))
