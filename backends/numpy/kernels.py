"""Kernels of ``portanet.kernels`` tuned for NumPy; tests hold each against the portable form of the same name."""

import math
import threading
from functools import cache
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.layout import batch_last, lay_batch_last, lies_batch_last
from portanet.typing import Array


class _Generators(threading.local):
    """One generator a thread: to construct one draws entropy and takes 8 µs, to set its state takes 1."""

    def __init__(self) -> None:
        self.philox = np.random.Philox()


_generators = _Generators()


def random_bits(stream: np.ndarray, n: int) -> np.ndarray:
    """NumPy's own Philox, four integers a word: 1 ms for a million, where the portable form takes 17."""
    key, counter = stream.tolist()
    state: Any = {  # the stubs want arrays in it; tuples are taken too, and faster
        "bit_generator": "Philox",
        "state": {"counter": (0, counter, 0, 0), "key": (key, 0)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # nothing is left in the buffer
        "has_uint32": 0,
        "uinteger": 0,
    }
    _generators.philox.state = state
    return _generators.philox.random_raw(-(-n // 4)).view(np.uint16)[:n]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Four passes in place, where the portable form takes several; exp may become infinity, and 1 / y 0."""
    y = np.empty_like(x)
    np.negative(x, out=y)
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += 1.0
    np.reciprocal(y, out=y)
    return y


def linear(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A batch that lies last is laid so again: for batches of less than 100, a quarter faster than rows."""
    last = x.ndim == 2 and x.strides[0] < x.strides[1] and x.flags.f_contiguous
    y: np.ndarray = np.matmul(w.T, x.T).T if last else np.matmul(x, w)
    return y


def matmul_into(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """BLAS writes where it is told."""
    np.matmul(a, b, out=out)


def bias_add(x: np.ndarray, numbers: np.ndarray) -> None:
    """Rows of many numbers at a time: NumPy's loop over a few channels costs more than the additions."""
    if lies_batch_last(x):
        x, numbers = batch_last(x), numbers[:, None]
    if x.ndim > 2 and x.flags.c_contiguous:
        row = np.empty(x.shape[-2:], x.dtype)
        row[...] = numbers
        rows = x.reshape(-1, row.size)
        rows += row.reshape(-1)
    else:
        x += numbers


def bias_grad(x: np.ndarray, out: np.ndarray | None = None) -> Array:
    """A product with ones, where there is much: BLAS adds rows up several times faster than NumPy does."""
    if x.ndim > 2 and x.strides[0] == x.itemsize:  # maybe with gaps: a part of what lies so
        x = lay_batch_last(x)
    if x.ndim > 2 and lies_batch_last(x):
        sums = _sum_rows(batch_last(x).reshape(-1, x.shape[-1] * len(x)))
        return np.add.reduce(sums.reshape(-1, len(x)), axis=1, out=out)
    return _sum_rows(x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x, out)


def _sum_rows(rows: np.ndarray, out: np.ndarray | None = None) -> Array:
    if rows.size < 4096:
        return np.add.reduce(rows, out=out)
    ones = _ones(rows.dtype)[: len(rows)] if len(rows) <= ONES else np.ones(len(rows), rows.dtype)
    return np.matmul(ones, rows, out=out)


ONES = 2**16
"""Rows up to which ones are kept: to make them would take as long as a small product with them."""


@cache
def _ones(dtype: np.dtype[Any]) -> np.ndarray:
    ones = np.ones(ONES, dtype)
    ones.flags.writeable = False
    return ones


def sparse_softmax_cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes first: NumPy's loops are over examples then, not over a few classes."""
    n_classes = scores.shape[-1]
    flat = labels.reshape(-1)
    if not flat.size or flat.min() < 0 or flat.max() >= n_classes:
        result: tuple[np.ndarray, np.ndarray] = kernels.sparse_softmax_cross_entropy.portable(scores, labels)
        return result
    z = scores.reshape(-1, n_classes).T.copy()
    z -= z.max(axis=0)
    examples = np.arange(flat.size)
    chosen = z[flat, examples]
    np.exp(z, out=z)
    sums = z.sum(axis=0)
    z /= sums
    z[flat, examples] -= 1.0
    terms = np.log(sums) - chosen
    gradient = z.T if scores.flags.f_contiguous else z.T.copy()
    return terms.reshape(labels.shape), gradient.reshape(scores.shape)


def adam(  # noqa: PLR0917
    data: np.ndarray,
    grad: np.ndarray,
    gradients: np.ndarray,
    squares: np.ndarray,
    step: np.ndarray,
    rate: np.ndarray,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One array between, and Python's numbers."""
    step += 1.0
    change = np.square(grad)
    gradients *= betas[0]
    gradients += grad
    squares *= betas[1]
    squares += change
    take1, take2 = ((1 - b) / -math.expm1(step.item() * math.log(b)) if b else 1.0 for b in betas)
    root = math.sqrt(take2)
    _move(data, np.sqrt(squares, out=change), gradients, rate.item() * take1 / root, eps / root)


def rmsprop(  # noqa: PLR0917
    data: np.ndarray,
    grad: np.ndarray,
    square: np.ndarray,
    mean: np.ndarray | None,
    velocity: np.ndarray | None,
    rate: np.ndarray,
    rho: float,
    momentum: float,
    eps: float,
) -> None:
    """One array between; where it is centered or has a momentum, the portable form."""
    if mean is not None or velocity is not None:
        kernels.rmsprop.portable(data, grad, square, mean, velocity, rate, rho, momentum, eps)
        return
    change = np.square(grad)
    change -= square
    change *= 1 - rho
    square += change
    _move(data, np.sqrt(square, out=change), grad, rate.item(), eps)


def _move(data: np.ndarray, root: np.ndarray, direction: np.ndarray, rate: float, eps: float) -> None:
    """Take ``rate direction / (root + eps)`` off the data; the root is used up."""
    root += eps
    np.divide(direction, root, out=root)
    root *= rate
    data -= root
