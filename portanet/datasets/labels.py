"""Classes as vectors."""

from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends import backend_of
from portanet.checks import check_dtype
from portanet.typing import Array


def one_hot(labels: Any, n_classes: int, dtype: str = "float32") -> Array:
    """
    Rows of a unit matrix, one for each label: the targets of losses that compare number by number.

    Parameters
    ----------
    labels : array_like of int, any shape
        Class indices, from 0 to ``n_classes - 1``.
    n_classes : int
        C, the length of a row.
    dtype : {"float32", "float64"}
        Of the rows.

    Returns
    -------
    array, shape (*labels.shape, C)
        Where the labels are; NumPy for lists.

    Raises
    ------
    ValueError
        If a label is no class index. They are read back for that: inside a training step, use
        :func:`portanet.kernels.one_hot`.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = labels if hasattr(labels, "device") else np.asarray(labels)
    backend = backend_of(labels)
    xp = backend.xp
    if not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(f"labels must be whole numbers, got dtype {labels.dtype}")
    with backend.activate():
        if bool(xp.any((labels < 0) | (labels >= n_classes))):
            raise ValueError(f"labels must be from 0 to n_classes - 1 = {n_classes - 1}, but some are not")
        return kernels.one_hot(labels, n_classes, getattr(xp, check_dtype(dtype)))
