"""Where the arrays of a layer or network live: drawing weights, moving them, and reading and writing their values."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from portanet.backends import Backend, cast, get_backend, host_array, namespace
from portanet.backends.lock import lock
from portanet.checks import check_dtype, check_seed, isdtype, refuse_switch, shown
from portanet.layers.topology import Topology, changed, is_structure, refuse_container
from portanet.parameters import Buffer, FlatParameters, Parameter
from portanet.tree import is_tree, named_leaves, tree_unflatten

KINDS = {"f": "real floating", "i": "integral", "u": "integral", "b": "bool"}
"""Array API kinds of NumPy's kinds of numbers."""

DERIVED = ("_flat", "_topology")
"""Attributes of a layer that are computed from its others."""


class Placement:
    """The part of :class:`portanet.Layer` that moves arrays between backends."""

    _flat: FlatParameters | None = None
    _topology: Topology | None = None
    _frozen = False
    _unsized = False  # whether its input size is not known yet

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; where a layer or parameter changes, networks look for theirs again."""
        refuse_switch(self, name)
        before = vars(self).get(name)
        if isinstance(before, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(f"{name} is a Parameter, got {value!r}: assign to {name}.data, or call set_weights")
        refuse_container(name, value)
        object.__setattr__(self, name, value)
        if is_structure(value) or is_structure(before):
            changed()
            if self._frozen:
                self.freeze()

    def __delattr__(self, name: str) -> None:
        """Delete an attribute."""
        object.__delattr__(self, name)
        changed()

    @property
    def topology(self) -> Topology:
        """Layers, parameters and buffers by name; kept until layers change."""
        kept = self._topology
        if kept is not None and kept.current:
            return kept
        with lock:
            kept = self._topology
            if kept is None or not kept.current:
                kept = Topology(self)
                object.__setattr__(self, "_topology", kept)
        return kept

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield names, such as ``"0.weight"``, and parameters; one that is used twice appears once."""
        yield from self.topology.parameters.items()

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield names and arrays that are kept but not trained, such as running statistics."""
        yield from self.topology.buffers.items()

    def parameters(self) -> list[Parameter]:
        """Parameters, in order."""
        return list(self.topology.parameter_list)

    @property
    def n_parameters(self) -> int:
        """Number of values of all parameters, frozen ones too."""
        self._check_sized()
        return sum(parameter.size for parameter in self.topology.parameter_list)

    @property
    def initialized(self) -> bool:
        """Whether all parameters and buffers have values."""
        topology = self.topology
        return all(p.flat is not None for p in topology.parameter_list) and all(
            b.backend is not None for b in topology.buffers.values()
        )

    @property
    def flat(self) -> FlatParameters:
        """All parameters in one flat array ``flat.data``, gradients in ``flat.grad``; drawn with seed 0 if needed."""
        held, parameters = self._flat, self.topology.parameter_list
        if held is not None and held.current and (held.parameters is parameters or held.parameters == parameters):
            if held.parameters is not parameters:
                held.parameters = parameters  # the next comparison is one of identity
            if self.initialized:
                return held
        with lock:  # what another thread has drawn meanwhile is found
            view = FlatParameters.view_of(parameters) if self.initialized else None
            held = view or self._flatten(*self._placement())
            self._set_flat(held)
        return held

    def _set_flat(self, flat: FlatParameters) -> None:
        with lock:
            object.__setattr__(self, "_flat", flat)

    @property
    def backend(self) -> Backend:
        """The array library and device of the weights."""
        flat = self._flat
        return flat.backend if flat is not None and flat.current and self.topology.ready else self._ready()[0]

    def initialize(self, seed: int = 0, *, device: str | Backend | None = None, dtype: str | None = None) -> Self:
        """Draw all weights anew, the same on every device for one seed. The device and dtype stay by default."""
        current, precision = [*self._placements(), self._default()][0]
        backend = current if device is None else get_backend(device)
        dtype = precision if dtype is None else check_dtype(dtype)
        check_seed(seed)
        for parameter in self.topology.parameter_list:
            parameter.unbind()
        for buffer in self.topology.buffers.values():
            buffer.backend = None
        self._set_flat(self._flatten(backend, dtype, seed))
        return self

    def to(self, device: str | Backend | None = None, *, dtype: str | None = None, seed: int = 0) -> Self:
        """Move weights to a device, or change their dtype; weights that have no values yet are drawn from ``seed``."""
        placements = self._placements()
        current, precision = [*placements, self._default()][0]
        backend = current if device is None else get_backend(device)
        dtype = precision if dtype is None else check_dtype(dtype)
        check_seed(seed)
        if not self.initialized or placements != [(backend, dtype)]:
            self._set_flat(self._flatten(backend, dtype, seed))
        return self

    def asarray(self, values: Any, *, name: str = "array") -> Any:
        """
        Bring host values to this network's device and, if they are floats, to its dtype; messages name them.

        Of a tuple or dict of arrays, each is brought there.
        """
        if self._is_placed(values):
            return values
        if is_tree(values):
            return tree_unflatten(values, [self.asarray(value, name=own) for own, value in named_leaves(name, values)])
        backend, dtype = self._ready()
        array = backend.check_array(values, name=name)
        floats = isdtype(namespace(array), array.dtype, "real floating")
        return backend.asarray(array, dtype if floats else None, name=name)

    def _is_placed(self, x: Any) -> bool:
        """Whether x is an array of this network's device and dtype, as far as a quick look tells."""
        flat = self._flat
        if flat is None or not flat.current:
            return False
        like = flat.data
        return type(x) is type(like) and bool(x.dtype == like.dtype and x.device == like.device)

    def freeze(self) -> Self:
        """Leave this layer and all inside out of training: weights stay, batch norm keeps its statistics."""
        self._freeze_only({*self.topology.layers, *self.topology.parameters})
        return self

    def unfreeze(self) -> Self:
        """Undo :meth:`freeze`."""
        self._freeze_only(set())
        return self

    @property
    def frozen(self) -> bool:
        """Whether it is left out of training: it, or a layer around it, was frozen."""
        return self._frozen

    def _freeze_only(self, names: set[str]) -> None:
        """Freeze exactly the layers and parameters with these names; a layer does not freeze those inside it."""
        for name, part in {**self.topology.layers, **self.topology.parameters}.items():
            object.__setattr__(part, "_frozen", name in names)
        changed()

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        flat = self.flat
        with flat.backend.activate():
            flat.zero_grad()

    def get_weights(self) -> dict[str, np.ndarray]:
        """Copy parameters and buffers to NumPy arrays, by name."""
        backend, _ = self._ready()
        return {name: np.array(backend.to_numpy(kept.data)) for name, kept in self._named_arrays().items()}

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Overwrite parameters and buffers by name; a wrong name, shape or dtype is refused and changes nothing."""
        if not isinstance(weights, Mapping):
            raise TypeError(f"weights must be a mapping of names to arrays, got {shown(weights)}")
        (backend, dtype), kept = self._ready(), self._named_arrays()
        if weights.keys() != kept.keys():
            odd = ", ".join(sorted(weights.keys() ^ kept.keys()))
            raise ValueError(f"weights must have the names {', '.join(kept)}; missing or unknown: {odd}")
        arrays = {name: host_array(values, name=f"weights[{name!r}]") for name, values in weights.items()}
        for name, values in arrays.items():
            data = kept[name].data
            if values.shape != (shape := tuple(data.shape)):
                raise ValueError(f"weights[{name!r}] must have shape {shape}, got {values.shape}")
            if not backend.xp.isdtype(data.dtype, KINDS.get(values.dtype.kind, "complex floating")):
                raise ValueError(f"weights[{name!r}] must have a dtype like {data.dtype}, got {values.dtype}")
            if values.dtype.kind == "f":
                arrays[name] = cast(values, dtype, name=f"weights[{name!r}]")
        with backend.activate():
            new = {name: backend.asarray(values) for name, values in arrays.items()}
            for name, values in new.items():
                data = kept[name].data
                data[...] = backend.xp.astype(values, data.dtype, copy=False)

    def _bind_arrays(self, backend: Backend, dtype: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Give a network without values those of a file, by name, which fit it."""
        topology = self.topology
        for name, buffer in topology.buffers.items():
            buffer.bind(backend, arrays[name], dtype)
        values = [arrays[name] for name in topology.parameters]
        self._set_flat(FlatParameters(topology.parameter_list, backend, dtype=dtype, values=values))

    def _named_arrays(self) -> dict[str, Parameter | Buffer]:
        return {**self.topology.parameters, **self.topology.buffers}

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle all attributes but those that are computed again; arrays go through the host."""
        return {name: value for name, value in vars(self).items() if name not in DERIVED}

    def _placements(self) -> list[tuple[Backend, str]]:
        """Backends and dtypes of all values there are, in order, each once."""
        topology = self.topology
        parameters = ((p.flat.backend, p.flat.dtype) for p in topology.parameter_list if p.flat is not None)
        buffers = ((b.backend, b.dtype) for b in topology.buffers.values() if b.backend is not None)
        return list(dict.fromkeys([*parameters, *buffers]))

    def _placement(self) -> tuple[Backend, str]:
        """Backend and dtype of the values, or where they would go by default."""
        placements = self._placements()
        if len(placements) > 1:
            places = " and ".join(f"{backend.name} ({dtype})" for backend, dtype in placements)
            raise ValueError(f"layers of this network are on {places}: bring them together with net.to(device)")
        return placements[0] if placements else self._default()

    def _default(self) -> tuple[Backend, str]:
        """Where a network without any values belongs."""
        return (self._flat.backend, self._flat.dtype) if self._flat else (get_backend(), "float32")

    def _ready(self) -> tuple[Backend, str]:
        """Backend and dtype of the values, after drawing those that are missing."""
        if not self.topology.ready:
            with lock:
                if not self.initialized:
                    self._set_flat(self.flat)
                self.topology.ready = True
        return self._placement()

    def _check_sized(self) -> None:
        if unsized := self.topology.unsized:
            raise RuntimeError(f"{unsized[0]!r} has no input size yet: call net.build(input_shape), or net(x) once")

    def _flatten(self, backend: Backend, dtype: str, seed: int = 0) -> FlatParameters:
        """Give this network flat arrays of its own; parameters and buffers without values are drawn."""
        self._check_sized()
        values: dict[Buffer, np.ndarray] = {}
        for i, buffer in enumerate(self.topology.buffers.values()):
            if buffer.backend is None:
                # A stream of its own: a layer with a buffer (dropout) does not change the weights of those after it.
                values[buffer] = buffer.init(buffer.shape, np.random.default_rng([1, seed, i]))
            elif (buffer.backend, buffer.dtype) != (backend, dtype):
                values[buffer] = buffer.backend.to_numpy(buffer.data)
        for buffer, array in values.items():
            if array.dtype.kind == "f":
                values[buffer] = cast(array, dtype, name=f"a buffer of shape {buffer.shape}")
        flat = FlatParameters(self.topology.parameter_list, backend, seed, dtype)
        for buffer, array in values.items():  # after all checks: a refusal leaves every array where it was
            buffer.bind(backend, array, dtype)
        return flat
