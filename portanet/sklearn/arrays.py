"""What estimators of scikit-learn do with the arrays of other libraries: read them, and answer in the same kind."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from portanet.backends import (
    Backend,
    SparseRows,
    backend_of,
    get_backend,
    host_array,
    is_host_data,
    is_sparse,
    namespace,
)
from portanet.typing import Array

P = ParamSpec("P")
R = TypeVar("R")


def keeps_last_fit(fit: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let a method that fits leave the attributes of the estimator as they were if it raises."""

    @wraps(fit)
    def run(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return run


class ArrayEstimator(BaseEstimator):
    """
    Base of the estimators: data of any library, answers in the same library, dtype and device.

    Without scikit-learn's ``array_api_dispatch``, all data become NumPy arrays, as in scikit-learn.
    """

    n_features_in_: int
    _n_features_out: int
    _kind: tuple[str, str]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def _checked(self, X: Any, *, method: str = "fit", **options: Any) -> Any:
        """Return X, or (X, y) with ``y`` among the options, as scikit-learn's checks leave them."""
        if method != "fit":
            check_is_fitted(self)
            options["reset"] = False
        checked = validate_data(self, X, **options)
        x = checked[0] if isinstance(checked, tuple) else checked
        if method == "fit":
            self._kind = _kind(x)
        else:
            self._check_kind(x, method)
        return checked

    def _checked_codes(self, X: Any) -> Any:
        """Return X for ``inverse_transform``: rows that ``transform`` could have returned."""
        check_is_fitted(self)
        X, width = check_array(X), self._n_features_out
        self._check_kind(X, "inverse_transform")
        if X.shape[1] != width:
            raise ValueError(f"X must have shape (N, {width}), like the output of transform, got {tuple(X.shape)}")
        return X

    def _check_kind(self, x: Any, method: str) -> None:
        found = _kind(x)
        if get_config()["array_api_dispatch"] and found != self._kind:
            raise ValueError(
                f"{type(self).__name__}.{method}() must use the same namespace and device as fit: X is of "
                f"{' on '.join(found)}, but that of fit was of {' on '.join(self._kind)}"
            )


def _kind(x: Any) -> tuple[str, str]:
    """Return the names of the library and the device of an array; sparse arrays are NumPy's."""
    if is_numpy_array(x) or is_sparse(x):
        return "numpy", "cpu"
    return array_namespace(x).__name__.removeprefix("array_api_compat."), str(device(x))


def backend_for(x: Any, chosen: str | Backend | None) -> Backend:
    """Return the backend to compute on: the chosen one, else that of the data, and for host data the default one."""
    return get_backend(chosen) if chosen is not None or is_host_data(x) else backend_of(x)


def to_backend(x: Any, backend: Backend) -> Array:
    """
    Return data of any library on the device of a backend, in float32 if they are so, else in float64.

    Sparse data stay sparse: their rows become dense batch by batch.
    """
    if is_sparse(x):
        return SparseRows(x if x.dtype == np.float32 else x.astype("float64"), name="X")
    values = x if isinstance(x, backend.array_type) else to_numpy(x)
    return backend.asarray(values, dtype_name(values), name="X")


def dtype_name(x: Array) -> str:
    """Return "float32" for an array of that dtype, and "float64" for others."""
    return "float32" if x.dtype == namespace(x).float32 else "float64"


def to_numpy(values: Any) -> np.ndarray:
    """Return an array of any library on the host; labels may be texts."""
    if isinstance(values, np.ndarray) or not hasattr(values, "device"):
        return np.asarray(values)
    return host_array(values) if is_host_data(values) else backend_of(values).to_numpy(values)


def like(x: Any, values: Array, backend: Backend | None = None) -> Any:
    """Return an array of a backend, or of NumPy, as an array of the library and device of x."""
    if backend is not None:
        if isinstance(x, backend.array_type):
            return values
        values = backend.to_numpy(values)
    if is_numpy_array(x) or is_sparse(x) or values.dtype.kind not in "biuf":
        return values
    return array_namespace(x).asarray(values, device=device(x))
