"""How a changed spec affects a run that began with another one."""

from typing import Any

from pydantic import ValidationError

from fanfold.errors import SpecError
from fanfold.spec.model import Spec

# They say where the files of a run lie, and it was made sure that each has a place there.
KEPT_KEYS = (
    "subdirs",
    "input.path",
    "input.done_suffix",
    "archive.path",
    "archive.name",
    "archive.compression",
    "quarantine.path",
)
# They say nothing about a run whose files are staged.
KEYS_OF_LATER_RUNS = {
    "data_dir", "store.endpoint_url", "store.region", "store.conn_id",
    "concurrent_tasks", "notify.slack_conn_id", "notify.above_files", "notify.on",
    "input.patterns", "input.settle_seconds", "input.wait_seconds", "input.poll_seconds",
    "input.max_files", "input.max_bytes",
}  # fmt: skip
LONGEST_CHANGE = 120


def _by_key(spec: Spec) -> dict[str, Any]:
    """Return what a spec says of a run whose files are staged, by key: `merge`, `denormalize.explode`."""
    found: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return {key: value for key, value in found.items() if key not in KEYS_OF_LATER_RUNS}


def changes(before: Spec, now: Spec) -> dict[str, str]:
    """Say in which keys two specs differ, as far as they concern a run whose files are staged.

    Returns:
        For each key (`merge`, `denormalize.explode`) how it was and is; the key alone where that is long.
    """
    old, new = _by_key(before), _by_key(now)
    keys = {**new, **old}
    told = {key: f"{key} {old.get(key)!r} > {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)}
    return {key: change if len(change) <= LONGEST_CHANGE else key for key, change in told.items()}


def with_kept(before: Spec, now: Spec) -> Spec:
    """Return the spec that a run continues with: as it is now, except for the keys that a run keeps.

    Raises:
        SpecError: what is kept does not fit what is new.
    """
    merged, kept = now.model_dump(mode="json"), before.model_dump(mode="json")
    for key in KEPT_KEYS:
        *section, name = key.split(".")
        target, source = (document[section[0]] if section else document for document in (merged, kept))
        target[name] = source[name]
    try:
        return Spec.model_validate(merged)
    except ValidationError as error:
        errors = "; ".join(details["msg"] for details in error.errors())
        msg = (
            f"the changed spec does not fit {', '.join(KEPT_KEYS)}, which a run keeps from its beginning: {errors}. "
            "Change it, or give the run up (fanfold release)"
        )
        raise SpecError(msg) from None
