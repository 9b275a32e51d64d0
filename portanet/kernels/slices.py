"""Slices that divide a range, for work on a large array part by part."""

from collections.abc import Iterator


def slices(n: int, size: int) -> Iterator[slice]:
    """
    Yield consecutive slices that cover ``range(n)``; none if ``n`` is 0.

    Parameters
    ----------
    n : int
        Length of the range, not negative.
    size : int
        Length of each slice, at least 1; the last one may be shorter.

    Examples
    --------
    >>> list(slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def part_of(batch: slice, rank: int, size: int) -> slice:
    """
    Return the part of a batch that belongs to a rank; parts differ by at most one example.

    Examples
    --------
    >>> [part_of(slice(10, 17), rank, 3) for rank in range(3)]
    [slice(10, 13, None), slice(13, 15, None), slice(15, 17, None)]
    """
    each, more = divmod(batch.stop - batch.start, size)
    start = batch.start + rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))
