"""Pure: every path and name of a feed and of its runs, and the form of `ts`. Nothing here touches the disk."""

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fanfold.archive_names import archived_name
from fanfold.errors import MissingError
from fanfold.spec.model import Spec

RECORDS_NAME = "records.jsonl"
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
        MissingError: `text` has none of them.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        msg = f"{text!r} is not an execution timestamp, expected ISO 8601: 2026-01-02T03:04:05Z or 20260102T030405Z"
        raise MissingError(msg) from None


def is_ts(name: str) -> bool:
    """Say whether a name is that of a run, as `format_ts` writes it."""
    try:
        return format_ts(parse_ts(name)) == name
    except MissingError:
        return False


class Place(NamedTuple):
    """Where a file is, and how large it is."""

    path: str
    size_bytes: int


class Feed:
    """The folders of one feed: all of them are in its `data_dir`, or are links there to other allowed places."""

    def __init__(self, data_dir: Path, spec: Spec) -> None:
        """Name the folders; none of them is made."""
        self.data_dir, self.spec = data_dir, spec
        # Where producers drop files.
        self.landing_dir = data_dir / spec.input.path
        # The files of the runs that are not complete.
        self.staging_dir = data_dir / "staging"
        # The published tables of all runs.
        self.output_dir = data_dir / spec.output.path
        # The originals of all runs.
        self.archive_dir = data_dir / spec.archive.path
        # The bad files and the bad records of all runs.
        self.quarantine_dir = data_dir / spec.quarantine.path
        own_dir = data_dir / ".fanfold"
        # One manifest for each run that is complete.
        self.commits_dir = own_dir / "runs"
        # Each reference as some run has joined it.
        self.references_dir = own_dir / "references"
        # What was decided about bad records and bad files.
        self.resolutions_dir = own_dir / "quarantine"
        # What was purged of each run, and who purges now.
        self.purged_dir = own_dir / "purged"
        self.purge_lease_path = own_dir / "purging"
        # What the runs in a bucket have claimed; a folder has none.
        self.claims_dir = own_dir / "claims"
        # Which feed the data_dir holds.
        self.identity_path = own_dir / "feed.json"
        # The folders that may themselves be links to other allowed places.
        named = [self.landing_dir, self.output_dir, self.archive_dir, self.quarantine_dir]
        self.folders = [*named, self.staging_dir, own_dir, self.commits_dir, data_dir]

    def kept_reference_path(self, reference: str, sha256: str) -> Path:
        """Return where a reference is kept as runs have joined it: by its content."""
        return self.references_dir / f"{sha256}_{PurePosixPath(reference).name}"

    def place(self, name: str) -> str:
        """Return the path of a name relative to data_dir; a str, since making a Path takes longer than using it."""
        return f"{self.data_dir}/{name}"

    def marker(self, name: str) -> str | None:
        """Return the name in landing of the marker that says that a file is complete."""
        suffix = self.spec.input.done_suffix
        return f"{name}{suffix}" if suffix else None

    def run(self, ts: str) -> "Run":
        """Return the folders of the run of an execution timestamp, which may have any ISO 8601 form.

        Raises:
            MissingError: `ts` is not an execution timestamp.
        """
        return Run(self, format_ts(parse_ts(ts)))


class Run:
    """The folders and files of one run. A `_name` is relative to `data_dir`, a `_path` or a `_dir` is absolute."""

    def __init__(self, feed: Feed, ts: str) -> None:
        """Name the folders and files; none of them is made."""
        self.feed, self.ts = feed, ts
        # Everything of the run that goes when it is complete: its subdirectories, and Fanfold's own working files.
        self.staging_dir = feed.staging_dir / ts
        self.work_dir = self.staging_dir / ".fanfold"
        # The spec as it was when the run began.
        self.spec_path = self.work_dir / "spec.json"
        # Every file of the run, its size, its subdirectory.
        self.files_path = self.work_dir / "files.json"
        # The schema, and the references with their hashes.
        self.schema_path = self.work_dir / "schema.json"
        # The references as they were when the schema was fixed.
        self.references_dir = self.work_dir / "reference"
        # The decision to give the run up.
        self.release_path = self.work_dir / "release.json"
        # Why a step on the whole run cannot go on.
        self.failure_path = self.work_dir / "failure.json"
        # Who works on the whole run, and which `fanfold run` takes it through all its steps.
        self.lease_path = self.work_dir / "lease"
        self.driver_path = self.work_dir / "driver"
        # The published tables. The manifest beside them says that they are complete.
        self.output_name = f"{feed.spec.output.path}/{ts}"
        self.output_dir = feed.data_dir / self.output_name
        self.manifest_path = self.output_dir / "_manifest.json"
        # The same manifest: its appearance commits the run.
        self.commit_path = feed.commits_dir / f"{ts}.json"
        # What was purged of it.
        self.purged_path = feed.purged_dir / f"{ts}.json"
        self._groups: dict[int, Group] = {}

    @property
    def groups(self) -> list["Group"]:
        """The groups, those without files too."""
        return [self.group(n) for n in range(1, self.feed.spec.subdirs + 1)]

    def group(self, n: int) -> "Group":
        """Return the group of the subdirectory `n`, from 1; the run may have none of this number."""
        if n not in self._groups:
            self._groups[n] = Group(self, n)
        return self._groups[n]

    def reference_path(self, index: int) -> Path:
        """Return where the reference of `spec.merge[index]` is frozen."""
        return self.references_dir / f"{index + 1}_{self.feed.spec.merge[index].into}.rows"

    def archived_name(self, name: str) -> str:
        """Return where the original that landed as `name` ends, relative to data_dir."""
        archive = self.feed.spec.archive
        return f"{archive.path}/{archived_name(name, self.ts, PACKED_SUFFIX[archive.compression], archive.name)}"

    def is_of_run(self, archived: str) -> bool:
        """Say whether a file in the archive has a name from this run."""
        before, _, behind = archived_name("\0.", self.ts, template=self.feed.spec.archive.name).partition("\0")
        return archived.startswith(before) and behind in archived

    def archive_path(self, name: str) -> Path:
        """Return where the original that landed as `name` ends."""
        return self.feed.data_dir / self.archived_name(name)

    def archived_marker_path(self, name: str) -> Path | None:
        """Return where the marker of a file that landed as `name` ends."""
        marker = self.feed.marker(name)
        template = self.feed.spec.archive.name
        return self.feed.archive_dir / archived_name(marker, self.ts, template=template) if marker else None


