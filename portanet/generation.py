"""Continuing sequences of tokens with a network that predicts the next one."""

from typing import Any

import numpy as np

from portanet.backends import host_array
from portanet.checks import check_count, check_number, optional
from portanet.layers.base import Layer, check_layer
from portanet.layers.cache import Cache, cached
from portanet.layers.causal import layer_that_looks_ahead

__all__ = ["generate"]


def generate(
    net: Layer,
    ids: Any,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    num_beams: int = 1,
    eos_token_id: int | None = None,
    max_context: int | None = None,
    random_state: int | None = 0,
) -> np.ndarray:
    """
    Continue sequences, token by token.

    With ``temperature=0`` each token is the most probable one. Above 0, it is drawn with the probabilities
    ``softmax(logits / temperature)``. With ``num_beams`` above 1, the most probable continuation is searched for: after
    each token, the ``num_beams`` most probable ones are kept. There is no length penalty. If no layer of the net looks
    ahead, it is run on the new token alone, and keeps its keys and values or its state; else, and beyond
    ``max_context``, it is run on the whole sequence each time.

    Parameters
    ----------
    net : Layer
        Takes ids (N, T), and returns logits of the next token: (N, T, C), or (N, C) for the last position alone.
    ids : array_like of int, shape (N, T)
        The beginnings, of equal length.
    max_new_tokens : int
        Tokens to add.
    temperature : float
        Below 1, probable tokens become more probable.
    top_k : int, optional
        Draw from the ``top_k`` most probable tokens only.
    num_beams : int
        Continuations that are kept; needs ``temperature=0``.
    eos_token_id : int, optional
        The token that ends a sequence, also at the end of ``ids``; it is repeated until all have ended.
    max_context : int, optional
        Most tokens that the net is given, the last ones; by default all.
    random_state : int or None
        Seed of the draws; None draws differently at each call.

    Returns
    -------
    numpy.ndarray of int64, shape (N, T + n)
        The sequences with their beginnings. n is ``max_new_tokens``, or less if all have ended.

    Raises
    ------
    ValueError
        If an argument is unfit, or the net does not return logits.

    Examples
    --------
    A net that prefers the token after the last one:

    >>> net = portanet.Sequential(portanet.Embedding(5, 5))
    >>> net.initialize()[0].weight.data[...] = np.roll(np.eye(5), 1, axis=1)
    >>> generate(net, [[0], [2]], 3)
    array([[0, 1, 2, 3],
           [2, 3, 4, 0]])
    """
    check_layer("net", net)
    tokens = host_array(ids, name="ids")
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or 0 in tokens.shape:
        raise ValueError(f"ids must be integers of shape (N, T), got {tokens.dtype} of shape {tokens.shape}")
    tokens = tokens.astype("int64")
    temperature = check_number("temperature", temperature, at_least=0)
    num_beams, top_k = check_count("num_beams", num_beams), optional(check_count)("top_k", top_k)
    if num_beams > 1 and (temperature > 0 or top_k is not None):
        raise ValueError(f"num_beams={num_beams} searches and draws nothing: leave temperature and top_k out")
    if top_k is not None and temperature == 0:
        raise ValueError(f"top_k={top_k} draws, but temperature=0 takes the most probable token: give temperature=1.0")
    eos, context = optional(check_count)("eos_token_id", eos_token_id, at_least=0), max_context
    context = optional(check_count)("max_context", context)
    rng = np.random.default_rng(optional(check_count)("random_state", random_state, at_least=0))
    n, beams = tokens.shape[0], np.zeros((tokens.shape[0], 1))  # log-probability of each kept continuation
    cache = Cache() if layer_that_looks_ahead(net) is None and not net.topology.reuses_layers else None
    tokens = tokens[:, None, :]  # (N, beams, T)
    for _ in range(check_count("max_new_tokens", max_new_tokens)):
        rows = tokens.reshape(n * beams.shape[1], -1)
        if context is not None and rows.shape[1] > context:
            rows, cache = rows[:, -context:], None
        log_p = _log_probabilities(net, rows, cache).reshape(*beams.shape, -1)
        if eos is not None:  # a sequence that has ended goes on with the same token, at no cost
            ended = tokens[..., -1] == eos
            log_p[ended] = np.where(np.arange(log_p.shape[-1]) == eos, 0.0, -np.inf)
        if temperature > 0:
            parents, new = np.zeros((n, 1), "int64"), _sample(log_p[:, 0], temperature, top_k, rng)[:, None]
        else:
            parents, new, beams = _best(beams, log_p, num_beams)
        if cache is not None and num_beams > 1:
            old = parents + np.arange(n)[:, None] * log_p.shape[1]
            cache.take(net.asarray(old.reshape(-1)))
        tokens = np.concatenate([np.take_along_axis(tokens, parents[..., None], axis=1), new[..., None]], axis=2)
        if eos is not None and ((tokens[..., -1] == eos) | np.isneginf(beams)).all():
            break
    return tokens[:, 0]  # the best one


def _log_probabilities(net: Layer, tokens: np.ndarray, cache: Cache | None) -> np.ndarray:
    """Return those of the next token, (N, C)."""
    if cache is None:
        logits = net.predict(tokens)
    else:
        with cached(cache):
            logits = net.predict(tokens[:, cache.start :], batch_size=len(tokens))
        cache.start = tokens.shape[1]
    if isinstance(logits, dict):
        raise ValueError(f"net must return logits alone, got {', '.join(logits)}: give Graph outputs=")
    if logits.ndim not in (2, 3) or logits.shape[0] != tokens.shape[0]:
        raise ValueError(f"net must return logits (N, T, C) or (N, C), got shape {logits.shape}: end it with a Linear")
    last = (logits if logits.ndim == 2 else logits[:, -1]).astype("float64")
    if np.isnan(last).any():
        raise ValueError("net returned NaN: its weights are not finite")
    shifted = last - last.max(axis=-1, keepdims=True)
    log_p: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


def _sample(log_p: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator) -> np.ndarray:
    """Draw a token of each row: the largest of the log-probabilities plus noise of Gumbel's distribution."""
    if top_k is not None and top_k < log_p.shape[1]:
        kept = np.argsort(-log_p, axis=-1, kind="stable")[:, :top_k]
        dropped = np.full_like(log_p, -np.inf)
        np.put_along_axis(dropped, kept, np.take_along_axis(log_p, kept, axis=-1), axis=-1)
        log_p = dropped
    drawn: np.ndarray = np.argmax(log_p / temperature + rng.gumbel(size=log_p.shape), axis=-1)
    return drawn


def _best(beams: np.ndarray, log_p: np.ndarray, num_beams: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return parents, last tokens and log-probabilities of the best continuations, the most probable first."""
    n_tokens, totals = log_p.shape[-1], (beams[..., None] + log_p).reshape(len(beams), -1)
    best = np.argsort(-totals, axis=-1, kind="stable")[:, :num_beams]
    return best // n_tokens, best % n_tokens, np.take_along_axis(totals, best, axis=-1)
