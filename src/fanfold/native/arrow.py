"""Columns of the core handed to others, by Arrow's C stream interface: DuckDB and pyarrow read them without a copy."""

import ctypes
import errno
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from fanfold.native import Rows
from fanfold.native.fields import TYPES, digits_of
from fanfold.native.library import FULL, ArrowColumn, Bytes, checked, core

# struct ArrowArray and struct ArrowArrayStream, in words. The last but one of each is how to release it.
_ARRAY_WORDS, _STREAM_WORDS = 10, 5
_Words = ctypes.Array[ctypes.c_void_p]
_Call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_LastError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

# By the address that a stream carries, wherever it was moved to; until it is released, be its maker still there or not.
_readings: dict[int, "_Reading"] = {}


class Stream:
    """Rows of merged records as columns. Each `__arrow_c_stream__` begins anew, as DuckDB asks for several.

    One batch of 1 MiB or so is in memory at a time. An error ends the reading; whoever reads is told its text alone, so
    it stands in `error`. What was returned is to be taken while this is there.
    """

    def __init__(
        self, columns: Sequence[tuple[str, str]], rows: Callable[[], Rows], windows: Callable[[], Iterable[bytes]]
    ) -> None:
        """Note what each reading is made of.

        Args:
            columns: name and type of each.
            rows: makes what writes them, each time another.
            windows: begins to read the merged records, each time from the start; it is called for the first batch.
        """
        self._made_of = columns, rows, windows
        self._begun: list[tuple[_Words, _Reading]] = []
        weakref.finalize(self, _let_go, self._begun)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule with the columns; what is requested is for the reader to cast.

        Raises:
            ValueError: there are not as many columns as the rows have.
        """
        reading = _Reading(*self._made_of)
        calls = (ctypes.cast(call, ctypes.c_void_p).value for call in (_schema, _next, _last_error))
        words = (ctypes.c_void_p * _STREAM_WORDS)(*calls, _releasing(), reading.address)
        _sweep()
        _readings[reading.address] = reading
        self._begun.append((words, reading))
        # Without a destructor: what is let go in the middle of an error must not run Python.
        return _new(ctypes.addressof(words), b"arrow_array_stream", None)

    @property
    def rows(self) -> int:
        """How many rows were handed over by the reading that went furthest."""
        return max((reading.count for _, reading in self._begun), default=0)

    @property
    def error(self) -> BaseException | None:
        """What ended a reading: damaged records, a type that does not hold a value, or what `windows` raised."""
        return next((reading.error for _, reading in self._begun if reading.error), None)


class _Reading:
    """The columns read once, batch by batch."""

    def __init__(
        self, columns: Sequence[tuple[str, str]], rows: Callable[[], Rows], windows: Callable[[], Iterable[bytes]]
    ) -> None:
        made = (ArrowColumn * len(columns))()
        names = [name.encode() for name, _ in columns]
        for place, name, (_, kind) in zip(made, names, columns, strict=True):
            base, (precision, scale) = kind.partition("(")[0], digits_of(kind)
            place.name = Bytes(ctypes.cast(ctypes.c_char_p(name), ctypes.c_void_p), len(name))
            place.type, place.precision, place.scale = TYPES.index(base), precision, scale
        self._rows, self._windows = rows(), windows
        checked(core().fanfold_rows_arrow(self._rows.handle, made, len(columns)))
        self._steps = self._made()
        self._message = ctypes.create_string_buffer(1)
        self._released = ctypes.c_uint64(0)
        self.address = ctypes.addressof(self._released)
        self.count = 0
        self.error: BaseException | None = None

    def schema(self, to: int) -> None:
        """Write an ArrowSchema."""
        checked(core().fanfold_rows_schema(self._rows.handle, to))

    def batch(self, to: int) -> None:
        """Write the next ArrowArray that has rows; behind the last one, one that is released already."""
        array = (ctypes.c_void_p * _ARRAY_WORDS).from_address(to)
        for _ in self._steps:
            checked(core().fanfold_rows_array(self._rows.handle, to))
            if array[0]:
                self.count = len(self._rows)
                return
            _Release(array[-2] or 0)(to)
        ctypes.memset(to, 0, ctypes.sizeof(array))

    def _made(self) -> Iterator[None]:
        for window, last in _marked(self._windows()):
            checked(core().fanfold_rows_feed(self._rows.handle, window, len(window), last))
            answer = FULL
            while answer == FULL:
                answer = checked(core().fanfold_rows_next(self._rows.handle))
                yield

    def answer(self, call: Callable[[int], None], to: int) -> int:
        """Make a call for whoever reads: 0, or the number of an error, which is kept."""
        try:
            call(to)
        except BaseException as error:  # noqa: BLE001 - it has to pass C, which knows numbers alone
            self.error = error
            self._message = ctypes.create_string_buffer(repr(error).encode())
            return errno.EINVAL
        return 0

    def message(self) -> int:
        """Return where the text of the last error is."""
        return ctypes.addressof(self._message)

    @property
    def released(self) -> bool:
        """Whether nobody reads on."""
        return bool(self._released.value)

    def close(self) -> None:
        """Let go of what is in memory."""
        self._steps = iter(())
        del self._rows


def _marked(windows: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for window in windows:
        yield window, False
    yield b"", True


def _reading(stream: int) -> _Reading:
    return _readings[(ctypes.c_void_p * _STREAM_WORDS).from_address(stream)[-1] or 0]


@_Call
def _schema(stream: int, to: int) -> int:
    return _reading(stream).answer(_reading(stream).schema, to)


@_Call
def _next(stream: int, to: int) -> int:
    return _reading(stream).answer(_reading(stream).batch, to)


@_LastError
def _last_error(stream: int) -> int:
    return _reading(stream).message()


def _releasing() -> int | None:
    return ctypes.cast(core().fanfold_rows_released, ctypes.c_void_p).value


def _let_go(begun: list[tuple[_Words, _Reading]]) -> None:
    """Release what nobody has taken."""
    for words, _ in begun:
        if words[-2]:
            _Release(words[-2])(ctypes.addressof(words))
    _sweep()


def _sweep() -> None:
    """Let go of what was released since."""
    for address, reading in list(_readings.items()):
        # Another thread may sweep too.
        if reading.released and _readings.pop(address, None) is not None:
            reading.close()
