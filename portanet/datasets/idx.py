"""
The IDX format of MNIST and Fashion-MNIST, for bytes.

A header of big-endian 32-bit integers (the magic number 2048 + number of axes, then the length of each axis), then the
values.
"""

import math
import struct

import numpy as np

from portanet.datasets.fetch import Arrays, Source, read

UBYTE = 0x0800


def read_idx(source: Source, raw: bool) -> Arrays:
    """
    Read four IDX files: training images, training labels, test images, test labels.

    Parameters
    ----------
    source : Source
        The data set.
    raw : bool
        Images as uint8 0..255 instead of float32 0..1.

    Returns
    -------
    x_train, y_train, x_test, y_test : arrays of shapes (N, H, W), (N,), (M, H, W), (M,)
        Labels are uint8.
    """
    x_train, y_train, x_test, y_test = (read(source, file, decode, _n_bytes(file.shape)) for file in source.files)
    if not raw:
        x_train, x_test = (np.divide(x, 255, dtype=np.float32) for x in (x_train, x_test))
    return x_train, y_train, x_test, y_test


def _n_bytes(shape: tuple[int, ...]) -> int:
    return 4 * (1 + len(shape)) + math.prod(shape)


def decode(content: bytes, shape: tuple[int, ...], n_classes: int) -> np.ndarray:
    """
    Decode an IDX file.

    Parameters
    ----------
    content : bytes
        The decompressed file.
    shape : tuple of int
        Expected shape; one axis means labels.
    n_classes : int
        Labels must be less than this.

    Returns
    -------
    array of uint8
        Writable.

    Raises
    ------
    ValueError
        If the content differs; the message says what was expected and found.

    Examples
    --------
    >>> decode(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), (3,), 10)
    array([7, 2, 1], dtype=uint8)
    """
    header = struct.Struct(f">{1 + len(shape)}I")
    if len(content) < header.size:
        raise ValueError(f"expected an IDX header of {header.size} bytes, found {len(content)} bytes")
    magic, *lengths = header.unpack_from(content)
    if magic != UBYTE + len(shape):
        raise ValueError(f"expected magic number {UBYTE + len(shape)}, found {magic}")
    if tuple(lengths) != shape:
        raise ValueError(f"expected an array of shape {shape}, found {tuple(lengths)}")
    if len(content) - header.size != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} values, found {len(content) - header.size}")
    array = np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)
    if len(shape) == 1 and array.max() >= n_classes:
        raise ValueError(f"expected labels below {n_classes}, found {array.max()}")
    return array.copy()  # frombuffer gives a read-only view
