"""How records stand in a file, and what makes a feed unlike throughout."""

import itertools
import re
from collections.abc import Callable

Records = list[str]
# Of these a record may lack one: no sum is asked of them.
OPTIONAL = ("status", "order_date", "priority", "clerk")
BAD_ONE_IN, LACKING_ONE_IN, ARRAY_RECORDS = 100, 10, 100
LONG_NUMBER = 98_765_432_109_876_543_210


def _array(records: Records) -> str:
    return f"[{','.join(records)}]\n"


def _lines(records: Records) -> str:
    return "\n".join(records) + "\n"


def _wrapped(records: Records) -> str:
    """Return a document around the array, as the pages of an interface have it."""
    return f'{{"page":1,"data":{{"orders":[{",".join(records)}]}},"next":null}}\n'


def _arrays_in_a_row(records: Records) -> str:
    """Return arrays one after the other, as a client appends them, page by page."""
    pages = (records[n : n + ARRAY_RECORDS] for n in range(0, len(records), ARRAY_RECORDS))
    return "".join(map(_array, pages))


TEXTS: dict[str, Callable[[Records], str]] = {
    "arrays": _array,
    "ndjson": _lines,
    "wrapped": _wrapped,
    "arrays_in_a_row": _arrays_in_a_row,
}


# Bad records come in addition: the good ones, and so rows and sums, are always the same.
def _bad_records(records: Records) -> Records:
    """Return the records, and behind every hundredth one its first half."""
    cut = ([one, one[: len(one) // 2]] if n % BAD_ONE_IN == 0 else [one] for n, one in enumerate(records, start=1))
    return list(itertools.chain.from_iterable(cut))


def _duplicate_key(records: Records) -> Records:
    """Return the records, and in their middle one that has a key twice."""
    half = len(records) // 2
    return [*records[:half], records[half][:-1] + ',"status":"twice"}', *records[half:]]


def _long_numbers(records: Records) -> Records:
    """Return the records with a number of 20 digits in each."""
    return [f'{record[:-1]},"number":{LONG_NUMBER + n}}}' for n, record in enumerate(records)]


def _optional_fields(records: Records) -> Records:
    """Return the records; one in ten lacks a field, another one each time."""
    made = list(records)
    lacking = range(LACKING_ONE_IN - 1, len(records), LACKING_ONE_IN)
    for n, name in zip(lacking, itertools.cycle(OPTIONAL), strict=False):
        made[n] = re.sub(rf'"{name}":"[^"]*",', "", made[n], count=1)
    return made


CLIFFS: dict[str, Callable[[Records], Records]] = {
    "bad_records": _bad_records,
    "long_numbers": _long_numbers,
    "optional_fields": _optional_fields,
    "duplicate_key": _duplicate_key,
}
