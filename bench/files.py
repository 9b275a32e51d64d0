"""Read and write files, with one sentence where that cannot be done."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from bench.command import FAILED, Refused, reason
from portanet.persistence import write_atomically


def read_text(path: Path) -> str:
    """Read a text; raises Refused where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error


def check_writable(path: Path) -> None:
    """Refuse a place where no file can be written, before the work for it is done; nothing is left there."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise Refused(f"cannot write {path}: it is {'a folder' if os.path.isdir(target) else 'no file'}", FAILED)
    folder = next(parent for parent in Path(target).parents if os.path.exists(parent))
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refused(f"cannot write {path}: {folder} takes no file ({reason(error)})", FAILED) from error


def write(path: Path, content: bytes) -> None:
    """Write a file, complete or not at all, and the folders that it lies in; raises Refused where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise Refused(f"cannot write {path}: {reason(error)}", FAILED) from error
