"""The references of a feed in its spec: which records they are joined to, and by which keys."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from fanfold.spec.paths import way_of
from fanfold.spec.section import Section
from fanfold.spec.texts import CsvInput, Encoding
from fanfold.spec.values import IS_NOT_CSV, PARQUET, FieldPath, Form, InsidePath


class MergeKey(Section):
    """The fields by which a record and the reference are matched."""

    record: FieldPath | Annotated[list[FieldPath], Field(min_length=1)]
    """Field of the record. Dots lead into nested objects and exploded arrays."""
    reference: str | Annotated[list[str], Field(min_length=1)]
    """Column of the reference."""


def _listed(key: str | list[str]) -> list[str]:
    return [key] if isinstance(key, str) else key


class Merge(Section):
    """One reference, joined to every record."""

    OF_NO_USE = {"encoding": ("reference", PARQUET), "csv": ("reference", IS_NOT_CSV)}

    reference: InsidePath
    """File inside data_dir: CSV (.csv), Parquet (.parquet), or else JSON."""
    key: FieldPath | Annotated[list[FieldPath], Field(min_length=1)] | MergeKey
    """Key of both sides, or {record: a.b, reference: c} if the names differ. A key of several parts is a list:
    [country, id], or {record: [a, b], reference: [x, y]}. All parts are in the record, or in the elements of one
    exploded array. A record that lacks a part has no match."""
    into: Annotated[str, Form(pattern=r"^[^.]+$", words="a name without dots")]
    """Name of a new object in each record, which holds the reference's columns."""
    columns: list[str] | None = None
    """Columns to take. null: all except the key."""
    encoding: Encoding = "utf-8"
    """Encoding of the reference, if it is CSV or JSON."""
    csv: CsvInput = CsvInput()
    on_missing: Literal["keep", "quarantine", "fail"] = "keep"
    """What to do with a record without a match: keep it (counted), quarantine it, or fail its group."""
    on_duplicate: Literal["fail", "first"] = "fail"
    """What to do if the reference has a key twice: fail, or use its first line."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with a key that has more parts on one side."""
        if len(self.record_keys) != len(self.reference_keys):
            yield "as many parts in key.record as in key.reference"

    @property
    def record_keys(self) -> list[str]:
        """Paths of the parts of the key in the record."""
        return _listed(self.key.record if isinstance(self.key, MergeKey) else self.key)

    @property
    def reference_keys(self) -> list[str]:
        """Columns of the parts of the key in the reference."""
        if isinstance(self.key, MergeKey):
            return _listed(self.key.reference)
        return [".".join(way_of(path)) for path in _listed(self.key)]
