"""
Optimizers: how gradients change the weights.

An optimizer is bound to a network's flat parameters; its state is arrays of the same shape, and a step is a handful of
operations on whole arrays. Everything that changes stays on the device: the learning rate is a 0-d array, and so are
step counters, so that a recorded step sees new values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self, TypedDict, Unpack

import numpy as np

from portanet import kernels
from portanet.config import Configured
from portanet.layers.base import Layer
from portanet.layers.topology import Topology
from portanet.parameters import FlatParameters, Parameter
from portanet.typing import Array

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "ParameterGroup", "RMSprop"]

TINY = 1e-30
"""Smallest divisor of a gradient."""


@dataclass(frozen=True, repr=False)
class ParameterGroup(Configured):
    """
    Parameters with settings of their own.

    Parameters
    ----------
    names : str
        Pattern of the parameters' names, such as ``"*.bias"`` or ``"0.*"``.
    max_ndim : int, optional
        Only parameters of at most so many axes: 1 means biases and the scales and shifts of norms.
    lr_factor : float
        Multiplies the learning rate.
    weight_decay : float, optional
        In place of the optimizer's.

    Examples
    --------
    No weight decay on biases and norms, and a tenth of the learning rate for the first layer:

    >>> groups = [ParameterGroup(max_ndim=1, weight_decay=0.0), ParameterGroup("0.*", lr_factor=0.1)]
    >>> AdamW(groups=groups)
    AdamW(groups=(ParameterGroup(max_ndim=1, weight_decay=0.0), ParameterGroup(names='0.*', lr_factor=0.1)))
    """

    names: str = "*"
    max_ndim: int | None = None
    lr_factor: float = 1.0
    weight_decay: float | None = None

    def matches(self, name: str, parameter: Parameter) -> bool:
        """Whether a parameter belongs to the group."""
        return fnmatchcase(name, self.names) and (self.max_ndim is None or len(parameter.shape) <= self.max_ndim)


class _Span(NamedTuple):
    """Neighbouring parameters with equal settings, and the views of their arrays."""

    start: int
    stop: int
    lr_factor: float
    weight_decay: float
    data: Array
    grad: Array
    state: dict[str, Array]


class OptimizerOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Optimizer`."""

    weight_decay: float
    clip_norm: float | None
    groups: Sequence[ParameterGroup]


