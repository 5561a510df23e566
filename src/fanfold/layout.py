"""Pure: every path and name of a feed and of its runs, and the form of `ts`. Nothing here touches the disk."""

import dataclasses
import functools
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from fanfold.errors import MissingError
from fanfold.spec.model import Spec

COMPRESSIONS = (".gz", ".zst")
RECORDS_NAME = "records.jsonl"
# Compressed as they are.
PACKED_ALREADY = (*COMPRESSIONS, ".parquet")
PACKED_SUFFIX = {"none": "", "gzip": ".gz", "zstd": ".zst"}
REASON_SUFFIX = ".reason.json"


def format_ts(moment: datetime) -> str:
    """Return the name of the run of `moment`: UTC as `20260102T030405Z`, with `.ffffff` where not zero.

    `parse_ts` is its inverse. A moment without a zone is UTC.
    """
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    fraction = f".{utc.microsecond:06d}" if utc.microsecond else ""
    return f"{utc.year:04d}{utc:%m%dT%H%M%S}{fraction}Z"


def parse_ts(text: str) -> datetime:
    """Return the moment, in UTC, of any ISO 8601 form of an execution timestamp.

    Raises:
        MissingError: `text` is no such form.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        msg = f"{text!r} is no execution timestamp, expected ISO 8601, as in 2026-01-02T03:04:05Z or 20260102T030405Z"
        raise MissingError(msg) from None


def archived_name(name: str, ts: str, packed: str = "") -> str:
    """Return the name of a landed file in the archive: `a/b.json.gz` becomes `a/b_<ts>.json.gz`.

    Different names stay different; compressed, `a.json` may become what `a.json.gz` is.

    Args:
        name: in landing.
        ts: of the run.
        packed: the suffix of the compression of the archive, for files that are not compressed yet.
    """
    folder, slash, last = name.rpartition("/")
    stem, suffix = _split(last)
    if packed and suffix not in PACKED_ALREADY:
        return archived_name(name, ts) + packed
    compression = ""
    if suffix in COMPRESSIONS:
        compression = suffix
        stem, suffix = _split(stem)
    return f"{folder}{slash}{stem}_{ts}{suffix}{compression}"


def packing(name: str, archived: str) -> str | None:
    """Return the suffix of the compression that the archive has added to a file that landed as `name`."""
    suffix = _suffix(archived) if archived.endswith(COMPRESSIONS) else ""
    return suffix if suffix and _suffix(name) != suffix else None


def input_format(name: str) -> Literal["json", "csv", "parquet"]:
    """Return what a file is read as, by its name: `.csv`, `.parquet`, anything else is JSON."""
    # Asked for each of many files, several times.
    if name.endswith(".json"):
        return "json"
    stem, suffix = _split(name.rpartition("/")[2])
    suffix = _split(stem)[1] if suffix in COMPRESSIONS else suffix
    return "csv" if suffix == ".csv" else "parquet" if suffix == ".parquet" else "json"


def _suffix(name: str) -> str:
    return _split(name.rpartition("/")[2])[1]


def _split(name: str) -> tuple[str, str]:
    """Return a name without its suffix, and the suffix, as a Path would: none in `.a`, `a.` and `a`."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, "")


class Place(NamedTuple):
    """Where a file lies, and how large it is."""

    path: str
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class Feed:
    """The folders of one feed."""

    data_dir: Path
    spec: Spec

    @functools.cached_property
    def landing_dir(self) -> Path:
        """Where producers drop files."""
        return self.data_dir / self.spec.input.path

    @functools.cached_property
    def staging_dir(self) -> Path:
        """Where the files of unfinished runs are."""
        return self.data_dir / "staging"

    @functools.cached_property
    def output_dir(self) -> Path:
        """Where the tables of all runs are published."""
        return self.data_dir / self.spec.output.path

    @functools.cached_property
    def quarantine_dir(self) -> Path:
        """Where what is bad ends."""
        return self.data_dir / self.spec.quarantine.path

    @functools.cached_property
    def folders(self) -> list[Path]:
        """The folders that may themselves be links to other allowed places."""
        named = [self.landing_dir, self.output_dir, self.archive_dir, self.quarantine_dir]
        return [*named, self.staging_dir, self.commits_dir.parent, self.commits_dir, self.data_dir]

    @property
    def references_dir(self) -> Path:
        """Each reference as some run has joined it."""
        return self.data_dir / ".fanfold" / "references"

    @property
    def commits_dir(self) -> Path:
        """One manifest for each run that is complete."""
        return self.data_dir / ".fanfold" / "runs"

    @property
    def identity_path(self) -> Path:
        """Which feed the data_dir holds."""
        return self.data_dir / ".fanfold" / "feed.json"

    def kept_reference_path(self, reference: str, sha256: str) -> Path:
        """Return where a reference is kept as runs have joined it: by its content."""
        return self.references_dir / f"{sha256}_{PurePosixPath(reference).name}"

    @property
    def resolutions_dir(self) -> Path:
        """What was decided about bad records and files."""
        return self.data_dir / ".fanfold" / "quarantine"

    @functools.cached_property
    def archive_dir(self) -> Path:
        """Where originals end."""
        return self.data_dir / self.spec.archive.path

    def place(self, name: str) -> str:
        """Return the path of a name relative to data_dir; a text, since a Path takes longer to make than to look at."""
        return f"{self.data_dir}/{name}"

    def run(self, ts: str) -> "Run":
        """Return the folders of the run named `ts`, which must be in the form of `format_ts`."""
        return Run(self, ts)


