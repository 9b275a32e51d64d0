"""Base class of KMeans and PCA: devices, checks of the data, and results on the host or the device."""

import math
from typing import Any, Self

import numpy as np

from portanet import kernels
from portanet.backends import Backend, as_array, backend_of, get_backend, is_host_data, like
from portanet.checks import Checked, optional
from portanet.config import Configured
from portanet.typing import Array


def _check_device(name: str, value: Any) -> str:
    return get_backend(value).name


class Estimator(Configured):
    """
    Base class of models that are fitted to all examples at once, without gradients.

    As in scikit-learn, attributes that end in an underscore are set by ``fit``, and ``y`` is ignored: pipelines pass
    it. Fitted arrays stay on the device. Results per example are NumPy arrays for host data, else on the device.

    Parameters
    ----------
    device : str, optional
        Device to compute on; by default that of the data, and for host data the default device.
    """

    device = Checked(optional(_check_device))

    def __init__(self, device: str | Backend | None):
        self.device = device

    def __getattr__(self, name: str) -> Any:
        # Called only for attributes that are not set.
        fitted = name.endswith("_") and not name.startswith("_")
        why = ": it is not fitted, call fit(x) first" if fitted else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name}{why}", name=name, obj=self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a pickle; joblib may have left the arrays in a file, which it maps into memory."""
        mapped = {name: np.asarray(value) for name, value in state.items() if isinstance(value, np.memmap)}
        vars(self).update({**state, **mapped})

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's default tags, which its pipelines need for ``predict``."""
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()

    def fit(self, x: Any, y: Any = None) -> Self:
        """Fit to examples, shape (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method fit(self, x, y=None)")

    def transform(self, x: Any) -> Any:
        """Transform examples, shape (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method transform(self, x)")

    def fit_transform(self, x: Any, y: Any = None) -> Any:
        """Fit to examples, and transform them; ``y`` is ignored."""
        return self.fit(x).transform(x)

    def _to_device(self, x: Any) -> tuple[Backend, Array, float]:
        """Return (backend, rows, scale): the examples as float32 or float64 on the device, divided by ``scale``."""
        x = as_array(x, name="x")
        try:
            backend = get_backend(self.device) if self.device or isinstance(x, np.ndarray) else backend_of(x)
        except ValueError:
            if self.device or not is_host_data(x):
                raise
            backend = get_backend()  # x is of a known library, but not on a device of its backend
        rows = backend.asarray(x, name="x")
        rows = _checked("x", backend, rows, _exact_dtype(backend.xp, rows.dtype))
        with backend.activate():
            scale = _finite_scale("x", backend, rows[0, ...], rows)
            return backend, rows if scale == 1.0 else rows / scale, scale

    def _to_device_of(
        self, fitted: Array, x: Any, *, origin: Array | float = 0.0, name: str = "x"
    ) -> tuple[Backend, Array, float]:
        """
        Return (backend, rows, scale): the rows on the device and in the dtype of a fitted array, after checks.

        Dividing all arrays by ``scale`` keeps the squares of differences to ``origin`` from overflowing or vanishing.
        """
        backend = backend_of(fitted)
        rows = _checked(name, backend, backend.asarray(x, name=name), fitted.dtype)
        if rows.shape[1] != fitted.shape[1]:
            raise ValueError(f"{name} must have shape (N, {fitted.shape[1]}), as in the fit, got {tuple(rows.shape)}")
        with backend.activate():
            return backend, rows, _finite_scale(name, backend, origin, rows, fitted)


def _exact_dtype(xp: Any, dtype: Any) -> Any:
    """Return float32 where it holds all numbers of a dtype, such as integers of 16 bits, else float64."""
    if xp.isdtype(dtype, "real floating"):
        return xp.float64 if xp.finfo(dtype).bits > 32 else xp.float32
    if xp.isdtype(dtype, "integral"):
        return xp.float64 if xp.iinfo(dtype).bits > 16 else xp.float32
    return xp.float32


def _checked(name: str, backend: Backend, rows: Array, dtype: Any) -> Array:
    xp = backend.xp
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"{name} must have shape (N, D), N examples of D numbers, got {tuple(rows.shape)}: "
            f"reshape images with x.reshape(len(x), -1)"
        )
    if xp.isdtype(rows.dtype, "complex floating"):
        raise ValueError(f"{name} has dtype {rows.dtype}: give real numbers")
    with backend.activate():
        floats = xp.astype(rows, dtype, copy=False)
        if xp.isdtype(rows.dtype, "integral") and xp.iinfo(rows.dtype).bits == 64 and dtype == xp.float64:
            lost = (xp.astype(floats, rows.dtype) != rows) | (floats >= float(xp.iinfo(rows.dtype).max))
            if bool(xp.any(lost)):
                first = int(xp.reshape(rows, (-1,))[int(xp.argmax(xp.reshape(xp.astype(lost, xp.int8), (-1,))))])
                raise ValueError(
                    f"{name} holds {first}, an integer that float64 rounds: subtract a number first, such as "
                    f"{name} - {name}[0], or give floats"
                )
    return floats


def _finite_scale(name: str, backend: Backend, origin: Array | float, rows: Array, *others: Array) -> float:
    """
    Check that rows are finite, and return a number to divide by before differences to ``origin`` are squared.

    It is 1 unless squares would overflow or vanish, else a power of two near the largest difference of rows and others.
    """
    xp, limits = backend.xp, backend.xp.finfo(rows.dtype)
    total = float(kernels.sum_of_squares(rows, origin))
    if float(limits.smallest_normal) / float(limits.eps) ** 2 < total < float(limits.max) * float(limits.eps):
        return 1.0
    if not bool(xp.all(xp.isfinite(rows))):
        raise ValueError(f"{name} holds NaN, infinity or numbers too large for {rows.dtype}: remove or scale these")
    halves = [float(xp.max(xp.abs(0.5 * a - 0.5 * origin))) for a in (rows, *others)]  # no difference overflows
    return 2.0 ** (math.frexp(max(halves))[1] - 1) if max(halves) > 0 else 1.0


def like_input(backend: Backend, x: Any, result: Array) -> Any:
    """Return a result in the library and on the device of the input; NumPy stands for all that are no arrays."""
    return like(x, backend.to_numpy(result) if is_host_data(x) else result)
