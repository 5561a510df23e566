"""How text files are written: the CSV dialects of input and output, and encodings."""

from collections.abc import Iterator
from typing import Annotated, Literal

from fanfold.spec.section import Section
from fanfold.spec.values import Form

# Each has one text for each byte (or each two), and one way back.
Encoding = Literal[
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "iso-8859-2", "iso-8859-15", "cp1250", "cp1251", "cp1252",
    "cp437", "cp850",
]  # fmt: skip
_NULL_WORDS = 'text without quotes or line breaks that does not look like a number (in YAML quotes, as in "NULL")'
_ONE = r"[\x01-\x09\x0b\x0c\x0e-\x7f]"
_WORDS = "one ASCII character, but not a line break"
_Character = Annotated[str, Form(pattern=f"^{_ONE}$", words=_WORDS)]


class CsvInput(Section):
    """The dialect of CSV: RFC 4180, with these characters in place of the comma and the quote."""

    delimiter: _Character = ","
    """Separates fields; "\\t" is a tab."""
    quote: Annotated[str, Form(pattern=f"^{_ONE}?$", words=f"{_WORDS}, or nothing")] = '"'
    """Surrounds fields, and is doubled inside them. With "" no field is quoted, and a quote is a character like any
    other."""
    nulls: list[str] = []
    """Text that means null when it is not quoted, as in [N/A, "-"]. An empty field without quotes is always null."""
    header: bool = True
    """Whether the first line names the columns. If not, it is a record, and the columns are column_1, column_2 and so
    on: one for each field of the first line that can be read."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with characters that clash with each other."""
        for text in (self.quote, *self.nulls):
            if self.delimiter in text or (text is not self.quote and set(text) & {"\n", "\r", self.quote}):
                apart = "a delimiter that is neither in quote nor in nulls, and no quotes or line breaks in nulls"
                yield f"{apart} (found {text!r})"


class CsvOutput(Section):
    """How CSV tables are written, for people who open them in a spreadsheet."""

    bom: bool = False
    """Whether each table begins with a byte order mark (EF BB BF), by which Excel recognizes UTF-8."""
    delimiter: _Character = ","
    """Separates fields."""
    null: Annotated[
        str, Form(pattern=r'^([^"\r\n0-9+-][^"\r\n]*|[+-]|[+-][^"\r\n0-9][^"\r\n]*)?$', words=_NULL_WORDS)
    ] = ""
    """The text for null, as in "NULL" (in quotes, since YAML reads a bare NULL as null). A value with the same text is
    quoted, and so is an empty text."""
    escape_formulas: bool = False
    """Whether ' is put before each text, and each column name, that begins with =, +, -, @, a tab or CR. Then no
    spreadsheet runs it. Numbers stay as they are. This is not lossless: =1 and '=1 look alike afterwards."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with a delimiter that is also a quote, or in null."""
        if self.delimiter == '"' or self.delimiter in self.null:
            yield f"delimiter {self.delimiter!r} neither a quote nor in null {self.null!r}"
