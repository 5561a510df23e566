"""Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice."""

# What the command line starts with imports nothing: Python answers Ctrl-C with a traceback until Fanfold can.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fanfold.errors import DataError, FanfoldError, MissingError, PathError, SpecError
    from fanfold.spec.model import Spec, load_spec

    __version__: str

__all__ = ["DataError", "FanfoldError", "MissingError", "PathError", "Spec", "SpecError", "__version__", "load_spec"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("fanfold")
    if name in __all__:
        from fanfold import errors
        from fanfold.spec import model

        return getattr(errors if name.endswith("Error") else model, name)
    raise AttributeError(name)