class Optimizer(Configured):
    """
    Base of optimizers.

    Parameters
    ----------
    lr : float
        Learning rate.
    weight_decay : float
        Adds ``weight_decay w`` to the gradient.
    clip_norm : float, optional
        Scale the gradient of all parameters down to this Euclidean norm where it is longer [1]_.
    groups : sequence of ParameterGroup
        Settings of single parameters; the first group that matches applies.

    References
    ----------
    .. [1] R. Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.

    Examples
    --------
    A loop of one's own:

    >>> net, loss = portanet.Linear(3, 1).initialize(seed=0), portanet.MSELoss()
    >>> optimizer = portanet.SGD(lr=0.1).bind(net)
    >>> x, target = net.asarray(np.ones((4, 3))), net.asarray(np.zeros((4, 1)))
    >>> for _ in range(100):
    ...     value, _ = portanet.engine.train_step(net, loss, optimizer, x, target)
    >>> float(value) < 1e-9
    True
    """

    flat: FlatParameters | None = None
    lr_array: Array
    """The learning rate on the device, of shape (), once the optimizer is bound."""

    def __init__(
        self,
        lr: float,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ):
        if not _is_number(lr) or not 0 < lr < math.inf:
            raise ValueError(f"lr must be a positive number, got {lr!r}{_schedule_hint(lr)}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        if not all(isinstance(group, ParameterGroup) for group in groups):
            raise TypeError(f"groups must be a list of ParameterGroup objects, got {groups!r}")
        self._lr, self.weight_decay, self.clip_norm = lr, weight_decay, clip_norm
        self.groups = tuple(groups)
        self.state: dict[str, Array] = {}

    def bind(self, net: Layer) -> Self:
        """Take charge of a network's parameters, with a new state."""
        flat = net.flat
        with flat.backend.activate():
            self.lr_array = flat.xp.full((), self.lr, dtype=flat.data.dtype, device=flat.data.device)
            self.state = self.new_state(flat.xp, flat.data)
        self.flat, self._net = flat, net
        self._topology: Topology | None = None
        return self

    @property
    def lr(self) -> float:
        """The learning rate; setting it changes an array on the device, from the next step on."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        if not _is_number(lr) or not 0 <= lr < math.inf:
            raise ValueError(f"lr must not be negative, got {lr!r}{_schedule_hint(lr)}")
        if lr != self._lr and self.flat is not None:
            with self.flat.backend.activate():
                self.lr_array[...] = lr
        self._lr = lr

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        """Return the state before the first step: arrays of the shape of ``like``, or 0-d arrays."""
        return {}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        """Change ``data`` and the arrays of ``state`` in place."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method update(self, xp, data, grad, state, lr): see portanet.Optimizer"
        )

    def step(self) -> None:
        """
        Change the parameters by their gradients.

        Raises
        ------
        RuntimeError
            If the optimizer is not bound, or the network's weights have moved since.
        """
        flat = self.flat
        if flat is None or not flat.current:
            raise RuntimeError(
                "the optimizer has no weights, or they have moved (by to, initialize, append ...): bind(net)"
            )
        with flat.backend.activate():
            if self._topology is not self._net.topology:
                self._topology, self._spans = self._net.topology, self._divide(flat)
            xp, scale = flat.xp, self._clipping(flat)
            for i, span in enumerate(self._spans):
                grad = span.grad if scale is None else span.grad * scale
                lr = self.lr_array if span.lr_factor == 1.0 else self.lr_array * span.lr_factor
                if span.weight_decay:
                    grad = self.decay(span.data, grad, lr, span.weight_decay)
                state = span.state
                if i < len(self._spans) - 1:  # every span sees the same counters; the last one advances them
                    state = {k: a if a.ndim else xp.asarray(a, copy=True) for k, a in state.items()}
                self.update(xp, span.data, grad, state, lr)

    def decay(self, data: Array, grad: Array, lr: Array, weight_decay: float) -> Array:
        """Return the gradient with the weight decay in it."""
        return grad + weight_decay * data

    def _clipping(self, flat: FlatParameters) -> Array | None:
        """Return the factor that clips the gradient to ``clip_norm``."""
        if self.clip_norm is None or not flat.parameters:
            return None
        xp = flat.xp
        largest = xp.maximum(xp.max(xp.abs(flat.grad)), TINY)  # divided first, so that no square overflows
        norm = largest * xp.sqrt(xp.sum((flat.grad / largest) ** 2))
        return self.clip_norm / xp.maximum(norm, self.clip_norm)

    def _divide(self, flat: FlatParameters) -> list[_Span]:
        """Divide the flat arrays into spans of equal settings, without frozen parameters."""
        names = {id(parameter): name for name, parameter in self._net.topology.parameters.items()}
        spans: list[tuple[int, int, float, float]] = []
        start = 0
        for parameter in flat.parameters:
            stop = start + parameter.size
            if not parameter.frozen:
                settings = self._settings(names[id(parameter)], parameter)
                if spans and spans[-1][1:] == (start, *settings):
                    start = spans.pop()[0]
                spans.append((start, stop, *settings))
            start = stop
        whole = spans == [(0, stop, *spans[0][2:])] if spans else False
        views = [slice(None) if whole else slice(*span[:2]) for span in spans]
        return [
            _Span(*span, flat.data[view], flat.grad[view], {k: a[view] if a.ndim else a for k, a in self.state.items()})
            for span, view in zip(spans, views, strict=True)
        ]

    def _settings(self, name: str, parameter: Parameter) -> tuple[float, float]:
        """Return the factor of the learning rate and the weight decay of a parameter."""
        for group in self.groups:
            if group.matches(name, parameter):
                own = group.weight_decay
                return group.lr_factor, self.weight_decay if own is None else own
        return 1.0, self.weight_decay


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def _schedule_hint(value: Any) -> str:
    return ": give LearningRateScheduler(schedule) to fit as a callback" if callable(value) else ""


class SGD(Optimizer):
    """
    Stochastic gradient descent: ``v ← momentum v + g``, ``w ← w - lr v``.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        Fraction of the velocity that is kept.
    nesterov : bool
        Look ahead along the momentum: ``w ← w - lr (g + momentum v)`` [1]_.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> SGD(lr=0.1, momentum=0.9, nesterov=True)
    SGD(lr=0.1, momentum=0.9, nesterov=True)
    """

    def __init__(
        self,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a momentum, got momentum=0: give momentum=0.9 for instance")
        self.momentum, self.nesterov = momentum, nesterov

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"velocity": xp.zeros_like(like)} if self.momentum else {}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.sgd(data, grad, state.get("velocity"), lr, self.momentum, self.nesterov)


