"""Recurrent operators: RNN, GRU and LSTM, in one direction or both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from portanet import kernels
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

State: TypeAlias = tuple[Array, ...]
"""Arrays (N, H): the output h; an LSTM also has the cell c."""

ACTIVATIONS: dict[str, Callable[[Any, Array], Array]] = {
    "tanh": lambda xp, x: xp.tanh(x),
    "sigmoid": lambda xp, x: kernels.sigmoid(x),
    "relu": lambda xp, x: xp.maximum(x, xp.zeros_like(x)),
    "softsign": lambda xp, x: x / (1 + xp.abs(x)),
}
"""Functions without parameters, by ONNX's names in lower case."""


@dataclass(frozen=True)
class Cell:
    """
    Weights and activations of one direction.

    Parameters
    ----------
    xp : namespace
    w, r : array
        Weights of the input and of h, (gates H, D) and (gates H, H).
    b_w, b_r : array or float
        Biases of both, (gates H).
    p : sequence of arrays or floats
        Peepholes: weights of the cell in the gates of an LSTM.
    activations : sequence of callables
    """

    xp: Any
    w: Array
    r: Array
    b_w: Any
    b_r: Any
    p: Sequence[Any]
    activations: Sequence[Callable[[Array], Array]]

    @property
    def hidden_size(self) -> int:
        """Length of h."""
        return int(self.r.shape[1])

    def from_input(self, x: Array) -> Array:
        """Return the part of the gates that comes from x (..., D)."""
        return self.xp.matmul(x, self.xp.matrix_transpose(self.w)) + self.b_w

    def from_state(self, h: Array) -> Array:
        """Return the part of the gates that comes from h."""
        return self.xp.matmul(h, self.xp.matrix_transpose(self.r)) + self.b_r

    def parts(self, gates: Array) -> list[Array]:
        """Return each gate of (N, gates H)."""
        n = self.hidden_size
        return [gates[:, i : i + n] for i in range(0, gates.shape[1], n)]


Step: TypeAlias = Callable[[Cell, Array, State], State]
"""``step(cell, a, state)`` returns the next state; a is the part of the gates that comes from the input."""


@dataclass(frozen=True)
class Recurrence:
    """
    The attributes of an RNN, GRU or LSTM.

    Parameters
    ----------
    step : callable
        See :data:`Step`.
    activations : sequence of str
        Names: those of the first direction, then those of the second.
    clip : float or None
        Bound of the inputs of the gates; as in onnxruntime, not of the cell of an LSTM.
    direction : {"forward", "reverse", "bidirectional"}
    layout : int
        1 if the batch is the first axis, not that of the positions.
    """

    step: Step
    activations: Sequence[str]
    clip: float | None
    direction: str
    layout: int

    def run(
        self,
        xp: Any,
        x: Array,
        weights: tuple[Array, Array, Array | None, Array | None],
        sequence_lens: Array | None,
        initial: Sequence[Array | None],
    ) -> tuple[Array, ...]:
        """Return the outputs of all positions, (T, directions, N, H), and the last states, (directions, N, H)."""
        w, r, *_ = weights
        x, initial = (x, initial) if not self.layout else (_swapped(xp, x), [_swapped(xp, state) for state in initial])
        zero = xp.zeros((w.shape[0], x.shape[1], r.shape[2]), dtype=x.dtype, device=x.device)
        given = [zero if state is None else state for state in initial]
        outputs, last = [], []
        for i in range(w.shape[0]):
            state = tuple(each[i, ...] for each in given)
            outputs_of_direction, state = self._run_direction(x, self._cell(xp, weights, i), state, sequence_lens, i)
            outputs.append(xp.stack(outputs_of_direction))
            last.append(state)
        y, states = xp.stack(outputs, axis=1), [xp.stack(parts) for parts in zip(*last, strict=True)]
        if not self.layout:
            return (y, *states)
        return (xp.permute_dims(y, (2, 0, 1, 3)), *(_swapped(xp, state) for state in states))

    def _cell(self, xp: Any, weights: tuple[Array, Array, Array | None, Array | None], i: int) -> Cell:
        """Return the weights and the activations of one direction."""
        w, r, b, p = weights
        n, hidden = w.shape[1], r.shape[2]
        biases: tuple[Any, Any] = (0.0, 0.0) if b is None else (b[i, :n], b[i, n:])
        peepholes = [0.0] * 3 if p is None else [p[i, j : j + hidden] for j in range(0, 3 * hidden, hidden)]
        each = len(self.activations) // w.shape[0]
        names = self.activations[i * each : (i + 1) * each]
        bounds = self.clip, self.clip, None
        activations = [_activation(xp, name, bound) for name, bound in zip(names, bounds, strict=False)]
        return Cell(xp, w[i, ...], r[i, ...], *biases, peepholes, activations)

    def _run_direction(
        self, x: Array, cell: Cell, state: State, sequence_lens: Array | None, i: int
    ) -> tuple[list[Array], State]:
        """Return h at each position, and the last state; positions after the end of a sequence do not change it."""
        xp, n_steps = cell.xp, x.shape[0]
        steps = range(n_steps)[::-1] if i == 1 or self.direction == "reverse" else range(n_steps)
        a, outputs = cell.from_input(x), [state[0]] * n_steps
        for t in steps:
            new = self.step(cell, a[t, ...], state)
            if sequence_lens is None:
                state, outputs[t] = new, new[0]
            else:
                inside = xp.expand_dims(sequence_lens > t, axis=1)
                state = tuple(xp.where(inside, n, o) for n, o in zip(new, state, strict=True))
                outputs[t] = xp.where(inside, new[0], xp.zeros_like(new[0]))
        return outputs, state


