"""A group: one subdirectory of a run, whose three tasks are owned one at a time."""

import contextlib
from collections.abc import Iterator

from fanfold import manifest
from fanfold.durable import AnyPath
from fanfold.errors import EmptySubdir
from fanfold.feed import access, failures, groups, lease, runs
from fanfold.layout import Run, parse_subdir
from fanfold.working_files import Inputs


@contextlib.contextmanager
def group(subdir: str, data_dir: AnyPath, step: str) -> Iterator[tuple[Run, int]]:
    """Open the run and own the group, unless there is nothing to own: not prepared yet, or complete."""
    ts, n = parse_subdir(subdir)
    run = runs.open_run(data_dir, ts)
    with contextlib.ExitStack() as owned:
        if run and run.group(n).inputs_path.exists():
            owned.enter_context(lease.hold(run.group(n).lease_path, does=step))
            owned.enter_context(failures.recorded(run.group(n), step))
        if run is None or not groups.has_files(run.group(n)):
            msg = f"{subdir} has no files in this run"
            raise EmptySubdir(msg)
        if inputs := manifest.read_if_there(run.group(n).inputs_path, Inputs):
            access.check_places(run, ((file.name, n) for file in inputs.files))
        yield run, n
