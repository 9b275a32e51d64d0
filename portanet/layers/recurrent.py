"""
Recurrent layers: RNN, GRU and LSTM.

All three run through a sequence step by step. A step takes the state h of the last step and the products of the input
with the weights, which are computed for all steps at once; it returns the next state. Weights and gates are PyTorch's,
but for the transposition: a weight has shape (in, out).
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Fixed, check_count, check_flag, shown
from portanet.initializers import Uniform
from portanet.layers.base import Layer, batch, check_input, check_rows_of
from portanet.layers.cache import current_cache
from portanet.layers.combine import Parallel
from portanet.layers.embedding import check_sequence
from portanet.layers.padding_mask import padding_mask
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shapes

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional"]

State: TypeAlias = tuple[Array, ...]
"""Arrays of shape (N, H), first the output h; an LSTM also has the cell c."""

StepPullback: TypeAlias = Callable[[State], tuple[Array, Array, State]]
"""Takes the gradient of the new state to those of the two products, and to that of the old state past the products."""


class Recurrent(Layer):
    """
    Base of recurrent layers: a subclass writes :meth:`step`.

    With ``a_t = x_t W_ih + b_ih`` and ``u_t = h_(t-1) W_hh + b_hh``, of shape (N, n_gates H), the state of step t is
    ``step(a_t, u_t, state)``. Gradients: ``dW_ih = Σ x_tᵀ da_t``, ``dW_hh = Σ h_(t-1)ᵀ du_t``, ``dx_t = da_t W_ihᵀ``;
    ``du_t W_hhᵀ`` adds to the gradient of ``h_(t-1)``.
    """

    n_gates: ClassVar[int]
    n_states: ClassVar[int] = 1
    takes_several = True
    input_size_argument = "input_size"
    hidden_size = Fixed(check_count)
    return_sequences = Fixed(check_flag)
    return_state = Fixed(check_flag)
    go_backwards = Fixed(check_flag)
    mask_zeros = Fixed(check_flag)

    def __init__(
        self,
        input_size: int | None = None,
        hidden_size: int | None = None,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        mask_zeros: bool = False,
    ):
        n_in, self.hidden_size = check_count("input_size", input_size), check_count("hidden_size", hidden_size)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.mask_zeros = go_backwards, mask_zeros
        n_out, bound = self.n_gates * self.hidden_size, 1 / math.sqrt(self.hidden_size)
        init = Uniform(-bound, bound)
        self.weight_ih, self.weight_hh = Parameter((n_in, n_out), init), Parameter((self.hidden_size, n_out), init)
        self.bias_ih, self.bias_hh = Parameter((n_out,), init), Parameter((n_out,), init)

    @property
    def input_size(self) -> int:
        """Length of the last axis of x."""
        return self.weight_ih.shape[0]

    def step(self, xp: Any, a: Array, u: Array, state: State) -> tuple[State, StepPullback]:
        """Return the next state, and its pullback."""
        raise NotImplementedError(f"{type(self).__name__} needs a method step(self, xp, a, u, state)")

    def output_shape(self, shape: Shapes) -> Shapes:
        of_x, *states = shape if shape and isinstance(shape[0], tuple) else (shape,)
        check_sequence(self, of_x, self.input_size)
        if of_x[0] == 0:
            raise ValueError(f"{self!r} needs x with at least one position, got {batch(of_x)}")
        state = (self.hidden_size,)
        if states and states != [state] * self.n_states:
            raise ValueError(f"{self!r} needs {self.n_states} initial states (N, {self.hidden_size}), got {states}")
        y = (of_x[0], *state) if self.return_sequences else state
        return (y, *(state,) * self.n_states) if self.return_state else y

    def vjp(self, x: Array | tuple[Array, ...], *, train: bool = True) -> tuple[Any, Pullback]:
        x, *initial = self._with_states(x)
        xp, w_ih, w_hh = namespace(x), self.weight_ih.data, self.weight_hh.data
        check_input(x, w_ih)
        (n, n_steps, n_in), n_out = x.shape, w_ih.shape[1]
        steps = range(n_steps)[::-1] if self.go_backwards else range(n_steps)
        kept = xp.permute_dims(padding_mask(x, x.dtype), (1, 0, 2)) if self.mask_zeros else None
        rows = xp.reshape(
            xp.permute_dims(x, (1, 0, 2)), (n_steps * n, n_in)
        )  # step by step, so that each is contiguous
        a = xp.reshape(kernels.linear(rows, w_ih) + self.bias_ih.data, (n_steps, n, n_out))
        zero = xp.zeros((n, self.hidden_size), dtype=x.dtype, device=x.device)
        state: State = tuple(initial) or self._carried() or (zero,) * self.n_states
        before: list[Array] = [zero] * n_steps  # h before each step
        after: list[Array] = [zero] * n_steps
        pullbacks: dict[int, StepPullback] = {}
        for t in steps:
            before[t] = state[0]
            new, pullbacks[t] = self.step(xp, a[t, ...], kernels.linear(state[0], w_hh) + self.bias_hh.data, state)
            state = new if kept is None else _blend(kept[t, ...], new, state)
            after[t] = state[0]
        y = state[0]
        if self.return_sequences:
            y = xp.stack(after, axis=1)
            y = y if kept is None else y * xp.permute_dims(kept, (1, 0, 2))

        if (cache := current_cache()) is not None:
            cache.put(self, *state)

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            da, du = [zero] * n_steps, [zero] * n_steps
            dy, *dlast = dy if self.return_state else (dy,)
            dstate: State = tuple(dlast) or (zero,) * self.n_states
            if not self.return_sequences:
                dstate = (dstate[0] + dy, *dstate[1:])
            for t in reversed(steps):
                old: State = ()
                if self.return_sequences:
                    dh = dy[:, t, :]
                    dstate = (dstate[0] + (dh if kept is None else dh * kept[t, ...]), *dstate[1:])
                if kept is not None:  # a padded step hands the gradient on
                    old = tuple(d * (1 - kept[t, ...]) for d in dstate)
                    dstate = tuple(d * kept[t, ...] for d in dstate)
                da[t], du[t], dstate = pullbacks[t](dstate)
                dstate = (dstate[0] + kernels.linear(du[t], xp.matrix_transpose(w_hh)), *dstate[1:])
                if kept is not None:
                    dstate = tuple(d + passed for d, passed in zip(dstate, old, strict=True))
            all_da, all_du = (xp.concat(parts, axis=0) for parts in (da, du))
            if need_grads:
                self.weight_ih.accumulate(xp.matmul(xp.matrix_transpose(rows), all_da))
                self.weight_hh.accumulate(xp.matmul(xp.matrix_transpose(xp.concat(before, axis=0)), all_du))
                self.bias_ih.accumulate(kernels.bias_grad(all_da))
                self.bias_hh.accumulate(kernels.bias_grad(all_du))
            if not need_dx:
                return None
            dx = xp.reshape(kernels.linear(all_da, xp.matrix_transpose(w_ih)), (n_steps, n, n_in))
            dx = xp.permute_dims(dx, (1, 0, 2))
            return (dx, *dstate) if initial else dx

        return (y, *state) if self.return_state else y, pullback

    def _with_states(self, x: Array | tuple[Array, ...]) -> tuple[Array, ...]:
        """Return x and the initial states that are given, after checks."""
        self.output_shape(tuple(a.shape[1:] for a in x) if isinstance(x, tuple) else x.shape[1:])
        given = x if isinstance(x, tuple) else (x,)
        check_rows_of("x", given)
        return given

    def _carried(self) -> State:
        """Return the state after the part of the sequence before; none if there was none."""
        cache = current_cache()
        if cache is not None and self.go_backwards:
            raise ValueError(f"{self!r} begins at the end of a sequence, which cannot come in parts")
        return () if cache is None else cache.get(self)


def _blend(kept: Array, new: State, old: State) -> State:
    """Return the new state where there is data, else the old one."""
    xp = namespace(kept)
    return tuple(xp.where(kept > 0, n, o) for n, o in zip(new, old, strict=True))


class RNN(Recurrent):
    """
    Recurrent layer: ``h_t = tanh(a_t + u_t)``, ``a_t = x_t W_ih + b_ih``, ``u_t = h_(t-1) W_hh + b_hh``, first h = 0.

    x (N, T, input_size); y is the last h, (N, hidden_size), or all of them, (N, T, hidden_size). Gradient of a step:
    ``da_t = du_t = dh_t (1 - h_t²)``; ``dh_(t-1) = du_t W_hhᵀ``.

    Parameters
    ----------
    input_size, hidden_size : int
        Lengths of the last axis of x and of y. ``RNN(hidden_size)`` takes input_size from the first data.
    return_sequences : bool
        Whether y holds h after each step, and not after the last one alone.
    return_state : bool
        Whether the output is a tuple of y and the last state: ``(y, h)``.
    go_backwards : bool
        Whether to begin with the last position. The states in y have the order of x, unlike in Keras.
    mask_zeros : bool
        Whether positions whose features are all zero are padding: they leave the state as it is.

    Examples
    --------
    >>> x = np.ones((2, 5, 3), dtype="float32")
    >>> RNN(3, 4)(x).shape, RNN(3, 4, return_sequences=True)(x).shape
    ((2, 4), (2, 5, 4))

    An initial state, in a tuple with x, and the last one, as nodes of a :class:`portanet.Graph` take and give them:

    >>> y, h = RNN(3, 4, return_state=True)((x, np.zeros((2, 4), dtype="float32")))
    >>> y.shape, h.shape
    ((2, 4), (2, 4))

    Two layers, and two directions:

    >>> net = portanet.Sequential(RNN(8, return_sequences=True), portanet.Bidirectional(RNN(4)))
    >>> net(x).shape
    (2, 8)
    """

    n_gates = 1

    def step(self, xp: Any, a: Array, u: Array, state: State) -> tuple[State, StepPullback]:
        h = xp.tanh(a + u)

        def pullback(dstate: State) -> tuple[Array, Array, State]:
            da = dstate[0] * (1 - h * h)
            return da, da, (xp.zeros_like(h),)

        return (h,), pullback


class GRU(Recurrent):
    """
    Gated recurrent unit [1]_.

    With a and u in three parts, reset, update and new: ``r = σ(a_r + u_r)``, ``z = σ(a_z + u_z)``,
    ``n = tanh(a_n + r u_n)``, ``h_t = (1 - z) n + z h_(t-1)``.

    Gradient of a step: ``da_n = dh (1 - z) (1 - n²)``, ``du_n = r da_n``, ``da_z = du_z = dh (h_(t-1) - n) z (1 - z)``,
    ``da_r = du_r = da_n u_n r (1 - r)``, ``dh_(t-1) = z dh + du W_hhᵀ``.

    Parameters
    ----------
    input_size, hidden_size, return_sequences, return_state, go_backwards, mask_zeros
        See :class:`RNN`.

    References
    ----------
    .. [1] K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.

    Examples
    --------
    >>> GRU(3, 4)(np.ones((2, 5, 3), dtype="float32")).shape
    (2, 4)
    """

    n_gates = 3

    def step(self, xp: Any, a: Array, u: Array, state: State) -> tuple[State, StepPullback]:
        (old,), hidden = state, self.hidden_size
        gates = kernels.sigmoid(a[:, : 2 * hidden] + u[:, : 2 * hidden])
        r, z, u_n = gates[:, :hidden], gates[:, hidden:], u[:, 2 * hidden :]
        new = xp.tanh(a[:, 2 * hidden :] + r * u_n)

        def pullback(dstate: State) -> tuple[Array, Array, State]:
            (dh,) = dstate
            dn = dh * (1 - z) * (1 - new * new)
            dgates = xp.concat([dn * u_n, dh * (old - new)], axis=1) * gates * (1 - gates)
            return xp.concat([dgates, dn], axis=1), xp.concat([dgates, r * dn], axis=1), (z * dh,)

        return ((1 - z) * new + z * old,), pullback


class LSTM(Recurrent):
    """
    Long short-term memory [1]_.

    With ``a + u`` in four parts: ``i = σ``, ``f = σ``, ``g = tanh``, ``o = σ`` of them; ``c_t = f c_(t-1) + i g``,
    ``h_t = o tanh(c_t)``.

    Gradient of a step: ``dc_t += dh o (1 - tanh²(c_t))``; ``da = du`` has the parts ``dc g i (1 - i)``,
    ``dc c_(t-1) f (1 - f)``, ``dc i (1 - g²)`` and ``dh tanh(c_t) o (1 - o)``; ``dc_(t-1) = f dc``.

    Parameters
    ----------
    input_size, hidden_size, return_sequences, return_state, go_backwards, mask_zeros
        See :class:`RNN`.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9, 1997.

    Examples
    --------
    >>> LSTM(3, 4, return_sequences=True)(np.ones((2, 5, 3), dtype="float32")).shape
    (2, 5, 4)
    """

    n_gates = 4
    n_states = 2

    def step(self, xp: Any, a: Array, u: Array, state: State) -> tuple[State, StepPullback]:
        old, hidden, sums = state[1], self.hidden_size, a + u
        i_f, o = kernels.sigmoid(sums[:, : 2 * hidden]), kernels.sigmoid(sums[:, 3 * hidden :])
        i, f, g = i_f[:, :hidden], i_f[:, hidden:], xp.tanh(sums[:, 2 * hidden : 3 * hidden])
        c = f * old + i * g
        tanh_c = xp.tanh(c)

        def pullback(dstate: State) -> tuple[Array, Array, State]:
            dh, dc = dstate
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            parts = dc * g * i * (1 - i), dc * old * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
            da = xp.concat(parts, axis=1)
            return da, da, (xp.zeros_like(c), f * dc)

        return (o * tanh_c, c), pullback


class Bidirectional(Parallel):
    """
    A recurrent layer, and one like it that begins with the last position; their outputs are concatenated.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
        Begins with the first position. The other one has weights of its own.

    Examples
    --------
    >>> Bidirectional(portanet.LSTM(3, 4))(np.ones((2, 5, 3), dtype="float32")).shape
    (2, 8)
    """

    def __init__(self, layer: Recurrent):
        if not isinstance(layer, Recurrent) or layer.go_backwards or layer.return_state:
            raise TypeError(f"layer must be an RNN, GRU or LSTM that goes forwards and returns y, got {shown(layer)}")
        super().__init__(layer, type(layer)(**layer.arguments() | {"go_backwards": True}))

    @property
    def layer(self) -> Layer:
        """The layer that begins with the first position."""
        return self.branches[0]

    @property
    def backward_layer(self) -> Layer:
        """The layer that begins with the last position."""
        return self.branches[1]
