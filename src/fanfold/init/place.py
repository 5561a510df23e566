"""Where a feed of samples lives: its data_dir, its landing, and the patterns that take the samples and nothing else."""

import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fanfold.errors import FanfoldError
from fanfold.feed import access, runs
from fanfold.feed.landing import taken_by
from fanfold.init.samples import Samples
from fanfold.layout import Feed
from fanfold.spec.model import Input, Spec
from fanfold.spec.roots import allowed_roots, check_allowed


class Home(NamedTuple):
    """Where a feed lives.

    Attributes:
        data_dir: as the spec writes it.
        path: of landing, in data_dir.
        patterns: of the files to take; none where the usual ones do.
        references: their names in data_dir, by their paths; those that lie elsewhere are not there.
        reason: why landing is not where the samples lie; empty where it is.
    """

    data_dir: str
    path: str
    patterns: list[str]
    references: dict[Path, str]
    reason: str


def home_of(name: str, samples: Samples, references: list[Path], to_dir: Path) -> Home:
    """Choose where a feed lives: landing is the folder of the samples, data_dir the one around it and the references.

    Where that cannot be, landing is a new folder below `to_dir`.

    Args:
        name: of the feed.
        samples: its samples.
        references: its references.
        to_dir: where the spec will lie.
    """
    root = Path(os.path.commonpath([samples.folder.parent, *(path.parent for path in references)]))
    if len(samples.folder.relative_to(root).parts) > 2:  # noqa: PLR2004 - what lies far above is not of this feed
        root = samples.folder.parent
    path, reason = str(PurePosixPath(samples.folder.relative_to(root))), ""
    try:
        patterns = _patterns(samples, references)
        spec = Spec.model_validate({"version": 1, "name": name, "data_dir": str(root), "input": {"path": path}})
        feed = Feed(root, spec)
        check_allowed(root, allowed_roots(to_dir / "spec.yaml", spec), "data_dir")
        access.check_writable([root, *feed.folders])
        runs.check_identity(feed)
    except (FanfoldError, ValueError) as error:
        root, path, patterns = to_dir / "data" / name, "landing", []
        reason = " ".join(str(error).splitlines()[:3])
    inside = {one: str(one.relative_to(root)) for one in references if one.is_relative_to(root)}
    return Home(os.path.relpath(root, to_dir), path, patterns, inside, reason)


def _patterns(samples: Samples, references: list[Path]) -> list[str]:
    """Return the patterns that take the samples, and no reference and no other file beside them; none for the usual.

    Raises:
        ValueError: there are none.
    """
    names = {Path(name).name for name in samples.names}
    tables = {path.name for path in references if path.parent.is_relative_to(samples.folder)}
    beside = {one.name for one in samples.folder.iterdir() if one.is_file()} - names | tables
    if _tell(Input().patterns, names, beside):
        return []
    suffixes = sorted({"".join(re.findall(r"\.[A-Za-z]\w*", name)) for name in names})
    # Names in sorted order have in common what the first and the last one have.
    low, high = min(names), max(names)
    common = max((low[:end] for end in range(len(low)) if high.startswith(low[:end])), key=len)
    start = re.split(r"[\d.]", common, maxsplit=1)[0]
    # What lies beside samples that are named may be of another kind.
    for begin, others in (("", beside), (start, tables)):
        patterns = [f"{begin}*{suffix}" for suffix in suffixes]
        if _tell(patterns, names, others):
            return patterns
    msg = "no pattern tells the samples from the references in their folder"
    raise ValueError(msg)


def _tell(patterns: list[str], names: set[str], others: set[str]) -> bool:
    """Say whether patterns take all of some names, and none of others."""
    takes = taken_by(patterns).match
    return all(map(takes, names)) and not any(map(takes, others))
