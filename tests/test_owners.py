"""Owners and permissions: a producer is another user than Fanfold, which has no privileges. Real users, set by root."""

import functools
import gzip
import itertools
import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FeedDir, MakeFeed, needs_root, new_feed

pytestmark = [needs_root, pytest.mark.slow]

FANFOLD, PRODUCER, SHARED = 62001, 62002, 62003
PROTECTED = Path("/proc/sys/fs/protected_hardlinks")
ROOT = Path(__file__).parents[1]
MODES = ("644", "664", "600", "444")
OWNERS = {"same user": FANFOLD, "shared group": PRODUCER, "other user": PRODUCER}
REFUSES_LINKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int linkat(int a, const char *b, int c, const char *d, int e) { errno = EPERM; return -1; }
int link(const char *a, const char *b) { errno = EPERM; return -1; }
int renameat2(int a, const char *b, int c, const char *d, unsigned flags) {
    if (flags) { errno = EINVAL; return -1; }
    return syscall(SYS_renameat2, a, b, c, d, flags);
}
"""
CUT_SHORT = """
import subprocess, sys
from fanfold.feed import runs
from fanfold.steps.stage_files import stage_files
from fanfold.steps.start import start
spec, ts = sys.argv[1:]
feed = start(spec)
stage_files(feed, ts)
for step, arguments in [("release", [ts])] * bool(runs.unfinished(feed)) + [("run", ["--json"])]:
    subprocess.run([sys.executable, "-m", "fanfold", step, spec, *arguments], check=True)
