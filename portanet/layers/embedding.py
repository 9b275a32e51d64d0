"""Vectors for integers, such as the tokens of a text, and for positions in a sequence."""

import math

import numpy as np

from portanet import kernels
from portanet.backends import describe, namespace
from portanet.checks import Checked, Fixed, check_count, check_flag, isdtype, optional
from portanet.initializers import Initializer, normal
from portanet.layers.base import Layer, batch, check_channels, check_floating, check_input, input_pullback
from portanet.layers.cache import current_start
from portanet.layers.padding_mask import padding_mask
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["Embedding", "PositionalEmbedding", "PositionalEncoding"]


class Embedding(Layer):
    """
    A vector for each of a number of integers: ``y = W[ids]``, ids (N, ...), y (N, ..., embedding_dim).

    Gradient: row i of dW is the sum of the dy whose id is i. The ids have no gradient: dx is zero.

    Parameters
    ----------
    num_embeddings : int
        Ids are in ``[0, num_embeddings)``.
    embedding_dim : int
        Length of a vector.
    padding_idx : int, optional
        The id of padding: its vector is zero and is not trained.
    init : Initializer
        Initial W, of shape (num_embeddings, embedding_dim).

    Raises
    ------
    ValueError
        If ids are no integers or, on a CPU, out of range. Steps on a GPU do not check the range; ``fit`` does, once.

    Examples
    --------
    >>> layer = Embedding(10, 3, padding_idx=0).initialize(seed=0)
    >>> y = layer(np.asarray([[4, 4, 0]]))
    >>> y.shape, bool((y[0, 0] == y[0, 1]).all()), y[0, 2]
    ((1, 3, 3), True, array([0., 0., 0.], dtype=float32))
    """

    takes_integers = True
    padding_idx = Fixed(optional(check_count), at_least=0)

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, padding_idx: int | None = None, init: Initializer = normal
    ):
        num_embeddings = check_count("num_embeddings", num_embeddings)
        self.weight = Parameter((num_embeddings, check_count("embedding_dim", embedding_dim)), init)
        self.padding_idx = padding_idx
        if padding_idx is not None and padding_idx >= num_embeddings:
            raise ValueError(f"padding_idx must be below num_embeddings={num_embeddings}, got {padding_idx}")

    @property
    def num_embeddings(self) -> int:
        """Number of vectors."""
        return self.weight.shape[0]

    @property
    def embedding_dim(self) -> int:
        """Length of a vector."""
        return self.weight.shape[1]

    @property
    def init(self) -> Initializer:
        """Initializer of W."""
        return self.weight.init

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape, self.embedding_dim)

    def check_ids(self, x: Array) -> None:
        """Refuse ids out of range; it reads from the device."""
        xp = namespace(x)
        if not math.prod(x.shape):
            return
        low, high = int(xp.min(x)), int(xp.max(x))
        if low < 0 or high >= self.num_embeddings:
            found = low if low < 0 else high
            raise ValueError(f"{self!r} needs ids in [0, {self.num_embeddings}), got {found}")

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, w = namespace(x), self.weight.data
        if not isdtype(xp, x.dtype, "integral"):
            raise ValueError(f"{self!r} needs integers, got x of dtype {x.dtype}: give x.astype('int64') for instance")
        if type(x) is not type(w) or x.device != w.device:
            raise ValueError(f"x is on {describe(x)} but the weights are on {describe(w)}: use net.asarray(x)")
        if isinstance(x, np.ndarray):
            self.check_ids(x)
        ids = xp.reshape(x, (-1,))
        padding = None if self.padding_idx is None else (ids == self.padding_idx)[:, None]
        y = xp.take(w, ids, axis=0)
        y = y if padding is None else xp.where(padding, 0.0, y)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                rows = xp.reshape(dy, y.shape)
                rows = rows if padding is None else xp.where(padding, 0.0, rows)
                self.weight.accumulate(kernels.embedding_gradient(rows, ids, self.num_embeddings))
            return xp.zeros(x.shape, dtype=w.dtype, device=w.device) if need_dx else None

        return xp.reshape(y, (*x.shape, self.embedding_dim)), pullback


