"""Attention by the compiled kernels, one head of one example after another: no thread holds more than a few scores."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    is_causal: bool = False,
    drop: Callable[..., Any] | None = None,
    block_size: int | None = None,
) -> tuple[np.ndarray, Callable[[np.ndarray], tuple[np.ndarray, ...]]]:
    """See :func:`portanet.kernels.attention`; the portable form drops weights."""
    portable: Any = partial(
        kernels.attention.portable, q, k, v, mask=mask, is_causal=is_causal, drop=drop, block_size=block_size
    )
    if drop is not None:
        return portable()  # type: ignore[no-any-return]
    given = tuple(map(_heads, (q, k, v)))
    rows = None if mask is None else np.ascontiguousarray(mask)
    y, log_sums = _empty_like(given[0]), np.empty(given[0].shape[:3], q.dtype)
    try:
        compiled.attention(*given, rows, is_causal, y, log_sums)
    except ValueError:  # other dtypes or shapes, or no numbers
        return portable()  # type: ignore[no-any-return]

    def pullback(dy: np.ndarray) -> tuple[np.ndarray, ...]:
        gradients = tuple(map(_empty_like, given))
        for gradient in gradients[1:]:
            gradient[...] = 0.0
        dy = _heads(np.asarray(dy, q.dtype))
        compiled.attention_gradient(*given, rows, is_causal, log_sums, dy, *gradients)
        return tuple(gradient.reshape(x.shape) for gradient, x in zip(gradients, (q, k, v), strict=True))

    return y.reshape(q.shape), pullback


def _heads(x: np.ndarray) -> np.ndarray:
    """View an array (..., T, D) as (N, heads, T, D); copy it only if features are not side by side."""
    x = x if x.ndim == 4 else x.reshape(-1, 1, *x.shape[-2:])
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _empty_like(x: np.ndarray) -> np.ndarray:
    """Return an array (N, heads, T, D) whose heads are side by side, as the layers join them."""
    n, heads, length, features = x.shape
    return np.empty((n, length, heads, features), x.dtype).transpose(0, 2, 1, 3)
