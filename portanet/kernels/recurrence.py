"""The loop of a recurrent layer, and its gradient."""

from collections.abc import Callable
from typing import Any, TypeAlias

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.products import linear
from portanet.typing import Array

Arrays: TypeAlias = tuple[Array, ...]
"""Arrays of shape (N, H): one for each gate, or for each state. The first state is h."""

StepPullback: TypeAlias = Callable[[Arrays], tuple[Arrays, Arrays, Arrays]]
"""Takes dstate_t to da_t, du_t, and dstate_(t-1) without ``du_t W_hhᵀ``."""

RecurrentStep: TypeAlias = Callable[[Any, Arrays, Arrays, Arrays], tuple[Arrays, StepPullback]]
"""``step(xp, a, u, state)`` returns the next state and its pullback, by elementwise operations."""

RecurrencePullback: TypeAlias = Callable[[Array | None, Arrays], tuple[Array, Array, Arrays]]


@kernel
def recurrence(
    x: Array, weights: Arrays, state: Arrays, step: RecurrentStep, mask: Array | None = None
) -> tuple[Array, Arrays, RecurrencePullback]:
    """
    Run ``state_t = step(a_t, u_t, state_(t-1))`` with ``a_t = x_t W_ih + b_ih``, ``u_t = h_(t-1) W_hh + b_hh``.

    Gradients: ``dstate_(t-1)`` is that of the step, plus ``du_t W_hhᵀ`` for h. Padding leaves the state as it is.

    Parameters
    ----------
    x : array, shape (T, N, I)
        Input of each of the T steps.
    weights : tuple of arrays
        W_ih of shape (I, G H), W_hh (H, G H), b_ih and b_hh (G H,), with the columns of G gates side by side.
    state : tuple of arrays, shape (N, H)
        Before the first step; h first.
    step : callable
        See :data:`RecurrentStep`. A backend may trace it, as for :func:`portanet.kernels.elementwise`.
    mask : array, shape (T, N, 1), optional
        0 for padding, else 1.

    Returns
    -------
    h : array, shape (T, N, H)
        After each step.
    state : tuple of arrays, shape (N, H)
        After the last step.
    pullback : callable
        Takes the gradients of h, or None, and of the last state to da and du, (T, N, G H), and dstate of the first.

    Examples
    --------
    >>> def step(xp, a, u, state):
    ...     return (a[0] + u[0],), lambda dstate: (dstate, dstate, (xp.zeros_like(dstate[0]),))
    >>> weights, first = (np.eye(1), 2 * np.eye(1), np.zeros(1), np.zeros(1)), (np.zeros((1, 1)),)
    >>> h, state, pullback = recurrence(np.ones((3, 1, 1)), weights, first, step)
    >>> h[:, 0, 0]
    array([1., 3., 7.])
    >>> da, du, dstate = pullback(None, (np.ones((1, 1)),))
    >>> da[:, 0, 0], dstate
    (array([4., 2., 1.]), (array([[8.]]),))
    """
    xp, (n_steps, n, n_in), (w_ih, w_hh, b_ih, b_hh) = namespace(x), x.shape, weights
    a = xp.reshape(linear(xp.reshape(x, (n_steps * n, n_in)), w_ih) + b_ih, (n_steps, n, w_ih.shape[1]))
    gates = [slice(i, i + w_hh.shape[0]) for i in range(0, w_hh.shape[1], w_hh.shape[0])]
    states, pullbacks = [state], []
    for t in range(n_steps):
        a_t, u_t = (tuple(v[:, gate] for gate in gates) for v in (a[t, ...], linear(states[t][0], w_hh) + b_hh))
        new, step_pullback = step(xp, a_t, u_t, states[t])
        states.append(new if mask is None else _blend(mask[t, ...], new, states[t]))
        pullbacks.append(step_pullback)

    def pullback(dh: Array | None, dstate: Arrays) -> tuple[Array, Array, Arrays]:
        da, du = [], []
        for t in reversed(range(n_steps)):
            dstate = dstate if dh is None else (dstate[0] + dh[t, ...], *dstate[1:])
            passed = dstate
            if mask is not None:  # a padded step hands the gradient on
                passed, dstate = (tuple(d * share for d in dstate) for share in (1 - mask[t, ...], mask[t, ...]))
            da_t, du_t, dstate = pullbacks[t](dstate)
            da.append(xp.concat(da_t, axis=1))
            du.append(da[-1] if du_t is da_t else xp.concat(du_t, axis=1))
            dstate = (dstate[0] + linear(du[-1], xp.matrix_transpose(w_hh)), *dstate[1:])
            if mask is not None:
                dstate = tuple(d + p for d, p in zip(dstate, passed, strict=True))
        return xp.stack(da[::-1]), xp.stack(du[::-1]), dstate

    return xp.stack([after[0] for after in states[1:]]), states[-1], pullback


def _blend(mask: Array, new: Arrays, old: Arrays) -> Arrays:
    """Return the new state where there is data, else the old one."""
    xp = namespace(mask)
    return tuple(xp.where(mask > 0, n, o) for n, o in zip(new, old, strict=True))
