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
    needs_u: bool


def recurrence(  # noqa: PLR0917
    a: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    state: Arrays,
    step: Callable[..., Any],
    kept: np.ndarray | None = None,
) -> tuple[np.ndarray, Arrays, Callable[..., Any]]:
    """See :func:`portanet.kernels.recurrence`."""
    programs = None
    if a.size > 0 and is_supported(a, w, b, kept, *state):
        programs = _programs_of(step, (w.shape[1] // w.shape[0], len(state)), a.dtype)
    if programs is None:
        portable: tuple[np.ndarray, Arrays, Callable[..., Any]] = kernels.recurrence.portable(
            a, w, b, state, step, kept
        )
        return portable
    a, w, b = (np.ascontiguousarray(x) for x in (a, w, b))
    kept = None if kept is None else np.ascontiguousarray(kept)
    (n_steps, n, width), hidden = a.shape, len(w)
    states = np.empty((len(state), n_steps + 1, n, hidden), a.dtype)
    states[:, 0] = state
    u = np.empty((n_steps if programs.needs_u else 1, n, width), a.dtype)
    saved = np.empty((n_steps, n, programs.n_saved * hidden), a.dtype)
    compiled.recurrence(a, w, b, kept, programs.forward.code, states, u, saved)

    def pullback(dh: np.ndarray | None, dstate: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        dh = None if dh is None else np.ascontiguousarray(dh, a.dtype)
        dstates, da = np.array(dstate, a.dtype), np.empty_like(a)
        du = None if programs.same_gradients else np.empty_like(a)
        compiled.recurrence_gradient(a, w, kept, programs.backward.code, states, u, saved, dh, dstates, da, du)
        return da, da if du is None else du, tuple(dstates)

    return states[0, 1:], tuple(states[:, -1]), pullback


def _programs_of(step: Callable[..., Any], counts: tuple[int, int], dtype: np.dtype[Any]) -> _Programs | None:
    """Return the programs of a method with so many gates and states, or None if the core cannot run it."""
    method: Any = step
    owner = getattr(step, "__self__", None)
    if owner is None:
        return None
    kind: Any = type(owner)
    settings = tuple([item for item in vars(owner).items() if type(item[1]) in PLAIN])  # not the weights
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
    before = [f"{kind}{i}" for kind, n in (("a", n_gates), ("u", n_gates), ("s", n_states)) for i in range(n)]
    after = [f"{kind}{i}" for kind, n in (("v", traced.n_saved), ("d", n_states)) for i in range(n)]
    forward, backward = compile_steps(traced.forward, before), compile_steps(traced.backward, [*before, *after])
    return None if forward is None or backward is None else _Programs(forward, backward, *traced[2:])
