"""
The text format of USPS: one image a line, its label, then its pixels row by row from -1 (background) to 1 (ink).

All values are multiples of 0.001, so a file is held, and its sha256 taken, in exact integers: thousandths.
"""

import numpy as np

from portanet.datasets.fetch import Arrays, Source, read

SIDE = 16


def read_usps(source: Source, raw: bool) -> Arrays:
    """
    Images and labels of USPS from its two files, for training and for test.

    Parameters
    ----------
    source : Source
        The data set.
    raw : bool
        Leave the images in [-1, 1] instead of [0, 1].

    Returns
    -------
    x_train, y_train, x_test, y_test : arrays of shapes (N, 16, 16), (N,), (M, 16, 16), (M,)
        Images are float32, computed in float64 and then rounded; labels are uint8.
    """
    train, test = (_split(read(source, file, decode), raw) for file in source.files)
    return *train, *test


def _split(thousandths: np.ndarray, raw: bool) -> tuple[np.ndarray, np.ndarray]:
    values = thousandths[:, 1:].reshape(-1, SIDE, SIDE) / 1000
    x = values if raw else (values + 1) / 2
    return x.astype(np.float32), (thousandths[:, 0] // 1000).astype(np.uint8)


def decode(content: bytes, shape: tuple[int, ...], n_classes: int) -> np.ndarray:
    r"""
    Table in a USPS file, in thousandths.

    Parameters
    ----------
    content : bytes
        The unpacked file.
    shape : tuple of int
        The shape it must have: (number of images, 1 + number of pixels).
    n_classes : int
        Labels must be below this.

    Returns
    -------
    array of int16, little-endian
        1000 times the label, then 1000 times each pixel.

    Raises
    ------
    ValueError
        If the content is anything else, saying what was expected and found.

    Examples
    --------
    >>> decode(b"6.0000 -1.0000 -0.6310\n3 0.5 1\n", (2, 3), 10)
    array([[ 6000, -1000,  -631],
           [ 3000,   500,  1000]], dtype=int16)
    """
    lines = content.decode("ascii").splitlines()
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
