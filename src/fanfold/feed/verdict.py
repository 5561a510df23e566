"""Whether a run that is complete is a success: it holds nobody up, but too much of it may be bad."""

from fanfold.errors import count
from fanfold.manifest import Manifest
from fanfold.spec.model import Quarantine


def verdict(committed: Manifest) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success.

    It follows from the manifest alone, so every look at the run says the same. Duplicates are not bad files.
    """
    summary = committed.summary
    limits = Quarantine.model_validate(committed.spec.get("quarantine", {}))
    bad = sum(1 for file in committed.files if file.code and not file.duplicate_of)
    found = f"{bad:,} of {count(summary.files_in, 'file')} and {count(summary.records_quarantined, 'record')}"
    if bad + summary.records_quarantined and not _has_read(committed):
        reason = f"nothing could be read: {found} are bad"
    elif bad * 100 > limits.max_bad_files_percent * summary.files_in:
        reason = f"{found} are bad, expected at most {limits.max_bad_files_percent:g} % of the files"
        reason += " (quarantine.max_bad_files_percent)"
    elif bad and not limits.max_bad_records_percent:
        reason = f"{found} are bad, expected none (quarantine.max_bad_records_percent is 0)"
    else:
        return None
    return f"run {summary.ts} is complete, but {reason}; they lie in quarantine: fanfold quarantine list SPEC"


def _has_read(committed: Manifest) -> bool:
    """Say whether there is a good record, or a duplicate: what it holds was read before."""
    summary = committed.summary
    return summary.records_in > summary.records_quarantined or any(file.duplicate_of for file in committed.files)
