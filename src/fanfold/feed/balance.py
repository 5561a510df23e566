"""Pure: which file goes into which subdirectory."""

import heapq
import os
from collections.abc import Iterable


def balance(sizes: Iterable[tuple[str, int]], subdirs: int) -> dict[int, list[str]]:
    """Distribute files evenly: first by number, then by bytes.

    The file counts of any two subdirectories differ by at most one; the lower numbers have the larger counts. Under
    that, bytes are balanced by the longest-processing-time rule (R. L. Graham, "Bounds on Multiprocessing Timing
    Anomalies", 1969): the largest file first, each to the subdirectory with the fewest bytes that still takes one.

    Args:
        sizes: name and size in bytes of each file, in any order; names are unique.
        subdirs: number of subdirectories, at least 1.

    Returns:
        For each of the subdirectories 1 … `subdirs`, in that order, its names sorted by their bytes. The same files
        give the same answer, in whatever order they come.
    """
    files = sorted(sizes, key=lambda file: (-file[1], os.fsencode(file[0])))
    # Some subdirectories take one file more than the smallest number.
    smallest, larger = divmod(len(files), subdirs)
    open_bins: list[tuple[int, int]] = [(0, number) for number in range(subdirs)]
    names: list[list[str]] = [[] for _ in range(subdirs)]
    for name, size in files:
        filled, number = heapq.heappop(open_bins)
        while len(names[number]) == smallest and not larger:
            filled, number = heapq.heappop(open_bins)
        larger -= len(names[number]) == smallest
        names[number].append(name)
        if len(names[number]) <= smallest:
            heapq.heappush(open_bins, (filled + size, number))
    ordered = sorted(range(subdirs), key=lambda number: (-len(names[number]), number))
    return {n: sorted(names[number], key=os.fsencode) for n, number in enumerate(ordered, start=1)}
