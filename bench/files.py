"""Read and write files; a failure gives a one-sentence error."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from bench.command import FAILED, CommandError, os_reason
from portanet.files import read_regular, write_atomically


def read_text(path: Path) -> str:
    """Read a text file; raises CommandError if that fails."""
    try:
        return read_regular(path).decode("utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {os_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def check_writable(path: Path) -> None:
    """Raise CommandError if a file cannot be written, before the work for it is done; leaves nothing behind."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        kind = "a folder" if os.path.isdir(target) else "not a regular file"
        raise CommandError(f"cannot write {path}: it is {kind}", FAILED)
    folder = next(parent for parent in Path(target).parents if os.path.exists(parent))
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"cannot write {path}: {folder} is not writable ({os_reason(error)})", FAILED) from error


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder if needed; raises CommandError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {os_reason(error)}", FAILED) from error
