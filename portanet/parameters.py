"""
Parameters, buffers, and the flat arrays that hold a network's parameters.

All parameters of a network are views of one array, and their gradients of another: an optimizer step is a handful of
operations on one array, and a gradient all-reduce or a weight file is one call.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from portanet.backends import Backend, cast
from portanet.checks import check_shape, isdtype, refuse_switch, shown
from portanet.initializers import Initializer
from portanet.names import unknown_attribute
from portanet.typing import Array, Shape


class Parameter:
    """
    A trained array: shape and initializer first, ``data`` and ``grad`` once a network has drawn its weights.

    Parameters
    ----------
    shape : tuple of int
        Shape of ``data`` and ``grad``.
    init : Initializer
        Draws the initial values, on the host.

    Examples
    --------
    >>> layer = portanet.Linear(3, 2).initialize(seed=0)
    >>> layer.weight.data.shape, layer.weight.grad.shape
    ((3, 2), (3, 2))
    """

    data: Array
    grad: Array
    _frozen = False

    def __init__(self, shape: Shape, init: Initializer):
        if not isinstance(init, Initializer):  # a function could not be saved with the network
            raise TypeError(f"init must be an Initializer, got {shown(init)}: take one of portanet.initializers")
        self.shape, self.init = check_shape("shape", shape), init
        self.size = math.prod(self.shape)
        self.flat: FlatParameters | None = None
        self.offset = 0

    @property
    def frozen(self) -> bool:
        """Whether it is left out of training: :meth:`portanet.Layer.freeze` of its layer was called."""
        return self._frozen

    def bind(self, flat: "FlatParameters", offset: int) -> None:
        """Make ``data`` and ``grad`` views of flat arrays, from an offset on."""
        self.unbind()
        span = slice(offset, offset + self.size)
        views = {"data": flat.data, "grad": flat.grad}
        vars(self).update({k: flat.xp.reshape(a[span], self.shape, copy=False) for k, a in views.items()})
        self.offset, self.flat = offset, flat  # set last: other threads take it to mean that there are values

    def unbind(self) -> None:
        """Leave the flat arrays, which are then detached: an optimizer must not go on with them."""
        if self.flat is not None:
            self.flat.detached = True
            self.flat = None

    def host_values(self, dtype: str, seed: list[int]) -> np.ndarray:
        """Return the values on the host in a dtype, drawn if there are none; those too large for it are refused."""
        if self.flat is not None:
            kept = self.flat.backend.to_numpy(self.data)
            return cast(kept, dtype, name=f"a parameter of shape {self.shape}")
        name = f"a parameter drawn by {self.init!r}"
        with np.errstate(over="ignore"):
            drawn = self.init(self.shape, np.random.default_rng(seed))
        if not np.all(np.isfinite(drawn)):
            raise ValueError(f"{name} holds NaN or infinity: draw smaller numbers")
        return cast(drawn, dtype, name=name)

    def accumulate(self, grad: Array) -> None:
        """Add an array of the parameter's shape to the gradient."""
        if grad.shape != self.shape:
            raise ValueError(f"grad must have the parameter's shape {self.shape}, got {tuple(grad.shape)}")
        if not self._frozen:
            self.grad += grad

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_switch(self, name)
        view = vars(self).get(name) if name in ("data", "grad") else None
        if view is None:
            object.__setattr__(self, name, value)
        elif value is not view:  # as it is after "grad += ...", which has written already
            view[...] = value if self.flat is None else self.flat.cast(name, value, view.shape)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle needs: views would no longer share the network's flat arrays."""
        state: dict[str, Any] = {"shape": self.shape, "init": self.init, "frozen": self._frozen}
        if self.flat is not None:
            backend = self.flat.backend
            state |= {"backend": backend, "dtype": self.flat.dtype, "values": np.array(backend.to_numpy(self.data))}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        Parameter.__init__(self, state["shape"], state["init"])
        self._frozen = state["frozen"]
        if "values" in state:
            backend = state["backend"]
            FlatParameters([self], backend, dtype=state["dtype"], values=[state["values"]])

    def __getattr__(self, name: str) -> Any:
        # Reached only while data and grad are not set, so it costs a bound parameter nothing.
        if name in ("data", "grad"):
            raise RuntimeError("parameter has no values yet: call initialize(seed=0) on the network, or net(x) once")
        return unknown_attribute(self, name)


