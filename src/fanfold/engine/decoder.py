"""Decodes records of one shape, and sees whether a double, or 64 bits, hold each of their numbers.

As long as the numbers stay within limits that msgspec checks as it decodes them, there is little to look at.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union

import msgspec

from fanfold.engine.digits import Digits, attribute
from fanfold.engine.fields import Field
from fanfold.engine.strict import NUMBER, survives
from fanfold.records.batches import OtherError, RawDecoder, batches, records_of

# So much is looked at together for what a double may not hold.
CHECKED_BYTES = 128 * 1024
# Of a file that waits for others.
SMALL_BYTES = 64 * 1024
DIGITS_AND_POINT = bytes(ord("0") if chr(byte) in "0123456789." else byte for byte in range(256))
LONG_NUMBER = re.compile(rb"[0-9.]{16}")
# -0, or an exponent below 0, or one that a double may not hold. In a text it may be anything.
ODD_NUMBER = re.compile(rb"-(?:0|(?<=[0-9][eE]-)[0-9]+)[,\]} \t\r\n]")
LOSSY_NUMBER = re.compile(rb"-(?:0|(?<=[0-9][eE]-)[0-9]{3,})[,\]} \t\r\n]")
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
SURPRISE = re.compile(r"\$\[(\d+)\]")
OTHER_KEYS = ("missing required field", "unknown field")
SCALARS = {"BIGINT": int, "DECIMAL": float, "VARCHAR": str, "BOOLEAN": bool}
IN_64_BITS = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

# Of a field, the most digits before and after the point.
Limits = Callable[[Field], tuple[int, int]]


class SurpriseError(Exception):
    """Of some records, one has a value of another kind, or, `of_keys`, lacks a key or has a further one."""

    def __init__(self, records: list[bytes], *, of_keys: bool) -> None:
        """Note the records."""
        super().__init__()
        self.records, self.of_keys = records, of_keys


class ShapeDecoder(RawDecoder):
    """Decodes records that have no other keys than some fields, and all of them unless `partial`."""

    def __init__(self, fields: Field, structures: frozenset[str], *, must_count: bool, partial: bool = False) -> None:
        """Begin; with `must_count`, digits of decimals that cannot be counted are an error.

        Raises:
            OtherError: msgspec has no names with quotes, backslashes or control characters.
        """
        self.fields, self.structures = fields, structures
        # How much has been read since `settle`.
        self.unchecked_bytes = 0
        self._unchecked: list[tuple[memoryview, list[Any]]] = []
        self.partial = partial
        self._digits = Digits(fields)
        self._must_count, self._is_counted = must_count, True
        try:
            self._any = _Decoders(fields, None, partial=partial)
        except ValueError:
            raise OtherError from None
        # Where a number leaves the limits, there are none until it is counted; new ones are made more and more seldom.
        self._limited: _Decoders | None = None
        self._is_limited_next, self._times_unlimited = False, 0

    def read(self, path: str, content: bytes | None) -> int:
        """Return the number of records of a file, all of which have the shape; `settle` says whether that is all.

        Args:
            path: of the file.
            content: of a small file.

        Raises:
            SurpriseError, OtherError, UnreadableError, msgspec.DecodeError: it has not; nothing is kept of it.
        """
        before, bytes_before, records = len(self._unchecked), self.unchecked_bytes, 0
        try:
            for batch in batches(Path(path), self) if content is None else [records_of(content, self)]:
                records += len(batch)
                # So much is of one file that is looked at alone.
                if self.unchecked_bytes > CHECKED_BYTES + SMALL_BYTES:
                    self._check()
        except BaseException:
            del self._unchecked[before:]
            self.unchecked_bytes = bytes_before
            if not before:
                self._digits.forget()
                self._limited, self._is_limited_next = None, False
            raise
        if not records:
            raise OtherError
        return records

    def settle(self) -> None:
        """Widen the fields by the digits of all that was read.

        Raises:
            OtherError: a number is among it that a double may not hold.
        """
        self._check()
        self._digits.settle()

    def decode(self, window: memoryview, *, lines: bool) -> list[Any]:
        """Return the records of a window.

        Raises:
            SurpriseError: one is not of the shape.
            OtherError: one is no object.
            msgspec.DecodeError: it is no JSON.
        """
        records = self._decode_limited(window, lines=lines)
        if records is None:
            try:
                records = self._any.decode(window, lines=lines)
            except msgspec.ValidationError as error:
                of_keys = any(keys in str(error) for keys in OTHER_KEYS)
                if not SURPRISE.search(str(error)):
                    raise OtherError from None
                raise SurpriseError(list(map(bytes, super().decode(window, lines=lines))), of_keys=of_keys) from None
        self._unchecked.append((window, records))
        self.unchecked_bytes += len(window)
        return records

    def _decode_limited(self, window: memoryview, *, lines: bool) -> list[Any] | None:
        if self._is_limited_next:
            self._limited = _Decoders(self.fields, self._digits.of, partial=self.partial)
            self._is_limited_next = False
        try:
            return self._limited.decode(window, lines=lines) if self._limited else None
        except msgspec.ValidationError:
            self._limited = None
            return None

    def _check(self) -> None:
        windows, records = zip(*self._unchecked, strict=True) if self._unchecked else ((), ())
        self._unchecked, self.unchecked_bytes = [], 0
        text = b"\n".join(windows)
        if not text.isascii():
            text.decode()
        is_odd = ODD_NUMBER.search(text) is not None
        is_limited = self._limited is not None and not is_odd
        is_held = self._count(list(itertools.chain.from_iterable(records)), text if is_limited else None)
        is_suspect = is_odd and LOSSY_NUMBER.search(text) is not None
        if not is_held:
            # Every fourth byte tells whether somewhere 16 digits follow each other.
            is_suspect |= b"0000" in text[::4].translate(DIGITS_AND_POINT) and LONG_NUMBER.search(text) is not None
        # It may be in a text.
        if is_suspect and not all(map(survives, NUMBER.findall(TEXTS.sub(b'""', text).decode()))):
            raise OtherError
        if self._limited is None and self._is_counted and self._digits.are_countable:
            self._times_unlimited += 1
            self._is_limited_next = self._times_unlimited & (self._times_unlimited - 1) == 0

    def _count(self, records: list[Any], text: bytes | None) -> bool:
        """Count digits, and say whether a double surely holds each number."""
        try:
            return self._is_counted and self._digits.count(records, text)
        except OtherError:
            if self._must_count:
                raise
            self._digits.give_up()
            self._is_counted, self._limited = False, None
            return False


class _Decoders:
    """What msgspec decodes windows with."""

    def __init__(self, fields: Field, limits: Limits | None, *, partial: bool) -> None:
        """Make decoders of objects that have some fields; numbers stay within limits, if there are any."""
        record = _type_of(fields, limits, nullable=False, partial=partial)
        self._array = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._lines = msgspec.json.Decoder(record)

    def decode(self, window: memoryview, *, lines: bool) -> list[Any]:
        """Return the records of a window."""
        return self._lines.decode_lines(window) if lines else self._array.decode(window)


def _type_of(field: Field, limits: Limits | None, *, partial: bool, nullable: bool = True) -> Any:
    """Return the type by which msgspec decodes a field. Decimals may have integers among them."""
    kinds: list[Any] = [SCALARS[kind] for kind in sorted(field.kinds & SCALARS.keys())]
    if float in kinds and int in kinds:
        kinds.remove(int)
    if limits:
        whole, _ = limits(field)
        in_digits = Annotated[float, msgspec.Meta(gt=-(10.0**whole), lt=10.0**whole)]
        kinds = [{int: IN_64_BITS, float: in_digits}.get(kind, kind) for kind in kinds]
    if "object" in field.kinds:
        default = (None,) if partial else ()
        typed = [
            (attribute(n), _type_of(inner, limits, partial=partial), *default)
            for n, inner in enumerate(field.fields.values())
        ]
        keys = {attribute(n): key for n, key in enumerate(field.fields)}
        kinds.append(msgspec.defstruct("Object", typed, rename=keys, forbid_unknown_fields=True, gc=False))
    if "array" in field.kinds:
        inner_type = _type_of(field.element or Field(""), limits, partial=partial)
        kinds.append(list[inner_type])  # type: ignore[valid-type]
    return Union[(*kinds, None) if nullable else tuple(kinds)]  # noqa: UP007 - of as many as there are
