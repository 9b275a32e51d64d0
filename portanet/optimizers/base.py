"""What every optimizer does: settings, state on the device, groups of parameters, clipping."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self, TypedDict

from portanet import kernels
from portanet.checks import Checked, check_count, check_fields, check_flag, check_number, check_text, optional, shown
from portanet.config import Configured, parameters_of
from portanet.layers.base import Layer, check_layer
from portanet.layers.topology import Topology
from portanet.names import ATTRIBUTES
from portanet.parameters import FlatParameters, Parameter
from portanet.typing import Array

__all__ = ["Optimizer", "ParameterGroup"]


@dataclass(frozen=True, repr=False)
class ParameterGroup(Configured):
    """
    Parameters with settings of their own.

    Parameters
    ----------
    pattern : str
        Pattern of parameter names, such as ``"*.bias"`` or ``"0.*"``.
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
    >>> portanet.AdamW(groups=groups)
    AdamW(groups=(ParameterGroup(max_ndim=1, weight_decay=0.0), ParameterGroup(pattern='0.*', lr_factor=0.1)))
    """

    pattern: str = "*"
    max_ndim: int | None = None
    lr_factor: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        at_least_0 = partial(check_number, at_least=0)
        max_ndim = partial(optional(check_count), at_least=0)
        check_fields(
            self, pattern=check_text, max_ndim=max_ndim, lr_factor=at_least_0, weight_decay=optional(at_least_0)
        )

    def matches(self, names: Sequence[str], parameter: Parameter) -> bool:
        """Whether a parameter with these names belongs to the group."""
        few_axes = self.max_ndim is None or len(parameter.shape) <= self.max_ndim
        return few_axes and any(fnmatchcase(name, self.pattern) for name in names)


class _Span(NamedTuple):
    """Neighbouring parameters with equal settings, and the views of their arrays."""

    start: int
    stop: int
    lr_factor: float
    weight_decay: float
    data: Array
    grad: Array
    state: dict[str, Array]


def _check_groups(name: str, value: Any) -> tuple[ParameterGroup, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(group, ParameterGroup) for group in value):
        raise TypeError(f"{name} must be a list of ParameterGroup objects, got {shown(value)}")
    return tuple(value)


class OptimizerOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Optimizer`."""

    weight_decay: float
    clip_norm: float | None
    maximize: bool
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
    maximize : bool
        Change the parameters so that the loss grows: the gradient is negated before anything else.
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

    full_batch: ClassVar[bool] = False
    """Whether each step needs all examples; ``fit`` warns of smaller batches."""

    decoupled_weight_decay: bool = False
    """Whether weight decay shrinks the weights, ``w ← w - lr weight_decay w``, and leaves the gradient alone."""

    weight_decay = Checked(check_number, at_least=0)
    clip_norm = Checked(optional(check_number), above=0)
    maximize = Checked(check_flag)
    groups = Checked(_check_groups)

    def __init__(
        self,
        lr: float,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        maximize: bool = False,
        groups: Sequence[ParameterGroup] = (),
    ):
        self._lr, self.weight_decay, self.clip_norm = _check_lr(lr), weight_decay, clip_norm
        self.maximize, self.groups = maximize, groups
        self.state: dict[str, Array] = {}

    def bind(self, net: Layer) -> Self:
        """Attach the optimizer to a network's parameters, with a new state."""
        check_layer("net", net)
        self.check_groups(net.topology)
        flat = net.flat
        with flat.backend.activate():
            self.lr_array = flat.xp.full((), self.lr, dtype=flat.data.dtype, device=flat.data.device)
            self.state = self.new_state(flat.xp, flat.data)
        self.flat, self._net = flat, net
        self._divided: tuple[Topology, float, tuple[ParameterGroup, ...]] | None = None
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option; one that needs a state which a bound optimizer lacks is refused."""
        if name in (elsewhere := ATTRIBUTES["Optimizer"]) and not hasattr(type(self), name):
            raise AttributeError(f"{name!r} of {type(self).__name__} cannot be set: write {elsewhere[name]}")
        if self.flat is not None and name != "lr" and name in parameters_of(type(self)):  # type: ignore[arg-type]
            changed = type(self)(**{**self.arguments(), name: value})  # refuses what the constructor refuses
            value = vars(changed)[name]
            changed.check_groups(self._net.topology)
            if changed.new_state(self.flat.xp, self.flat.data[:0]).keys() != self.state.keys():
                raise ValueError(
                    f"{name} cannot become {value!r} while the optimizer is bound: set it before bind(net)"
                )
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the settings alone: a copy is not bound."""
        bound = ("flat", "lr_array", "_net", "_divided", "_frozen", "_spans")
        return {**{name: value for name, value in vars(self).items() if name not in bound}, "state": {}}

    @property
    def lr(self) -> float:
        """The learning rate; setting it changes an array on the device, from the next step on."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        lr = _check_lr(lr)
        if lr != self._lr and self.flat is not None:
            with self.flat.backend.activate():
                self.lr_array[...] = lr
        self._lr = lr

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        """Return the state before the first step: arrays whose first axis is that of ``like``, or 0-d arrays."""
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
            divided = self._net.topology, self.weight_decay, self.groups
            if divided != self._divided:
                self._spans, self._divided = self._divide(flat), divided
            xp, scale = flat.xp, None if self.clip_norm is None else self._clipping(flat, self.clip_norm)
            if self.maximize:
                scale = -1.0 if scale is None else -scale
            for span in self._spans:
                data, grad, state, lr = span.data, span.grad, span.state, self.lr_array
                if scale is not None:
                    grad = grad * scale
                if span.lr_factor != 1.0:
                    lr = lr * span.lr_factor
                if span.weight_decay:
                    grad = self.decay(data, grad, lr, span.weight_decay)
                if span is not self._spans[-1]:  # every span sees the same counters; the last one advances them
                    state = {k: a if a.ndim else xp.asarray(a, copy=True) for k, a in state.items()}
                self.update(xp, data, grad, state, lr)

    def decay(self, data: Array, grad: Array, lr: Array, weight_decay: float) -> Array:
        """Return the gradient with the weight decay in it, or shrink the weights if it is decoupled."""
        if self.decoupled_weight_decay:
            kernels.add_scaled(data, data, -lr * weight_decay, data)
            return grad
        return kernels.add_scaled(grad, data, weight_decay)

    def check_groups(self, topology: Topology) -> None:
        """Refuse a pattern that is the name of no parameter."""
        names_of_all = [name for names in _all_names(topology).values() for name in names]
        for group in self.groups:
            if not any(fnmatchcase(name, group.pattern) for name in names_of_all):
                names = ", ".join(map(repr, topology.parameters)) or "of a network that has none"
                raise ValueError(f"{group!r} matches no parameter: give a pattern for one of {names}")

    def _clipping(self, flat: FlatParameters, clip_norm: float) -> Array | None:
        """Return the factor that clips the gradient to ``clip_norm``."""
        if not flat.parameters:
            return None
        xp = flat.xp
        for parameter in self._frozen:  # what a layer may have written there is not part of the norm
            parameter.grad[...] = 0.0
        return xp.minimum(clip_norm / kernels.norm(flat.grad), 1.0)

    def _divide(self, flat: FlatParameters) -> list[_Span]:
        """Divide the flat arrays into spans of equal settings, without frozen parameters."""
        topology = self._net.topology
        if topology.parameter_list != flat.parameters:
            raise RuntimeError("layers were appended or popped since the optimizer was bound: bind(net) again")
        self._frozen = [parameter for parameter in flat.parameters if parameter.frozen]
        names = {id(topology.parameters[first]): names for first, names in _all_names(topology).items()}
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
            _Span(
                *span,
                flat.data[view],
                flat.grad[view],
                {k: a[view, ...] if a.ndim else a for k, a in self.state.items()},
            )
            for span, view in zip(spans, views, strict=True)
        ]

    def _settings(self, names: Sequence[str], parameter: Parameter) -> tuple[float, float]:
        """Return the factor of the learning rate and the weight decay of a parameter."""
        for group in self.groups:
            if group.matches(names, parameter):
                own = group.weight_decay
                return group.lr_factor, self.weight_decay if own is None else own
        return 1.0, self.weight_decay


def _all_names(topology: Topology) -> dict[str, list[str]]:
    """Return all names of each parameter by its first one; one that is shared has several."""
    names = {name: [name] for name in topology.parameters}
    for further, first in topology.shared.items():
        if first in names:
            names[first].append(further)
    return names


def _check_lr(lr: Any) -> float:
    if callable(lr):
        raise ValueError(
            f"lr must be a number, got {shown(lr)}: give fit LearningRateScheduler(schedule) as a callback"
        )
    if isinstance(lr, Iterable) and not isinstance(lr, str) and not hasattr(lr, "shape"):
        fix = "leave out the parameters, which the Trainer or bind(net) sets"
        raise TypeError(f"lr must be a number, got {type(lr).__name__}: {fix}")
    return check_number("lr", lr, at_least=0)
