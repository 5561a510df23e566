"""Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice."""

from typing import TYPE_CHECKING, Any

from fanfold.errors import DataError, FanfoldError, MissingError, PathError, SpecError

if TYPE_CHECKING:
    from fanfold.spec import Spec, load_spec

__all__ = ["DataError", "FanfoldError", "MissingError", "PathError", "Spec", "SpecError", "load_spec"]


def __getattr__(name: str) -> Any:
    # What the command line starts with does not wait for the import of pydantic.
    if name in __all__:
        from fanfold import spec

        return getattr(spec, name)
    raise AttributeError(name)
