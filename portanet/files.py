"""Files: written whole or not at all, and read so that a damaged or hostile one gives one clear error."""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from portanet.checks import check_path
from portanet.schema import Schema, first_mismatch

try:
    import fcntl

    LOCKS = True
except ImportError:  # Windows: what a killed process leaves stays there
    LOCKS = False

PARTIAL = ".portanet-*.partial"
"""Pattern of the names of temporary files."""

MAX_JSON_BYTES = 2**26
"""Most bytes of a JSON file: parsed, it takes about ten times as many."""

MAX_FAULT_LENGTH = 450
"""Most characters of a message about a file."""


class FileFormatError(ValueError):
    """
    A file is damaged, or is not what it should be.

    This holds for all that PortaNet reads: networks, checkpoints, data sets, logs and records. A file that cannot be
    opened raises OSError as usual.

    Parameters
    ----------
    path : path-like
        The file.
    fault : str
        What is wrong with it.

    Examples
    --------
    >>> import pathlib
    >>> _ = pathlib.Path("net.safetensors").write_text("no network")
    >>> try:
    ...     portanet.load("net.safetensors")
    ... except portanet.FileFormatError as error:
    ...     print(str(error)[:59])
    net.safetensors cannot be loaded: it is no safetensors file
    """

    def __init__(self, path: str | PathLike[str], fault: str):
        self.path, self.fault = path, _one_line(fault)
        super().__init__(f"{os.fspath(path)} cannot be loaded: {self.fault}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the constructor's arguments."""
        return type(self), (self.path, self.fault)


@contextmanager
def as_file_errors(path: str | PathLike[str]) -> Iterator[None]:
    """
    Turn every error within into a :class:`FileFormatError` of a file.

    Whatever a hostile file makes a parser or a constructor raise is a fault of that file: KeyError, RecursionError,
    MemoryError and the like.
    """
    try:
        yield
    except FileFormatError:
        raise
    except RecursionError as error:
        raise FileFormatError(path, "its parts are nested too deeply") from error
    except Exception as error:
        fault = str(error) if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {error}"
        fault = f"it lacks {error}" if isinstance(error, KeyError) else fault
        raise FileFormatError(path, fault) from error


def _one_line(text: str) -> str:
    """Shorten a text that may repeat parts of a hostile file, and replace its control characters by spaces."""
    short = text if len(text) <= MAX_FAULT_LENGTH else f"{text[:MAX_FAULT_LENGTH]} ..."
    return "".join(character if character.isprintable() else " " for character in short)


def read_regular(path: str | PathLike[str], *, max_bytes: int | None = None) -> bytes:
    """
    Read a regular file as a whole, so that what is parsed cannot change meanwhile.

    A device or a pipe, which may have no end, is not read.

    Parameters
    ----------
    path : path-like
    max_bytes : int, optional
        Most bytes that it may have.

    Raises
    ------
    OSError
        If it cannot be read.
    FileFormatError
        If it is no regular file, or is too long.
    """
    path = check_path("path", path)
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(path, "it is no regular file")
        try:
            content = file.read() if max_bytes is None else file.read(min(max_bytes, status.st_size) + 1)
        except MemoryError:
            raise FileFormatError(path, f"it has {status.st_size} bytes, which do not fit into memory") from None
    if max_bytes is not None and len(content) > max_bytes:
        raise FileFormatError(path, f"it has more than the expected {max_bytes} bytes")
    return content


def read_span(path: str | PathLike[str], offset: int, length: int) -> bytes:
    """
    Read some bytes of a regular file.

    Raises
    ------
    OSError
        If it cannot be read.
    FileFormatError
        If it is no regular file, or is too short.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(path, "it is no regular file")
        if offset < 0 or length < 0 or offset + length > status.st_size:
            raise FileFormatError(path, f"it has no {length} bytes from byte {offset} on")
        file.seek(offset)
        return file.read(length)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to is opened too, instead of waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str | bytes) -> Any:
    """
    Parse JSON; a name that occurs twice is refused, since readers would take either value.

    Examples
    --------
    >>> parse_json('{"p": 0.5, "p": 0.6}')
    Traceback (most recent call last):
    ...
    ValueError: the name 'p' occurs twice
    """
    return json.loads(text, object_pairs_hook=_unique)


def read_json(path: str | PathLike[str], schema: Schema | None = None) -> Any:
    """
    Read a JSON file, and compare it with a schema, see :func:`portanet.schema.first_mismatch`.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it is no JSON, or does not match.
    """
    content = read_regular(path, max_bytes=MAX_JSON_BYTES)
    with as_file_errors(path):
        value = parse_json(content)
        if schema is not None and (mismatch := first_mismatch(value, schema)):
            raise ValueError(mismatch)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def write_tensors(path: str | PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and texts to a safetensors file, with a hash of all."""
    write_atomically(check_path("path", path), pack_tensors(arrays, metadata))


def pack_tensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return the content of the file that :func:`write_tensors` writes."""
    # safetensors 0.8.0 silently corrupts arrays that are not C-contiguous (its issue 825).
    arrays = {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in arrays.items()}
    return bytes(to_bytes(arrays, {**metadata, "sha256": _digest(arrays, metadata)}))


def read_tensors(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """
    Read what :func:`write_tensors` wrote.

    No array is made before the safetensors library has compared all sizes with that of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it is damaged or changed.
    """
    content = read_regular(path)
    try:
        arrays = from_bytes(content)
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = dict(header.get("__metadata__", {}))
    except Exception as error:  # of another type for each fault, also outside of SafetensorError
        raise FileFormatError(path, f"it is no safetensors file, or not complete ({error})") from error
    digest = metadata.pop("sha256", None)
    if digest is None:
        raise FileFormatError(path, "it was not written by PortaNet")
    if digest != _digest(arrays, metadata):
        raise FileFormatError(path, "it was changed or damaged after it was written: its hash differs")
    return arrays, metadata


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Return the texts of a safetensors file without its arrays; an empty dict if it is no such file."""
    unfit = (OSError, ValueError, TypeError, AttributeError, RecursionError)  # whatever else a file may hold
    with suppress(*unfit), open(path, "rb", opener=_open_without_waiting) as file:
        length = int.from_bytes(file.read(8), "little")
        if length < os.fstat(file.fileno()).st_size:
            return dict(json.loads(file.read(length)).get("__metadata__", {}))
    return {}


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, values in sorted(arrays.items()):
        digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file so that its name never stands for half of it, even after a crash or a power failure.

    It writes a temporary file in the same folder and renames it at the end, and deletes those that killed processes
    left there. The permissions of a file that is replaced are kept.

    Raises
    ------
    OSError
        If the file cannot be written, or ``path`` is something else than a file; it names ``path``.
    """
    path = Path(os.path.realpath(path))  # what a link points to, not the link
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file: choose another path")
    try:
        _delete_leftovers(path.parent)
        with _partial_file(path) as file:
            file.write(content)
            if path.exists():
                os.chmod(file.name, stat.S_IMODE(path.stat().st_mode))
            file.flush()
            os.fsync(file.fileno())
        _sync(path.parent)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


@contextmanager
def _partial_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the name ``path`` at the end. It is locked, and so not taken for a leftover."""
    partial = path.with_name(PARTIAL.replace("*", secrets.token_hex(8)))
    try:
        with _create_locked(partial) as file:
            yield file
            if LOCKS:
                partial.replace(path)
        if not LOCKS:  # Windows renames no open file
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _create_locked(partial: Path) -> BinaryIO:
    while True:
        file = partial.open("xb")
        if LOCKS:
            with suppress(OSError):  # some file systems of clusters have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if not LOCKS or os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process deleted it before it was locked


def _delete_leftovers(folder: Path) -> None:
    """Delete what killed processes left in a folder; a process that lives holds the lock of its file."""
    if not LOCKS:
        return
    for leftover in folder.glob(PARTIAL):
        with suppress(OSError), leftover.open("rb") as file:  # OSError: it is locked
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _sync(folder: Path) -> None:
    """Make a new name in a folder durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
