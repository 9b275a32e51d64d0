"""Helpers shared by the commands of ``python -m bench``."""

import argparse
import sys
from collections.abc import Collection, Iterable

FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130
"""Exit codes."""


class CommandError(Exception):
    """The command cannot run; the message says how to fix it."""

    def __init__(self, message: str, code: int = USAGE_ERROR):
        super().__init__(message)
        self.code = code


def check_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise CommandError if a name is not one of the known names."""
    for name in names:
        if name not in known:
            raise CommandError(f"unknown {what} {name!r}; choose from {', '.join(known)}")


def positive_int(text: str) -> int:
    """Parse a positive integer on the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def positive_seconds(text: str) -> float:
    """Parse a duration on the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return value


def os_reason(error: OSError) -> str:
    """Return the system's reason for an error."""
    return error.strerror or str(error)


def print_lines(*lines: str) -> None:
    """Print on stdout and flush."""
    print(*lines, sep="\n", flush=True)


def print_error(message: str) -> None:
    """Print an error message on stderr."""
    print(f"bench: {message}", file=sys.stderr)


def print_progress(*message: str, milestone: bool = False) -> None:
    """Show progress on stderr: on a terminal in one line that is overwritten, in a log only the milestones."""
    text = ": ".join(message)
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
    elif milestone:
        print(text, file=sys.stderr, flush=True)
