"""Whether a complete run is a success: it holds nothing up, but too much of it may be bad."""

from typing import NamedTuple

from fanfold.errors import count
from fanfold.manifest import Manifest
from fanfold.spec.model import Quarantine


class Counts(NamedTuple):
    """The counts by which a run is judged. A bad file has no records; a duplicate is not a bad file."""

    files: int
    bad_files: int
    duplicates: int
    records: int
    bad_records: int


def verdict(committed: Manifest) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success.

    It follows from the manifest alone, so every look at the run says the same.
    """
    summary = committed.summary
    counts = Counts(
        files=summary.files_in,
        bad_files=sum(1 for file in committed.files if file.code and not file.duplicate_of),
        duplicates=sum(1 for file in committed.files if file.duplicate_of),
        records=summary.records_in,
        bad_records=summary.records_quarantined,
    )
    reason = too_bad(Quarantine.model_validate(committed.spec.get("quarantine", {})), counts)
    if reason is None:
        return None
    return f"run {summary.ts} is complete, but {reason}; they are in quarantine: fanfold quarantine list SPEC"


def too_bad(limits: Quarantine, counts: Counts) -> str | None:
    """Say why too much of a run is bad for a success; None where it is not."""
    bad = counts.bad_files
    found = f"{bad:,} of {count(counts.files, 'file')} and {count(counts.bad_records, 'record')} are bad"
    # What is in a duplicate was read before.
    if bad + counts.bad_records and counts.records == counts.bad_records and not counts.duplicates:
        return f"no record is good: {found}"
    if bad * 100 > limits.max_bad_files_percent * counts.files:
        share = f"{limits.max_bad_files_percent:g} % of the files (quarantine.max_bad_files_percent)"
        return f"{found}, expected at most {share}"
    if bad and not limits.max_bad_records_percent:
        return f"{found}, expected none (quarantine.max_bad_records_percent is 0)"
    return None
