"""
Random layers: they change their input in training, and are the identity in inference.

Random numbers come from a counter-based generator: one seed gives the same masks, shifts and noise on every device.
Each training call uses the next counter.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, check_count, check_number, shown
from portanet.layers.base import Layer, batch, check_floating, input_pullback
from portanet.layers.shard import place_in_batch
from portanet.parameters import Buffer
from portanet.typing import Array, Pullback, Shape

__all__ = [
    "Dropout",
    "GaussianNoise",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "SpatialDropout",
]


def _new_stream(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Draw a key, and begin with counter 0."""
    return np.asarray([rng.integers(2**63), 0], dtype="int64")


class Random(Layer):
    """
    Base of random layers: a subclass writes :meth:`transform`.

    Attributes
    ----------
    stream : Buffer, int64, shape (2,)
        Key of the generator, drawn from the network's seed, and counter of the next call.
    """

    def __init__(self) -> None:
        self.stream = Buffer((2,), _new_stream)

    def next_random(self, kernel: Callable[..., Array], *arguments: Any) -> Array:
        """Call a kernel with the stream, and advance the counter."""
        numbers = kernel(self.stream.data, *arguments)
        kernels.advance_stream(self.stream.data)
        return numbers

    def next_bits(self, n: int, each: int = 1) -> Array:
        """Return random bits for n examples, ``each`` integers an example, by the place of these in the batch."""
        first, _ = place_in_batch(n)
        return self.next_random(kernels.random_bits, n * each, first * each)

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return the changed input, and the function that takes dy to dx."""
        raise NotImplementedError(f"{type(self).__name__} needs a method transform(self, xp, x)")

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        if not train:
            return x, input_pullback(lambda dy: dy)
        y, dx = self.transform(namespace(x), x)
        return y, input_pullback(dx)


def kept_of_65536(p: float) -> int:
    """
    Return how many of the 65536 values of 16 random bits keep a number that is dropped with probability p.

    Examples
    --------
    >>> kept_of_65536(0.25), kept_of_65536(0.999999)
    (49152, 1)
    """
    return max(1, round((1 - p) * 65536))


class Dropout(Random):
    """
    ``y = x m / (1 - p)``, each number of the mask m is 0 with probability p, else 1 [1]_. ``dx = dy m / (1 - p)``.

    Inference returns x.

    Parameters
    ----------
    p : float
        Probability to drop a number, in [0, 1); rounded to 1/65536.

    References
    ----------
    .. [1] N. Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> layer = Dropout(0.5).initialize(seed=0)
    >>> y, pullback = layer.vjp(np.ones((2, 4), dtype="float32"))
    >>> sorted({float(value) for value in y.ravel()})
    [0.0, 2.0]
    >>> layer(np.ones((1, 2), dtype="float32"))  # inference drops nothing
    array([[1., 1.]], dtype=float32)
    """

    p = Checked(check_number, at_least=0, below=1)

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def mask_shape(self, shape: Shape) -> Shape:
        """Shape of the mask for an input of a shape, both with the batch axis."""
        return shape

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        check_floating(self, x)
        shape, keep = self.mask_shape(tuple(x.shape)), kept_of_65536(self.p)
        if keep == 65536:
            return x, lambda dy: dy
        bits = self.next_bits(shape[0], math.prod(shape[1:]))
        return kernels.dropout(x, xp.reshape(bits, shape), keep)


class SpatialDropout(Dropout):
    """
    Dropout of whole channels of each example, for x (N, ..., C) [1]_.

    Neighbouring positions are alike, so dropping single numbers would hide little.

    Parameters
    ----------
    p : float
        See :class:`Dropout`.

    References
    ----------
    .. [1] J. Tompson et al., Efficient object localization using convolutional networks, CVPR 2015.

    Examples
    --------
    >>> y, _ = SpatialDropout(0.5).initialize().vjp(np.ones((2, 8, 8, 3), dtype="float32"))
    >>> bool((y == y[:, :1, :1, :]).all())
    True
    """

    def mask_shape(self, shape: Shape) -> Shape:
        return (shape[0], *(1 for _ in shape[1:-1]), shape[-1])


class GaussianNoise(Random):
    """
    ``y = x + stddev ε`` with standard normal ε in training. ``dx = dy``.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise.

    Examples
    --------
    >>> y, _ = GaussianNoise(0.1).initialize().vjp(np.zeros((100, 100), dtype="float32"))
    >>> round(float(y.std()), 2)
    0.1
    """

    stddev = Checked(check_number, at_least=0)

    def __init__(self, stddev: float):
        super().__init__()
        self.stddev = stddev

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        (first, n_total), each = place_in_batch(x.shape[0]), math.prod(x.shape[1:])
        noise = self.next_random(kernels.normal, n_total * each, x.dtype)[first * each :][: x.shape[0] * each]
        return x + self.stddev * xp.reshape(noise, x.shape), lambda dy: dy


class RandomFlip(Random):
    """
    Flip each example along an axis with probability 1/2, in training.

    Parameters
    ----------
    axis : int
        The batch axis counts as 0: 2 flips images (N, H, W, C) left to right.

    Examples
    --------
    >>> y, _ = RandomFlip().initialize(seed=4).vjp(np.arange(6.0).reshape(3, 1, 2, 1))
    >>> y[:, 0, :, 0]
    array([[0., 1.],
           [3., 2.],
           [5., 4.]])
    """

    axis = Checked(check_count)

    def __init__(self, axis: int = 2):
        super().__init__()
        self.axis = axis

    def output_shape(self, shape: Shape) -> Shape:
        if self.axis >= len(shape):
            raise ValueError(f"{self!r} needs x with an axis {self.axis} before the last, got {batch(shape)}")
        return shape

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        self.output_shape(tuple(x.shape[1:]))
        bits = self.next_bits(x.shape[0])
        chosen = xp.reshape(bits < 32768, (-1, *(1 for _ in x.shape[1:])))

        def flip(values: Array) -> Array:
            return xp.where(chosen, xp.flip(values, axis=self.axis), values)

        return flip(x), flip


class _RandomOffset(Random):
    """
    Base of layers that move each example on its own along its spatial axes.

    A subclass lists the shifts to choose from along an axis: pairs of slices, of the output and of the input.
    """

    def shifts(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        raise NotImplementedError

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        n, shape = x.shape[0], self.output_shape(tuple(x.shape[1:]))
        first, n_total = place_in_batch(n)
        bits = xp.astype(self.next_random(kernels.random_bits, n_total * (x.ndim - 2)), xp.int64)
        steps = []
        for axis in range(1, x.ndim - 1):
            shifts = self.shifts(axis, x.shape[axis])
            start = (axis - 1) * n_total + first
            index = bits[start : start + n] * len(shifts) // 65536
            choice = xp.reshape(index, (-1, *(1 for _ in x.shape[1:])))
            chosen = [(choice == i, target, source) for i, (target, source) in enumerate(shifts)]
            steps.append((axis, x.shape[axis], shape[axis - 1], chosen))

        def dx(dy: Array) -> Array:
            for axis, length, _, chosen in reversed(steps):
                dy = _shifted(dy, axis, length, [(which, source, target) for which, target, source in chosen])
            return dy

        y = x
        for axis, _, length, chosen in steps:
            y = _shifted(y, axis, length, chosen)
        return y, dx


def _shifted(x: Array, axis: int, length: int, shifts: list[tuple[Array, slice, slice]]) -> Array:
    """Shift along an axis, which gets a new length; for each shift the examples it applies to and both slices."""
    xp, before = namespace(x), (slice(None),) * axis
    y = xp.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), dtype=x.dtype, device=x.device)
    for which, target, source in shifts:
        y[*before, target, ...] += xp.where(which, x[*before, source, ...], 0.0)
    return y


def _check_size(name: str, value: Any) -> Shape:
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} must be one whole number for each axis, got {shown(value)}")
    return tuple(check_count(name, n) for n in value)


class RandomCrop(_RandomOffset):
    """
    Crop each example of (N, ..., C) at a random position; inference crops the centre.

    Parameters
    ----------
    *size : int
        Length of the crop along each axis between the first and the last.

    Examples
    --------
    >>> RandomCrop(24, 24)(np.zeros((5, 28, 28, 1))).shape
    (5, 24, 24, 1)
    """

    size = Checked(_check_size)

    def __init__(self, *size: int):
        super().__init__()
        self.size = size

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.size) + 1 or any(n > length for n, length in zip(self.size, shape, strict=False)):
            raise ValueError(f"{self!r} needs inputs at least as large as the crop, got {batch(shape)}")
        return (*self.size, shape[-1])

    def shifts(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        size = self.size[axis - 1]
        return [(slice(0, size), slice(i, i + size)) for i in range(length - size + 1)]

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(tuple(x.shape[1:]))
        if train:
            return super().vjp(x)
        starts = ((length - n) // 2 for length, n in zip(x.shape[1:-1], self.size, strict=True))
        centre = (slice(None), *(slice(i, i + n) for i, n in zip(starts, self.size, strict=True)), slice(None))

        def dx(dy: Array) -> Array:
            padded = namespace(x).zeros_like(x)
            padded[centre] = dy
            return padded

        return x[centre], input_pullback(dx)


class RandomTranslation(_RandomOffset):
    """
    Shift each example of (N, ..., C) along its spatial axes at random, in training, and fill with zeros.

    Parameters
    ----------
    max_shift : int
        Largest shift in either direction, in positions (pixels).

    Examples
    --------
    >>> y, _ = RandomTranslation(1).initialize(seed=2).vjp(np.ones((1, 3, 3, 1)))
    >>> y[0, :, :, 0]
    array([[1., 1., 0.],
           [1., 1., 0.],
           [1., 1., 0.]])
    """

    max_shift = Checked(check_count, at_least=0)

    def __init__(self, max_shift: int):
        super().__init__()
        self.max_shift = max_shift

    def shifts(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        largest = min(self.max_shift, length)
        forward = [(slice(by, length), slice(0, length - by)) for by in range(largest + 1)]
        return [*((source, target) for target, source in reversed(forward[1:])), *forward]


class _RandomWarp(Random):
    """
    Base of layers that move each image (N, H, W, C) on its own by a linear map about its centre.

    A subclass draws the maps. The output is a bilinear interpolation of the input, with zeros outside.
    """

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise ValueError(f"{self!r} needs images of shape (N, H, W, C), got {batch(shape)}")
        return shape

    @property
    def max_stretch(self) -> int:
        """By how much the inverse maps may stretch a distance along an axis, rounded up."""
        raise NotImplementedError

    def maps(self, xp: Any, uniform: Array) -> list[Array]:
        """Return the four entries of each matrix, from output to input, for numbers in (0, 1), shape (N,)."""
        raise NotImplementedError

    def transform(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        check_floating(self, x)
        self.output_shape(tuple(x.shape[1:]))
        bits = xp.astype(self.next_bits(x.shape[0]), x.dtype)
        entries = self.maps(xp, (bits + 0.5) / 65536)
        maps = xp.reshape(xp.stack(entries, axis=-1), (-1, 2, 2))
        return kernels.warp(x, maps), lambda dy: kernels.warp_gradient(dy, maps, self.max_stretch)


class RandomRotation(_RandomWarp):
    """
    Rotate each image (N, H, W, C) about its centre by a random angle, in training, and fill with zeros.

    Pixels are interpolated bilinearly; dx is the transposed interpolation of dy.

    Parameters
    ----------
    degrees : float
        Largest angle in either direction, in degrees.

    Examples
    --------
    >>> x = np.zeros((1, 3, 3, 1))
    >>> x[:, 1] = 1.0  # a horizontal line
    >>> y, _ = RandomRotation(45).initialize(seed=1).vjp(x)
    >>> y[0, :, :, 0].round(1)
    array([[0. , 0.1, 0.4],
           [0.6, 1. , 0.6],
           [0.4, 0.1, 0. ]])
    """

    degrees = Checked(check_number, at_least=0)

    def __init__(self, degrees: float):
        super().__init__()
        self.degrees = degrees

    @property
    def max_stretch(self) -> int:
        return 2  # |cos| + |sin| is at most √2

    def maps(self, xp: Any, uniform: Array) -> list[Array]:
        angle = (2.0 * uniform - 1.0) * math.radians(self.degrees)
        cos, sin = xp.cos(angle), xp.sin(angle)
        return [cos, sin, -sin, cos]


def _check_scale(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (check_number(name, number, above=0) for number in value)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if low > high:
        raise ValueError(f"{name} must be two numbers above 0, the smaller one first, got {shown(value)}")
    return low, high


class RandomZoom(_RandomWarp):
    """
    Enlarge each image (N, H, W, C) about its centre by a random factor, in training, and fill with zeros.

    Pixels are interpolated bilinearly; dx is the transposed interpolation of dy.

    Parameters
    ----------
    scale : tuple of two floats
        Smallest and largest factor, such as ``(0.8, 1.25)``; a factor below 1 makes the image smaller.

    Examples
    --------
    >>> x = np.ones((1, 4, 4, 1))
    >>> y, _ = RandomZoom((0.5, 0.5)).initialize(seed=0).vjp(x)
    >>> y[0, :, :, 0]
    array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]])
    """

    scale = Checked(_check_scale)

    def __init__(self, scale: tuple[float, float]):
        super().__init__()
        self.scale = scale

    @property
    def max_stretch(self) -> int:
        return math.ceil(self.scale[1])

    def maps(self, xp: Any, uniform: Array) -> list[Array]:
        low, high = self.scale
        inverse = 1.0 / (low + (high - low) * uniform)
        zeros = xp.zeros_like(inverse)
        return [inverse, zeros, zeros, inverse]
