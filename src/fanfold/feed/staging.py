"""What a run leaves in staging when it ends."""

import errno
import os
import shutil
from pathlib import Path

from fanfold import durable
from fanfold.errors import DataError
from fanfold.feed import store
from fanfold.layout import Run


def left_in(run: Run) -> Path | None:
    """Return a file that lies in a subdirectory of the run; None where all are empty."""
    for folder, _, names in os.walk(run.staging_dir):
        if names and not Path(folder).is_relative_to(run.work_dir):
            return Path(folder, names[0])
    return None


def remove_run(run: Run) -> None:
    """Remove `staging/<ts>` of a run that is complete, or that has no file; a second call completes a first one.

    Raises:
        DataError: a file is left in a subdirectory; nothing is removed.
    """
    if not run.staging_dir.is_dir():
        return
    if left := left_in(run):
        msg = f"{str(left)!r} is left in a finished run, expected nothing: move it away and run again"
        raise DataError(msg)
    # Without files.json there is no run: a removal that is cut short leaves none behind that cannot be read.
    run.files_path.unlink(missing_ok=True)
    while run.staging_dir.is_dir():
        try:
            shutil.rmtree(run.staging_dir)
        except OSError as error:
            # Another process removes it as well, or came for its lease a moment ago.
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
                raise
    durable.sync_dirs({run.feed.staging_dir})
    store.of(run.feed).end(run)
