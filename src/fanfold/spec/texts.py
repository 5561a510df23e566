"""How files of text are written: the dialects of CSV that come in and go out, and encodings."""

from collections.abc import Iterator
from typing import Annotated, Literal

from fanfold.spec.section import Section
from fanfold.spec.values import Form

# Each has one text for each byte (or each two), and one way back.
Encoding = Literal[
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "iso-8859-2", "iso-8859-15", "cp1250", "cp1251", "cp1252",
    "cp437", "cp850",
]  # fmt: skip
_NULL_WORDS = 'a text without quotes and line breaks that is not like a number (in YAML quotes, as is "NULL")'
_ONE = r"[\x01-\x09\x0b\x0c\x0e-\x7f]"
_WORDS = "one character of ASCII, and not a line break"
_Character = Annotated[str, Form(pattern=f"^{_ONE}$", words=_WORDS)]


class CsvInput(Section):
    """How CSV is written: by RFC 4180, with these characters in place of the comma and the quote."""

    delimiter: _Character = ","
    """Stands between fields; "\\t" is a tab."""
    quote: Annotated[str, Form(pattern=f"^{_ONE}?$", words=f"{_WORDS}, or nothing")] = '"'
    """Stands around fields, and is doubled in them. "": none does, a quote is a character like any other."""
    nulls: list[str] = []
    """Fields without quotes that mean null, as in [N/A, "-"]. An empty field without quotes always does."""
    header: bool = True
    """The first line names the columns. false: it is a record, and the columns are column_1, column_2 and so on: as
    many as the first line that can be read has fields."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with texts that are not apart from each other."""
        for text in (self.quote, *self.nulls):
            if self.delimiter in text or (text is not self.quote and set(text) & {"\n", "\r", self.quote}):
                apart = "a delimiter that is neither in quote nor in nulls, and no quotes or line breaks in nulls"
                yield f"{apart} (found {text!r})"


class CsvOutput(Section):
    """How tables in CSV are written, for those who open them in a spreadsheet."""

    bom: bool = False
    """Begin each table with a byte order mark (EF BB BF), by which Excel knows UTF-8."""
    delimiter: _Character = ","
    """Stands between fields."""
    null: Annotated[
        str, Form(pattern=r'^([^"\r\n0-9+-][^"\r\n]*|[+-]|[+-][^"\r\n0-9][^"\r\n]*)?$', words=_NULL_WORDS)
    ] = ""
    """The text for null, as in "NULL" (quoted: to YAML, NULL is none). A value with the same text stands in quotes; an
    empty text always does."""
    escape_formulas: bool = False
    """Put ' before each text that begins with =, +, -, @, a tab or CR, names of columns too: no spreadsheet runs it.
    Numbers stay as they are. This is not lossless: 'a and a text that was escaped look alike."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with a delimiter that is no other text than those around it."""
        if self.delimiter == '"' or self.delimiter in self.null:
            yield f"delimiter {self.delimiter!r} neither a quote nor in null {self.null!r}"
