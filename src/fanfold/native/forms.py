"""How files are written that the core reads, and tables that it writes."""

from typing import NamedTuple


class Dialect(NamedTuple):
    """How CSV is written: bytes of ASCII, the texts that mean null, whether there is a header; a quote may be none."""

    delimiter: str = ","
    quote: str = '"'
    nulls: tuple[str, ...] = ()
    header: bool = True


class Form(NamedTuple):
    """How files are written, and what a record may have.

    `csv` says that they are CSV, of a `dialect`; else they are JSON. `records_at` is an RFC 6901 pointer to the array
    of records in each document. A record of more bytes, or one that brings more fields, is bad.
    """

    csv: bool = False
    records_at: str = ""
    max_record_bytes: int = 1 << 24
    max_fields: int = 10_000
    dialect: Dialect = Dialect()


class Csv(NamedTuple):
    """How CSV is written: what stands between fields, the text for null, whether formulas are escaped."""

    delimiter: str = ","
    null: str = ""
    escape_formulas: bool = False