class Group:
    """The folders and files of one subdirectory of a run. A `_name` is relative to `data_dir`, a `_path` absolute."""

    def __init__(self, run: Run, n: int) -> None:
        """Name the folders and files; none of them is made."""
        self.run, self.n = run, n
        # The subdirectory, relative to data_dir: what a task is given.
        self.subdir = f"staging/{run.ts}/{n}"
        # The claimed originals, and nothing else.
        self.subdir_dir = run.staging_dir / str(n)
        # Fanfold's own files of the group.
        self.work_dir = run.work_dir / str(n)
        # Who works on the group, and why it cannot go on.
        self.lease_path = self.work_dir / "lease"
        self.failure_path = self.work_dir / "failure.json"
        # The files of the group as the schema scan saw them, and what the group has done so far.
        self.inputs_path = self.work_dir / "inputs.json"
        self.progress_path = self.work_dir / "progress.json"
        # The records joined with the references, as the core in C writes them, and those that are bad.
        self.merged_path = self.work_dir / "merged.records"
        self.bad_records_path = self.work_dir / RECORDS_NAME
        # Where DuckDB puts what does not fit into memory.
        self.spill_dir = self.work_dir / "spill"
        # The published tables, by their names; the one of a feed without `tables` has none, and no folder.
        self.output_names = {
            table: f"{run.output_name}/{table}{'/' if table else ''}{n}.{run.feed.spec.output.format}"
            for table in run.feed.spec.tables or [""]
        }
        self.output_paths = [run.feed.data_dir / name for name in self.output_names.values()]
        # It is there from when on files under these names are the group's own.
        self.publishing_path = self.work_dir / "publishing"
        # Where the bad files and the bad records end.
        self.quarantine_name = f"{run.feed.spec.quarantine.path}/{run.ts}/{n}"
        self.quarantine_dir = run.feed.data_dir / self.quarantine_name
        self.quarantined_records_name = f"{self.quarantine_name}/{RECORDS_NAME}"
        self.quarantined_records_path = self.quarantine_dir / RECORDS_NAME

    def staged_path(self, name: str) -> str:
        """Return where the file that landed as `name` is staged; a str, since there may be many."""
        return f"{self.subdir_dir}/{name}"

    def quarantined_name(self, name: str) -> str:
        """Return where a bad file that landed as `name` ends, relative to data_dir."""
        # Names that could be one of ours get a suffix, and so do those that could then be theirs.
        taken = name.startswith(RECORDS_NAME) or REASON_SUFFIX in name
        return f"{self.quarantine_name}/{name}{'.bad' if taken else ''}"

    def reason_name(self, name: str) -> str:
        """Return where the reason of a bad file that landed as `name` ends, relative to data_dir."""
        return self.quarantined_name(name) + REASON_SUFFIX


def parse_subdir(subdir: str) -> tuple[str, int]:
    """Return `(ts, n)` of a subdirectory as a group is given it: `staging/<ts>/<n>`.

    Raises:
        MissingError: it has another form.
    """
    parts = PurePosixPath(subdir).parts
    if len(parts) != 3 or parts[0] != "staging" or not parts[2].isdecimal():  # noqa: PLR2004 - the form's three parts
        msg = f"{subdir!r} is not a subdirectory of a run, expected 'staging/<ts>/<n>'"
        raise MissingError(msg)
    return format_ts(parse_ts(parts[1])), int(parts[2])
