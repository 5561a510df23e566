"""Whether the place of a feed, a folder or a bucket, keeps what Fanfold rests on."""

from pathlib import Path

from fanfold.feed import probe, runs
from fanfold.fitness import Fitness


def doctor(spec_path: Path, place: str) -> Fitness:
    """Try the place of a feed. What is made there is removed; the verdict on a bucket stays in it.

    Args:
        spec_path: the spec.
        place: the data_dir, absolute, or the URI of a bucket.

    Raises:
        SpecError, MissingError, PathError: as `runs.open_feed`.
        AccessError, StoreError: the store refuses the credentials, has no such bucket, or does not answer.
    """
    if "://" not in place:
        return probe.probe(runs.open_feed(spec_path, place))
    # The library that talks to stores is only there where it is needed.
    from fanfold.bucket import probe as bucket_probe
    from fanfold.bucket.objects import Objects

    return bucket_probe.probe(Objects(place, patience_seconds=bucket_probe.PATIENCE_SECONDS))
