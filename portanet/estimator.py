"""What KMeans and PCA share: where they compute, what they accept, and how results come back."""

from typing import Any

import numpy as np

from portanet.backends import Backend, backend_of, get_backend
from portanet.config import Configured
from portanet.kernels.distances import sum_of_squares
from portanet.typing import Array


class Estimator(Configured):
    """
    Base of what is fitted to a table of examples as a whole, without gradients.

    Names that end in an underscore are set by ``fit``, as in scikit-learn. What belongs to the fit stays on the device;
    what is computed for each example comes back as the examples came, NumPy for host data.

    Parameters
    ----------
    device : str, optional
        Where to compute; by default where the data are, and for host data the default device.
    """

    def __init__(self, device: str | Backend | None):
        self.device = None if device is None else get_backend(device).name

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is not set.
        fitted = name.endswith("_") and not name.startswith("_")
        why = "it is not fitted, call fit(x) first" if fitted else "there is no such attribute"
        raise AttributeError(f"{type(self).__name__} has no {name}: {why}", name=name, obj=self)

    def _place(self, x: Any) -> tuple[Backend, Array]:
        """Bring examples to where they are to be fitted; float32 and float64 are kept, others become float32."""
        on_host = isinstance(x, np.ndarray) or not hasattr(x, "device")
        backend = get_backend(self.device) if self.device or on_host else backend_of(x)
        rows = backend.asarray(x)
        wide = rows.dtype == backend.xp.float64
        return backend, _checked("x", backend, rows, backend.xp.float64 if wide else backend.xp.float32)

    def _place_beside(self, x: Any, fitted: Array, *, name: str = "x") -> tuple[Backend, Array]:
        """Bring rows to a fitted array with rows of the same length, and to its dtype."""
        backend = backend_of(fitted)
        rows = _checked(name, backend, backend.asarray(x), fitted.dtype)
        if rows.shape[1] != fitted.shape[1]:
            raise ValueError(f"{name} must have shape (N, {fitted.shape[1]}), as in the fit, got {tuple(rows.shape)}")
        return backend, rows


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
        rows = xp.astype(rows, dtype, copy=False)
        if not bool(xp.isfinite(sum_of_squares(rows))):
            raise ValueError(f"{name} holds NaN, infinity or numbers too large to square: remove or scale these")
    return rows


def like_input(backend: Backend, x: Any, result: Array) -> Any:
    """Return a result as its input came: a NumPy array for host data, else on the device."""
    return result if isinstance(x, backend.array_type) else backend.to_numpy(result)
