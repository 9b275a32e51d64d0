"""The standard output of the command-line programs, which may be ASCII only, closed, full, or a pipe nobody reads."""

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any

FAILED = 1
NEAREST = str.maketrans({"±": "+-", "≤": "<=", "≥": ">=", "→": "->"})
"""Text for characters that have no decomposition."""


def run_command(program: str, command: Callable[[], int]) -> int:
    """
    Run a command, and return its exit code.

    Output that cannot be written is dropped, and the command goes on: it may write files, too. At the end, one sentence
    on stderr tells why, and the exit code is 1; nothing is said about a pipe that was closed, as by ``head``.

    Examples
    --------
    >>> run_command("portanet", lambda: print("to 0.5 ± 0.1") or 0)
    to 0.5 ± 0.1
    0
    """
    before, output = sys.stdout, _Output(sys.stdout)
    sys.stdout = output
    try:
        code = command()
    except SystemExit as stop:  # argparse has printed its help
        if stop.code or not output.failed(program):
            raise
        raise SystemExit(FAILED) from None
    finally:
        sys.stdout = before
    failed = output.failed(program)
    return code or (FAILED if failed else 0)


class _Output(io.TextIOBase):
    """Text for a stream that may fail: what its encoding lacks is replaced, and the first error is kept."""

    def __init__(self, stream: Any):
        self.stream = stream
        self.error: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase has it as an attribute
        return getattr(self.stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream is not None and bool(self.stream.isatty())

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return int(self.stream.fileno())

    def write(self, text: str) -> int:
        if self.stream is None:
            self.error = self.error or OSError(errno.EBADF, "it is closed")
        else:
            self._try(lambda: self.stream.write(to_encoding(text, self.encoding)))
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            self._try(self.stream.flush)

    def failed(self, program: str) -> bool:
        """Whether output was dropped; say so on stderr, unless its reader has left."""
        self.flush()
        if self.error is None:
            return False
        if not isinstance(self.error, BrokenPipeError):
            reason = self.error.strerror or self.error
            print(f"{program}: cannot write to the standard output: {reason}", file=sys.stderr)
        return True

    def _try(self, action: Callable[[], Any]) -> None:
        if self.error is not None:
            return
        try:
            action()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed by the program
            self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            with suppress(OSError, ValueError, AttributeError):
                number = self.stream.fileno()
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, number)  # Python flushes the stream again at exit
                os.close(null)


def to_encoding(text: str, encoding: str) -> str:
    """
    Replace what an encoding lacks by the nearest text that it has.

    Examples
    --------
    >>> to_encoding("0.5 ± 0.1 µs, Müller", "ascii")
    '0.5 +- 0.1 us, Muller'
    >>> to_encoding("0.5 ± 0.1 µs", "latin-1")
    '0.5 ± 0.1 µs'
    """
    return text if _fits(text, encoding) else "".join(_nearest(character, encoding) for character in text)


def _nearest(character: str, encoding: str) -> str:
    if _fits(character, encoding):
        return character
    near = unicodedata.normalize("NFKD", character.translate(NEAREST)).replace("μ", "u")
    return near.encode(encoding, "ignore").decode(encoding) or "?"


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
