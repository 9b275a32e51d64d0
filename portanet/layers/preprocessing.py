"""Layers that prepare data inside the network, so that they are saved with it and run on its device."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from portanet.backends import namespace
from portanet.checks import Checked, check_count, check_number, check_sample_weight, isdtype
from portanet.initializers import ones, zeros
from portanet.kernels.products import as_rows
from portanet.kernels.slices import slices
from portanet.layers.base import Layer, check_channels, check_floating, check_input, input_pullback
from portanet.parameters import Buffer
from portanet.typing import Array, Pullback, Shape

__all__ = ["Normalize", "Rescale"]

MAX_NUMBERS = 2**22
"""Numbers of the training data that :meth:`Normalize.adapt` converts at a time."""


class Normalize(Layer):
    """
    ``y = (x - mean) / std`` with the statistics of the training data, which are saved with the network.

    As the first layer of a network it makes separate preparation of inputs unnecessary. It takes integers, such as
    pixels, which are converted batch by batch on the device. ``dx = dy / std``.

    Parameters
    ----------
    num_features : int, optional
        Length of the last axis, by default that of the first data; each channel has its own statistics.

    Attributes
    ----------
    mean, std : Buffer, shape (num_features,)
        0 and 1 until :meth:`adapt` is called.

    Examples
    --------
    >>> layer = Normalize(1).adapt(np.asarray([[1.0], [3.0]]))
    >>> layer(np.asarray([[1.0], [2.0], [5.0]], dtype="float32")).ravel()
    array([-1.,  0.,  3.], dtype=float32)
    """

    takes_integers = True
    input_size_argument = "num_features"

    def __init__(self, num_features: int | None = None):
        num_features = check_count("num_features", num_features)
        self.mean = Buffer((num_features,), zeros)
        self.std = Buffer((num_features,), ones)

    @property
    def num_features(self) -> int:
        """Length of the last axis."""
        return self.mean.shape[0]

    def adapt(self, x: Any, *, sample_weight: Any = None) -> Self:
        """
        Compute mean and standard deviation of data, in float64; a channel that is constant is divided by 1.

        A channel counts as constant if its values differ by rounding only. :meth:`portanet.Layer.initialize` forgets
        the statistics; ``to`` and ``Trainer`` keep them.

        Parameters
        ----------
        x : array_like, shape (N, ..., num_features)
            The training data.
        sample_weight : array_like, shape (N,), optional
            Weight of each example: one of weight 2 counts as two examples.

        Warns
        -----
        UserWarning
            If a channel varies by less than the layer's dtype resolves at its mean, as times in seconds do in float32.
        """
        self._build_for(x)
        backend, mean, std = self.backend, self.mean.data, self.std.data
        x, xp = backend.check_rows(x, name="x"), backend.xp
        integers = isdtype(namespace(x), x.dtype, "integral")
        if not integers:
            check_floating(self, x)
        self.output_shape(tuple(x.shape[1:]))
        if not math.prod(x.shape):
            raise ValueError(f"x must hold examples, got shape {tuple(x.shape)}")
        weights = None if sample_weight is None else self._weights(x.shape[0], sample_weight)
        with backend.activate():  # differences may overflow
            new_mean, new_std = _moments(xp, lambda: self._blocks(x, weights))
        limits = xp.finfo(mean.dtype)
        if not bool(xp.all((xp.abs(new_mean) <= limits.max) & (new_std <= limits.max))):
            raise ValueError(f"x holds numbers too large for {mean.dtype}: scale them, or use float64")
        rounding = (0.0 if integers else 2 * float(namespace(x).finfo(x.dtype).eps)) * xp.abs(new_mean)
        constant = (new_std <= rounding) | (new_std < limits.smallest_normal)
        lost = ~constant & (new_std < 4 * limits.eps * xp.abs(new_mean))
        if bool(xp.any(lost)):
            channel = int(xp.argmax(xp.astype(lost, xp.int8)))
            centre, spread = float(new_mean[channel]), float(new_std[channel])
            warnings.warn(
                f"channel {channel} varies by {spread:.3g} around {centre:.6g}, which {mean.dtype} does not resolve: "
                f"subtract an offset from x, or use to(dtype='float64')",
                UserWarning,
                stacklevel=2,
            )
        mean[...] = xp.astype(new_mean, mean.dtype)
        std[...] = xp.where(constant, 1.0, xp.astype(new_std, std.dtype))
        return self

    def _weights(self, n: int, sample_weight: Any) -> Array:
        """Return the weights of n examples, of which the largest is 1, on the device."""
        backend = self.backend
        xp, weights = backend.xp, backend.asarray(sample_weight, "float64", name="sample_weight")
        check_sample_weight(xp, "sample_weight", weights, n)
        return weights / xp.max(weights)

    def _blocks(self, x: Array, weights: Array | None) -> Iterator[tuple[Array, Array]]:
        """Yield rows of x on the device in float64, part by part, and their weights, shape (N, 1)."""
        backend, n_positions = self.backend, math.prod(x.shape[1:-1])
        xp = backend.xp
        for block in slices(x.shape[0], max(1, MAX_NUMBERS // math.prod(x.shape[1:]))):
            part = backend.asarray(x[block, ...], name="x")
            rows = xp.astype(as_rows(part), xp.float64)
            if weights is None:
                yield rows, xp.ones_like(rows[:, :1])
                continue
            of_rows = xp.broadcast_to(xp.expand_dims(weights[block], axis=1), (part.shape[0], n_positions))
            of_rows = xp.reshape(of_rows, (-1,))
            counted = of_rows > 0  # an outlier of weight 0 must not be the origin or the scale of the others
            if bool(xp.any(counted)):
                yield rows[counted], xp.expand_dims(of_rows[counted], axis=1)

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_features)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        mean, std = self.mean.data, self.std.data
        self.output_shape(tuple(x.shape[1:]))
        x = _floats(x, mean)
        check_input(x, mean)
        return (x - mean) / std, input_pullback(lambda dy: dy / std)


class Rescale(Layer):
    """
    ``y = scale x + offset``, for instance of pixels from 0 to 255; ``dx = scale dy``.

    As the first layer of a network it takes integers, which are converted batch by batch on the device.

    Parameters
    ----------
    scale, offset : float
        The default scale takes pixels of 8 bits to [0, 1].

    Examples
    --------
    >>> net = portanet.Sequential(Rescale(), portanet.Flatten(), portanet.Linear(4, 1)).initialize()
    >>> net(np.zeros((5, 2, 2), dtype="uint8")).dtype
    dtype('float32')
    """

    takes_integers = True

    scale, offset = Checked(check_number), Checked(check_number)

    def __init__(self, scale: float = 1 / 255, offset: float = 0.0):
        self.scale, self.offset = scale, offset
        self.like = Buffer((), zeros)  # of the network's dtype, to which integers are converted

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        scale, like = self.scale, self.like.data
        x = _floats(x, like)
        check_input(x, like)
        return x * scale + self.offset, input_pullback(lambda dy: dy * scale)


def _floats(x: Array, like: Array) -> Array:
    """Return integers in the dtype of another array, and floats as they are."""
    xp = namespace(x)
    return xp.astype(x, like.dtype) if isdtype(xp, x.dtype, "integral") else x


def _moments(xp: Any, blocks: Callable[[], Iterable[tuple[Array, Array]]]) -> tuple[Array, Array]:
    """
    Return the mean and standard deviation of each column of blocks of rows with weights above 0.

    Columns are shifted to their first row, which keeps the digits of values far from 0, and divided by their largest
    difference to it, so that no square overflows or vanishes. Blocks are merged as in [1]_.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance: analysis and
       recommendations, The American Statistician 37, 1983, eq. 2.1.

    Examples
    --------
    >>> rows, weights = np.asarray([[1.0], [3.0]]), np.asarray([[1.0], [1.0]])
    >>> _moments(np, lambda: [(rows[:1], weights[:1]), (rows[1:], weights[1:])])
    (array([2.]), array([1.]))
    """
    origin: Array = None
    largest: Array = None
    for rows, _ in blocks():
        if not bool(xp.all(xp.isfinite(rows))):
            raise ValueError("x holds NaN or infinity: remove or replace these values")
        origin = rows[0, ...] if origin is None else origin
        furthest = xp.max(xp.abs(rows - origin), axis=0)
        largest = furthest if largest is None else xp.maximum(largest, furthest)
    scale = xp.where(largest > 0.0, largest, 1.0)
    total, mean, squares = 0.0, xp.zeros_like(scale), xp.zeros_like(scale)
    for rows, weights in blocks():
        n = float(xp.sum(weights))
        differences = (rows - origin) / scale
        own = xp.sum(differences * weights, axis=0) / n
        differences -= own
        change, total = own - mean, total + n
        mean = mean + change * (n / total)
        squares = squares + xp.sum(differences * differences * weights, axis=0) + change**2 * (n * (total - n) / total)
    return origin + mean * scale, xp.sqrt(squares / total) * scale
