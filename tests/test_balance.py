"""Even distribution of files."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.feed.balance import balance

FILES = st.dictionaries(st.text("abc/é.", min_size=1, max_size=6), st.integers(0, 10**12), max_size=60)
SUBDIRS = st.integers(1, 12)


@given(FILES, SUBDIRS)
def test_every_file_once(files: dict[str, int], subdirs: int) -> None:
    """Every file is in exactly one subdirectory, each subdirectory is there, its names sorted by their bytes."""
    parts = balance(files.items(), subdirs)
    assert list(parts) == list(range(1, subdirs + 1))
    assert sorted(name for part in parts.values() for name in part) == sorted(files)
    assert all(part == sorted(part, key=str.encode) for part in parts.values())


@given(FILES, SUBDIRS)
def test_counts_differ_by_at_most_one(files: dict[str, int], subdirs: int) -> None:
    """File counts differ by at most one, the lower numbers have the larger ones."""
    counts = [len(part) for part in balance(files.items(), subdirs).values()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1


@given(FILES, SUBDIRS, st.randoms(use_true_random=False))
def test_listing_order_does_not_matter(files: dict[str, int], subdirs: int, shuffler: random.Random) -> None:
    """The same files are distributed in the same way, in whatever order they are listed."""
    shuffled = list(files.items())
    shuffler.shuffle(shuffled)
    assert balance(shuffled, subdirs) == balance(files.items(), subdirs)


@given(FILES.filter(bool), SUBDIRS)
def test_bytes_are_bounded(files: dict[str, int], subdirs: int) -> None:
    """No subdirectory has more bytes than the mean and the largest file together: twice the best that is possible."""
    parts = balance(files.items(), subdirs).values()
    largest = max(sum(files[name] for name in part) for part in parts)
    assert largest * subdirs <= sum(files.values()) + max(files.values()) * subdirs


@given(st.integers(0, 60), st.integers(0, 1000), SUBDIRS)
def test_equal_sizes_differ_by_one_file(count: int, size: int, subdirs: int) -> None:
    """Files of one size are as even by bytes as they are by number."""
    parts = balance([(f"{i}.json", size) for i in range(count)], subdirs).values()
    sums = [len(part) * size for part in parts]
    assert max(sums) - min(sums) <= size


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([8, 7, 6, 5, 4, 3], [11, 11, 11]),
        ([100, 1, 1, 1], [101, 2]),
        ([50, 40, 30, 20, 10, 10], [80, 80]),
        ([9, 1], [9, 1, 0]),
    ],
)
def test_the_largest_goes_first(sizes: list[int], expected: list[int]) -> None:
    """By hand: the largest file first, to the subdirectory with the fewest bytes that still takes one."""
    names = {f"{size}-{index}": size for index, size in enumerate(sorted(sizes))}
    parts = balance(names.items(), len(expected)).values()
    assert sorted((sum(names[name] for name in part) for part in parts), reverse=True) == expected
