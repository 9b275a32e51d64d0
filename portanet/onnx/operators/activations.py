"""Activations, by PortaNet's layers where there are such."""

import math
from collections.abc import Callable
from typing import Any

from portanet import kernels, layers
from portanet.backends import namespace
from portanet.onnx.operators.arrays import positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


def _layer(make: Callable[..., layers.Activation]) -> Callable[..., Array]:
    """Return the function of a layer, which is made of the attributes of the node."""

    def compute(xp: Any, x: Array, **attributes: Any) -> Array:
        return make(**attributes).elementwise(xp, x)[0]

    return compute


ACTIVATIONS: dict[str, Callable[..., layers.Activation]] = {
    "Relu": layers.ReLU,
    "LeakyRelu": lambda alpha=0.01: layers.LeakyReLU(alpha),
    "Elu": lambda alpha=1.0: layers.ELU(alpha),
    "Celu": lambda alpha=1.0: layers.CELU(alpha),
    "Gelu": lambda approximate="none": layers.GELU(approximate=approximate == "tanh"),
    "HardSwish": layers.Hardswish,
    "Mish": layers.Mish,
    "Sigmoid": layers.Sigmoid,
    "Softplus": layers.Softplus,
    "Tanh": layers.TanH,
}
for _name, _make in ACTIVATIONS.items():
    operator(_name)(_layer(_make))


@operator("PRelu", since=7)
def prelu(xp: Any, x: Array, slope: Array) -> Array:
    """Return x for x >= 0, else ``slope x``."""
    return xp.where(x < 0, slope * x, x)


@operator("PRelu")
def _prelu_6(xp: Any, x: Array, slope: Array) -> Array:
    """Before version 7, a vector of slopes belongs to the channels, axis 1."""
    slope = xp.reshape(slope, (-1, *(1,) * (x.ndim - 2))) if slope.ndim == 1 else slope
    return prelu(xp, x, slope)


@operator("Selu")
def selu(xp: Any, x: Array, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323) -> Array:
    """Return ``gamma x`` for x > 0, else ``gamma alpha (exp(x) - 1)``."""
    return gamma * xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))


@operator("Swish")
def swish(xp: Any, x: Array, *, alpha: float = 1.0) -> Array:
    """Return ``x sigmoid(alpha x)``."""
    return x * kernels.sigmoid(alpha * x)


@operator("SwiGLU")
def swiglu(xp: Any, a: Array, b: Array, *, alpha: float = 1.0) -> Array:
    """Return ``swish(a) b``."""
    return swish(xp, a, alpha=alpha) * b


@operator("HardSigmoid")
def hard_sigmoid(xp: Any, x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """Return ``alpha x + beta``, limited to [0, 1]."""
    return xp.minimum(xp.maximum(alpha * x + beta, 0.0), 1.0)


@operator("ThresholdedRelu")
def thresholded_relu(xp: Any, x: Array, *, alpha: float = 1.0) -> Array:
    """Return x for ``x > alpha``, else 0."""
    return xp.where(x > alpha, x, 0.0)


@operator("Shrink")
def shrink(xp: Any, x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Move numbers by ``bias`` towards 0, those within ``lambd`` of 0 to 0."""
    bias = bias if xp.isdtype(x.dtype, "real floating") else int(bias)
    return xp.where(x > lambd, x - bias, xp.where(x < -lambd, x + bias, xp.zeros_like(x)))


@operator("Softsign")
def softsign(xp: Any, x: Array) -> Array:
    """Return ``x / (1 + |x|)``."""
    return x / (1.0 + xp.abs(x))


def _hardmax(x: Array) -> Array:
    """Return 1 at the first maximum of the last axis, else 0."""
    xp = namespace(x)
    if 0 in x.shape:  # an axis of length 0 has no maximum
        return xp.zeros_like(x)
    positions = xp.arange(x.shape[-1], device=x.device)
    return xp.astype(positions == xp.argmax(x, axis=-1, keepdims=True), x.dtype)


SOFTMAX: dict[str, Callable[[Array], Array]] = {
    "Softmax": kernels.softmax,
    "LogSoftmax": kernels.log_softmax,
    "Hardmax": _hardmax,
}


def _along_axis(function: Callable[[Array], Array]) -> Callable[..., Array]:
    def compute(xp: Any, x: Array, *, axis: int = -1) -> Array:
        (axis,) = positive_axes(axis, x.ndim)
        return xp.moveaxis(function(xp.moveaxis(x, axis, -1)), -1, axis)

    return compute


def _of_rows(function: Callable[[Array], Array]) -> Callable[..., Array]:
    """Before version 13, all axes from ``axis`` on are one."""

    def compute(xp: Any, x: Array, *, axis: int = 1) -> Array:
        (axis,) = positive_axes(axis, x.ndim)
        rows = xp.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return xp.reshape(function(rows), x.shape)

    return compute


for _name, _function in SOFTMAX.items():
    operator(_name, since=13)(_along_axis(_function))
    operator(_name)(_of_rows(_function))
