"""
Image sets for examples and experiments, as NumPy arrays on the host.

=============  ==================  =======  =======  ==========================================
name           image               train    test     licence
=============  ==================  =======  =======  ==========================================
digits         8 x 8               1437     360      CC BY 4.0
mnist          28 x 28             60000    10000    none stated; CC BY-SA 3.0 according to Keras
fashion_mnist  28 x 28             60000    10000    MIT, (c) 2017 Zalando SE
usps           16 x 16             7291     2007     none stated
=============  ==================  =======  =======  ==========================================

"digits" comes with scikit-learn. For the others, `load` first searches the folder named by the environment variable
PORTANET_DATA (``$PORTANET_DATA/mnist/train-images-idx3-ubyte.gz``, with or without ``.gz``), then the user's cache;
files found in neither are downloaded into the cache. The decoded content of each file must have the published sha256.
`portanet.datasets.catalogue` lists files, URLs and papers.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portanet.checks import check_choice, check_flag
from portanet.datasets.batching import batches
from portanet.datasets.catalogue import SOURCES
from portanet.datasets.fetch import DatasetError
from portanet.datasets.labels import one_hot
from portanet.datasets.sequences import bucket_batches, pad_sequences
from portanet.datasets.splitting import train_test_split
from portanet.names import unknown_name

__all__ = [
    "Dataset",
    "DatasetError",
    "batches",
    "bucket_batches",
    "load",
    "names",
    "one_hot",
    "pad_sequences",
    "train_test_split",
]


@dataclass(frozen=True, eq=False)
class Dataset:
    """
    A training and a test set of labelled images.

    Parameters
    ----------
    name : str
        Name for `load`.
    x_train, x_test : array of float32, shape (N, H, W, 1)
        Images, channels-last: 0 is background, 1 is full ink. Loaded with ``raw``: shape (N, H, W), values as stored.
    y_train, y_test : array of int64, shape (N,)
        Class indices (uint8 if loaded with ``raw``).
    classes : tuple of str
        ``classes[y]`` is the name of class ``y``.

    Examples
    --------
    >>> digits = portanet.datasets.load("digits")
    >>> digits.x_test.shape, digits.classes[:3]
    ((360, 8, 8, 1), ('0', '1', '2'))
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        images = f"{self.x_train.shape[1:]} {self.x_train.dtype}"
        sizes = f"{len(self.x_train)} train, {len(self.x_test)} test"
        return f"Dataset({self.name}: {sizes}, x {images}, y {self.y_train.dtype}, {len(self.classes)} classes)"


def names() -> tuple[str, ...]:
    """
    Names of the data sets for `load`.

    Returns
    -------
    tuple of str
        The names.

    Examples
    --------
    >>> names()
    ('digits', 'mnist', 'fashion_mnist', 'usps')
    """
    return tuple(SOURCES)


def load(name: str, *, raw: bool = False) -> Dataset:
    """
    Load a data set; download it if it is neither in PORTANET_DATA nor in the user's cache.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist", "usps"}
        "digits" has no published test set: 20 % are held out, stratified by class, the same at every call.
    raw : bool
        Return the stored values without a channel axis: uint8 0..16 for digits, uint8 0..255 for mnist and
        fashion_mnist, float32 -1..1 for usps; labels as uint8.

    Returns
    -------
    Dataset
        New arrays: float32 images in [0, 1] of shape (N, H, W, 1) and int64 labels of shape (N,), unless ``raw``.

    Raises
    ------
    ValueError
        If no data set has this name, or ``raw`` is not True or False.
    DatasetError
        If a file is not the published one (then it is a :class:`portanet.FileFormatError` too), PORTANET_DATA is not a
        folder, or a download fails.
    ImportError
        If scikit-learn is missing for "digits", or pooch for a download.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits
    Dataset(digits: 1437 train, 360 test, x (8, 8, 1) float32, y int64, 10 classes)
    >>> float(digits.x_train.min()), float(digits.x_train.max())
    (0.0, 1.0)
    >>> digits.classes[digits.y_train[0]]
    '3'
    >>> int(load("digits", raw=True).x_train.max())
    16
    """
    source, raw = SOURCES[check_choice("name", name, choices=names())], check_flag("raw", raw)
    x_train, y_train, x_test, y_test = source.reader(source, raw)
    if not raw:
        x_train, x_test = x_train[..., np.newaxis], x_test[..., np.newaxis]
        y_train, y_test = y_train.astype(np.int64), y_test.astype(np.int64)
    return Dataset(name, x_train, y_train, x_test, y_test, source.classes)


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        raise unknown_name(__name__, name, __all__)
