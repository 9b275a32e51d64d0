"""Attention: averages of values, weighted by how well queries match keys."""

import math
from collections.abc import Callable
from typing import TypeAlias

from portanet.backends import namespace
from portanet.kernels.slices import slices
from portanet.typing import Array

MAX_SCORES = 2**22
"""Scores that are held at a time: queries are taken in blocks, so that memory is linear in the length."""

Drop: TypeAlias = Callable[[int, Array], tuple[Array, Callable[[Array], Array]]]
"""``drop(i, p)`` returns the weights of block i with some of them dropped, and the function that takes dy to dp."""

Gradients: TypeAlias = Callable[[Array], tuple[Array, Array, Array]]


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    kept: Array | None = None,
    causal: bool = False,
    drop: Drop | None = None,
    max_scores: int = MAX_SCORES,
) -> tuple[Array, Gradients]:
    """
    Scaled dot-product attention [1]_: ``y = p v`` with ``p = softmax(q kᵀ / √D)``, and its pullback.

    Gradients, with ``dp = dy vᵀ``: ``dv = pᵀ dy``, ``ds = p (dp - Σ p dp) / √D``, ``dq = ds k``, ``dk = dsᵀ q``.
    The pullback computes p again, block by block.

    Parameters
    ----------
    q : array, shape (B, T, D)
        Queries.
    k, v : array, shape (B, S, D)
        Keys and values.
    kept : array, shape (B, 1, S), optional
        0 for keys that are padding, else 1.
    causal : bool
        Whether query t sees no keys after t.
    drop : callable, optional
        Drops weights, see :data:`Drop`.
    max_scores : int
        Scores of a block.

    Returns
    -------
    y : array, shape (B, T, D)
        Zero for a query that sees no key.
    pullback : callable
        Takes dy to (dq, dk, dv).

    References
    ----------
    .. [1] A. Vaswani et al., Attention is all you need, NeurIPS 2017.

    Examples
    --------
    >>> q, v = np.zeros((1, 3, 2)), np.asarray([[[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]]])
    >>> attention(q, q, v, causal=True)[0]
    array([[[0., 1.],
            [1., 1.],
            [2., 2.]]])
    """
    xp, scale = namespace(q), 1 / math.sqrt(q.shape[-1])
    n_keys = k.shape[1]
    if 0 in (q.shape[1], n_keys):
        return xp.zeros_like(q), lambda dy: (xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(v))
    blocks = [*slices(q.shape[1], max(1, max_scores // max(1, q.shape[0] * n_keys)))]

    def weights(rows: slice) -> Array:
        """Return p for some queries."""
        scores = xp.matmul(q[:, rows, :] * scale, xp.matrix_transpose(k))
        seen = None if kept is None else kept > 0
        if causal:
            positions = xp.arange(max(n_keys, rows.stop), device=q.device)
            before = positions[None, :n_keys] <= positions[rows, None]
            seen = before if seen is None else seen & before
        if seen is None:
            e = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
            return e / xp.sum(e, axis=-1, keepdims=True)
        lowest = xp.finfo(scores.dtype).min
        scores = xp.where(seen, scores, lowest)
        e = xp.where(seen, xp.exp(scores - xp.max(scores, axis=-1, keepdims=True)), 0.0)
        total = xp.sum(e, axis=-1, keepdims=True)
        return e / xp.where(total > 0, total, 1.0)

    def output(i: int, rows: slice) -> Array:
        p = weights(rows)
        return xp.matmul(p if drop is None else drop(i, p)[0], v)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dq, dk, dv = [], xp.zeros_like(k), xp.zeros_like(v)
        for i, rows in enumerate(blocks):
            p, dy_rows = weights(rows), dy[:, rows, :]
            dropped, drop_pullback = (p, None) if drop is None else drop(i, p)
            dv += xp.matmul(xp.matrix_transpose(dropped), dy_rows)
            dp = xp.matmul(dy_rows, xp.matrix_transpose(v))
            dp = dp if drop_pullback is None else drop_pullback(dp)
            ds = p * (dp - xp.sum(p * dp, axis=-1, keepdims=True)) * scale
            dq.append(xp.matmul(ds, k))
            dk += xp.matmul(xp.matrix_transpose(ds), q[:, rows, :])
        return xp.concat(dq, axis=1), dk, dv

    return xp.concat([output(i, rows) for i, rows in enumerate(blocks)], axis=1), pullback
