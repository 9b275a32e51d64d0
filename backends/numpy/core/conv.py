"""Convolution by the compiled kernels; what they do not do falls to plain NumPy."""

from collections.abc import Callable

import numpy as np

from portanet.backends.numpy import conv as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import empty
from portanet.backends.numpy.layout import batch_first, batch_last
from portanet.kernels.windows import Window
from portanet.typing import Shape

MIN_IMAGES = 12
"""Fewest images that are last in memory, so that vectors hold images; with fewer, they hold channels."""


def conv(x: np.ndarray, w: np.ndarray, window: Window, groups: int = 1, bias: np.ndarray | None = None) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    y = _call(compiled.conv, x, (w, bias), window, groups, shape=window.output_shape, n_out=w.shape[-1])
    return plain.conv(x, w, window, groups, bias) if y is None else y


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv_input_gradient`."""
    dx = _call(
        compiled.conv_input_gradient, dy, (w,), window, groups, shape=window.input_shape, n_out=w.shape[-2] * groups
    )
    return plain.conv_input_gradient(dy, w, window, groups) if dx is None else dx


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    dw, last = np.empty((*window.size, x.shape[-1] // groups, dy.shape[-1]), x.dtype), len(x) >= MIN_IMAGES
    if last:
        x, dy = batch_last(x), batch_last(dy)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    try:
        compiled.conv_weight_gradient(x, dy, dw, last, window.stride, window.dilation, window.pads, groups)
    except ValueError:  # see _call
        if last:
            x, dy = batch_first(x), batch_first(dy)
        return plain.conv_weight_gradient(x, dy, window, groups)
    return dw


def _call(
    function: Callable[..., None],
    x: np.ndarray,
    weights: tuple[np.ndarray | None, ...],
    window: Window,
    groups: int,
    *,
    shape: Shape,
    n_out: int,
) -> np.ndarray | None:
    """
    Call a function of the core for a result (N, *shape, n_out).

    None if the core does not take the arrays: it has float32 and float64, at most 3 axes and windows of 1024 positions.
    """
    if len(x) >= MIN_IMAGES:
        last, x, y = True, batch_last(x), empty((*shape, n_out, len(x)), x.dtype)
    else:
        last, y = False, empty((len(x), *shape, n_out), x.dtype)
    arrays = [None if array is None else np.ascontiguousarray(array) for array in (x, *weights)]
    try:
        function(*arrays, y, last, window.stride, window.dilation, window.pads, groups)
    except ValueError:
        return None
    return batch_first(y) if last else y
