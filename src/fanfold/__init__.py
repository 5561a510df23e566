"""Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice."""

# What the command line starts with imports nothing: Python answers Ctrl-C with a traceback until Fanfold can.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fanfold.api import plan, purge, run, status, verify
    from fanfold.errors import DataError, FanfoldError, MissingError, PathError, SpecError
    from fanfold.feed.status import RunStatus
    from fanfold.manifest import Summary
    from fanfold.spec.model import Spec, load_spec
    from fanfold.steps.plan import Plan
    from fanfold.steps.purge import Purge
    from fanfold.steps.recount import Recount

    __version__: str

_MODULES = {
    "fanfold.api": ("plan", "purge", "run", "status", "verify"),
    "fanfold.errors": ("DataError", "FanfoldError", "MissingError", "PathError", "SpecError"),
    "fanfold.feed.status": ("RunStatus",),
    "fanfold.manifest": ("Summary",),
    "fanfold.spec.model": ("Spec", "load_spec"),
    "fanfold.steps.plan": ("Plan",),
    "fanfold.steps.purge": ("Purge",),
    "fanfold.steps.recount": ("Recount",),
}
__all__ = [
    "DataError", "FanfoldError", "MissingError", "PathError", "Plan", "Purge", "Recount", "RunStatus", "Spec",
    "SpecError", "Summary", "__version__", "load_spec", "plan", "purge", "run", "status", "verify",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("fanfold")
    for module, names in _MODULES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(name)
