"""The first step: everything is checked that can be known before the first file."""

from fanfold import mirrors
from fanfold.durable import AnyPath
from fanfold.errors import MissingError, PathError
from fanfold.feed import access, runs
from fanfold.layout import Feed
from fanfold.records.references import check_header
from fanfold.steps.freeze_reference import source_of


def start(spec_path: AnyPath, data_dir: AnyPath | None = None) -> Feed:
    """Check everything that can be known before the first file: spec, allowed roots, landing, references.

    Raises:
        SpecError, PathError: as `runs.open_feed`.
        MissingError: the landing directory, a reference, or a column of it is not there.
        PathError: landing and staging are on two file systems, or this process may not read landing, or not write into
            a folder.
        DataError: a bucket was never tried (fanfold doctor), or cannot hold a feed.
    """
    feed = runs.open_feed(spec_path, data_dir)
    if mirror := mirrors.of(feed.data_dir):
        mirror.check_fit()
    if not feed.landing_dir.is_dir():
        msg = f"{str(feed.landing_dir)!r} is not a directory, expected the landing directory (input.path)"
        raise MissingError(msg)
    staging_dir = feed.staging_dir if feed.staging_dir.is_dir() else feed.data_dir
    if feed.landing_dir.stat().st_dev != staging_dir.stat().st_dev:
        msg = (
            f"{str(feed.landing_dir)!r} is on another file system than {str(staging_dir)!r}, expected one for both: "
            "a file is claimed by renaming it"
        )
        raise PathError(msg)
    access.check_readable(feed.landing_dir)
    access.check_writable(folder for folder in feed.folders if folder != feed.landing_dir)
    access.check_writable(feed.staging_dir / ts for ts in runs.unfinished(feed))
    for merge in feed.spec.merge:
        check_header(source_of(feed, merge), merge)
    return feed
