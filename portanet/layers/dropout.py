"""Random layers."""

import math

import numpy as np

from portanet import kernels
from portanet.backends import namespace
from portanet.layers.base import Layer
from portanet.parameters import State
from portanet.typing import Array, Pullback


class Dropout(Layer):
    """
    Set a share of the inputs to zero in training and scale the others up, so that the expectation stays [1]_.

    The masks come from a counter-based generator: one seed gives the same masks on every device. Each training call
    takes the next one.

    Parameters
    ----------
    p : float
        Share to drop, in [0, 1); taken to the nearest 1/65536.

    Attributes
    ----------
    stream : State, int64, shape (2,)
        Key of the generator, drawn from the network's seed, and number of the next mask.

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
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1), got {p}")
        self.keep = max(1, round((1 - p) * 65536))  # out of the 65536 values of 16 random bits
        self.stream = State(lambda rng: np.asarray([rng.integers(2**63), 0], dtype="int64"))

    def forward(self, x: Array) -> Array:
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        if not train or self.keep == 65536:
            return x, lambda dy, *, need_dx=True, need_grads=True: dy if need_dx else None
        xp, stream = namespace(x), self.stream.data
        bits = kernels.random_bits(stream, math.prod(x.shape))
        stream[1:] += 1
        kept = xp.astype(xp.reshape(bits, x.shape) < self.keep, x.dtype)
        mask = kept * (65536 / self.keep)
        return x * mask, lambda dy, *, need_dx=True, need_grads=True: dy * mask if need_dx else None
