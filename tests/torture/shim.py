"""The preloaded library that strikes at a chosen change of the file system; shim.c says what it counts."""

import dataclasses
import subprocess
from pathlib import Path

import compiler

SOURCE = Path(__file__).with_name("shim.c")
KILL, TEAR, STOP, CLOCK = "kill", "torn", "stop", "clock"


@dataclasses.dataclass(frozen=True)
class Strike:
    """What happens at which operation: the `at`-th change (or read); 0 counts only."""

    at: int = 0
    fault: str = KILL
    lasts: bool = False
    reads: bool = False

    def environ(self, data_dir: Path) -> dict[str, str]:
        """Return the settings of the shim, and make its counter, beside `data_dir`; an earlier log goes."""
        counter, log = counter_path(data_dir), log_path(data_dir)
        counter.write_bytes(bytes(8))
        log.write_bytes(b"")
        return {
            "TORTURE_ROOT": str(data_dir),
            "TORTURE_COUNTER": str(counter),
            "TORTURE_LOG": str(log),
            "TORTURE_AT": str(self.at),
            "TORTURE_FAULT": self.fault,
            "TORTURE_LASTS": str(int(self.lasts)),
            "TORTURE_READS": str(int(self.reads)),
        }


def counter_path(data_dir: Path) -> Path:
    """Return where the operations under `data_dir` are counted."""
    return data_dir.with_name("counter")


def log_path(data_dir: Path) -> Path:
    """Return where they are named, one a line."""
    return data_dir.with_name("operations")


def operations(data_dir: Path) -> list[str]:
    """Return the operations under `data_dir` since the last strike was set up, as `kind path` or `kind from -> to`."""
    return log_path(data_dir).read_text(encoding="utf-8").splitlines()


def build(folder: Path) -> Path:
    """Compile the library.

    Raises:
        RuntimeError: there is no C compiler.
    """
    library = folder / "shim.so"
    subprocess.run([*compiler.find(), "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library
