"""Windows as graphs give them: padding may be given or automatic."""

from typing import Any

from portanet.graph.axes import integers
from portanet.kernels.windows import Pads, Window, dilated, pads_of
from portanet.typing import Shape


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
