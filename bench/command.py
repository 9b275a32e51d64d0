"""What the commands of ``python -m bench`` share."""

import argparse
import os
import sys
from collections.abc import Collection, Iterable

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class Refused(Exception):
    """The command cannot be carried out; the message names the fix."""

    def __init__(self, message: str, code: int = MISUSED):
        super().__init__(message)
        self.code = code


def check_known(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name that is not known."""
    for name in given:
        if name not in known:
            raise Refused(f"there is no {what} {name!r}: choose among {', '.join(known)}")


def count(text: str) -> int:
    """Parse a number of things on the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a length of time on the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return value


def reason(error: OSError) -> str:
    """Say why the system refused."""
    return error.strerror or str(error)


def show(*lines: str) -> None:
    """Print on stdout, at once."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more when it ends
        if isinstance(error, BrokenPipeError):  # of `| head` for instance, which has read enough
            raise SystemExit(FAILED) from error
        raise Refused(f"cannot write to the standard output: {reason(error)}", FAILED) from error


def complain(message: str) -> None:
    """Say on stderr what is wrong."""
    print(f"bench: {message}", file=sys.stderr)


def progress(*message: str, milestone: bool = False) -> None:
    """Say what is going on: on a terminal in one line that the next one replaces, in a log the milestones only."""
    said = ": ".join(message)
    if sys.stderr.isatty():
        print(f"\r{said}\033[K", end="", file=sys.stderr, flush=True)
    elif milestone:
        print(said, file=sys.stderr, flush=True)
