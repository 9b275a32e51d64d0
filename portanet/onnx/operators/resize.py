"""Resize: each axis is multiplied by a matrix of the weights with which outputs take inputs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.backends import backend_of
from portanet.onnx.operators.arrays import from_host, integers, positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

ROUNDING: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _position(mode: str, i: int, n: int, scale: float, roi: tuple[float, float]) -> float:
    """Return the position of output i in an axis of length n, which ``scale`` makes longer."""
    m = n * scale
    if mode == "align_corners":
        return 0.0 if m <= 1 else i * (n - 1) / (m - 1)
    if mode == "asymmetric":
        return i / scale
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if m > 1 else 0.0
    if mode == "half_pixel_symmetric":
        centre = n / 2 * (1 - math.floor(m) / m)
        return centre + (i + 0.5) / scale - 0.5
    if mode == "tf_crop_and_resize":
        start, end = roi
        return start * (n - 1) + i * (end - start) * (n - 1) / (m - 1) if m > 1 else 0.5 * (start + end) * (n - 1)
    return (i + 0.5) / scale - 0.5


def _linear(distance: float) -> float:
    return max(0.0, 1.0 - abs(distance))


def _cubic(a: float) -> Callable[[float], float]:
    def weight(distance: float) -> float:
        d = abs(distance)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    return weight


class _Weights:
    """The attributes of Resize, which give the weights of one axis."""

    def __init__(self, **attributes: Any):
        self.mode = attributes.get("mode", "nearest")
        self.coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
        self.rounding = ROUNDING[attributes.get("nearest_mode", "round_prefer_floor")]
        self.cubic = _cubic(attributes.get("cubic_coeff_a", -0.75))
        self.extrapolation = attributes.get("extrapolation_value", 0.0)
        self.exclude_outside = attributes.get("exclude_outside", 0)
        self.antialias = attributes.get("antialias", 0)

    def matrix(self, n: int, m: int, scale: float, roi: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights, shape (m, n), and which outputs lie outside of the input."""
        weights, outside = np.zeros((m, n)), np.zeros(m, bool)
        for i in range(m):
            x = _position(self.coordinates, i, n, scale, roi)
            outside[i] = self.coordinates == "tf_crop_and_resize" and not 0 <= x <= n - 1
            for j, weight in self._row(x, n, scale):
                weights[i, min(max(j, 0), n - 1)] += weight
        return weights, outside

    def _row(self, x: float, n: int, scale: float) -> list[tuple[int, float]]:
        """Return pairs of a position and its weight, for one output."""
        if self.mode == "nearest":
            return [(self.rounding(x), 1.0)]
        radius, function = (1, _linear) if self.mode == "linear" else (2, self.cubic)
        stretch = min(1.0, scale) if self.antialias else 1.0
        reach = math.ceil(radius / stretch)
        row = [(j, function((x - j) * stretch)) for j in range(math.floor(x) - reach, math.floor(x) + reach + 2)]
        if self.exclude_outside:
            row = [(j, weight) for j, weight in row if 0 <= j < n]
        total = sum(weight for _, weight in row)
        return [(j, weight / total) for j, weight in row]


def _output_lengths(lengths: list[int], scales: Any, sizes: Any, policy: str) -> tuple[list[int], list[float]]:
    """Return the new lengths of axes and their scales."""
    if scales is not None:
        factors = [float(s) for s in scales]
        return [math.floor(n * s) for n, s in zip(lengths, factors, strict=True)], factors
    wanted = list(sizes)
    factors = [m / n for m, n in zip(wanted, lengths, strict=True)]
    if policy == "stretch":
        return wanted, factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [math.floor(n * factor + 0.5) for n in lengths], [factor] * len(lengths)


def _given(values: Any) -> np.ndarray | None:
    """Return an input on the host; None if it is left out or empty."""
    if values is None or isinstance(values, (list, tuple)):
        return np.asarray(values) if values else None
    host = backend_of(values).to_numpy(values)
    return host if host.size else None


@operator("Resize", since=11)
def resize(
    xp: Any,
    x: Array,
    roi: Array | None = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    axes: Any = None,
    keep_aspect_ratio_policy: str = "stretch",
    **attributes: Any,
) -> Array:
    """Interpolate along some axes, all by default, to lengths that are given, or to a multiple of those of x."""
    chosen = tuple(range(x.ndim)) if axes is None else positive_axes(axes, x.ndim)
    lengths = [x.shape[axis] for axis in chosen]
    goal = _given(sizes)
    new, factors = _output_lengths(
        lengths, _given(scales), None if goal is None else integers(list(goal)), keep_aspect_ratio_policy
    )
    region, weights = _given(roi), _Weights(**attributes)
    for i, (axis, n, m, factor) in enumerate(zip(chosen, lengths, new, factors, strict=True)):
        if (n, factor) == (m, 1.0) and weights.coordinates != "tf_crop_and_resize":
            continue
        span = (0.0, 1.0) if region is None else (float(region[i]), float(region[i + len(chosen)]))
        matrix, outside = weights.matrix(n, m, factor, span)
        x = _multiply_axis(xp, x, axis, matrix)
        if outside.any():
            x = xp.moveaxis(x, axis, -1)
            x = xp.moveaxis(xp.where(from_host(outside, x), weights.extrapolation, x), -1, axis)
    return x


def _multiply_axis(xp: Any, x: Array, axis: int, matrix: np.ndarray) -> Array:
    """Multiply an axis by a matrix; where it copies positions, copy them."""
    if np.all(np.isin(matrix, (0.0, 1.0))):
        return xp.take(x, from_host(np.argmax(matrix, axis=1), x), axis=axis)
    kind = x.dtype
    x = x if xp.isdtype(kind, "real floating") else xp.astype(x, xp.float64)
    weights = xp.astype(from_host(matrix.T.copy(), x), x.dtype)
    return xp.astype(xp.moveaxis(xp.matmul(xp.moveaxis(x, axis, -1), weights), -1, axis), kind)


@operator("Resize", since=10)
@operator("Upsample")
def upsample(xp: Any, x: Array, scales: Any, *, mode: str = "nearest") -> Array:
    """Resize of old operator sets: output i takes position ``i / scale``."""
    how = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return resize(xp, x, None, scales, **how)
