"""What several operators need: numbers on the host, dtypes, and axes in another order."""

from typing import Any

from onnx import TensorProto

from portanet.backends import backend_of
from portanet.graph.axes import aligned_shape, channels_first_axes, channels_last_axes, integers, positive_axes
from portanet.typing import Array

__all__ = [
    "DTYPES",
    "aligned_shape",
    "channels_first",
    "channels_last",
    "dtype_of",
    "from_host",
    "integers",
    "is_kind",
    "number",
    "per_channel",
    "positive_axes",
]

DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"},
    **{11: "float64", 12: "uint32", 13: "uint64"},
}
"""Names of the dtypes, by ONNX's number: those of the Array API, without complex ones."""


def dtype_of(xp: Any, number: int) -> Any:
    """
    Return a dtype by ONNX's number.

    Raises
    ------
    TypeError
        If PortaNet does not compute with it: float16, texts and floats of 8 bits, for instance.
    """
    if number not in DTYPES:
        known = TensorProto.DataType.values()
        raise TypeError(f"dtype {TensorProto.DataType.Name(number) if number in known else number} is not supported")
    return getattr(xp, DTYPES[number])


def is_kind(xp: Any, x: Array, kind: str) -> bool:
    """Whether the dtype of an array is of a kind of the Array API, such as "integral"."""
    return bool(xp.isdtype(x.dtype, kind))


def number(value: Any, default: float) -> float:
    """Return an attribute or an input of one number as a Python number; ``default`` if it is left out."""
    if value is None:
        return default
    if isinstance(value, (int, float)):
        return value
    return backend_of(value).to_numpy(value).item()  # type: ignore[no-any-return]


def from_host(values: Any, like: Array) -> Array:
    """Copy NumPy data to the device of an array."""
    return backend_of(like).asarray(values)


def channels_last(xp: Any, x: Array) -> Array:
    """Return (N, C, ...) as (N, ..., C), the order of PortaNet's kernels."""
    return xp.permute_dims(x, channels_last_axes(x.ndim))


def channels_first(xp: Any, x: Array) -> Array:
    """Return (N, ..., C) as (N, C, ...), the order of ONNX."""
    return xp.permute_dims(x, channels_first_axes(x.ndim))


def per_channel(xp: Any, values: Array, ndim: int, axis: int = 1) -> Array:
    """Give the numbers of the channels a shape that broadcasts with arrays of ``ndim`` axes."""
    return xp.reshape(values, (-1, *(1,) * (ndim - axis - 1)))
