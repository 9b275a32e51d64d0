"""Names and texts from the data, shortened for a line or a picture."""

from collections.abc import Sequence

MAX_LENGTH = 40
"""Most characters of a text."""

MAX_LISTED = 10
"""Most texts in a list."""


def shorten(text: object, length: int = MAX_LENGTH) -> str:
    r"""
    Return a text in one line of at most ``length`` characters.

    Examples
    --------
    >>> shorten("one line\nand another", 12)
    'one line ...'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= length else f"{line[: length - 3]}..."


def listed(texts: Sequence[object]) -> str:
    """
    Return the first texts, and the number of the others.

    Examples
    --------
    >>> listed(range(12))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(map(shorten, texts[:MAX_LISTED])) + more
