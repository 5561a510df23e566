"""Which directories a feed may live in."""

import os
import re
from pathlib import Path

from fanfold import mirrors
from fanfold.errors import PathError
from fanfold.spec.model import Spec

ALLOWED_ROOTS = "FANFOLD_ALLOWED_ROOTS"


def allowed_roots(spec_path: Path, spec: Spec) -> list[Path]:
    """Return the directories that a feed may live in.

    They are those of the environment variable FANFOLD_ALLOWED_ROOTS (separated as in PATH), else the spec's own folder
    and its `data_dir`. A root may be in a bucket: `allowed_uris` has those.
    """
    return [Path(root).resolve() for root in _named(spec_path, spec) if not mirrors.is_uri(root)]


def _named(spec_path: Path, spec: Spec) -> list[str]:
    # The colon of s3:// does not separate.
    named = [root for root in re.split(rf"{os.pathsep}(?!//)", os.environ.get(ALLOWED_ROOTS, "")) if root]
    return named or [str(spec_path.resolve().parent), spec.data_dir]


def check_allowed_uri(uri: str, spec_path: Path, spec: Spec) -> None:
    """Check that a root in a bucket is an allowed one, or inside one.

    Raises:
        PathError: it is not.
    """
    roots = [root.rstrip("/") for root in _named(spec_path, spec)]
    if ".." in uri.split("/") or not any(f"{uri}/".startswith(f"{root}/") for root in roots):
        shown = ", ".join(map(repr, roots))
        msg = f"data_dir {uri!r} is outside the allowed roots, expected a path under {shown} ({ALLOWED_ROOTS})"
        raise PathError(msg)


def check_allowed(path: Path, roots: list[Path], what: str) -> Path:
    """Return `path` with `..` and symbolic links resolved.

    Raises:
        PathError: it lies outside all of `roots`, or cannot be resolved; `what` names it in the message.
    """
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"{what} {str(path)!r} cannot be resolved ({error})"
        raise PathError(msg) from None
    if not any(resolved.is_relative_to(root) for root in roots):
        shown = ", ".join(repr(str(root)) for root in roots)
        leads = f" (it leads to {str(resolved)!r})" if resolved != path else ""
        outside = f"{what} {str(path)!r}{leads} is outside the allowed roots"
        msg = f"{outside}, expected a path under {shown} ({ALLOWED_ROOTS})"
        raise PathError(msg)
    return resolved