class RMSprop(Optimizer):
    """
    ``s ← rho s + (1 - rho) g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    rho : float
        Decay of the running mean; the defaults are those of Keras.
    momentum : float
        Momentum of the divided gradient.
    centered : bool
        Divide by the standard deviation instead: subtract the squared running mean of the gradient [2]_.
    eps : float
        Added to the root, as in PyTorch.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850.

    Examples
    --------
    >>> RMSprop(rho=0.99)
    RMSprop(rho=0.99)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        rho: float = 0.9,
        momentum: float = 0.0,
        centered: bool = False,
        eps: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        if not (0 <= rho < 1 and 0 <= momentum < 1):
            raise ValueError(f"rho and momentum must be in [0, 1), got {rho} and {momentum}")
        self.rho, self.momentum, self.centered, self.eps = rho, momentum, centered, _check_eps(eps)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        names = ["square"] + ["velocity"] * bool(self.momentum) + ["mean"] * self.centered
        return {name: xp.zeros_like(like) for name in names}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        square, mean, velocity = (state.get(name) for name in ("square", "mean", "velocity"))
        kernels.rmsprop(data, grad, square, mean, velocity, lr, self.rho, self.momentum, self.eps)


class Adam(Optimizer):
    """
    ``m ← β₁ m + (1 - β₁) g``, ``v ← β₂ v + (1 - β₂) g²``, ``w ← w - lr m̂ / (√v̂ + eps)`` [1]_.

    ``m̂ = m / (1 - β₁ᵗ)`` and ``v̂ = v / (1 - β₂ᵗ)`` correct for the start at zero. The state holds the sums
    ``m / (1 - β₁)`` and ``v / (1 - β₂)``, which take two passes over memory fewer.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : tuple of two floats
        Decay rates of the running means of the gradient and of its square.
    eps : float
        Added to the root of the mean square.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Examples
    --------
    >>> Adam(lr=3e-4)
    Adam(lr=0.0003)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {betas}")
        self.betas, self.eps = betas, _check_eps(eps)

    def bind(self, net: Layer) -> Self:
        # The correction must use β as the dtype rounds it: 1 - 0.9999 is off by 1e-4 where 0.9999 is a float32.
        b1, b2 = (float(np.asarray(b, dtype=net.flat.dtype)) for b in self.betas)
        if max(b1, b2) == 1:
            raise ValueError(
                f"betas {self.betas} round to 1 in {net.flat.dtype}: take smaller ones, or net.to(dtype='float64')"
            )
        self._rounded_betas = b1, b2
        return super().bind(net)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {
            "gradients": xp.zeros_like(like),
            "squares": xp.zeros_like(like),
            "step": xp.zeros((), dtype=like.dtype, device=like.device),
        }

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.adam(data, grad, state["gradients"], state["squares"], state["step"], lr, self._rounded_betas, self.eps)


class AdamW(Adam):
    """
    Adam with decoupled weight decay: ``w ← w - lr weight_decay w`` before the step, the gradient is left alone [1]_.

    Parameters
    ----------
    lr, betas, eps, clip_norm
        See :class:`Adam`.
    weight_decay : float
        Fraction of the weights that is subtracted at each step, times the learning rate.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> AdamW(weight_decay=0.05)
    AdamW(weight_decay=0.05)
    """

    def __init__(  # type: ignore[misc]  # another default for weight_decay
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, **options)

    def decay(self, data: Array, grad: Array, lr: Array, weight_decay: float) -> Array:
        data -= (lr * weight_decay) * data
        return grad


class Adagrad(Optimizer):
    """
    ``s ← s + g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Added to the root.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] J. Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12, 2011.

    Examples
    --------
    >>> Adagrad(lr=0.05)
    Adagrad(lr=0.05)
    """

    def __init__(self, lr: float = 0.01, *, eps: float = 1e-10, **options: Unpack[OptimizerOptions]):
        super().__init__(lr, **options)
        self.eps = _check_eps(eps)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"square": xp.zeros_like(like)}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        square = state["square"]
        square += grad * grad
        data -= lr * grad / (xp.sqrt(square) + self.eps)


def _check_eps(eps: float) -> float:
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must not be negative, got {eps}")
    return eps
