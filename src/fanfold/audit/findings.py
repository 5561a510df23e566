"""What an audit finds: the report that callers get."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NoReturn

What = Literal["missing", "extra", "changed", "doubled"]


@dataclass(frozen=True)
class Finding:
    """A difference. `record` counts from 1, and is 0 for the file as a whole; `pointer` is a JSON pointer."""

    what: What
    file: str
    record: int
    pointer: str
    message: str

    def __str__(self) -> str:
        """Return the difference as one line."""
        record, pointer = f" record {self.record}" if self.record else "", f" at {self.pointer}" if self.pointer else ""
        return f"{self.what}: {self.file!r}{record}{pointer}: {self.message}"


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        ts: the run.
        files: originals that were read to their end.
        records: their records, good and bad.
        rows: rows that are what their record calls for.
        scalars: values of records that were looked for in tables and quarantine; null does not count.
        not_audited: how many values, records, rows or files were not compared, by the reason.
        findings: the differences; none where everything is accounted for.
    """

    ts: str
    files: int = 0
    records: int = 0
    rows: int = 0
    scalars: int = 0
    not_audited: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: What, place: tuple[str, int], message: str, pointer: str = "") -> None:
        """Add a difference at a file and a record."""
        self.findings.append(Finding(what, *place, pointer, message))

    def check(self, name: str, counted: object, said: object) -> None:
        """Compare what was counted with what the manifest says."""
        if counted != said:
            self.add("changed", (name, 0), f"counted {counted}, the manifest says {said}")


def refuse(found: object, expected: str = "a good record, or one in quarantine at its place") -> NoReturn:
    """Raise an error: an original, or what was made from it, is not what it should be."""
    msg = f"found {str(found)[:40]!r}, expected {expected}"
    raise ValueError(msg)
