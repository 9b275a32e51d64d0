"""Recurrent layers by the compiled kernels: all steps in one call, with the step as a program that was traced."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.elementwise import PLAIN, Program, compile_steps
from portanet.backends.numpy.core.memory import is_supported
from portanet.backends.tracing import trace_recurrence

Arrays: TypeAlias = tuple[np.ndarray, ...]


class _Programs(NamedTuple):
    """The programs of a step and of its pullback; see :class:`portanet.backends.tracing.TracedRecurrence`."""

    forward: Program
    backward: Program
    n_saved: int
    same_gradients: bool


def recurrence(
    x: np.ndarray, weights: Arrays, state: Arrays, step: Callable[..., Any], mask: np.ndarray | None = None
) -> tuple[np.ndarray, Arrays, Callable[..., Any]]:
    """See :func:`portanet.kernels.recurrence`."""
    programs = None
    if x.size > 0 and is_supported(x, mask, *weights, *state):
        hidden, width = weights[1].shape
        programs = _programs_of(step, (width // hidden, len(state)), x.dtype)
    if programs is None:
        portable: tuple[np.ndarray, Arrays, Callable[..., Any]] = kernels.recurrence.portable(
            x, weights, state, step, mask
        )
        return portable
    x, w_ih, w_hh, b_ih, b_hh = map(np.ascontiguousarray, (x, *weights))
    mask = None if mask is None else np.ascontiguousarray(mask)
    n_steps, n, _ = x.shape
    states = np.empty((len(state), n_steps + 1, n, hidden), x.dtype)
    states[:, 0] = state
    saved = np.empty((n_steps, n, programs.n_saved * hidden), x.dtype)
    compiled.recurrence(x, w_ih, w_hh, b_ih, b_hh, mask, programs.forward.code, states, saved)

    def pullback(dh: np.ndarray | None, dstate: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        dh = None if dh is None else np.ascontiguousarray(dh, x.dtype)
        dstates, da = np.array(dstate, x.dtype), np.empty((n_steps, n, width), x.dtype)
        du = None if programs.same_gradients else np.empty_like(da)
        compiled.recurrence_gradient(w_hh, mask, programs.backward.code, states, saved, dh, dstates, da, du)
        return da, da if du is None else du, tuple(dstates)

    return states[0, 1:], tuple(states[:, -1]), pullback


def _programs_of(step: Callable[..., Any], counts: tuple[int, int], dtype: np.dtype[Any]) -> _Programs | None:
    """Return the programs of a method with so many gates and states, or None if the core cannot run it."""
    method: Any = step
    owner = getattr(step, "__self__", None)
    if owner is None:
        return None
    kind: Any = type(owner)
    of_class = [item for base in reversed(kind.__mro__) for item in vars(base).items()]
    settings = tuple([item for item in (*of_class, *vars(owner).items()) if type(item[1]) in PLAIN])  # not the weights
    return _programs(method.__func__, kind, settings, counts, dtype)


@lru_cache(maxsize=256)
def _programs(
    function: Callable[..., Any],
    owner: Any,
    settings: tuple[Any, ...],
    counts: tuple[int, int],
    dtype: np.dtype[Any],
) -> _Programs | None:
    holder: Any = object.__new__(owner)
    vars(holder).update(settings)
    n_gates, n_states = counts
    traced = trace_recurrence(function.__get__(holder), n_gates, n_states, dtype)
    if traced is None:
        return None
    forward = compile_steps(traced.forward, _names(a=n_gates, u=n_gates, s=n_states))
    backward = compile_steps(traced.backward, _names(s=n_states, n=n_states, v=traced.n_saved, d=n_states))
    return None if forward is None or backward is None else _Programs(forward, backward, *traced[2:])


def _names(**counts: int) -> list[str]:
    return [f"{kind}{i}" for kind, n in counts.items() for i in range(n)]
