"""
Random layers: they change their input in training, and hand it on in inference.

The randomness comes from a counter-based generator: one seed gives the same masks, shifts and noise on every device.
Each training call takes the next numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends import namespace
from portanet.kernels.windows import per_axis
from portanet.layers.base import Layer, batch
from portanet.parameters import Buffer
from portanet.typing import Array, Pullback, Shape


class Random(Layer):
    """
    Base of random layers: a subclass writes :meth:`perturb`.

    Attributes
    ----------
    stream : Buffer, int64, shape (2,)
        Key of the generator, drawn from the network's seed, and number of the next call.
    """

    def __init__(self) -> None:
        self.stream = Buffer(lambda rng: np.asarray([rng.integers(2**63), 0], dtype="int64"))

    def draw(self, kernel: Callable[..., Array], *arguments: Any) -> Array:
        """Call a kernel with the stream, and move the stream on."""
        drawn = kernel(self.stream.data, *arguments)
        self.stream.data[1:] += 1
        return drawn

    def perturb(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return the changed input, and what carries dy back to dx."""
        raise NotImplementedError

    def by_example(self, train: bool) -> bool:
        return not train

    def forward(self, x: Array) -> Array:
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, pull = self.perturb(namespace(x), x) if train else (x, lambda dy: dy)
        return y, lambda dy, *, need_dx=True, need_grads=True: pull(dy) if need_dx else None


