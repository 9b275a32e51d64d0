"""
Optimizer steps by the compiled kernels. Python computes scalars, such as bias corrections; the core updates arrays.

Arguments are those of the kernels of the same names in :mod:`portanet.kernels`: arrays first, then numbers. The core
raises ValueError for arrays that it does not take, before it changes any: the portable forms take those.
"""

import math
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled


def adam(*arguments: Any) -> None:
    """See :func:`portanet.kernels.adam`."""
    *arrays, step, lr, betas, eps = arguments
    n = step.item() + 1.0
    factor1, factor2 = ((1 - b) / -math.expm1(n * math.log(b)) if b else 1.0 for b in betas)
    root = math.sqrt(factor2)
    try:
        compiled.adam(*arrays, *betas, lr.item() * factor1 / root, eps / root)
    except ValueError:
        plain.adam(*arguments)
    else:
        step += 1.0


def sgd(*arguments: Any) -> None:
    """See :func:`portanet.kernels.sgd`."""
    *arrays, lr, momentum, nesterov = arguments
    try:
        compiled.sgd(*arrays, lr.item(), momentum, nesterov)
    except ValueError:
        kernels.sgd.portable(*arguments)


def rmsprop(*arguments: Any) -> None:
    """See :func:`portanet.kernels.rmsprop`."""
    *arrays, lr, alpha, momentum, eps = arguments
    try:
        compiled.rmsprop(*arrays, lr.item(), alpha, momentum, eps)
    except ValueError:
        plain.rmsprop(*arguments)


def adagrad(*arguments: Any) -> None:
    """See :func:`portanet.kernels.adagrad`."""
    *arrays, lr, eps = arguments
    try:
        compiled.adagrad(*arrays, lr.item(), eps)
    except ValueError:
        kernels.adagrad.portable(*arguments)


def add_scaled(x: np.ndarray, y: np.ndarray, factor: Any, out: np.ndarray | None = None) -> np.ndarray:
    """See :func:`portanet.kernels.add_scaled`."""
    result = np.empty_like(x) if out is None else out
    try:
        compiled.add_scaled(x, y, float(factor), result)
    except ValueError:
        portable: np.ndarray = kernels.add_scaled.portable(x, y, factor, out)
        return portable
    return result
