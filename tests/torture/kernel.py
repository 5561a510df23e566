"""Whether the shim misses a change: strace sees what the kernel is asked for, whoever asks."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import TS
from tests.torture.matrix import Result
from tests.torture.runs import copy
from tests.torture.shim import Strike, operations

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,renameat2,"
    "link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,sendfile,copy_file_range"
)
KINDS = {"pwrite64": "pwrite", "openat": "open", "renameat2": "rename", "linkat": "link", "mkdirat": "mkdir"}
CALL = re.compile(r"\d+ +(?P<call>\w+)\(")
# A call that another process's cuts in two.
UNFINISHED = re.compile(r"(?P<pid>\d+) .*(?= <unfinished \.\.\.>)")
RESUMED = re.compile(r"(?P<pid>\d+) <\.\.\. \w+ resumed>(?P<rest>.*)")


def compare(library: Path, spec: Path, folder: Path) -> Result:
    """Count the changes of one run of the command line by the shim and by strace; say where they differ."""
    if shutil.which("strace") is None:
        return Result(0, ["found no strace, which this comparison needs: apt-get install strace"])
    traced = copy(spec, folder / "traced")
    data_dir, trace = traced.with_name("data"), folder / "trace"
    strace = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e", f"trace={CALLS}"]
    command = [sys.executable, "-m", "fanfold", "run", str(traced), "--ts", TS]
    subprocess.run(
        [*strace, "-E", f"LD_PRELOAD={library}", *command],
        env={**os.environ, **Strike().environ(data_dir)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    by_kernel: Counter[str] = Counter()
    for line in _calls(trace.read_text(encoding="utf-8", errors="replace")):
        call = CALL.match(line)
        # What a link leads to is not where it is made: the index of a feed has one that leads to it.
        place = line.partition(", ")[2] if call and call["call"].startswith("symlink") else line
        if call and str(data_dir) in place and "O_RDONLY" not in line and "EEXIST" not in line:
            kind = KINDS.get(call["call"], call["call"])
            by_kernel["rmdir" if "AT_REMOVEDIR" in line else "unlink" if kind == "unlinkat" else kind] += 1
    by_shim = Counter(what.partition(" ")[0] for what in operations(data_dir))
    kinds = sorted({*by_kernel, *by_shim})
    wrong = [
        f"{k}: {by_shim[k]} by the shim, {by_kernel[k]} by the kernel" for k in kinds if by_kernel[k] != by_shim[k]
    ]
    return Result(by_kernel.total(), wrong)


def _calls(trace: str) -> Iterator[str]:
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if unfinished := UNFINISHED.match(line):
            begun[unfinished["pid"]] = unfinished[0]
        elif resumed := RESUMED.match(line):
            yield begun.pop(resumed["pid"], "") + resumed["rest"]
        else:
            yield line
    yield from begun.values()
