"""
Recurrent layers: RNN, GRU and LSTM.

All three run through a sequence step by step. A step takes the state h of the last step and the products of the input
with the weights, which are computed for all steps at once; it returns the next state. Weights and gates are PyTorch's,
but for the transposition: a weight has shape (in, out).
"""

import math
from typing import Any, ClassVar

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Fixed, check_count, check_flag, shown
from portanet.initializers import Uniform
from portanet.kernels.products import as_rows
from portanet.kernels.recurrence import Arrays, StepPullback
from portanet.layers.base import Layer, batch, check_input, check_rows_of
from portanet.layers.cache import current_cache
from portanet.layers.combine import Parallel
from portanet.layers.embedding import check_sequence
from portanet.layers.padding_mask import padding_mask
from portanet.parameters import Parameter
from portanet.tree import input_shape_of, shapes_of_tuple
from portanet.typing import Array, Pullback, Shapes

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "Recurrent"]


class Recurrent(Layer):
    """
    Base of recurrent layers: a subclass writes ``step``.

    With ``a_t = x_t W_ih + b_ih`` and ``u_t = h_(t-1) W_hh + b_hh``, of shape (N, n_gates H), the state of step t is
    ``step(a_t, u_t, state)``. Gradients: ``dW_ih = Σ x_tᵀ da_t``, ``dW_hh = Σ h_(t-1)ᵀ du_t``, ``dx_t = da_t W_ihᵀ``;
    ``du_t W_hhᵀ`` adds to the gradient of ``h_(t-1)``.

    ``n_gates`` and ``n_states`` say how many arrays (N, H) are in a and u, and in a state.

    Parameters
    ----------
    input_size, hidden_size, return_sequences, return_state, go_backwards, mask_zeros
        See :class:`RNN`.

    Examples
    --------
    A recurrent layer without tanh:

    >>> class LinearRNN(Recurrent):
    ...     n_gates = 1
    ...
    ...     def step(self, xp, a, u, state):
    ...         def pullback(dstate):
    ...             return dstate, dstate, (xp.zeros_like(dstate[0]),)
    ...
    ...         return (a[0] + u[0],), pullback
    >>> portanet.testing.check_gradients(LinearRNN(3, 2), np.ones((1, 4, 3)))
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

    def step(self, xp: Any, a: Arrays, u: Arrays, state: Arrays) -> tuple[Arrays, StepPullback]:
        """Return the next state, and its pullback; a and u have an array (N, H) for each gate."""
        raise NotImplementedError(f"{type(self).__name__} needs a method step(self, xp, a, u, state)")

    def output_shape(self, shape: Shapes) -> Shapes:
        of_x, *states = shapes_of_tuple(shape)
        check_sequence(self, of_x, self.input_size)
        if of_x[0] == 0:
            raise ValueError(f"{self!r} needs x with at least one position, got {batch(of_x)}")
        state = (self.hidden_size,)
        if states and states != [state] * self.n_states:
            names = " and ".join(("h", "c")[: self.n_states])
            wanted = f"a tuple (x, {names.replace(' and ', ', ')}) with {names} of shape {batch(state)}"
            raise ValueError(f"{self!r} needs {wanted}, got {' and '.join(map(batch, states))}")
        y = (of_x[0], *state) if self.return_sequences else state
        return (y, *(state,) * self.n_states) if self.return_state else y

    def vjp(self, x: Array | tuple[Array, ...], *, train: bool = True) -> tuple[Any, Pullback]:
        x, *initial = self._with_states(x)
        xp, w_ih, w_hh = namespace(x), self.weight_ih.data, self.weight_hh.data
        n, n_steps, n_in = x.shape

        def in_order(array: Array) -> Array:
            """Reverse the axis T, or not."""
            return xp.flip(array, axis=1) if self.go_backwards else array

        def by_step(array: Array) -> Array:
            """Take (N, T, ...) to (T, N, ...), in the order of the steps."""
            return xp.permute_dims(in_order(array), (1, 0, 2))

        mask = by_step(padding_mask(x, x.dtype)) if self.mask_zeros else None
        steps = by_step(x)
        zero = xp.zeros((n, self.hidden_size), dtype=x.dtype, device=x.device)
        zeros, weights = (zero,) * self.n_states, (w_ih, w_hh, self.bias_ih.data, self.bias_hh.data)
        first = tuple(initial) or self._carried() or zeros
        h, last, pull_steps = kernels.recurrence(steps, weights, first, self.step, mask)
        y = last[0]
        if self.return_sequences:
            y = in_order(xp.permute_dims(h if mask is None else h * mask, (1, 0, 2)))

        if (cache := current_cache()) is not None:
            cache.put(self, *(xp.asarray(state, copy=True) for state in last))  # y shares their memory

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            dy, *dstates = dy if self.return_state else (dy,)
            dlast = tuple(dstates) or zeros
            if self.return_sequences:
                dh = by_step(dy) if mask is None else by_step(dy) * mask
                da, du, dfirst = pull_steps(dh, dlast)
            else:
                da, du, dfirst = pull_steps(None, (dlast[0] + dy, *dlast[1:]))
            rows, da, du = as_rows(steps), as_rows(da), as_rows(du)
            before = as_rows(xp.concat([first[0][None, ...], h[:-1, ...]], axis=0))
            if need_grads:
                self.weight_ih.accumulate(xp.matmul(xp.matrix_transpose(rows), da))
                self.weight_hh.accumulate(xp.matmul(xp.matrix_transpose(before), du))
                self.bias_ih.accumulate(kernels.bias_grad(da))
                self.bias_hh.accumulate(kernels.bias_grad(du))
            if not need_dx:
                return None
            dx = xp.reshape(kernels.linear(da, xp.matrix_transpose(w_ih)), (n_steps, n, n_in))
            dx = in_order(xp.permute_dims(dx, (1, 0, 2)))
            return (dx, *dfirst) if initial else dx

        return (y, *last) if self.return_state else y, pullback

    def _with_states(self, x: Array | tuple[Array, ...]) -> tuple[Array, ...]:
        """Return x and the initial states that are given, after checks."""
        self.output_shape(input_shape_of(x))
        given = x if isinstance(x, tuple) else (x,)
        check_rows_of("x", given)
        for array in given:
            check_input(array, self.weight_ih.data)
        return given

    def _carried(self) -> tuple[Array, ...]:
        """Return the state after the part of the sequence before; none if there was none."""
        cache = current_cache()
        if cache is not None and self.go_backwards:
            raise ValueError(f"{self!r} begins at the end of a sequence, which cannot come in parts")
        return () if cache is None else cache.get(self)


class RNN(Recurrent):
    """
    Recurrent layer: ``h_t = tanh(a_t + u_t)``, ``a_t = x_t W_ih + b_ih``, ``u_t = h_(t-1) W_hh + b_hh``, first h = 0.

    x (N, T, input_size); y is the last h, (N, hidden_size), or all of them, (N, T, hidden_size). Gradient of a step:
    ``da_t = du_t = dh_t (1 - h_t²)``; ``dh_(t-1) = du_t W_hhᵀ``. Those of the weights are sums over the steps:
    ``dW_ih = Σ x_tᵀ da_t``, ``dW_hh = Σ h_(t-1)ᵀ du_t``, ``db_ih = Σ da_t``, ``db_hh = Σ du_t``.

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

    def step(self, xp: Any, a: Arrays, u: Arrays, state: Arrays) -> tuple[Arrays, StepPullback]:
        h = xp.tanh(a[0] + u[0])

        def pullback(dstate: Arrays) -> tuple[Arrays, Arrays, Arrays]:
            da = (dstate[0] * (1 - h * h),)
            return da, da, (xp.zeros_like(h),)

        return (h,), pullback


