"""The step that lists what lies in landing, or what a run was given."""

import time

from fanfold import manifest
from fanfold.feed import landing
from fanfold.layout import Feed
from fanfold.manifest import Manifest
from fanfold.working_files import Files

# A file is surely ready when it is looked at this much later.
LATER_SECONDS = 0.01


def list_files(feed: Feed) -> landing.Landing:
    """List what lies in landing: the files that are ready, and those that are still settling."""
    wanted = feed.spec.input
    return landing.scan_landing(feed.landing_dir, wanted.patterns, wanted.settle_seconds, wanted.done_suffix)


def list_ready(feed: Feed, *, wait: bool = False) -> list[landing.LandedFile]:
    """List the files that are ready; a warning says why others cannot be taken.

    Args:
        feed: the feed.
        wait: whether to wait for the files that are still settling.
    """
    found = list_files(feed)
    soon = [seconds for seconds in found.settling.values() if seconds <= feed.spec.input.settle_seconds]
    if wait and soon:
        time.sleep(max(soon) + LATER_SECONDS)
        found = list_files(feed)
    landing.warn(found.held)
    return found.ready


def list_run(feed: Feed, ts: str) -> list[landing.LandedFile]:
    """List the files of a run: those that it was given, or, before it was given any, those that are ready."""
    run = feed.run(ts)
    known = manifest.read_if_there(run.commit_path, Manifest) or manifest.read_if_there(run.files_path, Files)
    if known:
        return [landing.LandedFile(file.name, file.size_bytes) for file in known.files]
    return list_files(feed).ready
