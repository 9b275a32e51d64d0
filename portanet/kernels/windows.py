"""
Geometry of sliding windows: the sizes, padding and slices that convolution and pooling share.

Arrays are channels-last, (N, *input_shape, C), with any number of spatial axes. Tuples have one entry for each of them.
"""

import itertools
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

from portanet.backends import namespace
from portanet.checks import check_count, shown
from portanet.typing import Array, Shape

Pads: TypeAlias = tuple[tuple[int, int], ...]
Padding: TypeAlias = Literal["valid", "same"] | int | tuple[int | tuple[int, int], ...]
CheckedPadding: TypeAlias = Literal["valid", "same"] | Pads


def per_axis(name: str, value: int | tuple[int, ...], n_axes: int, *, at_least: int = 1) -> Shape:
    """
    Expand a number to a tuple with one entry for each axis; check a tuple.

    Raises
    ------
    ValueError
        If the tuple has another length, or an entry is no integer or below ``at_least``; the message contains ``name``.

    Examples
    --------
    >>> per_axis("stride", 2, 3)
    (2, 2, 2)
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n_axes
    try:
        checked = tuple(check_count(name, v, at_least=at_least) for v in values)
    except ValueError:
        checked = ()
    if len(checked) != n_axes:
        several = f", or {n_axes} of them" if n_axes > 1 else ""
        raise ValueError(f"{name} must be a whole number of at least {at_least}{several}, got {shown(value)}")
    return checked


def pads_per_axis(padding: Padding, n_axes: int) -> CheckedPadding:
    """
    Return padding as "valid", "same", or one pair (before, after) for each axis.

    Raises
    ------
    ValueError
        If it is none of these, nor a number, nor one number for each axis.

    Examples
    --------
    >>> pads_per_axis(1, 2), pads_per_axis(((0, 1), 2), 2)
    (((1, 1), (1, 1)), ((0, 1), (2, 2)))
    """
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * n_axes
    if len(sides) == n_axes:
        pairs = tuple(tuple(side) if isinstance(side, (tuple, list)) else (side, side) for side in sides)
        with suppress(ValueError):
            return tuple((_side(low), _side(high)) for low, high in pairs)
    raise ValueError(
        f"padding must be 'valid', 'same', a number, or {n_axes} numbers or pairs (before, after), got {shown(padding)}"
    )


def _side(value: Any) -> int:
    return check_count("padding", value, at_least=0)


def dilated(size: Shape, dilation: Shape) -> Shape:
    """
    Return the effective size of a window: the lengths that it reaches over.

    Examples
    --------
    >>> dilated((3, 2), (1, 4))
    (3, 5)
    """
    return tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))


def pads_of(padding: CheckedPadding, input_shape: Shape, effective_size: Shape, stride: Shape) -> Pads:
    """
    Return the padding (before, after) of each axis.

    Parameters
    ----------
    padding : "valid", "same" or tuple of (int, int)
    input_shape : tuple of int
        Lengths of the axes without padding.
    effective_size : tuple of int
        Lengths of the window with dilation: ``dilation * (size - 1) + 1``.
    stride : tuple of int
    """
    if padding == "same":
        axes = zip(input_shape, effective_size, stride, strict=True)
        totals = [max(0, (-(-length // step) - 1) * step + size - length) for length, size, step in axes]
        return tuple((total // 2, total - total // 2) for total in totals)
    return ((0, 0),) * len(input_shape) if padding == "valid" else padding


@dataclass(frozen=True)
class Window:
    """
    Geometry of a window, such as a convolution kernel, that slides over a padded input.

    :meth:`fit` constructs it from the arguments of a layer.

    Parameters
    ----------
    size : tuple of int
        Elements of the window along each axis.
    stride, dilation : tuple of int
        Steps between output positions, and between the elements of the window.
    pads : tuple of (int, int)
        Padding before and after each axis.
    input_shape : tuple of int
        Lengths of the axes without padding.
    """

    size: Shape
    stride: Shape
    dilation: Shape
    pads: Pads
    input_shape: Shape

    @staticmethod
    @lru_cache(maxsize=1024)  # a network uses the same windows at every step
    def fit(
        input_shape: Shape, size: Shape, *, stride: Shape, dilation: Shape, padding: CheckedPadding, ceil: bool = False
    ) -> "Window":
        """
        Compute the padding of a window on an input.

        Parameters
        ----------
        input_shape, size, stride, dilation : tuple of int
            See :class:`Window`.
        padding : "valid", "same" or tuple of (int, int)
            With "same", the output has length ``ceil(length / stride)``; if the padding is odd, the larger part comes
            after the axis.
        ceil : bool
            Add padding after an axis for a last, incomplete window, if that starts in the axis or in the padding
            before it.

        Raises
        ------
        ValueError
            If the window is larger than the padded input.
        """
        effective_size = dilated(size, dilation)
        pads = pads_of(padding, input_shape, effective_size, stride)
        if ceil:
            axes = zip(input_shape, pads, effective_size, stride, strict=True)
            pads = tuple((low, high + _ceil_padding(n, low, high, k, step)) for n, (low, high), k, step in axes)
        for n, (low, high), k in zip(input_shape, pads, effective_size, strict=True):
            if n < 1 or low + n + high < k:
                raise ValueError(
                    f"a window that reaches over {' x '.join(map(str, effective_size))} does not fit into "
                    f"{' x '.join(map(str, input_shape))} with padding {pads}: use a smaller one, or padding='same'"
                )
        return Window(size, stride, dilation, pads, input_shape)

    @property
    def n_axes(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @cached_property
    def output_shape(self) -> Shape:
        """Number of output positions along each axis."""
        axes = zip(self.padded_shape, self.size, self.stride, self.dilation, strict=True)
        return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes)

    @cached_property
    def is_padded(self) -> bool:
        """Whether any axis has padding."""
        return any(map(any, self.pads))

    @cached_property
    def non_overlapping(self) -> bool:
        """Whether windows do not overlap, and there is neither padding nor dilation."""
        return self.stride == self.size and not self.is_padded and set(self.dilation) == {1}

    @cached_property
    def padded_shape(self) -> Shape:
        """Lengths of the axes with padding."""
        return tuple(low + n + high for n, (low, high) in zip(self.input_shape, self.pads, strict=True))

    @cached_property
    def offsets(self) -> list[tuple[Shape, tuple[slice, ...]]]:
        """
        Each offset within the window, and the region of a padded array at that offset from all output positions.

        The region is a tuple of slices, one for each axis of (N, *padded_shape, C).
        """

        def region(offset: Shape) -> tuple[slice, ...]:
            axes = zip(offset, self.dilation, self.output_shape, self.stride, strict=True)
            spans = (slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in axes)
            return (slice(None), *spans, slice(None))

        return [(offset, region(offset)) for offset in itertools.product(*map(range, self.size))]

    @cached_property
    def interior(self) -> tuple[slice, ...]:
        """Slices of a padded array, (N, *padded_shape, C), that select the part without padding."""
        spans = (slice(low, low + n) for n, (low, _) in zip(self.input_shape, self.pads, strict=True))
        return (slice(None), *spans, slice(None))

    @cached_property
    def flipped(self) -> "Window | None":
        """
        The window on the output with which a convolution by the flipped kernel computes the input gradient.

        None if there is no such window: for a stride above 1, or padding of the effective size or more.
        """
        spans = (d * (k - 1) for k, d in zip(self.size, self.dilation, strict=True))
        pads = tuple((span - low, span - high) for span, (low, high) in zip(spans, self.pads, strict=True))
        if any(step != 1 for step in self.stride) or any(n < 0 for pair in pads for n in pair):
            return None
        return replace(self, input_shape=self.output_shape, pads=pads)

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Pad an array, (N, *input_shape, C), with a value: shape (N, *padded_shape, C)."""
        if not self.is_padded:
            return x
        xp = namespace(x)
        padded = xp.full((x.shape[0], *self.padded_shape, x.shape[-1]), value, dtype=x.dtype, device=x.device)
        padded[self.interior] = x
        return padded


def _ceil_padding(length: int, low: int, high: int, effective_size: int, stride: int) -> int:
    """Padding after an axis for a last, incomplete window; 0 if that would start after the axis."""
    padded = low + length + high
    excess = (padded - effective_size) % stride
    start = padded - effective_size - excess + stride
    return stride - excess if excess and start < low + length else 0
