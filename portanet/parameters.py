"""
Parameters, states, and the flat buffer that holds a network's parameters.

All parameters of a network are views of one array, and their gradients of another: an optimizer step is a handful of
operations on one array, and a gradient all-reduce or a weight file is one call.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends import Backend, namespace
from portanet.initializers import Initializer
from portanet.typing import Array, Shape

_aside: ContextVar["dict[Parameter, Array] | None"] = ContextVar("aside", default=None)


@contextmanager
def private_gradients() -> Iterator["dict[Parameter, Array]"]:
    """Sum the gradients that this thread accumulates meanwhile by themselves, and leave those of the network alone."""
    sums: dict[Parameter, Array] = {}
    token = _aside.set(sums)
    try:
        yield sums
    finally:
        _aside.reset(token)


class Parameter:
    """
    A trained array: its shape and initial values now, ``data`` and ``grad`` once a network holds it.

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
    _grad: Array
    fresh = False
    """Whether the gradient is zero, but not yet written as such: what is accumulated first may take its place."""

    def __init__(self, shape: Shape, init: Initializer):
        if not callable(init):
            raise TypeError(f"init must be an Initializer, got {init!r}: take one of portanet.initializers")
        self.shape, self.init = shape, init
        self.size = math.prod(shape)
        self.flat: FlatParameters | None = None
        self.offset = 0

    def place(self, buffer: "FlatParameters", offset: int) -> None:
        """Make ``data`` and ``grad`` views of a buffer, from an offset on."""
        self.release()
        self.flat, self.offset = buffer, offset
        here = slice(offset, offset + self.size)
        self.data = buffer.xp.reshape(buffer.data[here], self.shape, copy=False)
        self._grad = buffer.xp.reshape(buffer.grad[here], self.shape, copy=False)

    @property
    def grad(self) -> Array:
        """The gradient, a view of the buffer's; layers add to it by :meth:`accumulate`."""
        if self.fresh:
            self._grad[...] = 0.0
            self.fresh = False
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if grad is not self._grad:  # as it is after "grad += ...", which has written already
            self._grad[...] = grad
        self.fresh = False

    def release(self) -> None:
        """Leave the buffer, which then is no longer that of its network: an optimizer must not go on with it."""
        if self.flat is not None:
            self.flat.deserted = True
            self.flat = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Parameter":
        """Copy the values into a buffer of its own: copied views would no longer share the network's."""
        twin = Parameter(self.shape, self.init)
        if self.flat is not None:
            FlatParameters([twin], self.flat.backend, dtype=self.flat.dtype)
            with self.flat.backend.activate():
                twin.data[...] = self.data
        return twin

    def accumulate(self, grad: Array) -> None:
        """Add to the gradient, in place."""
        if grad.shape != self.shape:
            raise ValueError(f"gradient has shape {grad.shape}, the parameter {self.shape}")
        aside = _aside.get()
        if aside is not None:
            aside[self] = aside[self] + grad if self in aside else grad
        elif self.fresh:
            self._grad[...] = grad
            self.fresh = False
        else:
            self._grad += grad

    def accumulate_matmul(self, a: Array, b: Array) -> None:
        """Add the product of two matrices to the gradient, with no array between where nothing is there yet."""
        if self._nothing_there:
            kernels.matmul_into(self._grad, a, b)
            self.fresh = False
        else:
            self.accumulate(namespace(a).matmul(a, b))

    def accumulate_channel_sum(self, dy: Array) -> None:
        """Add the sums of each channel to the gradient, likewise."""
        if self._nothing_there and dy.dtype == self._grad.dtype and dy.shape[-1:] == self.shape:
            kernels.bias_grad(dy, self._grad)
            self.fresh = False
        else:
            self.accumulate(kernels.bias_grad(dy))

    @property
    def _nothing_there(self) -> bool:
        return self.fresh and _aside.get() is None

    def __getattr__(self, name: str) -> Any:
        # Reached only while data and grad are not set, so it costs a placed parameter nothing.
        if name in ("data", "_grad"):
            raise RuntimeError("parameter has no values yet: call initialize(seed=0) on the network, or net(x) once")
        raise AttributeError(name)


class Buffer:
    """
    A named array that a layer keeps but that is not trained: running statistics, a random stream.

    Parameters
    ----------
    init : callable
        ``init(rng)`` gives the initial values as a NumPy array; floats are stored in the network's dtype.

    Examples
    --------
    >>> portanet.BatchNorm(2).initialize().running_var.data
    array([1., 1.], dtype=float32)
    """

    data: Array

    def __init__(self, init: Callable[[np.random.Generator], np.ndarray]):
        self.init = init
        self.backend: Backend | None = None
        self.dtype = "float32"  # of the network; integers keep their own

    def place(self, backend: Backend, values: np.ndarray, dtype: str) -> None:
        """Put values on a backend, copied, since layers change a state in place."""
        self.backend, self.dtype = backend, dtype
        self.data = backend.asarray(values.copy(), dtype if values.dtype.kind == "f" else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Buffer":
        twin = Buffer(self.init)
        if self.backend is not None:
            twin.place(self.backend, self.backend.to_numpy(self.data), self.dtype)
        return twin

    def __getattr__(self, name: str) -> Any:
        if name == "data":
            raise RuntimeError("state has no values yet: call initialize(seed=0) on the network, or net(x) once")
        raise AttributeError(name)


class FlatParameters:
    """
    The parameters of a network in one flat array, their gradients in another.

    Parameters that have values keep them; the others are drawn, each from a stream of its own, so that a layer that is
    added later neither repeats nor changes what the others drew.

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

    Attributes
    ----------
    data, grad : array, shape (size,)
        Values and gradients.

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
    ):
        self.parameters = list(parameters)
        self.root = self
        self.backend, self.xp, self.dtype = backend, backend.xp, dtype
        self.deserted = False
        values = [
            p.init(p.shape, np.random.default_rng([0, seed, i])) if p.flat is None else p.flat.backend.to_numpy(p.data)
            for i, p in enumerate(self.parameters)
        ]
        flat = np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])
        with backend.activate():
            self.data = backend.asarray(flat, dtype)
            self.grad = self.xp.zeros_like(self.data)
            offset = 0
            for parameter in self.parameters:
                parameter.place(self, offset)
                offset += parameter.size

    @classmethod
    def spanning(cls, parameters: list[Parameter]) -> "FlatParameters | None":
        """
        The part of an existing buffer that holds exactly these parameters, in order and without gaps, if there is one.

        It shares the arrays, so that a slice of a network is trained in place.
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
        """Whether the parameters still live here, and have not moved to another buffer."""
        return not self.root.deserted

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.grad[...] = 0.0

    def begin_gradient(self) -> None:
        """Set all gradients to zero, without writing it: what is accumulated first takes the place of what is there."""
        for parameter in self.parameters:
            parameter.fresh = True

    def end_gradient(self) -> None:
        """Write zero where nothing was accumulated since :meth:`begin_gradient`."""
        for parameter in self.parameters:
            if parameter.fresh:
                _ = parameter.grad
