"""
The text format of USPS: one image per line, its label, then its pixels row by row from -1 (background) to 1 (ink).

All values are multiples of 0.001. They are decoded to integer thousandths, so that the sha256 is exact.
"""

import math

import numpy as np

from portanet.datasets.fetch import Arrays, File, Source, read

SIDE = 16
MAX_BYTES_PER_NUMBER = 16
"""Maximum length of a number with the white space after it: it is 8 bytes, and copies differ in white space."""


def read_usps(source: Source, raw: bool) -> Arrays:
    """
    Read the training and the test file.

    Parameters
    ----------
    source : Source
        The data set.
    raw : bool
        Images in [-1, 1] instead of [0, 1].

    Returns
    -------
    x_train, y_train, x_test, y_test : arrays of shapes (N, 16, 16), (N,), (M, 16, 16), (M,)
        Images are float32, scaled in float64; labels are uint8.
    """
    train, test = (_images_and_labels(_table(source, file), raw) for file in source.files)
    return *train, *test


def _table(source: Source, file: File) -> np.ndarray:
    return read(source, file, decode, MAX_BYTES_PER_NUMBER * math.prod(file.shape))


def _images_and_labels(thousandths: np.ndarray, raw: bool) -> tuple[np.ndarray, np.ndarray]:
    values = thousandths[:, 1:].reshape(-1, SIDE, SIDE) / 1000
    x = values if raw else (values + 1) / 2
    return x.astype(np.float32), (thousandths[:, 0] // 1000).astype(np.uint8)


def decode(content: bytes, shape: tuple[int, ...], n_classes: int) -> np.ndarray:
    r"""
    Decode a USPS file.

    Parameters
    ----------
    content : bytes
        The decompressed file.
    shape : tuple of int
        Expected (number of images, 1 + number of pixels).
    n_classes : int
        Labels must be less than this.

    Returns
    -------
    array of int16, little-endian
        Label and pixels of each image, in thousandths.

    Raises
    ------
    ValueError
        If the content differs; the message says what was expected and found.

    Examples
    --------
    >>> decode(b"6.0000 -1.0000 -0.6310\n3 0.5 1\n", (2, 3), 10)
    array([[ 6000, -1000,  -631],
           [ 3000,   500,  1000]], dtype=int16)
    """
    lines = [line for line in content.decode("ascii").splitlines() if line.strip()]  # copies differ in white space
    if len(lines) != shape[0]:
        raise ValueError(f"expected {shape[0]} lines, found {len(lines)}")
    table = np.loadtxt(lines, comments=None, ndmin=2)
    if table.shape != shape:
        raise ValueError(f"expected {shape[0]} lines of {shape[1]} numbers, found {table.shape[0]} of {table.shape[1]}")
    labels, pixels = table[:, 0], table[:, 1:]
    if not np.all((labels >= 0) & (labels < n_classes)):
        raise ValueError(f"expected labels from 0 to {n_classes - 1}, found {labels.min()} to {labels.max()}")
    if not np.all(np.abs(pixels) <= 1):
        raise ValueError(f"expected pixels from -1 to 1, found {pixels.min()} to {pixels.max()}")
    return np.rint(1000 * table).astype("<i2")
