"""Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice."""

from fanfold.errors import DataError, FanfoldError, MissingError, PathError, SpecError
from fanfold.spec import Spec, load_spec

__all__ = ["DataError", "FanfoldError", "MissingError", "PathError", "Spec", "SpecError", "load_spec"]
