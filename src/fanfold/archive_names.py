"""The names of originals in the archive."""

import functools
import os.path

from fanfold.input_formats import MANY_NAMES, compression, input_format, is_archive


@functools.lru_cache(MANY_NAMES)
def archived_name(name: str, ts: str, packed: str = "", template: str = "{name}_{ts}") -> str:
    """Return the name of a landed file in the archive: `a/b.json.gz` becomes `a/b_<ts>.json.gz`.

    Different names stay different; compressed, `a.json` may become what `a.json.gz` is.

    Args:
        name: in landing.
        ts: of the run.
        packed: the suffix of the compression of the archive, for files that are not compressed yet.
        template: `archive.name`, without the folder and the endings.
    """
    plain = name[: len(name) - len(compression(name))]
    stem, suffix = os.path.splitext(plain)  # noqa: PTH122 - as a Path it takes twice as long
    is_packed = plain != name or input_format(name) == "parquet" or is_archive(name)
    folder, slash, own = stem.rpartition("/")
    made = template.format(name=own, ts=ts, date=f"{ts[:4]}-{ts[4:6]}-{ts[6:8]}")
    return f"{folder}{slash}{made}{suffix}{name[len(plain) :]}{'' if is_packed else packed}"


def packing(name: str, archived: str) -> str | None:
    """Return the suffix of the compression that the archive has added to a file that landed as `name`."""
    added = compression(archived)
    return added if added and added != compression(name) else None
