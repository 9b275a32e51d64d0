"""Attention: averages of values, weighted by how well queries match keys."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.slices import slices
from portanet.kernels.softmax import softmax, softmax_gradient
from portanet.typing import Array

Drop: TypeAlias = Callable[[int, Array], tuple[Array, Callable[[Array], Array]]]
"""``drop(i, p)`` returns the weights of block i with some of them dropped, and the function that takes dy to dp."""

Gradients: TypeAlias = Callable[[Array], tuple[Array, Array, Array]]


@kernel
def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    mask: Array | None = None,
    is_causal: bool = False,
    drop: Drop | None = None,
    block_size: int | None = None,
) -> tuple[Array, Gradients]:
    """
    Scaled dot-product attention [1]_: ``y = p v`` with ``p = softmax(q kᵀ / √D)``, and its pullback.

    Gradients, with ``dp = dy vᵀ``: ``dv = pᵀ dy``, ``ds = p (dp - Σ p dp) / √D``, ``dq = ds k``, ``dk = dsᵀ q``.
    If there are several blocks of queries, the pullback computes p again, block by block.

    Parameters
    ----------
    q : array, shape (N, T, D) or (N, heads, T, D)
        Queries.
    k, v : array, shape (N, S, D) or (N, heads, S, D)
        Keys and values.
    mask : array, shape (N, 1, S) or (N, 1, 1, S), optional
        0 for keys that are padding, else 1.
    is_causal : bool
        Whether query t sees no keys after t.
    drop : callable, optional
        Drops weights, see :data:`Drop`.
    block_size : int, optional
        Queries of a block, by default all: only the weights p of one block are held.

    Returns
    -------
    y : array, shape of q
        Zero for a query that sees no key.
    pullback : callable
        Takes dy to (dq, dk, dv).

    References
    ----------
    .. [1] A. Vaswani et al., Attention is all you need, NeurIPS 2017.

    Examples
    --------
    >>> q, v = np.zeros((1, 3, 2)), np.asarray([[[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]]])
    >>> attention(q, q, v, is_causal=True)[0]
    array([[[0., 1.],
            [1., 1.],
            [2., 2.]]])
    """
    xp, scale = namespace(q), 1 / math.sqrt(q.shape[-1])
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    if 0 in (n_queries, n_keys):
        return xp.zeros_like(q), lambda dy: (xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(v))
    blocks = [*slices(n_queries, block_size or n_queries)]
    lowest = xp.finfo(q.dtype).min / 2  # added to a score, it makes the weight 0
    mask_bias = None if mask is None else (1 - mask) * lowest

    def weights(rows: slice) -> Array:
        """Return p for some queries."""
        scores = xp.matmul(q[..., rows, :] * scale, xp.matrix_transpose(k))
        if mask_bias is not None:
            scores += mask_bias
        if is_causal:
            scores += _causal_mask(xp, q, rows, n_keys) * lowest
        p = softmax(scores)
        if mask is None:
            return p
        n_seen = xp.sum(mask, axis=-1, keepdims=True)
        if is_causal:
            last = xp.clip(xp.arange(rows.start, rows.stop, device=q.device), None, n_keys - 1)
            n_seen = xp.take(xp.matrix_transpose(xp.cumulative_sum(mask, axis=-1)), last, axis=-2)
        return p * xp.astype(n_seen > 0, p.dtype)  # 0 for a query that sees no key

    computed = [weights(blocks[0])] if len(blocks) == 1 else []  # of more blocks, they would fill the memory

    def output(i: int, rows: slice) -> Array:
        p = computed[0] if computed else weights(rows)
        return xp.matmul(p if drop is None else drop(i, p)[0], v)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dq, dk, dv = [], xp.zeros_like(k), xp.zeros_like(v)
        for i, rows in enumerate(blocks):
            p, dy_rows = computed[0] if computed else weights(rows), dy[..., rows, :]
            dropped, drop_pullback = (p, None) if drop is None else drop(i, p)
            dv += xp.matmul(xp.matrix_transpose(dropped), dy_rows)
            dp = xp.matmul(dy_rows, xp.matrix_transpose(v))
            dp = dp if drop_pullback is None else drop_pullback(dp)
            ds = softmax_gradient(dp, p) * scale
            dq.append(xp.matmul(ds, k))
            dk += xp.matmul(xp.matrix_transpose(ds), q[..., rows, :])
        return xp.concat(dq, axis=-2), dk, dv

    return xp.concat([output(i, rows) for i, rows in enumerate(blocks)], axis=-2), pullback


def _causal_mask(xp: Any, q: Array, rows: slice, n_keys: int) -> Array:
    """Return 1 for each pair of a query and a key after it, else 0."""
    queries, keys = (xp.arange(*bounds, device=q.device) for bounds in ((rows.start, rows.stop), (0, n_keys)))
    return xp.astype(keys[None, :] > queries[:, None], q.dtype)
