"""Whether the place of a feed, a folder or a bucket, keeps what Fanfold rests on."""

from pathlib import Path

from fanfold import mirrors
from fanfold.feed import probe, runs
from fanfold.fitness import Fitness
from fanfold.spec.model import load_spec
from fanfold.spec.roots import check_allowed_uri


def doctor(spec_path: Path, place: str) -> Fitness:
    """Try the place of a feed. What is made there is removed; the verdict on a bucket stays in it.

    Args:
        spec_path: the spec.
        place: the data_dir, absolute, or the URI of a bucket.

    Raises:
        SpecError, MissingError, PathError: as `runs.open_feed`.
        AccessError, StoreError: the store refuses the credentials, has no such bucket, or does not answer.
    """
    if not mirrors.is_uri(place):
        return probe.probe(runs.open_feed(spec_path, place))
    from fanfold import bucket

    spec = load_spec(spec_path)
    check_allowed_uri(place, spec_path, spec)
    return bucket.tried(place, spec)
