"""The build hook: compiles the core, and puts it into the wheel."""

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _compiler() -> ModuleType:
    """Load compiler.py, which lies beside this file and on no path."""
    spec = importlib.util.spec_from_file_location("compiler", Path(__file__).with_name("compiler.py"))
    if spec is None or spec.loader is None:
        msg = "found no compiler.py beside hatch_build.py"
        raise RuntimeError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CoreHook(BuildHookInterface[Any]):
    """Compiles the core beside its sources, for a wheel as for an editable install."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what is to be installed for the build: a compiler, where the system has none."""
        compiler = _compiler()
        if compiler.of_the_system():
            return []
        lines = compiler.ZIGLANG_LOCK.read_text(encoding="utf-8").splitlines()
        return [line.removesuffix("\\").strip() for line in lines if line.startswith("ziglang==")]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the same for each version
        """Compile, and say what the wheel carries and for which platform it is."""
        compiler = _compiler()
        library = compiler.CORE / compiler.library_name()
        compiler.build(compiler.find(), library)
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["force_include"][str(library)] = f"fanfold/native/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
