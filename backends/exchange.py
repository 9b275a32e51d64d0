"""Data of other libraries: taken from their memory through DLPack, sparse rows made dense, results given back."""

from typing import Any

import array_api_compat
import numpy as np

from portanet.backends.host import has_device, host_array

_CPU = 1  # kDLCPU of dlpack.h


class SparseRows:
    """
    Rows of a SciPy sparse matrix, which become dense when they are taken.

    It is what training and inference need of a host array: shape, dtype, and some rows at a time.

    Parameters
    ----------
    matrix : sparse matrix or array, shape (N, D)
    name : str
        Name of the argument, for messages.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> rows = SparseRows(csr_array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]), name="x")
    >>> rows.shape, rows[1:, ...]
    ((3, 2), array([[2., 0.],
           [0., 0.]]))
    """

    def __init__(self, matrix: Any, *, name: str):
        self._matrix, self._name = matrix.tocsr(), name
        self.shape: tuple[int, ...] = tuple(matrix.shape)
        self.ndim, self.dtype = len(self.shape), self[:0].dtype
        self.nbytes = self.shape[0] * self.shape[1] * self.dtype.itemsize  # once all rows are dense

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = index[0] if isinstance(index, tuple) else index
        return host_array(self._matrix[rows].toarray(), name=self._name)

    def toarray(self) -> np.ndarray:
        """Return all rows."""
        return self[:]

    def tocsr(self) -> Any:
        """Return the matrix."""
        return self._matrix


def is_sparse(values: Any) -> bool:
    """Whether values are a sparse matrix or array of SciPy."""
    return hasattr(values, "tocsr")


def adopt(values: Any, xp: Any, device: Any) -> Any | None:
    """
    Return an array of another library that is in the memory of a device as an array of ``xp``, without a copy.

    None means that it is elsewhere, or that its library has no DLPack.
    """
    if not hasattr(values, "__dlpack_device__"):
        return None
    of_values, of_device = (tuple(map(int, a.__dlpack_device__())) for a in (values, xp.empty(0, device=device)))
    return xp.from_dlpack(values) if of_values == of_device and of_values[0] != _CPU else None


def like(given: Any, result: Any) -> Any:
    """
    Return a result as an array of the library and device of the input; NumPy stands for all that are no arrays.

    Examples
    --------
    >>> like([1.0], np.asarray([2.0]))
    array([2.])
    """
    if type(result) is type(given) or not has_device(given):
        return result
    xp = array_api_compat.array_namespace(given)
    if isinstance(result, np.ndarray):
        return xp.asarray(result, device=array_api_compat.device(given))
    return xp.from_dlpack(result)
