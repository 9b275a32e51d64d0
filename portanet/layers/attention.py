"""Attention, and the block of which transformers are made."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, Fixed, check_count, check_flag, check_number
from portanet.layers.activations import GELU
from portanet.layers.base import Layer, check_rows_of
from portanet.layers.cache import Cache, current_cache
from portanet.layers.combine import Residual
from portanet.layers.embedding import check_sequence
from portanet.layers.linear import Linear
from portanet.layers.norm import LayerNorm
from portanet.layers.padding_mask import current_mask, mask_as, padding_mask
from portanet.layers.random import Dropout, Random, kept_of_65536
from portanet.layers.sequential import Sequential, vjp_of_chain
from portanet.layers.shard import place_in_batch
from portanet.tree import input_shape_of, is_shape, shapes_of_tuple
from portanet.typing import Array, Pullback, Shape, Shapes

__all__ = ["MultiHeadAttention", "TransformerBlock"]

MAX_SCORES = 2**22
"""Scores of a batch that are held at a time: queries are taken in blocks, so that memory is linear in the length."""

MAX_BLOCKS = 2**20
"""Most blocks of queries of a call, each of which has random numbers of its own."""


class MultiHeadAttention(Random):
    """
    Attention of each position of a sequence to all positions [1]_: x (N, T, embed_dim), y of the same shape.

    ``q = x W_q + b_q``, likewise k and v; each of these is split into num_heads parts. For each part,
    ``softmax(q kᵀ / √d) v`` with d = embed_dim / num_heads. The parts are joined again: ``y = joined W_out + b_out``.
    Gradients: ``portanet.kernels.attention`` and :class:`portanet.Linear`.

    Parameters
    ----------
    embed_dim : int
        Length of the last axis.
    num_heads : int
        Parts; they divide embed_dim.
    dropout : float
        Probability to drop a weight of the average in training.
    is_causal : bool
        Whether a position sees only itself and those before.
    mask_zeros : bool
        Whether positions whose features are all zero are padding: none sees them, and their output is zero. No layer
        between the zeros and this one may change them, as a LayerNorm with a bias does; :class:`TransformerBlock`
        passes its own mask on.
    bias : bool
        Whether to add the four b.

    Notes
    -----
    With a tuple (x, memory), as a node of a :class:`portanet.Graph` takes it, x attends to another sequence, memory
    (N, S, embed_dim); the pullback returns ``(dx, dmemory)``.

    References
    ----------
    .. [1] A. Vaswani et al., Attention is all you need, NeurIPS 2017.

    Examples
    --------
    >>> layer = MultiHeadAttention(8, 2, is_causal=True)
    >>> layer(np.ones((3, 5, 8), dtype="float32")).shape
    (3, 5, 8)
    """

    takes_several = True
    num_heads = Fixed(check_count)
    dropout = Checked(check_number, at_least=0, below=1)
    is_causal = Checked(check_flag)
    mask_zeros = Checked(check_flag)

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        is_causal: bool = False,
        mask_zeros: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        embed_dim, self.num_heads = check_count("embed_dim", embed_dim), num_heads
        if embed_dim % self.num_heads:
            raise ValueError(f"num_heads must divide embed_dim={embed_dim}, got {num_heads}")
        self.dropout, self.is_causal, self.mask_zeros = dropout, is_causal, mask_zeros
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (Linear(embed_dim, embed_dim, bias=bias) for _ in "qkvo")

    @property
    def embed_dim(self) -> int:
        """Length of the last axis."""
        return self.q_proj.in_features

    @property
    def bias(self) -> bool:
        """Whether the projections add a vector."""
        return self.q_proj.bias is not None

    def output_shape(self, shape: Shapes) -> Shape:
        target, *memory = shapes_of_tuple(shape)
        if not is_shape(shape) and len(memory) != 1:
            raise ValueError(f"{self!r} needs x, or a tuple (x, memory), got a tuple of {1 + len(memory)}")
        for other in memory:
            check_sequence(self, other, self.embed_dim)
        return check_sequence(self, target, self.embed_dim)

    def _children_with_shapes(self, shape: Shapes) -> Iterator[tuple[str, Layer, Shapes]]:
        target, *memory = shapes_of_tuple(shape)
        shapes = target, *(memory or [target]) * 2, target
        return ((name, layer, one) for (name, layer), one in zip(self.named_children(), shapes, strict=True))

    def vjp(self, x: Array | tuple[Array, Array], *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(input_shape_of(x))
        target, memory = x if isinstance(x, tuple) else (x, x)
        xp = namespace(target)
        check_rows_of("x", (target, memory))
        query_mask = self._mask(target, None if isinstance(x, tuple) else current_mask())
        key_mask = self._mask(memory, None) if isinstance(x, tuple) else query_mask
        projections = (self.q_proj, target), (self.k_proj, memory), (self.v_proj, memory)
        (q, pull_q), (k, pull_k), (v, pull_v) = (layer.vjp(given, train=train) for layer, given in projections)
        if (cache := current_cache()) is not None and not isinstance(x, tuple):
            k, v, key_mask = self._extend(cache, k, v, key_mask, train=train)
        if key_mask is not None:
            key_mask = xp.matrix_transpose(key_mask)[:, None, :, :]
        # The size of the whole batch decides: random numbers must not depend on how it is shared out.
        first, n_total = place_in_batch(target.shape[0])
        joined, pull_attention = kernels.attention(
            *(self._split(xp, a) for a in (q, k, v)),
            mask=key_mask,
            is_causal=self.is_causal and not (cache is not None and q.shape[1] == 1),  # it sees all before it
            drop=self._drop(target.shape[0], first) if train and self.dropout > 0 else None,
            block_size=max(1, MAX_SCORES // max(1, n_total * self.num_heads * memory.shape[1])),
        )
        y, pull_out = self.out_proj.vjp(self._join(xp, joined), train=train)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            dy = dy if query_mask is None else dy * query_mask
            djoined = pull_out(dy, need_grads=need_grads)
            parts = [self._join(xp, part) for part in pull_attention(self._split(xp, djoined))]
            dq, dk, dv = (
                pull(part, need_dx=need_dx, need_grads=need_grads)
                for pull, part in zip((pull_q, pull_k, pull_v), parts, strict=True)
            )
            if not need_dx:
                return None
            return (dq, dk + dv) if isinstance(x, tuple) else dq + dk + dv

        return y if query_mask is None else y * query_mask, pullback

    def _mask(self, x: Array, known: Array | None) -> Array | None:
        """Return 1 for data and 0 for padding, shape (N, T, 1)."""
        if not self.mask_zeros:
            return None
        return padding_mask(x, x.dtype) if known is None else known

    def _extend(
        self, cache: Cache, k: Array, v: Array, key_mask: Array | None, *, train: bool
    ) -> tuple[Array, Array, Array | None]:
        """Return keys, values and mask together with those of the positions before, and keep them for the next."""
        if train or not self.is_causal:
            raise ValueError(f"{self!r} needs the whole sequence: parts are for inference with is_causal=True")
        new, before = [k, v] if key_mask is None else [k, v, key_mask], cache.get(self)
        if before and k.shape[1] > 1:
            raise ValueError(f"{self!r} goes on by one position at a time, got {k.shape[1]}")
        joined = [namespace(k).concat(parts, axis=1) for parts in zip(before, new, strict=True)] if before else new
        cache.put(self, *joined)
        return joined[0], joined[1], None if key_mask is None else joined[2]

    def _split(self, xp: Any, x: Array) -> Array:
        """Take (N, T, embed_dim) to (N, num_heads, T, d)."""
        n, length, features = x.shape
        return xp.permute_dims(xp.reshape(x, (n, length, self.num_heads, features // self.num_heads)), (0, 2, 1, 3))

    def _join(self, xp: Any, x: Array) -> Array:
        """Take (N, num_heads, T, d) to (N, T, embed_dim)."""
        n, heads, length, d = x.shape
        return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (n, length, heads * d))

    def _drop(self, n: int, first: int) -> Callable[[int, Array], Any]:
        """Return a function that drops weights of n examples, each block of queries with a stream of its own."""
        keep, stream = kept_of_65536(self.dropout), self.stream.data + 0  # a copy
        self.stream.data[1:] += MAX_BLOCKS

        def drop(block: int, p: Array) -> Any:
            xp = namespace(p)
            own = xp.stack([stream[0], stream[1] + block])
            each = math.prod(p.shape[1:])
            bits = kernels.random_bits(own, n * each, first * each)
            return kernels.dropout(p, xp.reshape(bits, p.shape), keep)

        return drop


class TransformerBlock(Layer):
    """
    Attention and a feed-forward network, each with layer normalization before it, and added to its input [1]_.

    ``z = x + attention(norm(x))``, ``y = z + linear(gelu(linear(norm(z))))``; x and y (N, T, d_model). The gradient of
    a sum takes both ways, see :class:`portanet.Residual`.

    Parameters
    ----------
    d_model : int
        Length of the last axis.
    num_heads : int
        See :class:`MultiHeadAttention`.
    dim_feedforward : int, optional
        Length between the two linear layers; by default ``4 d_model``.
    dropout : float
        Probability to drop a number in training: of the weights of the attention, after the activation, and before each
        of the two sums.
    is_causal, mask_zeros : bool
        See :class:`MultiHeadAttention`.

    References
    ----------
    .. [1] R. Xiong et al., On layer normalization in the transformer architecture, ICML 2020.

    Examples
    --------
    >>> embed = portanet.Embedding(50, 16), portanet.PositionalEncoding(16)
    >>> net = portanet.Sequential(*embed, TransformerBlock(16, 4, is_causal=True), portanet.Linear(16, 50))
    >>> net(np.asarray([[3, 1, 4]])).shape
    (1, 3, 50)
    """

    d_model = Fixed(check_count)
    num_heads = Fixed(check_count)
    dim_feedforward = Fixed(check_count)
    dropout = Fixed(check_number, at_least=0, below=1)
    is_causal = Fixed(check_flag)
    mask_zeros = Fixed(check_flag)

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        dim_feedforward: int | None = None,
        dropout: float = 0.0,
        is_causal: bool = False,
        mask_zeros: bool = False,
    ):
        self.d_model, self.num_heads, self.dropout = d_model, num_heads, dropout
        self.dim_feedforward = 4 * self.d_model if dim_feedforward is None else dim_feedforward
        self.is_causal, self.mask_zeros = is_causal, mask_zeros
        attention = MultiHeadAttention(
            d_model, num_heads, dropout=dropout, is_causal=self.is_causal, mask_zeros=self.mask_zeros
        )
        self.attention = Residual(Sequential(LayerNorm(d_model), attention, Dropout(dropout)))
        first, second = Linear(d_model, self.dim_feedforward), Linear(self.dim_feedforward, d_model)
        self.feed_forward = Residual(
            Sequential(LayerNorm(d_model), first, GELU(), Dropout(dropout), second, Dropout(dropout))
        )

    def output_shape(self, shape: Shape) -> Shape:
        return check_sequence(self, shape, self.d_model)

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        return ((name, layer, shape) for name, layer in self.named_children())

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        mask = padding_mask(x, x.dtype) if self.mask_zeros else None
        layers = self.attention, self.feed_forward
        with mask_as(mask):  # normalization changes the zeros
            y, pull = vjp_of_chain(layers, [layer.topology.trainable for layer in layers], x, train=train)
        if mask is None:
            return y, pull

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return pull(dy * mask, need_dx=need_dx, need_grads=need_grads)

        return y * mask, pullback
