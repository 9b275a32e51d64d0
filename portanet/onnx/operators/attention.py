"""Attention of several heads, with a cache of keys and values, and rotary positions."""

import math
from typing import Any

from portanet import kernels
from portanet.onnx.operators.arrays import dtype_of
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


@operator("Attention")
def attention(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any,
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Return ``softmax(scale q kᵀ + bias) v``, the keys and values with those of the cache, and the scores."""
    has_heads = q.ndim == 4
    if not has_heads:
        q, k, v = (_split_heads(xp, x, n) for x, n in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads)))
    n_past = 0 if past_key is None else past_key.shape[2]
    k = k if past_key is None else xp.concat([past_key, k], axis=2)
    v = v if past_value is None else xp.concat([past_value, v], axis=2)
    group_size = q.shape[1] // k.shape[1]  # heads of queries for each head of keys
    keys, values = (xp.repeat(x, group_size, axis=1) for x in (k, v))
    factor = math.sqrt(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    raw = xp.matmul(q * factor, xp.matrix_transpose(keys) * factor)
    capped = softcap * xp.tanh(raw / softcap) if softcap > 0 else raw
    offset = n_past if nonpad_kv_seqlen is None else xp.reshape(nonpad_kv_seqlen, (-1, 1, 1, 1)) - q.shape[2]
    bounds = left_window_size, 0 if is_causal else right_window_size
    seen = _window(xp, capped, offset, bounds, nonpad_kv_seqlen)
    biased = _masked(xp, capped, attn_mask, seen)
    kind = q.dtype if softmax_precision is None else dtype_of(xp, softmax_precision)
    p = xp.astype(_softmax(xp, xp.astype(biased, kind)), q.dtype)
    y = xp.matmul(p, values)
    return y if has_heads else _join_heads(xp, y), k, v, (raw, capped, biased, p)[qk_matmul_output_mode]


def _split_heads(xp: Any, x: Array, n_heads: int | None) -> Array:
    """Return (N, T, heads D) as (N, heads, T, D)."""
    if n_heads is None:
        raise ValueError("q_num_heads and kv_num_heads must be given for inputs of three axes")
    return xp.permute_dims(xp.reshape(x, (*x.shape[:2], n_heads, x.shape[2] // n_heads)), (0, 2, 1, 3))


def _join_heads(xp: Any, x: Array) -> Array:
    """Return (N, heads, T, D) as (N, T, heads D)."""
    n, heads, length, d = x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (n, length, heads * d))


def _window(xp: Any, scores: Array, offset: Any, bounds: tuple[int, int], n_keys: Array | None) -> Array:
    """Return which keys a query sees: those within a window of its position, and before the padding."""
    left, right = bounds
    queries, keys = (xp.arange(n, dtype=xp.int64, device=scores.device) for n in scores.shape[2:])
    after = keys[None, None, None, :] - (queries[None, None, :, None] + offset)
    seen = xp.full(after.shape, True, device=scores.device)
    if left >= 0:
        seen = seen & (after >= -left)
    if right >= 0:
        seen = seen & (after <= right)
    if n_keys is not None:
        seen = seen & (keys < xp.reshape(n_keys, (-1, 1, 1, 1)))
    return seen


def _masked(xp: Any, scores: Array, attn_mask: Array | None, seen: Array) -> Array:
    """Add a mask of floats to the scores; keys that are not seen, or come after the end of the mask, get -inf."""
    if attn_mask is not None:
        n, is_bool = attn_mask.shape[-1], xp.isdtype(attn_mask.dtype, "bool")
        first = scores[..., :n]
        first = xp.where(attn_mask, first, -math.inf) if is_bool else first + attn_mask
        scores = xp.concat([first, xp.full_like(scores[..., n:], -math.inf)], axis=3)
    return xp.where(seen, scores, -math.inf)


def _softmax(xp: Any, scores: Array) -> Array:
    """Return weights of the keys; a query that sees none has weights of 0."""
    sees_none = xp.all(scores == -math.inf, axis=-1, keepdims=True)
    return xp.where(sees_none, 0.0, kernels.softmax(xp.where(sees_none, 0.0, scores)))


@operator("RotaryEmbedding")
def rotary_embedding(
    xp: Any,
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Array:
    """Rotate pairs of features ``(a, b)`` to ``(cos a - sin b, sin a + cos b)`` by the angles of their position."""
    heads = x if x.ndim == 4 else _split_heads(xp, x, num_heads)
    n = rotary_embedding_dim or heads.shape[-1]
    cos, sin = (_at_positions(xp, cache, position_ids) for cache in (cos_cache, sin_cache))
    rotated, rest = heads[..., :n], heads[..., n:]
    if interleaved:
        a, b = rotated[..., 0::2], rotated[..., 1::2]
    else:
        a, b = rotated[..., : n // 2], rotated[..., n // 2 :]
    pair = [cos * a - sin * b, sin * a + cos * b]
    rotated = xp.reshape(xp.stack(pair, axis=-1), rotated.shape) if interleaved else xp.concat(pair, axis=-1)
    y = xp.concat([rotated, rest], axis=-1)
    return y if x.ndim == 4 else _join_heads(xp, y)


def _at_positions(xp: Any, cache: Array, position_ids: Array | None) -> Array:
    """Return the row of the cache for each position, (N, 1, T, D / 2)."""
    if position_ids is not None:
        rows = xp.take(cache, xp.reshape(position_ids, (-1,)), axis=0)
        cache = xp.reshape(rows, (*position_ids.shape, cache.shape[-1]))
    return xp.expand_dims(cache, axis=1)
