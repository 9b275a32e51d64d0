"""Products of matrices, and convolutions by PortaNet's channels-last kernels."""

from typing import Any

from portanet import kernels
from portanet.graph.padding import conv_window, explicit_pads
from portanet.kernels.windows import Window
from portanet.onnx.operators.arrays import channels_first, channels_last, integers
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


@operator("MatMul")
def matmul(xp: Any, a: Array, b: Array) -> Array:
    """Product of matrices or stacks of them."""
    return xp.matmul(a, b)


@operator("Gemm")
def gemm(
    xp: Any,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 (ONNX's name)
    transB: int = 0,  # noqa: N803
    broadcast: int = 1,
) -> Array:
    """Return ``alpha a b + beta c``; a and b may be transposed first."""
    y = xp.matmul(xp.matrix_transpose(a) if transA else a, xp.matrix_transpose(b) if transB else b)
    y = y if alpha == 1.0 else _scaled(xp, y, alpha)
    return y if c is None else y + (c if beta == 1.0 else _scaled(xp, c, beta))


def _scaled(xp: Any, x: Array, factor: float) -> Array:
    return x * (factor if xp.isdtype(x.dtype, "real floating") else int(factor))


def _kernel_last(xp: Any, w: Array) -> Array:
    """Return a weight (O, C, *size) as (*size, C, O), and that of a transposed convolution likewise."""
    return xp.permute_dims(w, (*range(2, w.ndim), 1, 0))


@operator("Conv")
def conv(
    xp: Any,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    """Convolution of x (N, C, ...) with w (O, C / group, ...)."""
    window = conv_window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    y = kernels.conv(channels_last(xp, x), _kernel_last(xp, w), window, group, b)
    return channels_first(xp, y)


@operator("ConvTranspose")
def conv_transpose(
    xp: Any,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    """Transposed convolution of x (N, C, ...) with w (C, O / group, ...)."""
    size, n_axes = tuple(w.shape[2:]), x.ndim - 2
    stride, dilation = integers(strides or (1,) * n_axes), integers(dilations or (1,) * n_axes)
    extra = integers(output_padding or (0,) * n_axes)
    full_lengths = tuple(
        (n - 1) * s + d * (k - 1) + 1 + more
        for n, s, d, k, more in zip(x.shape[2:], stride, dilation, size, extra, strict=True)
    )
    if output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        same = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
        lengths = integers(output_shape)[-n_axes:] if output_shape is not None else tuple(same)
        excess = [max(0, n - length) for n, length in zip(full_lengths, lengths, strict=True)]
        # The larger part of an odd padding comes last with SAME_UPPER, else first.
        low = [n // 2 if auto_pad == "SAME_UPPER" else n - n // 2 for n in excess]
        pairs = tuple((before, n - before) for before, n in zip(low, excess, strict=True))
    else:
        pairs = explicit_pads(pads, n_axes)
        lengths = tuple(n - low - high for n, (low, high) in zip(full_lengths, pairs, strict=True))
    window = Window(size, stride, dilation, pairs, lengths)
    y = kernels.conv_input_gradient(channels_last(xp, x), _kernel_last(xp, w), window, group)
    return channels_first(xp, y if b is None else y + b)
