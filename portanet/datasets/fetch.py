"""Find the files of a data set, download missing ones, and verify their content."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from portanet.files import FileFormatError, as_file_errors, read_regular

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Decoder = Callable[[bytes, tuple[int, ...], int], np.ndarray]


class DatasetError(OSError):
    """
    A data set cannot be had: a file is damaged or missing, or a download failed.

    A damaged file raises a DatasetError that is a :class:`portanet.FileFormatError` too, as for all files.
    """


class DatasetFormatError(FileFormatError, DatasetError):
    """A file of a data set is not the published one."""


@dataclass(frozen=True)
class File:
    """
    A published file that holds one array.

    Parameters
    ----------
    name : str
        File name, including ``.gz``.
    shape : tuple of int
        Shape of the decoded array.
    sha256 : str
        Hash of the decoded array's bytes, C order, little-endian.
    gz_sha256 : str, optional
        Hash of the published file, checked at download.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str
    gz_sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """
    Files, URL and reader of a data set.

    Parameters
    ----------
    name : str
        Name of the data set and of its folder.
    reader : callable
        ``reader(source, raw)`` returns x_train, y_train, x_test, y_test: images without channel axis, labels uint8.
    classes : tuple of str
        Class names in label order.
    url : str
        Prefix of the file names.
    files : tuple of File
        Files in the order that the reader expects.
    licence : str
        Licence text that must accompany copies.
    """

    name: str
    reader: Callable[["Source", bool], Arrays]
    classes: tuple[str, ...]
    url: str = ""
    files: tuple[File, ...] = ()
    licence: str = ""


def read(source: Source, file: File, decode: Decoder, max_bytes: int) -> np.ndarray:
    """
    Read and verify a file; download it if it is missing.

    Parameters
    ----------
    source : Source
        The data set.
    file : File
        One of ``source.files``.
    decode : callable
        ``decode(content, file.shape, n_classes)`` returns the array, or raises ValueError if the content is unexpected.
    max_bytes : int
        Maximum size of the decompressed file; a larger one is not read to its end.

    Returns
    -------
    array of shape ``file.shape``
        A new, writable array.

    Raises
    ------
    DatasetError
        If the file is not the published one (then it is a FileFormatError too), PORTANET_DATA is not a folder, or the
        download fails.
    ImportError
        If the file must be downloaded and pooch is missing.
    """
    for folder in _folders():
        for path in (folder / source.name / file.name, folder / source.name / file.name.removesuffix(".gz")):
            if path.is_file():
                try:
                    return _verified(path, source, file, decode, max_bytes)
                except FileFormatError as error:
                    fix = f"delete it or replace it with {source.url}{file.name}"
                    raise DatasetFormatError(path, f"it is not the published file: {error.fault}; {fix}") from error
    return _download(source, file, decode, max_bytes)


def _folders() -> Iterator[Path]:
    if given := os.environ.get("PORTANET_DATA"):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise DatasetError(f"PORTANET_DATA is {given!r}, which is not a folder: create it, or unset PORTANET_DATA")
        yield folder
    if find_spec("pooch"):
        import pooch

        yield Path(pooch.os_cache("portanet"))


def _verified(path: Path, source: Source, file: File, decode: Decoder, max_bytes: int) -> np.ndarray:
    """Read a file once, so that the bytes that are compared are those that are decoded."""
    packed = path.suffix == ".gz"
    content = read_regular(path, max_bytes=_max_packed_bytes(max_bytes) if packed else max_bytes)
    with as_file_errors(path):
        array = decode(_unpacked(content, max_bytes) if packed else content, file.shape, len(source.classes))
        found = hashlib.sha256(array.ravel().data).hexdigest()
        if found != file.sha256:
            raise ValueError(f"expected decoded content with sha256 {file.sha256}, found {found}")
    return array


def _max_packed_bytes(max_bytes: int) -> int:
    """Return the maximum size of a gzip file; deflate adds at most 5 bytes to a block of 16 KiB that it cannot pack."""
    return max_bytes + max_bytes // 1000 + 1024


def _unpacked(content: bytes, max_bytes: int) -> bytes:
    """Decompress a gzip file, up to a size: a few megabytes may decompress to terabytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(max_bytes + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"expected a complete gzip file, found: {error}") from error
    if len(unpacked) > max_bytes:
        raise ValueError(f"expected at most {max_bytes} decompressed bytes, found more")
    return unpacked


def _download(source: Source, file: File, decode: Decoder, max_bytes: int) -> np.ndarray:
    url = source.url + file.name
    *others, last = (each.name for each in source.files)
    names = f"{', '.join(others)} and {last}"
    by_hand = f"place {names} by hand in the folder {source.name}/ of the folder that PORTANET_DATA names"
    if given := os.environ.get("PORTANET_DATA"):
        by_hand += f", {given!r}"
    if not find_spec("pooch"):
        raise ImportError(f"downloading {url} needs pooch: pip install 'portanet[experiments]', or {by_hand}")
    import pooch

    folder = Path(pooch.os_cache("portanet"), source.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Files are moved into the cache only after they were verified.
        with TemporaryDirectory(dir=folder) as temporary:
            download = _limited(_max_packed_bytes(max_bytes))
            path = Path(pooch.retrieve(url, file.gz_sha256, file.name, temporary, downloader=download))
            array = _verified(path, source, file, decode, max_bytes)
            if source.licence:
                (path.parent / "LICENSE").write_text(source.licence, encoding="utf-8")
            for complete in path.parent.iterdir():
                complete.replace(folder / complete.name)
    except (OSError, ValueError) as error:
        # Messages of network errors have about 400 characters; the traceback shows them.
        reason = f"({type(error).__name__})"
        if isinstance(error, ValueError):
            reason = error.fault if isinstance(error, FileFormatError) else str(error)
        raise DatasetError(f"could not download {url}: {reason}; {by_hand}") from error
    return array


def _limited(max_bytes: int) -> Callable[[str, str, Any], None]:
    """Return a downloader for pooch that stops a server that sends more than a number of bytes."""

    class Limited(io.FileIO):
        def write(self, data: Any, /) -> int:
            if self.tell() + len(data) > max_bytes:
                raise ValueError(f"expected at most {max_bytes} bytes, the server sends more")
            return super().write(data)

    def download(url: str, output_file: str, pooch: Any) -> None:
        from pooch import HTTPDownloader

        with Limited(output_file, "w") as file:
            HTTPDownloader(progressbar=find_spec("tqdm") is not None)(url, file, pooch)

    return download