class GRU(Recurrent):
    """
    Gated recurrent unit [1]_.

    ``a = x_t W_ih + b_ih`` and ``u = h_(t-1) W_hh + b_hh`` have three parts, reset, update and new:
    ``r = σ(a_r + u_r)``, ``z = σ(a_z + u_z)``, ``n = tanh(a_n + r u_n)``. Then ``h_t = (1 - z) n + z h_(t-1)``.
    x (N, T, input_size); y is the last h, (N, hidden_size), or all of them, (N, T, hidden_size).

    Gradient of a step: ``da_n = dh (1 - z) (1 - n²)``, ``du_n = r da_n``, ``da_z = du_z = dh (h_(t-1) - n) z (1 - z)``,
    ``da_r = du_r = da_n u_n r (1 - r)``, ``dh_(t-1) = z dh + du W_hhᵀ``. Those of the weights are the sums of
    :class:`RNN`.

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

    def step(self, xp: Any, a: Arrays, u: Arrays, state: Arrays) -> tuple[Arrays, StepPullback]:
        (a_r, a_z, a_n), (u_r, u_z, u_n), (old,) = a, u, state
        r, z = kernels.sigmoid(a_r + u_r), kernels.sigmoid(a_z + u_z)
        new = xp.tanh(a_n + r * u_n)

        def pullback(dstate: Arrays) -> tuple[Arrays, Arrays, Arrays]:
            (dh,) = dstate
            dn = dh * (1 - z) * (1 - new * new)
            dr, dz = dn * u_n * r * (1 - r), dh * (old - new) * z * (1 - z)
            return (dr, dz, dn), (dr, dz, r * dn), (z * dh,)

        return ((1 - z) * new + z * old,), pullback


class LSTM(Recurrent):
    """
    Long short-term memory [1]_.

    ``a = x_t W_ih + b_ih`` and ``u = h_(t-1) W_hh + b_hh`` have four parts: ``i = σ(a_i + u_i)``,
    ``f = σ(a_f + u_f)``, ``g = tanh(a_g + u_g)``, ``o = σ(a_o + u_o)``. Then ``c_t = f c_(t-1) + i g`` and
    ``h_t = o tanh(c_t)``. x (N, T, input_size); y is the last h, (N, hidden_size), or all of them, (N, T, hidden_size).

    Gradient of a step: ``dc`` is that of the next step plus ``dh o (1 - tanh²(c_t))``; ``da = du`` has the parts
    ``dc g i (1 - i)``, ``dc c_(t-1) f (1 - f)``, ``dc i (1 - g²)`` and ``dh tanh(c_t) o (1 - o)``; ``dc_(t-1) = f dc``
    and ``dh_(t-1) = du W_hhᵀ``. Those of the weights are the sums of :class:`RNN`.

    Parameters
    ----------
    input_size, hidden_size, return_sequences, return_state, go_backwards, mask_zeros
        See :class:`RNN`.

    References
    ----------
    .. [1] Sepp Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9, 1997.

    Examples
    --------
    >>> LSTM(3, 4, return_sequences=True)(np.ones((2, 5, 3), dtype="float32")).shape
    (2, 5, 4)
    """

    n_gates = 4
    n_states = 2

    def step(self, xp: Any, a: Arrays, u: Arrays, state: Arrays) -> tuple[Arrays, StepPullback]:
        sum_i, sum_f, sum_g, sum_o = (from_x + from_h for from_x, from_h in zip(a, u, strict=True))
        i, f, o = (kernels.sigmoid(gate) for gate in (sum_i, sum_f, sum_o))
        g, old = xp.tanh(sum_g), state[1]
        c = f * old + i * g
        tanh_c = xp.tanh(c)

        def pullback(dstate: Arrays) -> tuple[Arrays, Arrays, Arrays]:
            dh, dc = dstate
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            da = dc * g * i * (1 - i), dc * old * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
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