class Buffer:
    """
    A named array that a layer keeps but that is not trained: running statistics, a random stream.

    Parameters
    ----------
    shape : tuple of int
        Shape of ``data``.
    init : Initializer
        ``init(shape, rng)`` gives the initial values on the host; floats are stored in the network's dtype.

    Examples
    --------
    >>> portanet.BatchNorm(2).initialize().running_var.data
    array([1., 1.], dtype=float32)
    """

    data: Array

    def __init__(self, shape: Shape, init: Callable[[Shape, np.random.Generator], np.ndarray]):
        self.shape, self.init = shape, init
        self.backend: Backend | None = None
        self.dtype = "float32"  # of the network; integers keep their own

    def bind(self, backend: Backend, values: np.ndarray, dtype: str) -> None:
        """Put values on a backend, copied, since layers change a buffer in place."""
        self.data = backend.asarray(values.copy(), dtype if values.dtype.kind == "f" else None)
        self.dtype, self.backend = dtype, backend  # set last: other threads take it to mean that there are values

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {"shape": self.shape, "init": self.init}
        if self.backend is not None:
            values = np.array(self.backend.to_numpy(self.data))
            state |= {"backend": self.backend, "dtype": self.dtype, "values": values}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        Buffer.__init__(self, state["shape"], state["init"])
        if "values" in state:
            self.bind(state["backend"], state["values"], state["dtype"])

    def __getattr__(self, name: str) -> Any:
        if name == "data":
            raise RuntimeError("buffer has no values yet: call initialize(seed=0) on the network, or net(x) once")
        raise AttributeError(name)


class FlatParameters:
    """
    The parameters of a network in one flat array, their gradients in another.

    Parameters that have values keep them; the others are drawn, each from a random stream of its own, so a layer that
    is added later neither repeats nor changes what the others drew.

    Parameters
    ----------
    parameters : iterable of Parameter
        In the order of the network.
    backend : Backend
        Where the arrays live.
    seed : int
        Of the initial values.
    dtype : {"float32", "float64"}
        Values are drawn in float64 and rounded to it.
    values : list of numpy.ndarray, optional
        Values of the parameters, to take in place of theirs.

    Attributes
    ----------
    data, grad : array, shape (n,)
        Values and gradients of all parameters.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.Linear(2, 1)).initialize(seed=0)
    >>> net.flat.data.shape  # 3 x 2 + 2 and 2 x 1 + 1
    (11,)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        backend: Backend,
        seed: int = 0,
        dtype: str = "float32",
        values: list[np.ndarray] | None = None,
    ):
        self.parameters = list(parameters)
        self.root = self
        self.backend, self.xp, self.dtype = backend, backend.xp, dtype
        self.detached = False
        values = values or [p.host_values(dtype, [0, seed, i]) for i, p in enumerate(self.parameters)]
        flat = np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])
        with backend.activate():
            self.data = backend.asarray(flat, dtype)
            self.grad = self.xp.zeros_like(self.data)
            offset = 0
            for parameter in self.parameters:
                parameter.bind(self, offset)
                offset += parameter.size

    @classmethod
    def view_of(cls, parameters: list[Parameter]) -> "FlatParameters | None":
        """
        Return the part of existing flat arrays that holds exactly these parameters, in order and without gaps.

        It shares the arrays, so a slice of a network is trained in place. None if there is no such part.
        """
        if not parameters or (whole := parameters[0].flat) is None:
            return None
        start = end = parameters[0].offset
        for parameter in parameters:
            if parameter.flat is not whole or parameter.offset != end:
                return None
            end += parameter.size
        if parameters == whole.parameters:
            return whole
        part = cls.__new__(cls)
        part.parameters, part.root = parameters, whole
        part.backend, part.xp, part.dtype = whole.backend, whole.xp, whole.dtype
        part.data, part.grad = whole.data[start:end], whole.grad[start:end]
        return part

    @property
    def current(self) -> bool:
        """Whether the parameters still live here, and have not moved to other flat arrays."""
        return not self.root.detached

    def cast(self, name: str, values: Any, shape: Shape) -> Array:
        """Return values in the dtype of these arrays, on their device; refuse other shapes and too large numbers."""
        xp, given = self.xp, self.backend.check_array(values, name=name)
        if tuple(given.shape) != tuple(shape):
            raise ValueError(
                f"{name} must have shape {tuple(shape)}, got {tuple(given.shape)}: {name}[...] = 0 fills it"
            )
        new = self.backend.asarray(given, self.dtype, name=name)
        narrower = not isinstance(given, np.ndarray) and given.dtype != new.dtype
        if (
            narrower
            and isdtype(xp, given.dtype, "real floating")
            and bool(xp.any(xp.isfinite(given) & ~xp.isfinite(new)))
        ):
            raise ValueError(f"{name} holds numbers too large for {self.dtype}: scale them, or use float64")
        return new

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.grad[...] = 0.0
