"""Format numbers and tables."""

from collections.abc import Sequence

UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def duration(seconds: float) -> str:
    """
    Format a time in s, ms or µs.

    Examples
    --------
    >>> duration(0.0123), duration(4.2e-5), duration(75)
    ('12.3 ms', '42.0 µs', '75.0 s')
    """
    unit, scale = next((pair for pair in UNITS if seconds >= pair[1]), UNITS[-1])
    return f"{digits(seconds / scale)} {unit}"


def about(seconds: float) -> str:
    """
    Format an estimated time.

    Examples
    --------
    >>> about(28.4), about(700)
    ('about 28 s', 'about 12 min')
    """
    return f"about {seconds:.0f} s" if seconds < 60 else f"about {seconds / 60:.0f} min"


def mebibytes(n: float) -> str:
    """Format a number of bytes in MiB."""
    return f"{digits(n / 2**20)} MiB"


def factor(value: float) -> str:
    """Format a ratio."""
    return f"{value:.3f}"


def percent(value: float) -> str:
    """
    Format a fraction as a percentage.

    Examples
    --------
    >>> percent(0.604)
    '60 %'
    """
    return f"{100 * value:.0f} %"


def counted(n: int, thing: str) -> str:
    """
    Format a number of things.

    Examples
    --------
    >>> counted(1, "round"), counted(9, "round")
    ('1 round', '9 rounds')
    """
    return f"{n} {thing}{'s' * (n != 1)}"


def digits(value: float) -> str:
    """Format a number with at least three significant digits."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown; columns of numbers are right-aligned."""
    numeric = [all(cell[:1].isdigit() for cell in column if cell) for column in zip(*rows, strict=True)]
    rule = ["---", *("---:" if right else "---" for right in numeric[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Format a table for the terminal; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()

    return "\n".join(map(line, rows))
