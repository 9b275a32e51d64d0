"""The 8 x 8 digits that scikit-learn carries."""

import numpy as np

from portanet.datasets.fetch import Arrays, Source

MAX_COUNT = 16  # a pixel counts the inked points of a 4 x 4 block


def read_digits(source: Source, raw: bool) -> Arrays:
    """
    Images and labels, 1437 for training and 360 for test.

    The set comes in one piece: `sklearn.model_selection.train_test_split` takes the test images, stratified by class
    and with ``random_state=0``.

    Parameters
    ----------
    source : Source
        The data set.
    raw : bool
        Leave the images uint8 0..16 instead of float32 0..1.

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
