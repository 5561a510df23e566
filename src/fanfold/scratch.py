"""Temporary directories: each is removed at the end of its block, and by Ctrl-C at whatever moment it comes."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fanfold import interrupt


@contextlib.contextmanager
def scratch_dir() -> Iterator[Path]:
    """Make an empty directory in that for temporary files (TMPDIR), and remove it with all that is in it."""
    folder = Path(tempfile.gettempdir(), f"fanfold-{uuid.uuid4().hex}").resolve()
    remove = partial(_remove, folder)
    # Before it is there: SIGINT may come at any moment.
    interrupt.put_away.append(remove)
    try:
        content = folder / "content"
        folder.mkdir(mode=0o700)
        content.mkdir()
        yield content
    finally:
        remove()
        interrupt.put_away.remove(remove)


def _remove(folder: Path) -> None:
    content = folder / "content"
    # It may have been done before, or be done in part.
    with contextlib.suppress(OSError):
        # Threads that nobody waits for may still work in it. From now on they find nothing.
        content.rename(folder / "gone")
        # They cannot make a folder again where a file lies.
        content.touch()
    shutil.rmtree(folder, ignore_errors=True)
