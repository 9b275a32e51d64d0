"""Find the file of a data set on this machine or on the net, and read nothing but the published content from it."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Decoder = Callable[[bytes, tuple[int, ...], int], np.ndarray]


class DatasetError(OSError):
    """The file of a data set could not be had, or is not the published one."""


@dataclass(frozen=True)
class File:
    """
    A published file, which decodes to one array.

    Parameters
    ----------
    name : str
        File name with ``.gz``.
    shape : tuple of int
        Shape of the decoded array.
    sha256 : str
        Of the decoded array's bytes, C order, little-endian.
    gz_sha256 : str, optional
        Of the file as published, where it is known; checked at download.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str
    gz_sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """
    Where a data set comes from and how it is read.

    Parameters
    ----------
    name : str
        Name of the data set and of its folder.
    reader : callable
        ``reader(source, raw)`` gives x_train, y_train, x_test, y_test: images without channel axis, labels uint8.
    classes : tuple of str
        Class names in label order.
    url : str
        Address that file names are appended to.
    files : tuple of File
        In the order that the reader expects.
    licence : str
        Licence text that must travel with copies.
    """

    name: str
    reader: Callable[["Source", bool], Arrays]
    classes: tuple[str, ...]
    url: str = ""
    files: tuple[File, ...] = ()
    licence: str = ""


def read(source: Source, file: File, decode: Decoder) -> np.ndarray:
    """
    Read the verified content of a file, downloading it if need be.

    Parameters
    ----------
    source : Source
        The data set.
    file : File
        One of ``source.files``.
    decode : callable
        ``decode(content, file.shape, n_classes)`` gives the array, or raises ValueError saying what it expected and
        found.

    Returns
    -------
    array of shape ``file.shape``
        A new array, writable.

    Raises
    ------
    DatasetError
        If the file found is not the published one, if PORTANET_DATA names no folder, or if the download fails.
    ImportError
        If the file must be downloaded and pooch is missing.
    """
    for folder in _folders():
        for path in (folder / source.name / file.name, folder / source.name / file.name.removesuffix(".gz")):
            if path.is_file():
                try:
                    return _verified(path, source, file, decode)
                except ValueError as error:
                    fix = f"delete it or replace it with {source.url}{file.name}"
                    raise DatasetError(f"{path} is not the published file: {error}; {fix}") from error
    return _download(source, file, decode)


def _folders() -> Iterator[Path]:
    if given := os.environ.get("PORTANET_DATA"):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise DatasetError(f"PORTANET_DATA is {given!r}, which is not a folder: create it, or unset PORTANET_DATA")
        yield folder
    if find_spec("pooch"):
        import pooch

        yield Path(pooch.os_cache("portanet"))


def _verified(path: Path, source: Source, file: File, decode: Decoder) -> np.ndarray:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"expected a complete gzip file, found: {error}") from error
    array = decode(content, file.shape, len(source.classes))
    found = hashlib.sha256(array.ravel().data).hexdigest()
    if found != file.sha256:
        raise ValueError(f"expected decoded content with sha256 {file.sha256}, found {found}")
    return array


def _download(source: Source, file: File, decode: Decoder) -> np.ndarray:
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
        # A file leaves the temporary folder only after it was read and verified.
        with TemporaryDirectory(dir=folder) as temporary:
            progress = find_spec("tqdm") is not None
            path = Path(pooch.retrieve(url, file.gz_sha256, file.name, temporary, progressbar=progress))
            array = _verified(path, source, file, decode)
            if source.licence:
                (path.parent / "LICENSE").write_text(source.licence, encoding="utf-8")
            for done in path.parent.iterdir():
                done.replace(folder / done.name)
    except (OSError, ValueError) as error:
        # What went wrong on the net takes 400 characters to say; the traceback has them.
        reason = str(error) if isinstance(error, ValueError) else f"({type(error).__name__})"
        raise DatasetError(f"could not download {url}: {reason}; {by_hand}") from error
    return array
