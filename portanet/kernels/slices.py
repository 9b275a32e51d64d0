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
