"""The core is built by what the system has, or by a package where it has no compiler; a wheel carries it."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import compiler
from fanfold.errors import MissingError
from fanfold.native.library import ABI, core
from tests.core import read_json

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
ELF_AARCH64 = 0xB7


def run(*command: str | Path, **environ: str) -> str:
    """Run a command to its end, and return what it printed."""
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment that has the compiler from the package, and what a build needs; return its Python."""
    folder = tmp_path_factory.mktemp("zig") / "venv"
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = (uv, "pip", "install", "--quiet", "--system-certs", "--python", python)
    run(*install, "--require-hashes", "--requirements", compiler.ZIGLANG_LOCK)
    run(*install, "hatchling", "editables")
    return python


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """Return a PATH without a C compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "uname"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


def copied(folder: Path) -> Path:
    """Copy what a build needs, without a library."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("libfanfold.*", "__pycache__"))
    for name in ("compiler.py", "hatch_build.py", "ziglang.lock", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_core_compiles_without_a_warning(tmp_path: Path) -> None:
    """The system's compiler has nothing to say about the core."""
    compiler.build(compiler.find(), tmp_path / "core.so", *WARNINGS)
    assert core(tmp_path / "core.so").fanfold_abi() == ABI


def test_a_compiler_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`CC` names the compiler, with options; one that fails is told with its own words."""
    monkeypatch.setenv("CC", "gcc -DTEST")
    assert compiler.find() == ["gcc", "-DTEST"]
    with pytest.raises(RuntimeError, match="could not compile"):
        compiler.build(compiler.find(), tmp_path / "core.so", "--no-such-option")
    assert not list(tmp_path.iterdir())


def test_a_core_of_another_version_is_refused(tmp_path: Path) -> None:
    """A library with another ABI version is one clear error, before anything of it is called."""
    compiler.build(compiler.find(), tmp_path / "core.so", "-DFANFOLD_ABI=99")
    with pytest.raises(MissingError, match="found version 99 of Fanfold's core"):
        core(tmp_path / "core.so")


def test_a_wheel_carries_the_core(tmp_path: Path) -> None:
    """A wheel has the library and no C, under the tag of its platform; a source distribution the C and no library."""
    source, made = copied(tmp_path), tmp_path / "dist"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", made], cwd=source, check=True, capture_output=True
    )
    (wheel,), (sources,) = made.glob("*.whl"), made.glob("*.tar.gz")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"fanfold/native/{compiler.library_name()}" in names
    assert not [name for name in names if name.endswith((".c", ".h"))]
    with tarfile.open(sources) as archive:
        packed = archive.getnames()
    assert any(name.endswith("native/walk.c") for name in packed)
    assert {"compiler.py", "hatch_build.py", "ziglang.lock"} <= {Path(name).name for name in packed}
    assert not [name for name in packed if "libfanfold" in name]


def test_without_a_compiler_the_build_asks_for_the_one_in_a_package(bare_path: str) -> None:
    """On a PATH without a compiler the hook depends on the pinned package, and says so where it is not there."""
    asked = "import hatch_build; print(hatch_build.CoreHook.dependencies(None))"
    assert "ziglang==" in run(sys.executable, "-c", asked, PATH=bare_path, CC="")
    assert run(sys.executable, "-c", asked) == "[]\n"
    checked = subprocess.run([sys.executable, ROOT / "compiler.py"], env={"PATH": bare_path}, check=False)
    assert checked.returncode == 1


def test_without_a_compiler_the_package_builds_the_core(zig: Path, tmp_path: Path, bare_path: str) -> None:
    """Built by the compiler from the package, without one on the PATH, the core gives the same answers."""
    source = copied(tmp_path)
    done = subprocess.run(
        [zig, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=source,
        env={"PATH": bare_path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    asked = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import fanfold.native as native; from tests.core import *;"
        "assert native.__file__.startswith(sys.argv[1]); "
        "print(hashlib.sha256(repr(read_json(open(sys.argv[3], 'rb').read())).encode()).hexdigest())"
    )
    content = tmp_path / "content"
    content.write_bytes(b'[{"a":[1.50,{"b":"\xc3\xa9\\u00e9"}]},{"a":NaN},{"a":1e400}]\n[{"a":1,}] x\n' * 50)
    printed = run(sys.executable, "-c", f"import hashlib; {asked}", tmp_path / "installed", ROOT, content)
    assert printed.strip() == hashlib.sha256(repr(read_json(content.read_bytes())).encode()).hexdigest()


@pytest.mark.parametrize(
    ("target", "name", "magic", "machine"),
    [
        ("aarch64-linux-gnu", "libfanfold.so", b"\x7fELF\x02\x01", (18, ELF_AARCH64)),
        ("aarch64-macos", "libfanfold.dylib", b"\xcf\xfa\xed\xfe", (4, 0x0C)),
        ("x86_64-macos", "libfanfold.dylib", b"\xcf\xfa\xed\xfe", (4, 0x07)),
    ],
)
def test_the_core_compiles_for_other_platforms(  # noqa: PLR0913, PLR0917 - one row of its table
    zig: Path, tmp_path: Path, target: str, name: str, magic: bytes, machine: tuple[int, int]
) -> None:
    """For ARM and for macOS the library is a file of that platform's kind."""
    command = [str(zig), "-m", "ziglang", "cc", "-target", target]
    compiler.build(command, tmp_path / name, *WARNINGS)
    made = (tmp_path / name).read_bytes()
    assert made.startswith(magic)
    assert made[machine[0]] == machine[1]
