"""One-hot encoding of class labels."""

from typing import Any

from portanet import kernels
from portanet.backends import as_array, backend_of
from portanet.checks import check_count, check_dtype
from portanet.typing import Array


def one_hot(labels: Any, n_classes: int, dtype: str = "float32") -> Array:
    """
    One-hot rows, the targets of elementwise losses such as :class:`portanet.MSELoss`.

    Parameters
    ----------
    labels : array_like of int, any shape
        Class indices in ``[0, n_classes)``.
    n_classes : int
        C.
    dtype : {"float32", "float64"}
        Dtype of the result.

    Returns
    -------
    array, shape ``(*labels.shape, C)``
        On the device of the labels; NumPy for lists.

    Raises
    ------
    ValueError
        If a label is not in ``[0, n_classes)``. This check copies from the device to the host: inside a training step,
        use ``portanet.kernels.one_hot``.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    n_classes = check_count("n_classes", n_classes)
    labels = as_array(labels, name="labels")
    backend = backend_of(labels, name="labels")
    xp = backend.xp
    if not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(f"labels must be integers, got dtype {labels.dtype}")
    with backend.activate():
        indices = xp.astype(labels, xp.int64, copy=False)  # n_classes may be no number of the labels' dtype
        if bool(xp.any((indices < 0) | (indices >= n_classes))):
            raise ValueError(f"labels must be in [0, {n_classes}), but some are not")
        return kernels.one_hot(labels, n_classes, getattr(xp, check_dtype(dtype)))
