"""
Where a window slides: sizes, padding and slices that convolution and pooling share, for any number of axes.

Arrays are channels-last, (N, *input_shape, C). Every tuple here has one entry a spatial axis.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np

from portanet.backends import namespace
from portanet.typing import Array, Shape

Pads: TypeAlias = tuple[tuple[int, int], ...]
Padding: TypeAlias = Literal["valid", "same"] | int | tuple[int | tuple[int, int], ...]
CheckedPadding: TypeAlias = Literal["valid", "same"] | Pads


def per_axis(name: str, value: int | tuple[int, ...], n_axes: int, *, least: int = 1) -> Shape:
    """
    One number an axis, from a number for all or a tuple.

    Examples
    --------
    >>> per_axis("stride", 2, 3)
    (2, 2, 2)
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n_axes
    if len(values) != n_axes or not all(isinstance(v, int | np.integer) and v >= least for v in values):
        raise ValueError(f"{name} must be a number of at least {least}, or {n_axes} of them, got {value!r}")
    return tuple(map(int, values))


def check_padding(padding: Padding, n_axes: int) -> CheckedPadding:
    """
    Padding as "valid", "same", or a pair (before, after) for each axis.

    Examples
    --------
    >>> check_padding(1, 2), check_padding(((0, 1), 2), 2)
    (((1, 1), (1, 1)), ((0, 1), (2, 2)))
    """
    if padding == "valid" or padding == "same":  # noqa: PLR1714 (mypy narrows equality, not membership)
        return padding
    sides = (padding,) * n_axes if isinstance(padding, int) else padding
    if isinstance(sides, tuple) and len(sides) == n_axes:
        pairs = tuple(tuple(side) if isinstance(side, (tuple, list)) else (side, side) for side in sides)
        if all(len(pair) == 2 and all(isinstance(n, int) and n >= 0 for n in pair) for pair in pairs):
            return tuple((low, high) for low, high in pairs)
    raise ValueError(
        f"padding must be 'valid', 'same', a number, or {n_axes} numbers or pairs (before, after), got {padding!r}"
    )


def pads_of(padding: CheckedPadding, input_shape: Shape, effective_size: Shape, stride: Shape) -> Pads:
    """Cells before and after each axis for a window that reaches over so many, in steps of ``stride``."""
    if padding == "same":
        totals = [
            max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(input_shape, stride, effective_size, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in totals)
    return ((0, 0),) * len(input_shape) if padding == "valid" else padding


@dataclass(frozen=True)
class Window:
    """
    A window that slides over padded space.

    Parameters
    ----------
    size, stride, dilation : tuple of int
        Cells of the window, steps between its places, and steps between its cells.
    pads : tuple of (int, int)
        Cells before and after each axis.
    space : tuple of int
        Lengths of the unpadded axes.
    """

    size: Shape
    stride: Shape
    dilation: Shape
    pads: Pads
    input_shape: Shape

    @staticmethod
    @lru_cache(maxsize=1024)  # a network asks for the same ones at every step
    def fit(
        input_shape: Shape, size: Shape, *, stride: Shape, dilation: Shape, padding: CheckedPadding, ceil: bool = False
    ) -> "Window":
        """
        Place a window on space.

        "same" gives ``ceil(length / stride)`` places on each axis, the odd cell of padding after it. With ``ceil``,
        padding is added after an axis so that a last, incomplete window counts, if it starts in the axis or in the
        padding before it.

        Raises
        ------
        ValueError
            If the window is longer than the padded axis.
        """
        effective_size = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
        pads = pads_of(padding, input_shape, effective_size, stride)
        if ceil:
            pads = tuple(
                (low, high + _missing(low + n + high, r, s, low + n))
                for n, (low, high), r, s in zip(input_shape, pads, effective_size, stride, strict=True)
            )
        for n, (low, high), r in zip(input_shape, pads, effective_size, strict=True):
            if n < 1 or low + n + high < r:
                raise ValueError(
                    f"a window that reaches over {' x '.join(map(str, effective_size))} does not fit into "
                    f"{' x '.join(map(str, input_shape))} with padding {pads}: use a smaller one, or padding='same'"
                )
        return Window(size, stride, dilation, pads, input_shape)

    @property
    def n_axes(self) -> int:
        """How many axes it slides along."""
        return len(self.size)

    @cached_property
    def output_shape(self) -> Shape:
        """How many places the window has along each axis."""
        return tuple(
            (low + n + high - d * (k - 1) - 1) // s + 1
            for n, (low, high), k, s, d in zip(
                self.input_shape, self.pads, self.size, self.stride, self.dilation, strict=True
            )
        )

    @cached_property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return any(map(any, self.pads))

    @cached_property
    def non_overlapping(self) -> bool:
        """Whether it meets each cell once at most, and no padding."""
        return self.stride == self.size and not self.is_padded and set(self.dilation) == {1}

    @cached_property
    def padded_shape(self) -> Shape:
        """Lengths of the padded axes."""
        return tuple(low + n + high for n, (low, high) in zip(self.input_shape, self.pads, strict=True))

    @cached_property
    def offsets(self) -> list[tuple[Shape, tuple[slice, ...]]]:
        """Each cell of the window, and the slices of a padded array that it meets in all places together."""

        def met(cell: Shape) -> tuple[slice, ...]:
            axes = zip(cell, self.dilation, self.output_shape, self.stride, strict=True)
            spans = (slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, n, s in axes)
            return (slice(None), *spans, slice(None))

        return [(cell, met(cell)) for cell in itertools.product(*map(range, self.size))]

    @cached_property
    def interior(self) -> tuple[slice, ...]:
        """The slices of a padded array that hold the unpadded one."""
        spans = (slice(low, low + n) for n, (low, _) in zip(self.input_shape, self.pads, strict=True))
        return (slice(None), *spans, slice(None))

    @cached_property
    def flipped(self) -> "Window | None":
        """
        The window that carries gradients back as a convolution with the kernel turned round.

        It slides over the places of this one; None where there is no such window: for strides, and more padding than
        the kernel reaches.
        """
        reaches = (d * (k - 1) for k, d in zip(self.size, self.dilation, strict=True))
        pads = tuple(
            (effective_size - low, effective_size - high)
            for effective_size, (low, high) in zip(reaches, self.pads, strict=True)
        )
        if any(step != 1 for step in self.stride) or any(n < 0 for pair in pads for n in pair):
            return None
        return replace(self, input_shape=self.output_shape, pads=pads)

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Put an array of shape (N, *input_shape, C) into its padding."""
        if not self.is_padded:
            return x
        xp = namespace(x)
        padded = xp.full((x.shape[0], *self.padded_shape, x.shape[-1]), value, dtype=x.dtype, device=x.device)
        padded[self.interior] = x
        return padded


def _missing(length: int, effective_size: int, stride: int, last_start: int) -> int:
    """Cells to add to an axis so that its last, incomplete window fits, if it starts before ``last_start``."""
    over = (length - effective_size) % stride
    start = length - effective_size - over + stride
    return stride - over if over and start < last_start else 0
