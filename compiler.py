"""The C compiler that builds Fanfold's core: the system's, or the one in the package `ziglang` where there is none.

Run as a script, it ends with 1 where the system has none: then `ziglang.lock` is to be installed.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CORE = Path(__file__).parent / "src" / "fanfold" / "native"
ZIGLANG_LOCK = Path(__file__).with_name("ziglang.lock")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")


def of_the_system() -> list[str] | None:
    """Return the command of the system's C compiler (`CC`, else cc, gcc or clang); None where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return named
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return [found] if found else None


def find() -> list[str]:
    """Return the command of a C compiler.

    Raises:
        RuntimeError: there is none.
    """
    system = of_the_system()
    if system:
        return system
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    msg = "found no C compiler (CC, cc, gcc, clang) and no package 'ziglang': install one, as in pip install ziglang"
    raise RuntimeError(msg)


def library_name(platform: str | None = None) -> str:
    """Return the name of the core's library on a platform, by default this one."""
    return "libfanfold.dylib" if (platform or sysconfig.get_platform()).startswith("macos") else "libfanfold.so"


def build(command: list[str], library: Path, *flags: str) -> None:
    """Compile the core. An older library is replaced when the new one is complete.

    Raises:
        RuntimeError: the compiler fails; the message is its own.
    """
    sources = sorted(str(path) for path in CORE.glob("*.c"))
    building = library.with_name(f".{library.name}.{os.getpid()}")
    made = subprocess.run(  # noqa: S603 - the compiler that was found
        [*command, *FLAGS, *flags, "-o", building, *sources], capture_output=True, text=True, check=False
    )
    if made.returncode:
        building.unlink(missing_ok=True)
        msg = f"{shlex.join(command)} could not compile {CORE}:\n{made.stderr}"
        raise RuntimeError(msg)
    building.rename(library)


if __name__ == "__main__":
    sys.exit(of_the_system() is None)
