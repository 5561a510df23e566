"""What single values of a spec may be: paths, paths of fields, JSON pointers, types, columns.

Each form is a pattern that the published JSON Schema has as well. Where a value does not match it, its words say what
was expected.
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, WrapValidator

from fanfold.spec import paths

SIMPLE_TYPES = (
    "BIGINT",
    "DOUBLE",
    "BOOLEAN",
    "VARCHAR",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "JSON",
    "EPOCH_S",
    "EPOCH_MS",
)
MAX_PRECISION = 38
MAX_PATH = 4096
# The name of a file or folder: not `.` or `..`.
_NAME = r"(\.{0,2}[^/.\x00][^/\x00]*|\.{3}[^/\x00]*)"
_DIGITS = rf"\s*([1-9]|[12][0-9]|3[0-{MAX_PRECISION % 10}])\s*,\s*([12]?[0-9]|3[0-{MAX_PRECISION % 10}])\s*"
# Patterns of JSON Schema know no flag for letter case.
_TYPE = re.sub("[A-Z]", lambda letter: f"[{letter[0]}{letter[0].lower()}]", "|".join((*SIMPLE_TYPES, "DECIMAL#")))
_TYPE = _TYPE.replace("#", rf"\s*\({_DIGITS}\)")


def expected(words: str) -> WrapValidator:
    """Return what says in words what was expected, whatever is wrong with a value."""

    def checked(value: Any, check: Callable[[Any], Any]) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(words) from None

    return WrapValidator(checked)


def _field_type(value: str) -> str:
    """Return a type in its one form: upper case, no blanks."""
    kind = "".join(value.split()).upper()
    precision, _, scale = kind.removeprefix("DECIMAL(").removesuffix(")").partition(",")
    if scale and int(scale) > int(precision):
        msg = "a DECIMAL(p,s) whose s is at most p"
        raise ValueError(msg)
    return kind


FeedName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$"),
    expected("1 to 100 letters, digits, dots, dashes or underscores"),
]
DataDir = Annotated[
    str, Field(max_length=MAX_PATH, pattern=r"^[^\x00]+$"), expected(f"a path of at most {MAX_PATH:,} characters")
]
_TEXT = r"([^/{}\x00]|\{date\})*"
ArchiveName = Annotated[
    str,
    Field(
        max_length=100,
        pattern=rf"^([^./{{}}\x00]{_TEXT}|\{{date\}}{_TEXT})?(\{{name\}}{_TEXT}\{{ts\}}|\{{ts\}}{_TEXT}\{{name\}}){_TEXT}$",
    ),
    expected(
        "a name with {name} and {ts} once each, so that none comes twice, and perhaps {date}; no '/', no dot first"
    ),
]
InsidePath = Annotated[
    str,
    Field(max_length=MAX_PATH, pattern=rf"^(\./+)*{_NAME}(/+({_NAME}|\.)?)*$"),
    AfterValidator(lambda path: str(PurePosixPath(path))),
    expected("a relative path inside data_dir"),
]
FieldPath = Annotated[
    str,
    Field(pattern=paths.PATTERN),
    AfterValidator(lambda path: paths.written(paths.way_of(path))),
    expected(
        "keys joined by dots, as in customer.id; a key with a dot is in double quotes, as in '\"order.items\".sku'"
    ),
]
Pointer = Annotated[
    str,
    Field(pattern=r"^(/([^/~]|~[01])*)*$"),
    expected("a JSON pointer (RFC 6901), as in '/data/orders', or nothing"),
]
FieldType = Annotated[
    str,
    Field(pattern=rf"^\s*({_TYPE})\s*$"),
    expected(f"one of {', '.join(SIMPLE_TYPES)}, DECIMAL(p,s) with p up to {MAX_PRECISION}"),
    AfterValidator(_field_type),
]
_Name = Annotated[str, Field(min_length=1)]
OutputColumn = Annotated[
    _Name | Annotated[dict[_Name, _Name], Field(min_length=1, max_length=1)],
    expected("a column name, or one {name: SQL expression}"),
]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=1000)]