@dataclasses.dataclass(frozen=True)
class Run:
    """The folders and files of one run. Numbers `n` are those of its subdirectories, from 1."""

    feed: Feed
    ts: str

    @functools.cached_property
    def staging_dir(self) -> Path:
        """Everything of the run that goes when it is complete."""
        return self.feed.staging_dir / self.ts

    @functools.cached_property
    def work_dir(self) -> Path:
        """Fanfold's own files of the run."""
        return self.staging_dir / ".fanfold"

    @property
    def spec_path(self) -> Path:
        """The spec as it was when the run began."""
        return self.work_dir / "spec.json"

    @property
    def files_path(self) -> Path:
        """Every file of the run, its size, its subdirectory."""
        return self.work_dir / "files.json"

    @property
    def schema_path(self) -> Path:
        """The schema, and the references with their hashes."""
        return self.work_dir / "schema.json"

    @property
    def release_path(self) -> Path:
        """The decision to give the run up."""
        return self.work_dir / "release.json"

    def failure_path(self, n: int | None = None) -> Path:
        """Return why a step cannot go on: one of a group, or one on the whole of the run."""
        return self.work_dir / (str(n) if n else "") / "failure.json"

    @property
    def lease_path(self) -> Path:
        """Who works on the whole of the run."""
        return self.work_dir / "lease"

    @property
    def driver_path(self) -> Path:
        """Which `fanfold run` takes the run through all its steps."""
        return self.work_dir / "driver"

    def group_lease_path(self, n: int) -> Path:
        """Return who works on one subdirectory."""
        return self.work_dir / str(n) / "lease"

    def reference_path(self, index: int) -> Path:
        """Return where the reference of `spec.merge[index]` is frozen."""
        return self.work_dir / "reference" / f"{index + 1}_{self.feed.spec.merge[index].into}.rows"

    def subdir(self, n: int) -> str:
        """Return the subdirectory relative to data_dir: what a group is given."""
        return f"staging/{self.ts}/{n}"

    def subdir_dir(self, n: int) -> Path:
        """Return the directory that holds the claimed originals, and nothing else."""
        if n not in self._subdir_dirs:
            self._subdir_dirs[n] = self.staging_dir / str(n)
        return self._subdir_dirs[n]

    @functools.cached_property
    def _subdir_dirs(self) -> dict[int, Path]:
        return {}

    def directories(self, folders: Collection[tuple[str, int]]) -> list[str]:
        """Return every directory, but for those of landing, in which the run has files, or will have.

        Args:
            folders: those in landing that its files are from (`""` is landing itself), with numbers of subdirectories.
        """
        found = [*self.feed.folders[1:], self.feed.references_dir, self.staging_dir, self.work_dir, self.output_dir]
        found += [self.spill_dir(n) for n in {n for _, n in folders}]
        # There may be as many folders as files: a Path takes longer to make than to look at.
        below = {f"{self.feed.archive_dir}/{folder}" for folder, _ in folders}
        for folder, n in folders:
            below |= {f"{self.subdir_dir(n)}/{folder}", f"{self.feed.data_dir}/{self.quarantine_name(n)}/{folder}"}
        return [*map(str, found), *(path.rstrip("/") for path in below)]

    def own_dirs(self, numbers: Iterable[int]) -> list[Path]:
        """Return the directories, as far as these subdirectories go, in which everything is made by Fanfold."""
        found = [self.staging_dir, self.work_dir, self.work_dir / "reference", self.output_dir]
        for n in numbers:
            found += [self.work_dir / str(n), self.feed.data_dir / self.quarantine_name(n)]
        return found

    def staged_name(self, n: int, name: str) -> str:
        """Return where the file that landed as `name` is staged, relative to data_dir."""
        return f"{self.subdir(n)}/{name}"

    def inputs_path(self, n: int) -> Path:
        """Return the list of the files of one subdirectory, as the schema scan saw them."""
        return self.work_dir / str(n) / "inputs.json"

    def progress_path(self, n: int) -> Path:
        """Return what the group has done so far."""
        return self.work_dir / str(n) / "progress.json"

    def merged_path(self, n: int) -> Path:
        """Return the records joined with the references, as the core in C writes them."""
        return self.work_dir / str(n) / "merged.records"

    def bad_records_path(self, n: int) -> Path:
        """Return the bad records of the subdirectory, before its output is published."""
        return self.work_dir / str(n) / "records.jsonl"

    def spill_dir(self, n: int) -> Path:
        """Return where DuckDB puts what does not fit into memory."""
        return self.work_dir / str(n) / "spill"

    @property
    def output_dir(self) -> Path:
        """The published tables of the run."""
        return self.feed.data_dir / self.output

    @property
    def output(self) -> str:
        """The published tables of the run, relative to data_dir."""
        return f"{self.feed.spec.output.path}/{self.ts}"

    def output_name(self, n: int) -> str:
        """Return the published table of one subdirectory, relative to data_dir."""
        return f"{self.output}/{n}.{self.feed.spec.output.format}"

    @property
    def manifest_path(self) -> Path:
        """The manifest beside the output: its appearance says that the output is complete."""
        return self.output_dir / "_manifest.json"

    @property
    def commit_path(self) -> Path:
        """The same manifest: its appearance commits the run."""
        return self.feed.commits_dir / f"{self.ts}.json"

    def marker(self, name: str) -> str | None:
        """Return the name in landing of the file that says that another one is done."""
        suffix = self.feed.spec.input.done_suffix
        return f"{name}{suffix}" if suffix else None

    def archive_path(self, name: str) -> Path:
        """Return where the original that landed as `name` ends."""
        return self.feed.archive_dir / self.archived(name)

    def archived(self, name: str) -> str:
        """Return where the original that landed as `name` ends, relative to the archive."""
        return archived_name(name, self.ts, self._packed_suffix)

    def archived_name(self, name: str) -> str:
        """Return where the original that landed as `name` ends, relative to data_dir."""
        return f"{self.feed.spec.archive.path}/{self.archived(name)}"

    @functools.cached_property
    def _packed_suffix(self) -> str:
        return PACKED_SUFFIX[self.feed.spec.archive.compression]

    def archived_marker_path(self, name: str) -> Path | None:
        """Return where the marker of a file that landed as `name` ends."""
        marker = self.marker(name)
        return self.feed.archive_dir / archived_name(marker, self.ts) if marker else None

    def quarantine_name(self, n: int) -> str:
        """Return the quarantine of one subdirectory, relative to data_dir."""
        return f"{self.feed.spec.quarantine.path}/{self.ts}/{n}"

    def quarantined_records_name(self, n: int) -> str:
        """Return where the bad records of one subdirectory end, relative to data_dir."""
        return f"{self.quarantine_name(n)}/{RECORDS_NAME}"

    def quarantined_name(self, n: int, name: str) -> str:
        """Return where a bad file that landed as `name` ends, relative to data_dir."""
        # Names that could be one of ours get a suffix, and so do those that could then be theirs.
        taken = name.startswith(RECORDS_NAME) or REASON_SUFFIX in name
        return f"{self.quarantine_name(n)}/{name}{'.bad' if taken else ''}"

    def reason_name(self, n: int, name: str) -> str:
        """Return where the reason of a bad file that landed as `name` ends, relative to data_dir."""
        return self.quarantined_name(n, name) + REASON_SUFFIX


def parse_subdir(subdir: str) -> tuple[str, int]:
    """Return `(ts, n)` of a subdirectory as a group is given it: `staging/<ts>/<n>`.

    Raises:
        MissingError: it has another form.
    """
    parts = PurePosixPath(subdir).parts
    if len(parts) != 3 or parts[0] != "staging" or not parts[2].isdecimal():  # noqa: PLR2004 - the form's three parts
        msg = f"{subdir!r} is no subdirectory of a run, expected 'staging/<ts>/<n>'"
        raise MissingError(msg)
    return format_ts(parse_ts(parts[1])), int(parts[2])
