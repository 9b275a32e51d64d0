"""Special functions by the compiled kernels, as programs of one operation."""

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core.elementwise import OPERATIONS, Program
from portanet.backends.numpy.core.memory import is_supported
from portanet.backends.numpy.layout import is_dense

_ERFCX, _SIGMOID = (Program((bytes((OPERATIONS[name], 0, 0, 0)), ()), ("x",)) for name in ("erfcx", "sigmoid"))


def erfcx(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.erfcx`."""
    if not _takes(x):
        portable: np.ndarray = kernels.erfcx.portable(x)
        return portable
    y = np.empty_like(x)
    _ERFCX(y, x=x)
    return y


def sigmoid(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.sigmoid`."""
    if not _takes(x):
        return plain.sigmoid(x)
    y = np.empty_like(x)
    _SIGMOID(y, x=x)
    return y


def _takes(x: np.ndarray) -> bool:
    """Whether the core computes functions of this array."""
    return is_supported(x) and is_dense(x)