def _activation(xp: Any, name: str, bound: float | None) -> Callable[[Array], Array]:
    """Return a function by ONNX's name, whose input is clipped."""
    compute = ACTIVATIONS.get(name.lower())
    if compute is None:
        raise ValueError(f"its activation {name!r} is not supported, only {', '.join(ACTIVATIONS)}")
    if bound is None:
        return lambda x: compute(xp, x)
    return lambda x: compute(xp, xp.clip(x, -bound, bound))


def _swapped(xp: Any, x: Array | None) -> Array | None:
    """Exchange the first two axes."""
    return None if x is None else xp.permute_dims(x, (1, 0, 2))


def _rnn_step(cell: Cell, a: Array, state: State) -> State:
    """``h_t = f(a + R h)``."""
    (f,) = cell.activations
    return (f(a + cell.from_state(state[0])),)


def _gru_step(cell: Cell, a: Array, state: State, linear_before_reset: int) -> State:
    """``h_t = (1 - z) n + z h``; the reset gate r comes before or after the product of h in n."""
    (h,), (f, g), hidden = state, cell.activations, cell.hidden_size
    u = cell.from_state(h)
    (z, r), n = map(f, cell.parts((a + u)[:, : 2 * hidden])), a[:, 2 * hidden :]
    u_n = r * u[:, 2 * hidden :] if linear_before_reset else cell.from_state(r * h)[:, 2 * hidden :]
    new = g(n + u_n)
    return ((1 - z) * new + z * h,)


def _lstm_step(cell: Cell, a: Array, state: State, input_forget: int) -> State:
    """``c_t = f c + i g``, ``h_t = o tanh(c_t)``; the gates see c if there are weights for it."""
    (h, c), (sigmoid, tanh, tanh_of_cell), (p_i, p_o, p_f) = state, cell.activations, cell.p
    i, o, f, g = cell.parts(a + cell.from_state(h))
    i = sigmoid(i + p_i * c)
    f = 1 - i if input_forget else sigmoid(f + p_f * c)
    c = f * c + i * tanh(g)
    return sigmoid(o + p_o * c) * tanh_of_cell(c), c


@operator("RNN")
def rnn(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, ...]:
    """Return h of all positions, and the last one."""
    names = activations or ["tanh"] * w.shape[0]
    recurrence = Recurrence(_rnn_step, names, clip, direction, layout)
    return recurrence.run(xp, x, (w, r, b, None), sequence_lens, [initial_h])


@operator("GRU")
def gru(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Array, ...]:
    """Return h of all positions, and the last one."""

    def step(cell: Cell, a: Array, state: State) -> State:
        return _gru_step(cell, a, state, linear_before_reset)

    recurrence = Recurrence(step, activations or ["sigmoid", "tanh"] * w.shape[0], clip, direction, layout)
    return recurrence.run(xp, x, (w, r, b, None), sequence_lens, [initial_h])


@operator("LSTM")
def lstm(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Array, ...]:
    """Return h of all positions, and the last h and c."""

    def step(cell: Cell, a: Array, state: State) -> State:
        return _lstm_step(cell, a, state, input_forget)

    recurrence = Recurrence(step, activations or ["sigmoid", "tanh", "tanh"] * w.shape[0], clip, direction, layout)
    return recurrence.run(xp, x, (w, r, b, p), sequence_lens, [initial_h, initial_c])
