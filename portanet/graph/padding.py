"""Whole numbers, axes and windows as graphs give them: padding may be given or automatic."""

from typing import Any

from portanet.backends import backend_of
from portanet.kernels.windows import Pads, Window, dilated, pads_of
from portanet.typing import Shape


def integers(values: Any) -> Shape:
    """
    Return axes, lengths or the like as Python numbers: an attribute is a list, an input an array.

    Examples
    --------
    >>> integers([1, 2]), integers(np.asarray([3])), integers(np.asarray(4)), integers(5)
    ((1, 2), (3,), (4,), (5,))
    """
    if isinstance(values, int):
        return (values,)
    if isinstance(values, (list, tuple)):
        return tuple(map(int, values))
    return tuple(map(int, backend_of(values).to_numpy(values).ravel()))


def positive_axes(axes: Any, ndim: int) -> Shape:
    """
    Return axes counted from the front.

    Raises
    ------
    ValueError
        If there is no such axis.

    Examples
    --------
    >>> positive_axes([-1, 0], 3)
    (2, 0)
    """
    for axis in (axes := integers(axes)):
        if not -ndim <= axis < ndim:
            raise ValueError(f"axis must be from {-ndim} to {ndim - 1} for an array of {ndim} axes, got {axis}")
    return tuple(axis % ndim for axis in axes)


def aligned_shape(shape: Shape, ndim: int, axis: int) -> Shape:
    """
    Return the shape with which an array is broadcast to ``ndim`` axes, its first axis to that of number ``axis``.

    Raises
    ------
    ValueError
        If the array has more axes than there are from ``axis`` on.

    Examples
    --------
    >>> aligned_shape((3,), 4, 1)
    (3, 1, 1)
    """
    (first,) = positive_axes(axis, ndim)
    if first + len(shape) > ndim:
        raise ValueError(f"an array of shape {shape} has more axes than there are from axis {axis} on, of {ndim}")
    return (*shape, *(1,) * (ndim - first - len(shape)))


def explicit_pads(pads: Any, n_axes: int) -> Pads:
    """
    Return pairs (before, after) for each axis; ONNX gives those before all axes first.

    Examples
    --------
    >>> explicit_pads([1, 2, 3, 4], 2), explicit_pads(None, 1)
    (((1, 3), (2, 4)), ((0, 0),))
    """
    values = integers(pads) if pads is not None else (0,) * 2 * n_axes
    return tuple(zip(values[:n_axes], values[n_axes:], strict=True))


def conv_window(  # noqa: PLR0917
    input_shape: Any, size: Any, strides: Any, dilations: Any, pads: Any, auto_pad: str, *, ceil: bool = False
) -> Window:
    """Return the window of a convolution or pooling on an input of some spatial shape."""
    n_axes, lengths = len(input_shape), tuple(input_shape)
    size, stride = integers(size), integers(strides or (1,) * n_axes)
    dilation = integers(dilations or (1,) * n_axes)
    padding = explicit_pads(pads, n_axes)
    if auto_pad != "NOTSET":
        padding = _automatic_pads(auto_pad, lengths, dilated(size, dilation), stride)
    return Window.fit(lengths, size, stride=stride, dilation=dilation, padding=padding, ceil=ceil)


def _automatic_pads(auto_pad: str, lengths: Shape, effective_size: Shape, stride: Shape) -> Pads:
    """Return the padding for outputs of ``ceil(length / stride)``; SAME_LOWER puts the larger part first."""
    pads = pads_of("valid" if auto_pad == "VALID" else "same", lengths, effective_size, stride)
    return tuple((high, low) for low, high in pads) if auto_pad == "SAME_LOWER" else pads
