"""The step that lists what lies in landing, or what a run was given."""

from fanfold import manifest
from fanfold.feed import landing
from fanfold.layout import Feed, format_ts, parse_ts
from fanfold.manifest import Manifest
from fanfold.working_files import Files


def list_files(feed: Feed) -> landing.Landing:
    """List what lies in landing: the files that are ready, and those that are still settling."""
    wanted = feed.spec.input
    return landing.scan_landing(feed.landing_dir, wanted.patterns, wanted.settle_seconds, wanted.done_suffix)


def list_run(feed: Feed, ts: str) -> list[landing.LandedFile]:
    """List the files of a run: those that it was given, or, before it was given any, those that are ready."""
    run = feed.run(format_ts(parse_ts(ts)))
    if committed := manifest.read_if_there(run.commit_path, Manifest):
        return [landing.LandedFile(file.name, file.size_bytes) for file in committed.files]
    if staged := manifest.read_if_there(run.files_path, Files):
        return [landing.LandedFile(file.name, file.size_bytes) for file in staged.files]
    return list_files(feed).ready
