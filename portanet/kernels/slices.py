"""Consecutive slices of a number of rows."""

from collections.abc import Iterator


def slices(n: int, size: int) -> Iterator[slice]:
    """
    Yield slices of at most ``size`` rows that cover ``n`` rows.

    Examples
    --------
    >>> [(s.start, s.stop) for s in slices(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def partition(n: int, parts: int) -> list[slice]:
    """
    Divide ``n`` rows into ``parts`` slices of about equal length, fewer if some would be empty.

    Examples
    --------
    >>> [(s.start, s.stop) for s in partition(5, 2)]
    [(0, 2), (2, 5)]
    """
    parts = max(1, min(n, parts))
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]
