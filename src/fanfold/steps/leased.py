"""Who works on what: a step owns its group, or its run, and notes down why it cannot go on."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fanfold import documents
from fanfold.durable import AnyPath
from fanfold.errors import EmptySubdir
from fanfold.feed import access, failures, groups, lease, runs
from fanfold.layout import Group, Run, parse_subdir
from fanfold.working_files import Inputs


@contextlib.contextmanager
def on_group(subdir: str, data_dir: AnyPath, step: str) -> Iterator[Group]:
    """Own a group of a run, unless there is nothing to own: it is not prepared yet, or complete.

    Args:
        subdir: the subdirectory of the group, `staging/<ts>/<n>`.
        data_dir: root of the feed.
        step: the name of the step.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: the groups are not prepared yet, or `subdir` has another form.
        BusyError: another process works on the group.
        PathError: a link leads out of the feed, or this process may not write into a folder.
    """
    ts, n = parse_subdir(subdir)
    run = runs.open_run(data_dir, ts)
    with contextlib.ExitStack() as owned:
        group = run.group(n) if run else None
        if group and group.inputs_path.exists():
            owned.enter_context(lease.hold(group.lease_path, does=step))
            owned.enter_context(failures.recorded(group, step))
        if group is None or not groups.has_files(group):
            msg = f"{subdir} has no files in this run"
            raise EmptySubdir(msg)
        if inputs := documents.read_if_there(group.inputs_path, Inputs):
            access.check_places(group.run, ((file.name, n) for file in inputs.files))
        yield group


@contextlib.contextmanager
def on_run(run: Run, step: str, *more: Path) -> Iterator[None]:
    """Own a run, all its groups, and `more` leases.

    Raises:
        BusyError: another process works on a part of the run.
    """
    with runs.owned(run, step, *more), failures.recorded(run, step):
        yield
