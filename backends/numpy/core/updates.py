"""
Optimizer steps by the compiled kernels. Python computes scalars, such as bias corrections; the core updates arrays.

Arguments are those of the kernels of the same names in :mod:`portanet.kernels`: arrays first, then numbers.
"""

import math
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import is_supported


def adam(*arguments: Any) -> None:
    """See :func:`portanet.kernels.adam`."""
    *arrays, step, lr, betas, eps = arguments
    if not _takes(*arrays):
        plain.adam(*arguments)
        return
    step += 1.0
    factor1, factor2 = ((1 - b) / -math.expm1(step.item() * math.log(b)) if b else 1.0 for b in betas)
    root = math.sqrt(factor2)
    compiled.adam(*arrays, *betas, lr.item() * factor1 / root, eps / root)


def sgd(*arguments: Any) -> None:
    """See :func:`portanet.kernels.sgd`."""
    *arrays, lr, momentum, nesterov = arguments
    if _takes(*arrays):
        compiled.sgd(*arrays, lr.item(), momentum, nesterov)
    else:
        kernels.sgd.portable(*arguments)


def rmsprop(*arguments: Any) -> None:
    """See :func:`portanet.kernels.rmsprop`."""
    *arrays, lr, rho, momentum, eps = arguments
    if _takes(*arrays):
        compiled.rmsprop(*arrays, lr.item(), rho, momentum, eps)
    else:
        plain.rmsprop(*arguments)


def adagrad(*arguments: Any) -> None:
    """See :func:`portanet.kernels.adagrad`."""
    *arrays, lr, eps = arguments
    if _takes(*arrays):
        compiled.adagrad(*arrays, lr.item(), eps)
    else:
        kernels.adagrad.portable(*arguments)


def add_scaled(x: np.ndarray, y: np.ndarray, factor: Any, out: np.ndarray | None = None) -> np.ndarray:
    """See :func:`portanet.kernels.add_scaled`."""
    if not _takes(x, y, out):
        portable: np.ndarray = kernels.add_scaled.portable(x, y, factor, out)
        return portable
    result = np.empty_like(x) if out is None else out
    compiled.add_scaled(x, y, float(factor), result)
    return result


def _takes(data: np.ndarray, *others: np.ndarray | None) -> bool:
    """Whether the core updates these arrays."""
    if data.ndim != 1 or not is_supported(data, *others):
        return False
    return all([array is None or array.flags.c_contiguous for array in (data, *others)])
