"""The first step: everything is checked that can be known before the first file."""

from fanfold.durable import AnyPath
from fanfold.feed import runs, store
from fanfold.layout import Feed
from fanfold.records.references import check_header
from fanfold.steps.freeze_reference import source_of


def start(spec_path: AnyPath, data_dir: AnyPath | None = None) -> Feed:
    """Check everything that can be known before the first file: spec, allowed roots, landing, references.

    Raises:
        SpecError, PathError: as `runs.open_feed`.
        MissingError, PathError, DataError: as the `check_fit` of its store.
        MissingError: a reference, or a column of it, is not there.
    """
    feed = runs.open_feed(spec_path, data_dir)
    store.of(feed).check_fit()
    for merge in feed.spec.merge:
        check_header(source_of(feed, merge), merge)
    return feed