class PositionalEncoding(Layer):
    """
    Sine waves added to a sequence, which tell attention the positions [1]_: ``y = x + p``, x (N, T, embedding_dim).

    ``p[t, 2i] = sin(t / 10000^(2i / embedding_dim))``, and ``p[t, 2i + 1]`` is the cosine. ``dx = dy``.

    Parameters
    ----------
    embedding_dim : int, optional
        Length of the last axis, by default that of the first data.
    mask_zeros : bool
        Whether positions whose features are all zero are padding, which stays zero.

    References
    ----------
    .. [1] A. Vaswani et al., Attention is all you need, NeurIPS 2017.

    Examples
    --------
    >>> PositionalEncoding(4)(np.zeros((1, 2, 4))).round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]])
    """

    input_size_argument = "embedding_dim"
    embedding_dim = Fixed(check_count)
    mask_zeros = Checked(check_flag)

    def __init__(self, embedding_dim: int | None = None, *, mask_zeros: bool = False):
        self.embedding_dim = embedding_dim
        self.mask_zeros = mask_zeros

    def output_shape(self, shape: Shape) -> Shape:
        return check_sequence(self, shape, self.embedding_dim)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        check_floating(self, x)
        return _add_positions(x, self._encoding(x), mask_zeros=self.mask_zeros)

    def _encoding(self, x: Array) -> Array:
        """Return p, shape (T, embedding_dim)."""
        xp, dim, like = namespace(x), self.embedding_dim, {"dtype": x.dtype, "device": x.device}
        even = xp.arange(0, dim, 2, **like)
        first = current_start()
        angles = xp.arange(first, first + x.shape[1], **like)[:, None] * xp.exp(even * (-math.log(10000.0) / dim))
        pairs = xp.stack([xp.sin(angles), xp.cos(angles)], axis=-1)
        return xp.reshape(pairs, (x.shape[1], 2 * even.shape[0]))[:, :dim]


class PositionalEmbedding(Layer):
    """
    A trained vector added to each position of a sequence: ``y = x + W[:T]``, x (N, T, embedding_dim).

    Gradients: ``dx = dy``; row t of dW is the sum of dy over the examples.

    Parameters
    ----------
    max_len : int
        Most positions of a sequence.
    embedding_dim : int
        Length of the last axis of x.
    mask_zeros : bool
        Whether positions whose features are all zero are padding, which stays zero.
    init : Initializer
        Initial W, of shape (max_len, embedding_dim).

    Examples
    --------
    >>> layer = PositionalEmbedding(8, 4)
    >>> layer(np.zeros((2, 5, 4), dtype="float32")).shape
    (2, 5, 4)
    """

    mask_zeros = Checked(check_flag)

    def __init__(self, max_len: int, embedding_dim: int, *, mask_zeros: bool = False, init: Initializer = normal):
        shape = check_count("max_len", max_len), check_count("embedding_dim", embedding_dim)
        self.weight = Parameter(shape, init)
        self.mask_zeros = mask_zeros

    @property
    def max_len(self) -> int:
        """Most positions of a sequence."""
        return self.weight.shape[0]

    @property
    def embedding_dim(self) -> int:
        """Length of the last axis."""
        return self.weight.shape[1]

    @property
    def init(self) -> Initializer:
        """Initializer of W."""
        return self.weight.init

    def output_shape(self, shape: Shape) -> Shape:
        check_sequence(self, shape, self.embedding_dim)
        if shape[0] > self.max_len:
            raise ValueError(f"{self!r} has vectors for {self.max_len} positions, got {batch(shape)}: raise max_len")
        return shape

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, w, first = namespace(x), self.weight.data, current_start()
        end = first + x.shape[1]
        self.output_shape((end, *x.shape[2:]))
        check_input(x, w)
        y, pull = _add_positions(x, w[first:end, :], mask_zeros=self.mask_zeros)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dx = pull(dy)
            if need_grads:
                before, after = (
                    xp.zeros((n, w.shape[1]), dtype=w.dtype, device=w.device) for n in (first, self.max_len - end)
                )
                self.weight.accumulate(xp.concat([before, xp.sum(dx, axis=0), after], axis=0))
            return dx if need_dx else None

        return y, pullback


def _add_positions(x: Array, p: Array, *, mask_zeros: bool) -> tuple[Array, Pullback]:
    """Return x + p, and the pullback to x; padding stays zero."""
    if not mask_zeros:
        return x + p, input_pullback(lambda dy: dy)
    kept = padding_mask(x, x.dtype)
    return (x + p) * kept, input_pullback(lambda dy: dy * kept)


def check_sequence(layer: Layer, shape: Shape, features: int) -> Shape:
    """Return the shape of one input if it is that of a sequence (T, features)."""
    if len(shape) != 2:
        raise ValueError(f"{layer!r} needs x of shape (N, T, {features}), got {batch(shape)}")
    return check_channels(layer, shape, features)
