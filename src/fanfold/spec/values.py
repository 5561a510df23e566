"""What single values of a spec may be: paths, paths of fields, JSON pointers, types, columns.

Each form is a pattern that the published JSON Schema has as well. Where a value does not match it, its words say what
was expected.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, WrapValidator

from fanfold.spec import paths

SIMPLE_TYPES = (
    "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "JSON", "EPOCH_S", "EPOCH_MS",
)  # fmt: skip
MAX_PRECISION = 38
MAX_PATH = 4096
# The name of a file or folder: not `.` or `..`.
_NAME = r"(\.{0,2}[^/.\x00][^/\x00]*|\.{3}[^/\x00]*)"
_DIGITS = rf"\s*([1-9]|[12][0-9]|3[0-{MAX_PRECISION % 10}])\s*,\s*([12]?[0-9]|3[0-{MAX_PRECISION % 10}])\s*"


def _in_any_case(pattern: str) -> str:
    """Let each large letter be a small one, too: patterns of JSON Schema know no flag for that."""
    return re.sub("[A-Z]", lambda letter: f"[{letter[0]}{letter[0].lower()}]", pattern)


_TYPE = _in_any_case("|".join((*SIMPLE_TYPES, rf"DECIMAL\s*\({_DIGITS}\)")))
# What the name of a file, or a pattern of names, says about its format.
PARQUET = _in_any_case(r"\.PARQUET$")
CSV_OR_PARQUET = _in_any_case(r"\.(CSV(\.(GZ|ZST))?|PARQUET)$")
IS_NOT_CSV = _in_any_case(r"^(?!.*\.CSV(\.(GZ|ZST))?$)")
TAKES_NO_CSV = _in_any_case(r"\.(?!(CSV|ZIP|TAR|TGZ|GZ|ZST)(\.(GZ|ZST))?$)\w+(\.(GZ|ZST))?$")


def expected(words: str) -> WrapValidator:
    """Return a validator that says in words what was expected, whatever is wrong with a value."""

    def checked(value: Any, check: Callable[[Any], Any]) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(words) from None

    return WrapValidator(checked)


@dataclass(frozen=True)
class Form(StringConstraints):
    """What text has to look like, and in words what was expected."""

    words: str = ""

    def __iter__(self) -> Iterator[Any]:
        """Yield what pydantic takes for it."""
        yield from super().__iter__()
        yield expected(self.words)


def _field_type(value: str) -> str:
    """Return a type in its one form: upper case, no blanks."""
    kind = "".join(value.split()).upper()
    precision, _, scale = kind.removeprefix("DECIMAL(").removesuffix(")").partition(",")
    if scale and int(scale) > int(precision):
        msg = "a DECIMAL(p,s) whose s is at most p"
        raise ValueError(msg)
    return kind


_TEXT = r"([^/{}\x00]|\{date\})*"
_NAME_AND_TS = rf"(\{{name\}}{_TEXT}\{{ts\}}|\{{ts\}}{_TEXT}\{{name\}}){_TEXT}"
_TYPE_WORDS = f"one of {', '.join(SIMPLE_TYPES)}, DECIMAL(p,s) with p up to {MAX_PRECISION}"
_KEY_WORDS = "keys joined by dots, as in customer.id; a key with a dot is in double quotes, as in '\"order.items\".sku'"
_ARCHIVE_WORDS = (
    "a name with {name} and {ts} once each, so that no name is used twice; {date} is optional; no '/', no dot first"
)

FeedName = Annotated[
    str, Form(pattern=r"^[A-Za-z0-9_.-]{1,100}$", words="1 to 100 letters, digits, dots, dashes or underscores")
]
DataDir = Annotated[
    str,
    Form(
        # A bucket has a name, and no part of the path in it is empty. Any other path has no :// in it.
        pattern=r"^((s3|gs|az)://[^/\s\x00]+(/[^/\s\x00]+)*|(:*/?[^:/\x00]|/)+:*/?)$",
        max_length=MAX_PATH,
        words=f"a path, or s3://bucket/prefix, gs://…, az://…, of at most {MAX_PATH:,} characters",
    ),
]
_BEGIN = rf"([^./{{}}\x00]{_TEXT}|\{{date\}}{_TEXT})?"
ArchiveName = Annotated[str, Form(pattern=rf"^{_BEGIN}{_NAME_AND_TS}$", max_length=100, words=_ARCHIVE_WORDS)]
InsidePath = Annotated[
    str,
    Form(pattern=rf"^(\./+)*{_NAME}(/+({_NAME}|\.)?)*$", max_length=MAX_PATH, words="a relative path inside data_dir"),
    AfterValidator(lambda path: str(PurePosixPath(path))),
]
FieldPath = Annotated[
    str,
    Form(pattern=paths.PATTERN, words=_KEY_WORDS),
    AfterValidator(lambda path: paths.written(paths.way_of(path))),
]
Suffix = Annotated[str, Form(pattern=r"^[^/]+$", words="the end of a file name, without '/'")]
Pointer = Annotated[
    str, Form(pattern=r"^(/([^/~]|~[01])*)*$", words="a JSON pointer (RFC 6901), as in '/data/orders', or nothing")
]
FieldType = Annotated[str, Form(pattern=rf"^\s*({_TYPE})\s*$", words=_TYPE_WORDS), AfterValidator(_field_type)]
_Name = Annotated[str, Field(min_length=1)]
OutputColumn = Annotated[
    str | Annotated[dict[_Name, _Name], Field(min_length=1, max_length=1)],
    expected("a column name, or one {name: SQL expression}"),
]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=1000)]
