"""The 8 x 8 digits of scikit-learn."""

import numpy as np

from portanet.datasets.fetch import Arrays, Source

MAX_COUNT = 16  # a pixel is the number of ink points in a 4 x 4 block


def read_digits(source: Source, raw: bool) -> Arrays:
    """
    Images and labels, 1437 for training and 360 for test.

    scikit-learn has no separate test set: its ``train_test_split`` holds one out, stratified by class, with
    ``random_state=0``.

    Parameters
    ----------
    source : Source
        The data set.
    raw : bool
        Images as uint8 0..16 instead of float32 0..1.

    Returns
    -------
    x_train, y_train, x_test, y_test : arrays of shapes (1437, 8, 8), (1437,), (360, 8, 8), (360,)
        Labels are uint8.

    Raises
    ------
    ImportError
        If scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(f"{source.name} needs scikit-learn: pip install 'portanet[experiments]'") from error
    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    if not raw:
        x_train, x_test = (np.divide(x, MAX_COUNT, dtype=np.float32) for x in (x_train, x_test))
    return x_train, y_train, x_test, y_test
