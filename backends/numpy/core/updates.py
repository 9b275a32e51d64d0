"""Optimizer steps by the compiled kernels; Python computes what is one number for all elements."""

import math

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled


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
    """See :func:`portanet.kernels.adam`."""
    if not _takes(data, grad, grad_sum, square_sum):
        plain.adam(data, grad, grad_sum, square_sum, step, lr, betas, eps)
        return
    step += 1.0
    factor1, factor2 = ((1 - b) / -math.expm1(step.item() * math.log(b)) if b else 1.0 for b in betas)
    root = math.sqrt(factor2)
    compiled.adam(data, grad, grad_sum, square_sum, *betas, lr.item() * factor1 / root, eps / root)


def sgd(  # noqa: PLR0917
    data: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: np.ndarray, momentum: float, nesterov: bool
) -> None:
    """See :func:`portanet.kernels.sgd`."""
    if _takes(data, grad, velocity):
        compiled.sgd(data, grad, velocity, lr.item(), momentum, nesterov)
    else:
        kernels.sgd.portable(data, grad, velocity, lr, momentum, nesterov)


def rmsprop(  # noqa: PLR0917
    data: np.ndarray,
    grad: np.ndarray,
    square: np.ndarray,
    mean: np.ndarray | None,
    velocity: np.ndarray | None,
    lr: np.ndarray,
    rho: float,
    momentum: float,
    eps: float,
) -> None:
    """See :func:`portanet.kernels.rmsprop`."""
    if _takes(data, grad, square, mean, velocity):
        compiled.rmsprop(data, grad, square, mean, velocity, lr.item(), rho, momentum, eps)
    else:
        plain.rmsprop(data, grad, square, mean, velocity, lr, rho, momentum, eps)


def _takes(data: np.ndarray, *others: np.ndarray | None) -> bool:
    """Whether the core updates these arrays."""
    if data.dtype.char not in "fd" or data.ndim != 1 or not data.flags.c_contiguous:
        return False
    for other in others:
        if other is not None and (other.dtype != data.dtype or not other.flags.c_contiguous):
            return False
    return True
