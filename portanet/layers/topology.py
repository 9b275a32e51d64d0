"""
What a network consists of: its layers, parameters and buffers by name, found once and kept until layers change.

Layers are found among the attributes of a layer, and in lists, tuples and dicts of them, nested ones too.
"""

from collections.abc import Collection, Iterator
from operator import is_
from typing import Any

from portanet.parameters import Buffer, Parameter

_last_change = object()
"""A new object after each assignment of a layer, parameter, buffer or container to an attribute of any layer."""


def changed() -> None:
    """Make every network look for its layers again."""
    global _last_change
    _last_change = object()


def is_layer(value: Any) -> bool:
    """Whether a value is a layer; the class stands above this module."""
    return hasattr(value, "_members")


def is_structure(value: Any) -> bool:
    """Whether an attribute's value can hold layers, parameters or buffers."""
    if isinstance(value, tuple):  # a layer may keep a tuple of arrays in every call
        return any(map(is_structure, value))
    return isinstance(value, (Parameter, Buffer, list, dict)) or is_layer(value)


def refuse_container(name: str, value: Any) -> None:
    """Refuse layers and parameters in a container whose items are not found, such as a set."""
    if hasattr(value, "shape") or isinstance(value, (str, bytes, list, tuple, dict)) or is_layer(value):
        return
    if isinstance(value, Collection) and any(map(is_structure, value)):
        kind = type(value).__name__
        raise TypeError(f"{name} holds layers or parameters in a {kind}, where they are not found: use a list or dict")


def members(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers, parameters and buffers that an attribute's value is or contains, with their names."""
    if isinstance(value, (Parameter, Buffer)) or is_layer(value):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from members(item, f"{name}.{i}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from members(item, f"{name}.{key}")


def _items(container: Any) -> tuple[Any, ...]:
    """Return the items of a list or tuple, or the keys and values of a dict."""
    return (*container, *container.values()) if isinstance(container, dict) else tuple(container)


class Topology:
    """
    Layers, parameters and buffers of a network at one time.

    Parameters
    ----------
    root : Layer
        The network.

    Attributes
    ----------
    layers : dict of str to Layer
        The root, named "", and all inner layers, in order; one that is used twice appears once.
    parameters, buffers : dict of str to Parameter or Buffer
        Under names such as ``"0.weight"``; what is used twice appears once.
    shared : dict of str to str
        For each further name of a parameter or buffer, its first name.
    unsized : list of Layer
        Layers whose input size is not known yet.
    trainable : bool
        Whether any parameter is not frozen.
    """

    def __init__(self, root: Any):
        self._last_change = _last_change
        self._containers: list[tuple[Any, tuple[Any, ...]]] = []
        self._first: dict[int, str] = {}
        self.layers: dict[str, Any] = {}
        self.parameters: dict[str, Parameter] = {}
        self.buffers: dict[str, Buffer] = {}
        self.shared: dict[str, str] = {}
        self._add(root, "")
        self.parameter_list = list(self.parameters.values())
        self.program: Any = None  # of the engine, so that it dies with the network
        self.ready = False  # whether all parameters and buffers are known to have values
        self.unsized = [layer for layer in self.layers.values() if layer._unsized]
        self.trainable = any(not parameter.frozen for parameter in self.parameter_list)

    def _add(self, layer: Any, name: str) -> None:
        if id(layer) in self._first:
            self._share(name, self._first[id(layer)])
            return
        self._first[id(layer)] = name
        self.layers[name] = layer
        prefix = f"{name}." if name else ""
        for value in vars(layer).values():
            self._watch(value)
        own: list[tuple[str, Any]] = []
        inner: list[tuple[str, Any]] = []
        for key, value in layer._members():
            (inner if is_layer(value) else own).append((prefix + key, value))
        keys = [key for key, _ in (*own, *inner)]
        if clash := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"two parts are both named {min(clash)!r}: give dict keys that differ as text")
        for key, value in own:
            if id(value) in self._first:
                self.shared[key] = self._first[id(value)]
                continue
            self._first[id(value)] = key
            if isinstance(value, Parameter):
                self.parameters[key] = value
            else:
                self.buffers[key] = value
        for key, value in inner:
            self._add(value, key)

    def _share(self, name: str, first: str) -> None:
        """Record further names for the parameters and buffers of a layer that is used twice."""
        firsts = {key: key for key in (*self.parameters, *self.buffers)} | self.shared
        names = {key: of for key, of in firsts.items() if key.startswith(f"{first}.")}
        self.shared |= {name + key.removeprefix(first): of for key, of in names.items()}

    def _watch(self, value: Any) -> None:
        """Remember what a container holds, at every depth."""
        if isinstance(value, (list, tuple, dict)):
            items = _items(value)
            if not isinstance(value, tuple):
                self._containers.append((value, items))
            for item in items:
                self._watch(item)

    @property
    def reuses_layers(self) -> bool:
        """Whether a layer with parameters is used in two places, and not a parameter alone."""
        return any(name.rpartition(".")[0] not in self.layers for name in self.shared)

    @property
    def frozen(self) -> set[str]:
        """Names of layers and parameters that are frozen."""
        return {name for name, part in {**self.layers, **self.parameters}.items() if part.frozen}

    @property
    def current(self) -> bool:
        """Whether nothing has changed since."""
        if self._last_change is not _last_change:
            return False
        for container, items in self._containers:
            now = _items(container) if isinstance(container, dict) else container
            if len(now) != len(items) or not all(map(is_, now, items)):
                return False
        return True
