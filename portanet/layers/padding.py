"""Padding of the spatial axes, channels-last."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from portanet.backends import namespace
from portanet.checks import Checked, check_choice, check_number, shown
from portanet.kernels.windows import Window
from portanet.layers.base import Layer, batch, check_floating, check_spatial, input_pullback
from portanet.layers.windows import check_padding, window_of
from portanet.typing import Array, Pullback, Shape

__all__ = ["Pad"]

SOURCES: dict[str, Callable[[int, int], int]] = {
    "reflect": lambda i, n: n - 1 - abs(n - 1 - i % max(1, 2 * n - 2)),
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}
"""By mode: the position in an axis of length n that is copied to position i, which is below 0, or n or more."""


def _check_pads(name: str, value: Any) -> Any:
    n_axes = len(value) if isinstance(value, (tuple, list)) else 1
    with suppress(ValueError):
        if n_axes and not isinstance(value, str):
            return check_padding(name, value, n_axes)
    raise ValueError(
        f"{name} must be a whole number of at least 0, or for each axis a number or a pair (before, after), "
        f"got {shown(value)}"
    )


class Pad(Layer):
    """
    Pad each axis between the first and the last, of x (N, L, C), (N, H, W, C) or (N, D, H, W, C).

    dx sums dy over the copies of each number.

    Parameters
    ----------
    padding : int, or tuple of int or (int, int)
        Positions added to both sides of all axes; or for each axis a number, or a pair (before, after).
    mode : {"constant", "reflect", "replicate", "circular"}
        What is added: ``value``, the mirror image of x at its edge, copies of the edge, or x again as if it had a
        period. The mirror image does not repeat the edge.
    value : float
        Number added with mode="constant".

    Examples
    --------
    >>> x = np.asarray([[[1.0], [2.0], [3.0]]])
    >>> Pad(2)(x).ravel()
    array([0., 0., 1., 2., 3., 0., 0.])
    >>> Pad(((2, 1),), mode="reflect")(x).ravel()
    array([3., 2., 1., 2., 3., 2.])
    """

    padding = Checked(_check_pads)
    mode = Checked(check_choice, choices=("constant", *SOURCES))
    value = Checked(check_number)

    def __init__(self, padding: int | tuple[int | tuple[int, int], ...], *, mode: str = "constant", value: float = 0.0):
        self.padding, self.mode, self.value = padding, mode, value
        self._check_together()

    def _check_together(self) -> None:
        if self.mode != "constant" and self.value != 0:
            raise ValueError(f"value must be 0 with mode={self.mode!r}, got {self.value}")

    def window(self, shape: Shape) -> Window:
        """Return a window of size 1 with this padding, on one input of a shape without the batch axis."""
        n_axes = len(self.padding) if isinstance(self.padding, tuple) else len(shape) - 1
        if len(shape) != n_axes + 1:
            raise ValueError(f"{self!r} needs x of {n_axes + 2} axes, (N, ..., C), got {batch(shape)}")
        check_spatial(self, shape)
        return window_of(tuple(shape[:-1]), 1, 1, 1, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.window(shape).padded_shape, shape[-1])

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        window = self.window(tuple(x.shape[1:]))
        copies = list(self._copies(window))
        y = window.pad(x, self.value)
        for target, source in copies:
            y[target] = y[source]

        def dx(dy: Array) -> Array:
            if copies:
                dy = namespace(dy).asarray(dy, copy=True)
            for target, source in reversed(copies):
                dy[source] += dy[target]
            return dy[window.interior]

        return y, input_pullback(dx)

    def _copies(self, window: Window) -> Iterator[tuple[Any, ...]]:
        """Yield the slices of the padded array that are copied, one axis after another: where to, and from where."""
        if self.mode == "constant":
            return
        for axis, (n, (low, high)) in enumerate(zip(window.input_shape, window.pads, strict=True), start=1):
            for i in (*range(-low, 0), *range(n, n + high)):
                positions = low + i, low + SOURCES[self.mode](i, n)
                yield tuple((*(slice(None),) * axis, slice(p, p + 1), ...) for p in positions)
