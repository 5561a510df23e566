"""The page of what lies in quarantine: the keys of a bad record and of a bad file, and the codes."""

import inspect

import msgspec

from docs.generate.words import NOTE, joined, table
from fanfold.faults import CODES, OF_VALUES
from fanfold.feed.corrections import Correction
from fanfold.manifest import BadFile, BadRecord


def page() -> str:
    """Return the page."""
    codes = ([f"`{code}`", "value" if code in OF_VALUES else "reading", text] for code, text in CODES.items())
    return joined(
        [
            "# Quarantine",
            NOTE,
            (
                "A bad record goes to `quarantine/<ts>/<n>/records.jsonl`, one object per line. A file in which no "
                "record can be read goes to `quarantine/<ts>/<n>/<name>`, beside `<name>.reason.json`. If the name of "
                "such a file begins with `records.jsonl` or contains `.reason.json`, `.bad` is appended to it."
            ),
            "## A bad record",
            *_shape(BadRecord),
            "## A bad file",
            *_shape(BadFile),
            "## Export and replay",
            (
                "`fanfold quarantine export` prints one object per open item, and `replay --with` takes the same "
                "objects, one per line or in an array. [Replay of many](../guides/upkeep.md#many-bad-records) shows it."
            ),
            *_shape(Correction),
            "## Codes",
            (
                "The list is stable: a code keeps its meaning, and new codes may be added. A code of *reading* says "
                "that a record cannot be read, a code of *value* that it can be read, but does not fit. If every "
                "record of a file has a code of reading, the file itself goes to quarantine."
            ),
            table(["code", "of", "meaning"], list(codes)),
        ]
    )


def _shape(kind: type[msgspec.Struct]) -> list[str]:
    names = ", ".join(f"`{key}`" for key in kind.__struct_fields__)
    return [inspect.cleandoc(kind.__doc__ or ""), f"Keys: {names}."]