class Dropout(Random):
    """
    Set a share of the inputs to zero and scale the others up, so that the expectation stays [1]_.

    Parameters
    ----------
    p : float
        Share to drop, in [0, 1); taken to the nearest 1/65536.

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

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1), got {p}")
        self.keep = max(1, round((1 - p) * 65536))  # out of the 65536 values of 16 random bits

    def mask_shape(self, shape: Shape) -> Shape:
        """Shape of the mask for an input of a shape, both with the batch axis."""
        return shape

    def perturb(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        shape = self.mask_shape(tuple(x.shape))
        bits = self.draw(kernels.random_bits, math.prod(shape))
        mask = xp.astype(xp.reshape(bits, shape) < self.keep, x.dtype) * (65536 / self.keep)
        if shape == x.shape:  # as x lies in memory, for the products to come
            mask, drawn = xp.empty_like(x), mask
            mask[...] = drawn
        return x * mask, lambda dy: dy * mask


class SpatialDropout(Dropout):
    """
    Dropout of whole channels, for (N, ..., C): neighbours in space are alike, so that single cells hide little [1]_.

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
    Add normal noise.

    Parameters
    ----------
    std : float
        Its standard deviation.

    Examples
    --------
    >>> y, _ = GaussianNoise(0.1).initialize().vjp(np.zeros((100, 100), dtype="float32"))
    >>> round(float(y.std()), 2)
    0.1
    """

    def __init__(self, std: float):
        super().__init__()
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std

    def perturb(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        noise = self.draw(kernels.normal, math.prod(x.shape), x.dtype)
        return x + self.std * xp.reshape(noise, x.shape), lambda dy: dy


class RandomFlip(Random):
    """
    Mirror half of the inputs along an axis.

    Parameters
    ----------
    axis : int
        With the batch axis counted: 2 mirrors images (N, H, W, C) left to right.

    Examples
    --------
    >>> y, _ = RandomFlip().initialize(seed=4).vjp(np.arange(6.0).reshape(3, 1, 2, 1))
    >>> y[:, 0, :, 0]
    array([[0., 1.],
           [3., 2.],
           [5., 4.]])
    """

    def __init__(self, axis: int = 2):
        super().__init__()
        (self.axis,) = per_axis("axis", axis, 1)

    def output_shape(self, shape: Shape) -> Shape:
        if self.axis >= len(shape):
            raise ValueError(f"{self!r} needs x with an axis {self.axis} before the last, got {batch(shape)}")
        return shape

    def perturb(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        self.output_shape(tuple(x.shape[1:]))
        bits = self.draw(kernels.random_bits, x.shape[0])
        chosen = xp.reshape(bits < 32768, (-1, *(1 for _ in x.shape[1:])))

        def flip(values: Array) -> Array:
            return xp.where(chosen, xp.flip(values, axis=self.axis), values)

        return flip(x), flip


class _RandomMove(Random):
    """
    Base of layers that move each input by itself along its spatial axes.

    A subclass lists, for an axis, the moves to choose from: pairs of slices, where to and where from.
    """

    def moves(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        raise NotImplementedError

    def perturb(self, xp: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        n, shape = x.shape[0], self.output_shape(tuple(x.shape[1:]))
        bits = xp.astype(self.draw(kernels.random_bits, n * (x.ndim - 2)), xp.int64)
        steps = []
        for axis in range(1, x.ndim - 1):
            moves = self.moves(axis, x.shape[axis])
            drawn = bits[(axis - 1) * n : axis * n] * len(moves) // 65536
            choice = xp.reshape(drawn, (-1, *(1 for _ in x.shape[1:])))
            chosen = [(choice == i, to, origin) for i, (to, origin) in enumerate(moves)]
            steps.append((axis, x.shape[axis], shape[axis - 1], chosen))

        def pull(dy: Array) -> Array:
            for axis, length, _, chosen in reversed(steps):
                dy = _moved(dy, axis, length, [(which, origin, to) for which, to, origin in chosen])
            return dy

        y = x
        for axis, _, length, chosen in steps:
            y = _moved(y, axis, length, chosen)
        return y, pull


def _moved(x: Array, axis: int, length: int, moves: list[tuple[Array, slice, slice]]) -> Array:
    """Move along an axis, which gets a new length: which inputs, where to and where from."""
    xp, before = namespace(x), (slice(None),) * axis
    y = xp.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), dtype=x.dtype, device=x.device)
    for which, to, origin in moves:
        y[*before, to, ...] += xp.where(which, x[*before, origin, ...], 0.0)
    return y


class RandomCrop(_RandomMove):
    """
    Cut a smaller piece out of each input, (N, ..., C), at a random place; in inference from the middle.

    Parameters
    ----------
    *size : int
        Of the piece, along each axis between the first and the last.

    Examples
    --------
    >>> RandomCrop(24, 24)(np.zeros((5, 28, 28, 1))).shape
    (5, 24, 24, 1)
    """

    def __init__(self, *size: int):
        super().__init__()
        self.size = per_axis("size", size, len(size))

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.size) + 1 or any(n > whole for n, whole in zip(self.size, shape, strict=False)):
            raise ValueError(f"{self!r} cannot cut its piece out of inputs of shape {shape}")
        return (*self.size, shape[-1])

    def moves(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        size = self.size[axis - 1]
        return [(slice(0, size), slice(i, i + size)) for i in range(length - size + 1)]

    def by_example(self, train: bool) -> bool:
        return not train

    def forward(self, x: Array) -> Array:
        return self.vjp(x, train=False)[0]

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(tuple(x.shape[1:]))
        if train:
            return super().vjp(x)
        starts = ((whole - n) // 2 for whole, n in zip(x.shape[1:-1], self.size, strict=True))
        middle = (slice(None), *(slice(i, i + n) for i, n in zip(starts, self.size, strict=True)), slice(None))

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if not need_dx:
                return None
            dx = namespace(x).zeros_like(x)
            dx[middle] = dy
            return dx

        return x[middle], pullback


class RandomShift(_RandomMove):
    """
    Move each input by a few cells along its spatial axes, (N, ..., C), and fill up with zeros.

    Parameters
    ----------
    reach : int
        Cells to either side at most.

    Examples
    --------
    >>> y, _ = RandomShift(1).initialize(seed=2).vjp(np.ones((1, 3, 3, 1)))
    >>> y[0, :, :, 0]
    array([[1., 1., 0.],
           [1., 1., 0.],
           [1., 1., 0.]])
    """

    def __init__(self, reach: int):
        super().__init__()
        (self.reach,) = per_axis("reach", reach, 1, least=0)

    def moves(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        reach = min(self.reach, length)
        after = [(slice(by, length), slice(0, length - by)) for by in range(reach + 1)]
        return [*((origin, to) for to, origin in reversed(after[1:])), *after]
