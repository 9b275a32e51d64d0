"""Arguments of layers with windows: kept as they are given, a number or one for each axis, and read when used."""

from functools import lru_cache
from typing import Any

from portanet.checks import Checked
from portanet.kernels.windows import Padding, Window, pads_per_axis, per_axis
from portanet.typing import Shape

PerAxis = int | tuple[int, ...]
"""One number for all axes, or one for each."""


class CheckedPerAxis(Checked[Any]):
    """A checked attribute of a layer that says for how many axes: a number for all of them, or one for each."""

    def _checked(self, instance: Any, value: Any) -> Any:
        return self.check(self.name, value, instance.n_axes, **self.limits)


def check_per_axis(name: str, value: PerAxis, n_axes: int, *, at_least: int = 1) -> PerAxis:
    """Return a number for all axes, or a tuple of one for each, after a check."""
    values = per_axis(name, value, n_axes, at_least=at_least)
    return values if isinstance(value, (tuple, list)) else values[0]


def check_padding(name: str, padding: Padding, n_axes: int) -> Any:
    """Return "valid", "same", a number, or a tuple, after a check."""
    pads_per_axis(padding, n_axes)
    if isinstance(padding, (tuple, list)):
        return tuple(tuple(map(int, side)) if isinstance(side, (tuple, list)) else int(side) for side in padding)
    return padding if isinstance(padding, str) else int(padding)


def compact(values: Shape) -> PerAxis:
    """
    Return one number if all are equal.

    Examples
    --------
    >>> compact((3, 3)), compact((3, 2))
    (3, (3, 2))
    """
    return values[0] if len(set(values)) == 1 else values


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def window_of(
    input_shape: Shape,
    kernel_size: PerAxis,
    stride: PerAxis,
    dilation: PerAxis,
    padding: Padding,
    *,
    ceil_mode: bool = False,
) -> Window:
    """Return the window of a layer on an input of some spatial shape; see :meth:`Window.fit`."""
    n_axes = len(input_shape)
    return Window.fit(
        input_shape,
        per_axis("kernel_size", kernel_size, n_axes),
        stride=per_axis("stride", stride, n_axes),
        dilation=per_axis("dilation", dilation, n_axes),
        padding=pads_per_axis(padding, n_axes),
        ceil=ceil_mode,
    )
