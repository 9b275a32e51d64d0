"""Up-sampling of the spatial axes, channels-last."""

from collections.abc import Callable
from functools import partial
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, check_choice
from portanet.kernels.windows import per_axis
from portanet.layers.base import Layer, batch, check_floating, check_spatial, input_pullback, vjp_in_turn
from portanet.layers.padding import Pad
from portanet.layers.windows import PerAxis, check_per_axis, window_of
from portanet.typing import Array, Pullback, Shape

__all__ = ["Upsample"]

N_AXES = {"linear": 1, "bilinear": 2, "trilinear": 3}
"""Number of spatial axes of each mode that interpolates."""

_BORDER = Pad(1, mode="replicate")
"""Gives the first and the last position a neighbour to interpolate with."""


def _check_factor(name: str, value: Any) -> PerAxis:
    return check_per_axis(name, value, max(1, len(value)) if isinstance(value, (tuple, list)) else 1)


class Upsample(Layer):
    """
    Make each axis between the first and the last ``scale_factor`` times as long: x (N, ..., C).

    The mode "nearest" repeats each position; dx sums the repeats. The other modes interpolate along each axis. Output i
    has the position ``(i + 1/2) / scale_factor - 1/2`` in x, as in PyTorch with ``align_corners=False``; before the
    first and after the last position, x is constant. dx sums dy with the weights of the interpolation.

    Parameters
    ----------
    scale_factor : int or tuple of int
        One factor for all axes, or one for each.
    mode : {"nearest", "linear", "bilinear", "trilinear"}
        The last three interpolate signals, images and volumes.

    Examples
    --------
    >>> Upsample(2)(np.zeros((5, 7, 7, 3))).shape
    (5, 14, 14, 3)
    >>> Upsample((1, 2), mode="bilinear")(np.asarray([[[[0.0], [4.0]]]])).ravel()
    array([0., 1., 3., 4.])
    """

    scale_factor = Checked(_check_factor)
    mode = Checked(check_choice, choices=("nearest", *N_AXES))

    def __init__(self, scale_factor: PerAxis = 2, *, mode: str = "nearest"):
        self.scale_factor, self.mode = scale_factor, mode
        self._check_together()

    def _check_together(self) -> None:
        n_axes = N_AXES.get(self.mode)
        if n_axes and isinstance(self.scale_factor, tuple) and len(self.scale_factor) != n_axes:
            raise ValueError(
                f"scale_factor must have a length of {n_axes} with mode={self.mode!r}, got {self.scale_factor}"
            )

    def _factors(self, shape: Shape) -> Shape:
        """Return the factor of each axis, for one input of a shape without the batch axis."""
        given = self.scale_factor
        n_axes = len(given) if isinstance(given, tuple) else N_AXES.get(self.mode, len(shape) - 1)
        check_spatial(self, shape)
        if len(shape) != n_axes + 1:
            raise ValueError(f"{self!r} needs x of {n_axes + 2} axes, (N, ..., C), got {batch(shape)}")
        return per_axis("scale_factor", given, n_axes)

    def output_shape(self, shape: Shape) -> Shape:
        factors = self._factors(shape)
        return (*(n * factor for n, factor in zip(shape, factors, strict=False)), shape[-1])

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        factors = self._factors(tuple(x.shape[1:]))
        if self.mode == "nearest":
            return _repeated(x, factors)
        check_floating(self, x)
        return vjp_in_turn(x, [_BORDER.vjp, *(partial(_interpolated, *along) for along in enumerate(factors, start=1))])


def _repeated(x: Array, factors: Shape) -> tuple[Array, Pullback]:
    xp, y = namespace(x), x
    for axis, factor in enumerate(factors, start=1):
        y = xp.repeat(y, factor, axis=axis)
    window = window_of(tuple(y.shape[1:-1]), factors, factors, 1, "valid")
    return y, input_pullback(lambda dy: kernels.sum_pool(dy, window))


def _interpolated(axis: int, factor: int, x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """
    Interpolate along one axis, which has a border of one position at both ends.

    Outputs r, r + factor, r + 2 factor and so on all have the same weights, so they are a weighted sum of two slices.
    """
    xp, shape, n, before = namespace(x), x.shape, x.shape[axis] - 2, (slice(None),) * axis
    terms = []
    for r in range(factor):
        start, rest = divmod(2 * r + 1 + factor, 2 * factor)
        left, right = ((*before, slice(i, i + n), ...) for i in (start, start + 1))
        terms.append((left, right, rest / (2 * factor)))
    y = xp.stack([(1 - weight) * x[left] + weight * x[right] for left, right, weight in terms], axis=axis + 1)

    def dx(dy: Array) -> Array:
        gradient = xp.zeros_like(x)
        dy = xp.reshape(dy, (*shape[:axis], n, factor, *shape[axis + 1 :]))
        for r, (left, right, weight) in enumerate(terms):
            part = dy[(*before, slice(None), r, ...)]
            gradient[left] += (1 - weight) * part
            gradient[right] += weight * part
        return gradient

    return xp.reshape(y, (*shape[:axis], n * factor, *shape[axis + 1 :])), dx
