"""Where a feed of samples lives: its data_dir, its landing, and the patterns that take the samples and nothing else."""

import itertools
import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fanfold.errors import FanfoldError
from fanfold.feed import access, runs
from fanfold.formats import taken_by
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
    try:
        path = str(PurePosixPath(samples.folder.relative_to(root)))
        patterns = _patterns(samples, references)
        _check(Spec.model_validate({"version": 1, "name": name, "input": {"path": path}}), root, to_dir)
    except (FanfoldError, ValueError) as error:
        reason = " ".join(str(error).splitlines()[:3])
        return Home(f"data/{name}", "landing", [], _inside(references, to_dir / "data" / name), reason)
    return Home(os.path.relpath(root, to_dir), path, patterns, _inside(references, root), "")


def _inside(references: list[Path], root: Path) -> dict[Path, str]:
    return {path: str(path.relative_to(root)) for path in references if path.is_relative_to(root)}


def _check(spec: Spec, root: Path, to_dir: Path) -> None:
    """Check that a feed may live in a directory.

    Raises:
        FanfoldError: it may not.
    """
    feed = Feed(root, spec)
    check_allowed(
        root, allowed_roots(to_dir / "spec.yaml", spec.model_copy(update={"data_dir": str(root)})), "data_dir"
    )
    access.check_writable([root, *feed.folders])
    runs.check_identity(feed)


def _patterns(samples: Samples, references: list[Path]) -> list[str]:
    """Return the patterns that take the samples, and no reference and no other file beside them; none for the usual.

    Raises:
        ValueError: there are none.
    """
    names = {Path(name).name for name in samples.names}
    beside = {one.name for one in samples.folder.iterdir() if one.is_file()} - names
    avoided = {path.name for path in references if path.parent.is_relative_to(samples.folder)}
    usual = Input().patterns
    if _take_all(usual, names) and not _take_any(usual, beside | avoided):
        return []
    suffixes = sorted({"".join(re.findall(r"\.[A-Za-z]\w*", name)) for name in names})
    # Names in sorted order have in common what the first and the last one have.
    start = re.split(r"[\d.]", _common(min(names), max(names)), maxsplit=1)[0]
    # What lies beside samples that are named may be of another kind.
    begin = start if _take_any([f"*{suffix}" for suffix in suffixes], beside | avoided) else ""
    patterns = [f"{begin}*{suffix}" for suffix in suffixes]
    if _take_all(patterns, names) and not _take_any(patterns, avoided):
        return patterns
    msg = "no pattern tells the samples from the references in their folder"
    raise ValueError(msg)


def _common(first: str, last: str) -> str:
    return "".join(a for a, _ in itertools.takewhile(lambda two: two[0] == two[1], zip(first, last, strict=False)))


def _take_any(patterns: list[str], names: set[str]) -> bool:
    return any(map(taken_by(patterns).match, names))


def _take_all(patterns: list[str], names: set[str]) -> bool:
    return all(_take_any(patterns, {name}) for name in names)
