"""Pure: how the path of a field is written: its keys joined by dots, `customer.id`.

A key that is empty, has a dot in it, or begins with a double quote stands in double quotes, and a double quote in it is
doubled: `"order.items".sku` is the field `sku` of `order.items`. Each path has one such form.
"""

import re
from collections.abc import Iterable

# The keys that lead to a field, through objects and the elements of arrays.
Way = tuple[str, ...]
_KEY = r'("([^"]|"")*"|[^".][^.]*)'
PATTERN = rf"^{_KEY}(\.{_KEY})*$"
KEYS = re.compile(r'(?:^|\.)(?:"((?:[^"]|"")*)"|([^".][^.]*))')


def way_of(path: str) -> Way:
    """Return the keys of a path; `written` is its inverse."""
    return tuple(plain or quoted.replace('""', '"') for quoted, plain in KEYS.findall(path))


def written(way: Iterable[str]) -> str:
    """Return the path of some keys, in its one form."""
    return ".".join(_quoted(key) if _needs_quotes(key) else key for key in way)


def _quoted(key: str) -> str:
    doubled = key.replace('"', '""')
    return f'"{doubled}"'


def _needs_quotes(key: str) -> bool:
    return not key or "." in key or key.startswith('"')
