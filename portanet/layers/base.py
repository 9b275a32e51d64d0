"""What every layer is: a function with a pullback, and parameters by name."""

import copy
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from portanet.backends import Backend, describe, get_backend, namespace
from portanet.checks import check_count, check_dtype
from portanet.config import Configured, from_json, to_json
from portanet.parameters import Buffer, FlatParameters, Parameter
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

    rising: ClassVar[bool] = False
    """Whether the layer applies one function to every number that never falls: it may trade places with a maximum."""

    takes_maximum: ClassVar[bool] = False
    """Whether every output is the largest of some inputs."""

    _flat: FlatParameters | None = None

    def __init_subclass__(cls, **kwargs: Any):
        """Take back what a base promised of functions that this class replaces, unless it promises the same."""
        super().__init_subclass__(**kwargs)
        replaced = vars(cls).keys() & {"vjp", "forward", "curve"}
        promises: dict[str, Any] = {"rising": False, "takes_maximum": False} if replaced else {}
        if replaced - {"curve"}:
            promises["by_example"] = Layer.by_example
        for name, promise in promises.items():
            if name not in vars(cls):
                setattr(cls, name, promise)

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
            before the parameters change, or x or y in place.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method vjp(self, x, *, train=True): see portanet.Layer"
        )

    def forward(self, x: Array) -> Array:
        """Inference: the output for a batch ``x``, keeping nothing."""
        return self.vjp(x, train=False)[0]

    def __call__(self, x: Array) -> Array:
        """Inference, after drawing initial weights (seed 0) if there are none yet."""
        if self._flat is None and not self.initialized:
            self._flat = self.flat
        backend = self._home()[0] if self._flat is None else self._flat.backend
        with backend.activate():
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

    def by_example(self, train: bool) -> bool:
        """
        Whether the output for an example depends on that example alone, and a call leaves no trace.

        Where it does, a batch may be computed in parts, and in threads; gradients must then go through
        :meth:`Parameter.accumulate`. ``train`` is as in :meth:`vjp`. A class that replaces ``vjp`` or ``forward`` says
        so anew.
        """
        return False

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """Inner layers with their names: attributes, and what stands in lists and tuples."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Layer))

    def _named(self, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named(kind, f"{prefix}{name}.")

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by name, such as ``"0.weight"``; one that is used twice appears once."""
        return _unique(self._named(Parameter))

    def named_buffers(self) -> dict[str, Buffer]:
        """States by name: arrays that are kept but not trained."""
        return _unique(self._named(Buffer))

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
        return all(p.flat is not None for p in self.parameters()) and all(
            s.backend is not None for s in self.named_buffers().values()
        )

    @property
    def flat(self) -> FlatParameters:
        """The flat buffer of all parameters, gathered (and drawn with seed 0) when first asked for."""
        parameters, held = self.parameters(), self._flat
        if not self.initialized:
            held = self._gather(*self._home())
        elif held is None or not held.current or held.parameters != parameters:
            held = FlatParameters.spanning(parameters) or self._gather(*self._home())
        self._flat = held
        return held

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
        backend = get_backend(device) if device is not None else [*self._homes(), self._default()][0][0]
        check_dtype(dtype)
        for parameter in self.parameters():
            parameter.release()
        for state in self.named_buffers().values():
            state.backend = None
        self._flat = self._gather(backend, dtype, seed)
        return self

    def to(self, device: str | Backend | None = None, *, dtype: str | None = None, seed: int = 0) -> Self:
        """
        Move weights and states to a device, or change their precision.

        What has no values yet is drawn from ``seed``; what has keeps them.

        Examples
        --------
        >>> portanet.Linear(2, 2).to("cpu", dtype="float64").flat.data.dtype
        dtype('float64')
        """
        homes = self._homes()
        here, precision = [*homes, self._default()][0]
        backend = here if device is None else get_backend(device)
        dtype = precision if dtype is None else check_dtype(dtype)
        if not self.initialized or homes != [(backend, dtype)]:
            self._flat = self._gather(backend, dtype, seed)
        return self

    def asarray(self, values: Any) -> Array:
        """
        Bring values to this network's device and, if they are floats, to its dtype.

        Raises
        ------
        ValueError
            If they are an array of another device.
        """
        backend, dtype = self._ready()
        array = backend.asarray(values)
        return backend.asarray(array, dtype) if backend.xp.isdtype(array.dtype, "real floating") else array

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
            A NumPy array if ``x`` was host data, else on the device. It shares no memory with ``x``.

        Examples
        --------
        >>> portanet.Sequential(portanet.Linear(3, 2), portanet.Softmax()).predict(np.zeros((2, 3)))
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
        """
        batch_size = check_count("batch_size", batch_size)
        inputs, (backend, _) = self.asarray(x), self._home()
        if inputs.ndim == 0:
            raise ValueError("x is a single number: give an array with one row an example")
        with backend.activate():
            # At least one batch, so that no examples give an empty output of the right shape.
            n = inputs.shape[0]
            outputs = [self.forward(inputs[i : min(i + batch_size, n), ...]) for i in range(0, max(1, n), batch_size)]
            # One batch is copied too: an output of Flatten, say, would be the caller's own data.
            output = backend.xp.concat(outputs, axis=0)
            return output if isinstance(x, backend.array_type) else backend.to_numpy(output)

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        buffer = self.flat
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
        backend, _ = self._ready()
        return {name: np.array(backend.to_numpy(kept.data)) for name, kept in self._kept().items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """
        Overwrite parameters and states by name.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape or kind of number is wrong; nothing is changed then.
        """
        backend, kept = self._ready()[0], self._kept()
        if weights.keys() != kept.keys():
            odd = ", ".join(sorted(weights.keys() ^ kept.keys()))
            raise ValueError(f"weights must have the names {', '.join(kept)}; missing or unknown: {odd}")
        arrays = {name: np.asarray(values) for name, values in weights.items()}
        for name, values in arrays.items():
            data = kept[name].data
            if values.shape != (shape := tuple(data.shape)):
                raise ValueError(f"weights[{name!r}] must have shape {shape}, got {values.shape}")
            kinds = {"f": "real floating", "i": "integral", "u": "integral", "b": "bool"}
            if not backend.xp.isdtype(data.dtype, kinds.get(values.dtype.kind, "complex floating")):
                raise ValueError(f"weights[{name!r}] must have a dtype like {data.dtype}, got {values.dtype}")
        with backend.activate():
            new = {name: backend.asarray(values) for name, values in arrays.items()}
            for name, values in new.items():
                data = kept[name].data
                data[...] = backend.xp.astype(values, data.dtype, copy=False)

    def _kept(self) -> dict[str, Parameter | Buffer]:
        return {**self.named_parameters(), **self.named_buffers()}

    def to_json(self) -> Any:
        """Architecture, without weights, as what :mod:`json` can write."""
        seen: set[int] = set()

        def walk(layer: Layer) -> None:
            own = [item for item in vars(layer).values() if isinstance(item, (Parameter, Buffer))]
            if any(id(item) in seen for item in (layer, *own)):
                raise ValueError(f"{layer!r}, or an array of it, stands more than once: a file has no word for that")
            seen.update(map(id, (layer, *own)))
            for _, child in layer.children():
                walk(child)

        walk(self)
        return to_json(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy all but the buffer: what is shared in the network is shared in the copy, which gathers a buffer anew."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update({k: copy.deepcopy(v, memo) for k, v in vars(self).items() if k != "_flat"})
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as configuration and host arrays."""
        if not self._homes():
            return _rebuild, (self.to_json(), None, "", "")
        backend, dtype = self._ready()
        return _rebuild, (self.to_json(), self.get_weights(), backend.name, dtype)

    def _homes(self) -> list[tuple[Backend, str]]:
        """Backends and dtypes of all values there are, in order, each once."""
        parameters = ((p.flat.backend, p.flat.dtype) for p in self.parameters() if p.flat is not None)
        states = ((s.backend, s.dtype) for s in self.named_buffers().values() if s.backend is not None)
        return list(dict.fromkeys([*parameters, *states]))

    def _home(self) -> tuple[Backend, str]:
        """Backend and dtype of the values, or where they would go by default."""
        homes = self._homes()
        if len(homes) > 1:
            places = " and ".join(f"{backend.name} ({dtype})" for backend, dtype in homes)
            raise ValueError(f"layers of this network are on {places}: bring them together with net.to(device)")
        return homes[0] if homes else self._default()

    def _default(self) -> tuple[Backend, str]:
        """Where a network without any values belongs."""
        return (self._flat.backend, self._flat.dtype) if self._flat else (get_backend(), "float32")

    def _ready(self) -> tuple[Backend, str]:
        """Backend and dtype of the values, after drawing those that are not there yet."""
        if not self.initialized:
            self._flat = self.flat
        return self._home()

    def _gather(self, backend: Backend, dtype: str, seed: int = 0) -> FlatParameters:
        """Give this network a buffer of its own; what has no values yet is drawn."""
        for i, state in enumerate(self.named_buffers().values()):
            if state.backend is None:
                # A stream of its own: a layer with a state (dropout) does not change the weights of those after it.
                state.place(backend, state.init(np.random.default_rng([1, seed, i])), dtype)
            elif (state.backend, state.dtype) != (backend, dtype):
                state.place(backend, state.backend.to_numpy(state.data), dtype)
        return FlatParameters(self.parameters(), backend, seed, dtype)


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


def check_layer(layer: Any) -> Any:
    """Refuse what is no layer, such as a class that was not called, or a list."""
    if not isinstance(layer, Layer):
        raise TypeError(f"layers must be Layer objects, got {layer!r}: write Sequential(Linear(...), ReLU(), ...)")
    return layer


def check_floating(layer: Layer, x: Array) -> None:
    """Refuse integers, whose sums overflow silently."""
    if not namespace(x).isdtype(x.dtype, "real floating"):
        raise ValueError(f"{layer!r} needs floats, got x of dtype {x.dtype}: give x / 255 for instance")


def check_input(x: Array, weight: Array) -> None:
    """Refuse an input that is on another device than the weights, or of another dtype."""
    if type(x) is not type(weight) or x.device != weight.device:
        raise ValueError(
            f"x is on {describe(x)} but the weights are on {describe(weight)}: use net.asarray(x) or net.to(...)"
        )
    if x.dtype != weight.dtype:
        raise ValueError(f"x has dtype {x.dtype} but the weights have {weight.dtype}: use net.asarray(x / scale)")
