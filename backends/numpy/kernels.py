"""Kernels of ``portanet.kernels`` tuned for NumPy; each is tested against the portable form of the same name."""

import math
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.layout import (
    batch_last,
    in_layout_of,
    is_batch_last,
    is_batch_last_slice,
    to_batch_last,
)
from portanet.backends.numpy.process import compute_context, overflow_is_silent
from portanet.typing import Array

MIN_BLAS_SUM_ELEMENTS = 4096
"""Minimum elements of a sum over rows to compute it as a product with ones."""

MAX_DOT_ELEMENTS = 2**14
"""Maximum elements of a product for ``dot``, which calls BLAS 0.4 µs sooner than ``matmul`` but writes zeros first."""

MAX_NORM_ELEMENTS = 2**13
"""Maximum elements of one ``dot`` of a norm: BLAS divides longer ones among threads, whose number changes the sum."""

MAX_CACHED_ONES = 2**16
"""Maximum length of the cached vector of ones: to allocate it would take as long as a small product with it."""


def reduce_sum(x: np.ndarray, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
    """As ``numpy.sum``, which looks for subclasses and other types first: 1.9 µs for a few numbers, here 0.8."""
    return np.add.reduce(x, axis, dtype, keepdims=keepdims)


def reduce_max(x: np.ndarray, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    """As ``numpy.max``."""
    return np.maximum.reduce(x, axis, keepdims=keepdims)


def take(x: np.ndarray, indices: np.ndarray, /, *, axis: int | None = None) -> Any:
    """As ``numpy.take``, which copies the whole array first if it is not contiguous, such as a column of a table."""
    return x.take(indices, axis) if x.flags.c_contiguous or axis != 0 else x[indices]


class _Generators(threading.local):
    """One generator for each thread: construction takes 8 µs because it draws entropy, setting the state 1 µs."""

    def __init__(self) -> None:
        self.philox = np.random.Philox()


_generators = _Generators()


def random_bits(stream: np.ndarray, n: int, first: int = 0) -> np.ndarray:
    """Use NumPy's own Philox, four integers from each word: 1 ms for a million; the portable form takes 17 ms."""
    (key, counter), (begin, skipped) = stream.tolist(), divmod(first, 16)
    state: Any = {  # type stubs require arrays, but tuples work too and are faster
        "bit_generator": "Philox",
        "state": {"counter": (begin, counter, 0, 0), "key": (key, 0)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # nothing is left in the buffer
        "has_uint32": 0,
        "uinteger": 0,
    }
    _generators.philox.state = state
    return _generators.philox.random_raw(-(-(skipped + n) // 4)).view(np.uint16)[skipped : skipped + n]


def dropout(x: np.ndarray, bits: np.ndarray, keep: int) -> tuple[Array, Callable[[Array], Array]]:
    """Bring a mask to the memory order of x, which the products keep."""
    result: tuple[Array, Callable[[Array], Array]] = kernels.dropout.portable(
        x, in_layout_of(bits, x) if bits.shape == x.shape else bits, keep
    )
    return result


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute in place with one temporary array. exp(-x) may overflow to infinity, which gives 0."""
    y = np.empty_like(x)
    np.negative(x, y)
    if overflow_is_silent():
        np.exp(y, y)
    else:
        with compute_context():
            np.exp(y, y)
    y += 1.0
    np.reciprocal(y, y)
    return y


def linear(x: np.ndarray, w: np.ndarray) -> Array:
    """Keep Fortran order, a batch that is last in memory: 25 % faster for batches of fewer than 100 examples."""
    fortran = x.ndim == 2 and x.flags.f_contiguous and x.strides[0] < x.strides[1]
    if x.ndim == 2 and len(x) * w.shape[1] <= MAX_DOT_ELEMENTS:
        return w.T.dot(x.T).T if fortran else x.dot(w)
    return np.matmul(w.T, x.T).T if fortran else np.matmul(x, w)


def matmul_into(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Let BLAS write to ``out``."""
    if out.size > MAX_DOT_ELEMENTS:
        np.matmul(a, b, out=out)
        return
    try:
        a.dot(b, out)
    except ValueError:  # out has another dtype or layout than the product
        np.matmul(a, b, out=out)


def bias_add(x: np.ndarray, bias: np.ndarray) -> None:
    """Add rows of many elements at a time: NumPy's inner loop over a few channels costs more than the additions."""
    if x.ndim <= 2 or x.size == 0:
        x += bias
        return
    if is_batch_last(x):
        x, bias = batch_last(x), bias[:, None]
    if x.flags.c_contiguous:
        row = np.empty(x.shape[-2:], x.dtype)
        row[...] = bias
        rows = x.reshape(-1, row.size)
        rows += row.reshape(-1)
    else:
        x += bias


def bias_grad(dy: np.ndarray, out: np.ndarray | None = None) -> Array:
    """Multiply by ones if there are many elements: BLAS sums rows several times faster than NumPy."""
    if dy.ndim <= 2 or dy.size == 0:
        return _sum_rows(dy.reshape(math.prod(dy.shape[:-1]), dy.shape[-1]), out)
    if is_batch_last_slice(dy):
        dy = to_batch_last(dy)
    if is_batch_last(dy):
        sums = _sum_rows(batch_last(dy).reshape(-1, dy.shape[-1] * len(dy)))
        return np.add.reduce(sums.reshape(-1, len(dy)), axis=1, out=out)
    return _sum_rows(dy.reshape(-1, dy.shape[-1]), out)


def _sum_rows(rows: np.ndarray, out: np.ndarray | None = None) -> Array:
    if rows.size < MIN_BLAS_SUM_ELEMENTS:
        return np.add.reduce(rows, out=out)
    n, dtype = len(rows), rows.dtype
    return np.matmul(_ones(dtype)[:n] if n <= MAX_CACHED_ONES else np.ones(n, dtype), rows, out=out)


@cache
def _ones(dtype: np.dtype[Any]) -> np.ndarray:
    ones = np.ones(MAX_CACHED_ONES, dtype)
    ones.flags.writeable = False
    return ones


def sparse_softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the classes first: NumPy's inner loops are then over examples, not over a few classes."""
    n_classes = logits.shape[-1]
    flat = labels.reshape(-1)
    if not flat.size or flat.min() < 0 or flat.max() >= n_classes:
        result: tuple[np.ndarray, np.ndarray] = kernels.sparse_softmax_cross_entropy.portable(logits, labels)
        return result
    z = logits.reshape(-1, n_classes).T.copy()
    z -= z.max(axis=0)
    examples = np.arange(flat.size)
    true_logits = z[flat, examples]
    np.exp(z, out=z)
    sums = z.sum(axis=0)
    z /= sums
    z[flat, examples] -= 1.0
    losses = np.log(sums) - true_logits
    gradient = z.T if logits.flags.f_contiguous else z.T.copy()
    return losses.reshape(labels.shape), gradient.reshape(logits.shape)


def adam(  # noqa: PLR0917
    data: np.ndarray,
    grad: np.ndarray,
    grad_sum: np.ndarray,
    square_sum: np.ndarray,
    step: np.ndarray,
    lr: np.ndarray,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Use one temporary array, and Python floats for scalars."""
    step += 1.0
    change = np.square(grad)
    grad_sum *= betas[0]
    grad_sum += grad
    square_sum *= betas[1]
    square_sum += change
    factor1, factor2 = ((1 - b) / -math.expm1(step.item() * math.log(b)) if b else 1.0 for b in betas)
    root = math.sqrt(factor2)
    _update(data, np.sqrt(square_sum, out=change), grad_sum, lr.item() * factor1 / root, eps / root)


def rmsprop(  # noqa: PLR0917
    data: np.ndarray,
    grad: np.ndarray,
    square: np.ndarray,
    mean: np.ndarray | None,
    velocity: np.ndarray | None,
    lr: np.ndarray,
    alpha: float,
    momentum: float,
    eps: float,
) -> None:
    """Use one temporary array; the centered form, and momentum, use the portable form."""
    if mean is not None or velocity is not None:
        kernels.rmsprop.portable(data, grad, square, mean, velocity, lr, alpha, momentum, eps)
        return
    change = np.square(grad)
    change -= square
    change *= 1 - alpha
    square += change
    _update(data, np.sqrt(square, out=change), grad, lr.item(), eps)


def embedding_gradient(dy: np.ndarray, ids: np.ndarray, n_rows: int) -> np.ndarray:
    """Sort the rows by their ids, and add up each run of equal ones."""
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    inside = slice(*np.searchsorted(sorted_ids, [0, n_rows]))
    order, sorted_ids = order[inside], sorted_ids[inside]
    table = np.zeros((n_rows, dy.shape[1]), dy.dtype)
    if len(order):
        starts = np.flatnonzero(np.diff(sorted_ids, prepend=-1))
        table[sorted_ids[starts]] = np.add.reduceat(dy[order], starts, axis=0)
    return table


def norm(x: np.ndarray) -> np.ndarray:
    """Use BLAS piece by piece, unless a square overflows, or all underflow. A norm beyond float32 is a float64."""
    with np.errstate(over="ignore"):
        if len(x) <= MAX_NORM_ELEMENTS:
            squares = x.dot(x)
        else:
            n = len(x) - len(x) % MAX_NORM_ELEMENTS
            pieces, rest = x[:n].reshape(-1, MAX_NORM_ELEMENTS), x[n:]
            squares = np.add.reduce(np.vecdot(pieces, pieces)) + rest.dot(rest)
    if np.finfo(x.dtype).tiny < squares < math.inf:
        root: np.ndarray = np.sqrt(squares)
        return root
    with np.errstate(over="ignore"):
        norm: np.ndarray = kernels.norm.portable(x)
    if norm == math.inf:  # the norm itself exceeds float32
        norm = np.sqrt(np.square(x, dtype=np.float64).sum())
    return norm


def _update(data: np.ndarray, root: np.ndarray, direction: np.ndarray, lr: float, eps: float) -> None:
    """``data -= lr direction / (root + eps)`` in place; ``root`` is overwritten."""
    root += eps
    np.divide(direction, root, out=root)
    root *= lr
    data -= root
