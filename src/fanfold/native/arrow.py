"""Columns of the core handed to others, by Arrow's C stream interface: DuckDB and pyarrow read them without a copy."""

import ctypes
import errno
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from fanfold.native import Rows
from fanfold.native.library import Bytes, checked, core, run

# struct ArrowArray and struct ArrowArrayStream, in words. The last but one of each is how to release it.
_ARRAY_WORDS, _STREAM_WORDS = 10, 5
_Columns = Sequence[tuple[str, str]]
_Call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_LastError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

# By the address that a stream carries, wherever it was moved to, until it is released: its maker may be gone before.
_readings: dict[int, "_Reading"] = {}


class Stream:
    """Rows of merged records as columns of texts. Each `__arrow_c_stream__` begins anew, as DuckDB asks for several.

    One batch of 1 MiB or so is in memory at a time. An error ends the reading; whoever reads is told its text alone, so
    it stands in `error`. What was returned is to be taken while this is there.
    """

    def __init__(
        self, columns: _Columns, rows: Callable[[_Columns], Rows], windows: Callable[[], Iterable[bytes]]
    ) -> None:
        """Take what each reading is made of.

        Args:
            columns: name and type of each; its values have the form of the type.
            rows: makes what writes them, each time another.
            windows: begins to read the merged records, each time from the start; it is called for the first batch.
        """
        self._columns, self._rows, self._windows = columns, rows, windows
        self._begun: list[_Reading] = []
        weakref.finalize(self, _let_go, self._begun)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule with the columns; what is requested is for the reader to cast.

        Raises:
            ValueError: there are not as many columns as the rows have.
        """
        reading = _Reading(self._rows(self._columns), self._windows)
        _sweep()
        _readings[reading.address] = reading
        self._begun.append(reading)
        # Without a destructor: what is let go in the middle of an error must not run Python.
        return _new(ctypes.addressof(reading.words), b"arrow_array_stream", None)

    @property
    def rows(self) -> int:
        """How many rows the longest reading has handed over."""
        return max((reading.count for reading in self._begun), default=0)

    @property
    def error(self) -> BaseException | None:
        """What ended a reading: damaged records, a type that does not hold a value, or what `windows` raised."""
        return next((reading.error for reading in self._begun if reading.error), None)


class _Reading:
    """The columns read once, batch by batch: a struct ArrowArrayStream, whose private data says that it is released."""

    def __init__(self, rows: Rows, windows: Callable[[], Iterable[bytes]]) -> None:
        self._rows = rows
        self._steps = _batches(rows.handle, windows)
        self._message = ctypes.create_string_buffer(1)
        self.released = ctypes.c_uint64(0)
        self.address = ctypes.addressof(self.released)
        calls = (_schema, _next, _last_error, core().fanfold_rows_released)
        self.words = (ctypes.c_void_p * _STREAM_WORDS)(
            *(ctypes.cast(call, ctypes.c_void_p).value for call in calls), self.address
        )
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

    def answer(self, call: Callable[[int], None], to: int) -> int:
        """Answer a call of the reader: 0, or the number of an error, which is kept."""
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

    def close(self) -> None:
        """Free the memory."""
        self._steps = iter(())
        del self._rows


def _batches(handle: int, windows: Callable[[], Iterable[bytes]]) -> Iterator[None]:
    yield from run("rows", handle, windows(), Bytes())


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


def _let_go(begun: list[_Reading]) -> None:
    """Release what nobody has taken."""
    for reading in begun:
        if reading.words[-2]:
            _Release(reading.words[-2])(ctypes.addressof(reading.words))
    _sweep()


def _sweep() -> None:
    """Let go of what was released since."""
    for address, reading in list(_readings.items()):
        # Another thread may sweep too.
        if reading.released.value and _readings.pop(address, None) is not None:
            reading.close()