"""


@pytest.fixture(autouse=True)
def _hard_links_are_protected() -> Iterator[None]:
    """Protect hard links as distributions do."""
    before = PROTECTED.read_text(encoding="ascii")
    if before.strip() == "0":
        PROTECTED.write_text("1", encoding="ascii")
    yield
    if before.strip() == "0":
        PROTECTED.write_text(before, encoding="ascii")


@pytest.fixture
def make_feed() -> Iterator[MakeFeed]:
    """Make feeds where any user may go; pytest keeps its own directories closed."""
    with tempfile.TemporaryDirectory(prefix="fanfold-owners-") as folder:
        Path(folder).chmod(0o755)
        yield functools.partial(new_feed, Path(folder))


def opened() -> str:
    """Return shell commands that let any user reach the interpreter and the code, in a mount namespace of their own."""
    closed: dict[Path, list[Path]] = {}
    for needed in {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ROOT}:
        shut = [above for above in needed.parents if not above.stat().st_mode & stat.S_IXOTH]
        if shut:
            closed.setdefault(shut[-1], []).append(needed)
    lines = ["set -e", "place=$(mktemp -d)", "mount -t tmpfs -o mode=755 tmpfs $place"]
    for above, all_needed in closed.items():
        for n, needed in enumerate(all_needed):
            lines += [f"mkdir $place/{n}", f"mount --bind {shlex.quote(str(needed))} $place/{n}"]
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(above))}")
        for n, needed in enumerate(all_needed):
            lines += [f"mkdir -p {shlex.quote(str(needed))}", f"mount --bind $place/{n} {shlex.quote(str(needed))}"]
    return "\n".join(lines) if closed else ""


def as_user(
    feed: FeedDir, *arguments: str, groups: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter as an unprivileged user."""
    home = feed.spec_path.parent / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, FANFOLD, FANFOLD)
    joined = f"--groups={groups}" if groups else "--clear-groups"
    command = shlex.join(
        ["setpriv", f"--reuid={FANFOLD}", f"--regid={FANFOLD}", joined, "--", sys.executable, *arguments]
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{opened()}\nexec {command}"],
        cwd=feed.spec_path.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def owned(path: Path, user: int, group: int, mode: int) -> Path:
    os.chown(path, user, group)
    path.chmod(mode)
    return path


def fanfold(feed: FeedDir, command: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command line as an unprivileged user."""
    return as_user(feed, "-m", "fanfold", command, str(feed.spec_path), *arguments, **more)


def given(make_feed: MakeFeed, **keys: object) -> FeedDir:
    """Make a feed of which everything but landing belongs to Fanfold."""
    feed = make_feed(subdirs=2, merge=[], denormalize={}, **keys)
    for path in (feed.spec_path.parent, feed.spec_path, feed.data_dir, feed.data_dir / "customers.csv"):
        os.chown(path, FANFOLD, FANFOLD)
    return feed


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("landing_mode", [0o777, 0o1777, 0o775, 0o755], ids=oct)
@pytest.mark.parametrize("owner", OWNERS)
def test_a_file_of_any_owner_ends_once_or_stays_in_landing(
    make_feed: MakeFeed, owner: str, landing_mode: int, compression: str
) -> None:
    """Whoever owns a file and landing: it is archived and published once, also after a release, or it stays."""
    feed = given(make_feed, archive={"compression": compression}, input={"done_suffix": ".done"})
    user = OWNERS[owner]
    group = SHARED if owner == "shared group" else user
    for folder, mode in itertools.product(("", "sub/"), MODES):
        for suffix, content in (("", json.dumps({"id": f"{folder}{mode}"})), (".done", "")):
            owned(feed.land(f"{folder}{mode}.json{suffix}", content), user, group, int(mode, 8))
    for directory in (feed.landing_dir / "sub", feed.landing_dir):
        owned(directory, user, group, landing_mode)
    before = {path.name for path in feed.landing_dir.rglob("*.json")}
    assert before
    done = as_user(
        feed, "-c", CUT_SHORT, str(feed.spec_path), "20260102T030405Z", groups=str(SHARED) * (owner == "shared group")
    )
    assert done.returncode == 0, done.stderr
    is_same, in_group = owner == "same user", owner == "shared group"
    movable = is_same or landing_mode == 0o777 or (landing_mode == 0o775 and in_group)
    taken = {mode for mode in MODES if movable and (is_same or mode != "600")}
    counted = json.loads(done.stdout.splitlines()[-1] if done.stdout.startswith("released") else done.stdout)
    assert counted["files_archived"] == counted["rows_out"] == 2 * len(taken)
    suffix = ".json" if compression == "none" else ".json.gz"
    archived = {
        json.loads(gzip.decompress(path.read_bytes()) if suffix == ".json.gz" else path.read_bytes())["id"]
        for path in feed.data_dir.glob(f"processed/**/*{suffix}")
    }
    assert archived == {f"{folder}{mode}" for folder in ("", "sub/") for mode in taken}
    rows = [row for path in feed.data_dir.glob("denormalized/*/*.csv") for row in path.read_text().splitlines()[1:]]
    assert sorted(rows) == sorted(archived)
    left = {str(path.relative_to(feed.landing_dir)) for path in feed.landing_dir.rglob("*.json")}
    assert left == {f"{folder}{mode}.json" for folder in ("", "sub/") for mode in MODES if mode not in taken}
    assert len(list(feed.landing_dir.rglob("*.done"))) == len(left)
    assert ("in landing" in done.stderr) is bool(left)
    assert list((feed.data_dir / "staging").glob("*")) == []


def test_many_files_that_cannot_be_taken_are_one_warning(make_feed: MakeFeed) -> None:
    """However many files stay for one reason, one line says so, with the folder and the mend; others go on."""
    feed = given(make_feed)
    for n in range(30):
        owned(feed.land(f"closed/{n:02}.json", "[]"), PRODUCER, PRODUCER, 0o644)
        owned(feed.land(f"sticky/{n:02}.json", "[]"), PRODUCER, PRODUCER, 0o644)
    owned(feed.land("listed/a.json", "[]"), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir / "listed", PRODUCER, PRODUCER, 0o744)
    owned(feed.landing_dir / "closed", PRODUCER, PRODUCER, 0o755)
    owned(feed.landing_dir / "sticky", PRODUCER, PRODUCER, 0o1777)
    owned(feed.land("good.json", [{"id": 1}]), PRODUCER, PRODUCER, 0o444)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    planned = json.loads(fanfold(feed, "plan", "--json").stdout)
    assert (planned["held"], planned["left"].count("30 files cannot be taken")) == (61, 2)
    done = fanfold(feed, "run", "--json")
    assert (done.returncode, json.loads(done.stdout)["files_in"]) == (0, 1)
    closed, listed, sticky = sorted(done.stderr.strip().splitlines())
    assert f"'listed/a.json' stays in landing: user {FANFOLD} may not read it" in listed
    folders = [f"{feed.landing_dir!s}/{name}" for name in ("closed", "sticky")]
    assert f"'closed/02.json' and 27 more stay in landing: user {FANFOLD} may not write into {folders[0]!r}" in closed
    assert f"'sticky/02.json' and 27 more stay in landing: {folders[1]!r} is sticky" in sticky


def test_what_the_system_refuses_at_the_claim_itself_is_not_in_the_run(make_feed: MakeFeed) -> None:
    """A file that only the rename shows to be locked stays in landing with its marker, with a warning; others go on."""
    feed = given(make_feed, input={"done_suffix": ".done"})
    for name in ("free.json", "locked.json", "marker.json"):
        owned(feed.land(name, [{"id": 1}]), PRODUCER, PRODUCER, 0o644)
        owned(feed.land(f"{name}.done", ""), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    locked = [str(feed.landing_dir / name) for name in ("locked.json", "marker.json.done")]
    subprocess.run(["chattr", "+i", *locked], check=True)
    try:
        done = fanfold(feed, "run", "--json")
    finally:
        subprocess.run(["chattr", "-i", *locked], check=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files_in"] == 1
    assert f"'locked.json', 'marker.json' stay in landing: user {FANFOLD} may not rename it" in done.stderr
    left = sorted(path.name for path in feed.landing_dir.iterdir())
    assert left == ["locked.json", "locked.json.done", "marker.json", "marker.json.done"]
    assert fanfold(feed, "run").returncode == 0
    assert list(feed.landing_dir.iterdir()) == []


def test_what_its_producer_closes_after_the_claim_stops_its_own_run(make_feed: MakeFeed) -> None:
    """A claimed file that may not be read any more is named, later files are taken, and a release gives it back."""
    feed = given(make_feed)
    columns = {"denormalize": {"columns": ["nosuch"]}}
    feed.write_spec(subdirs=2, merge=[], **columns)
    owned(feed.land("a.json", [{"id": 1}]), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    assert fanfold(feed, "run").returncode == 1
    (staged,) = feed.data_dir.glob("staging/*/1/a.json")
    staged.chmod(0)
    feed.write_spec(subdirs=2, merge=[], denormalize={})
    owned(feed.land("b.json", [{"id": 2}]), PRODUCER, PRODUCER, 0o644)
    done = fanfold(feed, "run", "--json")
    assert (done.returncode, json.loads(done.stdout)["files_in"]) == (1, 1), done.stderr
    assert f"'a.json' in 'staging/{staged.parents[1].name}/1': user {FANFOLD} may not read it any more" in done.stderr
    assert fanfold(feed, "release", staged.parents[1].name).returncode == 0
    assert [path.name for path in feed.landing_dir.iterdir()] == ["a.json"]


@pytest.mark.parametrize("folder", ["staging", "processed", "quarantine", "denormalized", ".fanfold", "processed/sub"])
def test_a_folder_that_is_not_writable_is_named_before_anything_is_claimed(make_feed: MakeFeed, folder: str) -> None:
    """A folder that a run needs and may not write into ends it with 2, names folder and user, and claims nothing."""
    feed = given(make_feed)
    owned(feed.land("sub/a.json", [{"id": 1}]), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir / "sub", PRODUCER, PRODUCER, 0o777)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    (feed.data_dir / folder).mkdir(parents=True)
    if folder == "processed/sub":
        os.chown(feed.data_dir / "processed", FANFOLD, FANFOLD)
    done = fanfold(feed, "run")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert f"{str(feed.data_dir / folder)!r}: user {FANFOLD} may not write into this folder" in done.stderr
    assert (feed.landing_dir / "sub/a.json").exists()
    os.chown(feed.data_dir / folder, FANFOLD, FANFOLD)
    assert fanfold(feed, "run").returncode == 0
    assert not (feed.landing_dir / "sub/a.json").exists()


def test_bad_files_of_another_user_are_replayed_and_restored(make_feed: MakeFeed) -> None:
    """A bad file of another user goes to quarantine, comes back by replay, and a good one by restore."""
    feed = given(make_feed, quarantine={"max_bad_records_percent": 100}, input={"duplicates": "archive"})
    owned(feed.land("bad.json.gz", b"{"), PRODUCER, PRODUCER, 0o644)
    owned(feed.land("good.json", [{"id": 1}]), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    done = fanfold(feed, "run", "--json")
    counted = json.loads(done.stdout)
    assert (done.returncode, counted["files_archived"], counted["files_quarantined"]) == (0, 1, 1)
    (item,) = (n for n in ("1", "2") if list(feed.data_dir.glob(f"quarantine/*/{n}/bad.json.gz")))
    name = f"{counted['ts']}/{item}/bad.json.gz"
    assert as_user(feed, "-m", "fanfold", "quarantine", "replay", str(feed.spec_path), name).returncode == 0
    (landed,) = feed.landing_dir.rglob("bad.json.gz")
    assert landed.read_bytes() == b"{"
    assert fanfold(feed, "restore", counted["ts"], "--to", str(feed.spec_path.parent / "home/out")).returncode == 0
    assert (feed.spec_path.parent / "home/out/good.json").read_text() == '[{"id": 1}]'


@pytest.mark.parametrize("umask", ["077", "002"])
def test_outputs_are_readable_as_the_umask_says(make_feed: MakeFeed, umask: str) -> None:
    """Tables, manifests and folders have the rights that the umask leaves; an original keeps its own."""
    feed = given(make_feed)
    owned(feed.land("a.json", [{"id": 1}]), PRODUCER, PRODUCER, 0o644)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    code = "import os, sys; from fanfold.cli.exits import main; os.umask(int(sys.argv.pop(1), 8)); main()"
    done = as_user(feed, "-c", code, umask, "run", str(feed.spec_path))
    assert done.returncode == 0, done.stderr
    for path in feed.data_dir.glob("denormalized/**/*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~int(umask, 8)
    (original,) = feed.data_dir.glob("processed/*.json")
    assert stat.S_IMODE(original.stat().st_mode) == 0o644


def test_where_nothing_can_be_linked_originals_are_copied_and_compared(make_feed: MakeFeed) -> None:
    """On a file system without hard links and without exclusive renames, a run and a release still lose nothing."""
    feed = given(make_feed)
    for n in range(3):
        owned(feed.land(f"{n}.json", [{"id": n}]), PRODUCER, PRODUCER, 0o444)
    owned(feed.landing_dir, PRODUCER, PRODUCER, 0o777)
    shim = feed.spec_path.with_name("shim.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-o", shim, "-"], input=REFUSES_LINKS.encode(), check=True)
    done = as_user(
        feed, "-c", CUT_SHORT, str(feed.spec_path), "20260102T030405Z", environment={"LD_PRELOAD": str(shim)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("released: 3 back in landing\n")
    archived = list(feed.data_dir.glob("processed/*"))
    assert sorted(json.loads(path.read_bytes())[0]["id"] for path in archived) == [0, 1, 2]
    assert {path.stat().st_uid for path in archived} == {FANFOLD}
    assert [path for path in feed.data_dir.rglob(".*.tmp") if path.is_file()] == []
    assert list(feed.landing_dir.iterdir()) == list((feed.data_dir / "staging").iterdir()) == []
