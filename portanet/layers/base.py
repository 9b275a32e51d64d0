"""What every layer is: a function with a pullback, and parameters by name."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Self, TypeVar

import numpy as np

from portanet.backends import Backend, describe, get_backend
from portanet.config import Configured, from_json, to_json
from portanet.parameters import Parameter, ParameterBuffer, State, check_dtype
from portanet.typing import Array, Pullback, Shape


class Layer(Configured):
    """
    Base of layers and networks.

    A layer writes :meth:`vjp`, and :meth:`output_shape` where it changes the shape. Parameters, states and inner layers
    are found among its attributes.

    Examples
    --------
    A layer of one's own, ready to train, save and load:

    >>> class Scale(portanet.Layer):
    ...     def __init__(self, features):
    ...         self.weight = portanet.Parameter((features,), portanet.initializers.ones)
    ...
    ...     def vjp(self, x, *, train=True):
    ...         w = self.weight.data
    ...
    ...         def pullback(dy, *, need_dx=True, need_grads=True):
    ...             if need_grads:
    ...                 self.weight.accumulate(portanet.namespace(x).sum(x * dy, axis=0))
    ...             return dy * w if need_dx else None
    ...
    ...         return x * w, pullback
    >>> portanet.testing.check_gradients(Scale(3), np.ones((2, 3)))
    """

    _buffer: ParameterBuffer | None = None

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """
        Output, and the function that carries gradients back through this very call.

        Parameters
        ----------
        x : array, shape (N, ...)
            A batch, on the network's device and of its dtype.
        train : bool
            True for the training function (dropout drops, batch norm uses the batch), False to differentiate inference.

        Returns
        -------
        y : array
            The output.
        pullback : callable
            ``pullback(dy, *, need_dx=True, need_grads=True)`` adds to the parameters' gradients and returns dx. Call it
            before the parameters change.
        """
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """Inference: the output for a batch ``x``, keeping nothing."""
        return self.vjp(x, train=False)[0]

    def __call__(self, x: Array) -> Array:
        """Inference, after drawing initial weights (seed 0) if there are none yet."""
        if self._buffer is None:
            self._buffer = self.buffer
        with self._buffer.backend.activate():
            return self.forward(x)

    def output_shape(self, shape: Shape) -> Shape:
        """
        Shape of one output for one input of a shape, both without the batch axis.

        Raises
        ------
        ValueError
            If the layer does not take such an input.
        """
        return shape

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """Inner layers with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value

    def _named(self, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named(kind, f"{prefix}{name}.")

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by name, such as ``"0.weight"``; one that is used twice appears once."""
        return _unique(self._named(Parameter))

    def named_states(self) -> dict[str, State]:
        """States by name: arrays that are kept but not trained."""
        return _unique(self._named(State))

    def parameters(self) -> list[Parameter]:
        """Parameters, in order."""
        return list(self.named_parameters().values())

    def has_parameters(self) -> bool:
        """Whether there is anything to train."""
        return next(self._named(Parameter), None) is not None

    @property
    def n_parameters(self) -> int:
        """
        Number of trained values.

        Examples
        --------
        >>> portanet.Linear(784, 10).n_parameters
        7850
        """
        return sum(parameter.size for parameter in self.parameters())

    @property
    def initialized(self) -> bool:
        """Whether all parameters and states have values."""
        return all(p.buffer is not None for p in self.parameters()) and all(
            s.backend is not None for s in self.named_states().values()
        )

    @property
    def buffer(self) -> ParameterBuffer:
        """The flat buffer of all parameters, gathered (and drawn with seed 0) when first asked for."""
        parameters = self.parameters()
        if self._buffer is None or not self._buffer.holds(parameters):
            self._buffer = ParameterBuffer.spanning(parameters) or self._gather()
        return self._buffer

    def initialize(self, seed: int = 0, *, device: str | Backend | None = None, dtype: str = "float32") -> Self:
        """
        Draw all weights anew.

        Parameters
        ----------
        seed : int
            The same seed gives the same weights on every device.
        device : str, optional
            Where the weights live; by default where they are, else the default device.
        dtype : {"float32", "float64"}
            Precision of weights and computation.

        Examples
        --------
        >>> portanet.Linear(2, 2).initialize(seed=1, dtype="float64").weight.data.dtype
        dtype('float64')
        """
        backend = get_backend(device) if device is not None else self._home()[0]
        check_dtype(dtype)
        for parameter in self.parameters():
            parameter.buffer = None
        for state in self.named_states().values():
            state.backend = None
        self._buffer = self._gather(backend, dtype, seed)
        return self

    def to(self, device: str | Backend | None = None, *, dtype: str | None = None) -> Self:
        """
        Move weights and states to a device, or change their precision; draws them (seed 0) if there are none.

        Examples
        --------
        >>> portanet.Linear(2, 2).to("cpu", dtype="float64").buffer.data.dtype
        dtype('float64')
        """
        here = self.buffer
        backend = here.backend if device is None else get_backend(device)
        dtype = here.dtype if dtype is None else check_dtype(dtype)
        if (backend, dtype) != (here.backend, here.dtype):
            self._buffer = self._gather(backend, dtype)
        return self

    def asarray(self, values: Any) -> Array:
        """
        Bring values to this network's device and, if they are floats, to its dtype.

        Raises
        ------
        ValueError
            If they are an array of another device.
        """
        buffer = self.buffer
        array = buffer.backend.asarray(values)
        is_float = buffer.xp.isdtype(array.dtype, "real floating")
        return buffer.backend.asarray(array, buffer.dtype) if is_float else array

    def predict(self, x: Any, *, batch_size: int = 1000) -> Any:
        """
        Outputs for many inputs, computed in batches.

        Parameters
        ----------
        x : array_like, shape (N, ...)
            Host data is moved to the network's device.
        batch_size : int
            How many at a time: bounds the memory.

        Returns
        -------
        array, shape (N, ...)
            A NumPy array if ``x`` was host data, else on the device.

        Examples
        --------
        >>> portanet.Sequential(portanet.Linear(3, 2), portanet.Softmax()).predict(np.zeros((2, 3)))
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
        """
        inputs, backend = self.asarray(x), self.buffer.backend
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        with backend.activate():
            # At least one batch, so that no examples give an empty output of the right shape.
            n = inputs.shape[0]
            outputs = [self.forward(inputs[i : min(i + batch_size, n), ...]) for i in range(0, max(1, n), batch_size)]
            output = outputs[0] if len(outputs) == 1 else backend.xp.concat(outputs, axis=0)
            return output if isinstance(x, backend.array_type) else backend.to_numpy(output)

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        buffer = self.buffer
        with buffer.backend.activate():
            buffer.zero_grad()

    def summary(self, input_shape: Shape) -> None:
        """
        Print a table of layers, output shapes and numbers of parameters.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input, without the batch axis.

        Examples
        --------
        >>> portanet.Sequential(portanet.Linear(784, 100), portanet.Sigmoid()).summary((784,))
               layer             output shape  parameters
        -------------------------------------------------
        0      Linear(784, 100)  (100,)            78,500
        1      Sigmoid()         (100,)                 0
        -------------------------------------------------
        total                                      78,500
        """
        from portanet.summary import table  # it knows Sequential, which is built on this file

        print(table(self, input_shape))

    def save(self, path: str | PathLike[str]) -> None:
        """
        Write architecture, weights and states to one safetensors file; :func:`portanet.load` reads it.

        The file appears under its name complete or not at all, and holds no device: a network saved on a GPU loads on
        a CPU.
        """
        from portanet.persistence import save

        save(self, path)

    def get_weights(self) -> dict[str, np.ndarray]:
        """
        Parameters and states by name, as NumPy arrays of their own.

        Examples
        --------
        >>> {name: values.shape for name, values in portanet.Linear(3, 2).get_weights().items()}
        {'weight': (3, 2), 'bias': (2,)}
        """
        backend = self.buffer.backend
        return {name: np.array(backend.to_numpy(kept.data)) for name, kept in self._kept().items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """
        Overwrite parameters and states by name.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape is wrong; nothing is changed then.
        """
        buffer, kept = self.buffer, self._kept()
        if weights.keys() != kept.keys():
            odd = ", ".join(sorted(weights.keys() ^ kept.keys()))
            raise ValueError(f"weights must have the names {', '.join(kept)}; missing or unknown: {odd}")
        for name, values in weights.items():
            if values.shape != (shape := tuple(kept[name].data.shape)):
                raise ValueError(f"weights[{name!r}] must have shape {shape}, got {values.shape}")
        with buffer.backend.activate():
            for name, values in weights.items():
                data = kept[name].data
                data[...] = buffer.xp.astype(buffer.backend.asarray(values), data.dtype, copy=False)

    def _kept(self) -> dict[str, Parameter | State]:
        return {**self.named_parameters(), **self.named_states()}

    def to_json(self) -> Any:
        """Architecture, without weights, as what :mod:`json` can write."""
        seen: set[int] = set()

        def walk(layer: Layer) -> None:
            if id(layer) in seen:
                raise ValueError(f"{layer!r} stands more than once in the network: a copy would have two of it")
            seen.add(id(layer))
            for _, child in layer.children():
                walk(child)

        walk(self)
        return to_json(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as configuration and host arrays: copied views would no longer share the buffer."""
        if not self.initialized:
            return _rebuild, (self.to_json(), None, None, None)
        return _rebuild, (self.to_json(), self.get_weights(), self.buffer.backend.name, self.buffer.dtype)

    def _home(self) -> tuple[Backend, str]:
        """Backend and dtype where the values are now, or by default would go."""
        for parameter in self.parameters():
            if parameter.buffer is not None:
                return parameter.buffer.backend, parameter.buffer.dtype
        for state in self.named_states().values():
            if state.backend is not None:
                return state.backend, "float32"
        return (self._buffer.backend, self._buffer.dtype) if self._buffer else (get_backend(), "float32")

    def _gather(self, backend: Backend | None = None, dtype: str | None = None, seed: int = 0) -> ParameterBuffer:
        """Give this network a buffer of its own; what has no values yet is drawn."""
        home, precision = self._home()
        backend, dtype = backend or home, dtype or precision
        # Two streams, so that a layer with a state (dropout) does not change the weights of those after it.
        weights, states = (np.random.default_rng([stream, seed]) for stream in (0, 1))
        for state in self.named_states().values():
            values = state.init(states) if state.backend is None else state.backend.to_numpy(state.data)
            state.place(backend, values, dtype)
        return ParameterBuffer(self.parameters(), backend, weights, dtype)


def _rebuild(config: Any, weights: dict[str, np.ndarray] | None, device: str, dtype: str) -> Layer:
    layer: Layer = from_json(config)
    if weights is not None:
        layer.initialize(device=device, dtype=dtype)
        layer.set_weights(weights)
    return layer


T = TypeVar("T")


def _unique(named: Iterator[tuple[str, T]]) -> dict[str, T]:
    first: dict[int, tuple[str, T]] = {}
    for name, value in named:
        first.setdefault(id(value), (name, value))
    return dict(first.values())


def batch(shape: Shape) -> str:
    """
    Write the shape of a batch of inputs, for messages.

    Examples
    --------
    >>> batch((28, 28)), batch(())
    ('(N, 28, 28)', '(N,)')
    """
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


def check_input(x: Array, weight: Array) -> None:
    """Refuse an input that is on another device than the weights, or of another dtype."""
    if type(x) is not type(weight) or x.device != weight.device:
        raise ValueError(
            f"x is on {describe(x)} but the weights are on {describe(weight)}: use net.asarray(x) or net.to(...)"
        )
    if x.dtype != weight.dtype:
        raise ValueError(f"x has dtype {x.dtype} but the weights have {weight.dtype}: use net.asarray(x / scale)")
