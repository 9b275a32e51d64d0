"""
One mechanism for ``repr``, saving and loading: an object is described by the arguments that would build it again.

A :class:`Configured` class keeps every argument of its constructor in an attribute of the same name, as scikit-learn's
estimators do. What is shown and saved is read from these attributes, so it is what the object does now.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from portanet.checks import Checked
from portanet.names import unknown_argument, unknown_attribute

K = TypeVar("K", bound=type)

MAX_LAYER_USES = 100_000
"""Most uses of layers in a description in which layers occur again."""


class Configured:
    """
    Base of everything that is described by the arguments of its constructor.

    Arguments are numbers, strings, booleans, None, other Configured objects, and lists, tuples or dicts of these; the
    keys of dicts are strings. A subclass is registered under its name when it is defined, so a user's own classes load
    again wherever they are imported.
    """

    _own: ClassVar[dict[str, type["Configured"]]] = {}
    _users: ClassVar[dict[str, type["Configured"]]] = {}
    _by_reference: ClassVar[bool] = False
    """Whether an object that occurs twice is saved once: two uses of a layer share its weights."""

    def __init__(self) -> None:
        """Take no arguments, as a class without a constructor of its own."""

    def __init_subclass__(cls, **kwargs: Any):
        """Register the class, and complete its signature."""
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            _name_options(cls)
            refuse_unknown_arguments(cls)
        cls._register()

    @classmethod
    def _register(cls) -> None:
        """Register the class by name. Users' classes have a table of their own: their ``Linear`` is not PortaNet's."""
        if cls.__module__.startswith("portanet."):
            Configured._own[cls.__name__] = cls
        else:
            Configured._users[f"{cls.__module__}.{cls.__qualname__}"] = cls

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute
        __getattr__ = unknown_attribute

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments, by name, as they are now; a ``*name`` argument is a tuple."""
        found: dict[str, Any] = {}
        for name, parameter in parameters_of(type(self)).items():  # type: ignore[arg-type]
            if parameter.kind is parameter.VAR_KEYWORD:
                raise TypeError(f"{type(self).__name__} takes **{name}, which nothing keeps: name its arguments")
            kept = inspect.getattr_static(type(self), name, None)
            if name not in vars(self) and (kept is None or isinstance(kept, Checked)):
                raise TypeError(
                    f"{type(self).__name__} does not keep its argument {name!r}: set self.{name} = {name} in __init__"
                )
            value = getattr(self, name)
            if isinstance(parameter.default, bool):  # bias=True is kept as the parameter, bias=False as None
                value = bool(value) if isinstance(value, (int, np.bool_)) else value is not None
            if parameter.kind is parameter.VAR_POSITIONAL:
                value = tuple(value)
            found[name] = value.item() if isinstance(value, np.generic) else value
        return found

    def __repr__(self) -> str:
        """Read like the constructor call: ``Linear(784, 100, bias=False)``."""
        try:
            arguments = self.arguments()
        except TypeError:  # a repr must not fail
            return f"{type(self).__name__}(...)"
        shown: list[str] = []
        for name, value in arguments.items():
            parameter = parameters_of(type(self))[name]  # type: ignore[arg-type]
            if parameter.kind is parameter.VAR_POSITIONAL:
                shown += map(_shown, value)
            elif value is None and name == getattr(type(self), "input_size_argument", None):
                continue  # a layer whose input size is not known yet
            elif parameter.default is parameter.empty or _is_size(type(self), parameter):
                shown.append(_shown(value))
            elif value is not parameter.default and (text := _shown(value)) != repr(parameter.default):
                shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_size(kind: type, parameter: inspect.Parameter) -> bool:
    """Whether an argument is one of the sizes of a layer, which are given by position."""
    sized = getattr(kind, "input_size_argument", None) is not None
    return sized and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is None


def _shown(value: Any) -> str:
    """Write an argument; of an array only the shape."""
    return f"<array of shape {value.shape}>" if isinstance(value, np.ndarray) else repr(value)


def refuse_unknown_arguments(kind: K) -> K:
    """Let the constructor of a class say what to write for an argument of another name."""
    changed: Any = kind
    init = changed.__init__

    @wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        accepted = parameters_of(kind)
        unknown = [name for name in kwargs if name not in accepted]
        if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
            own: Any = type(self)
            raise TypeError(unknown_argument(own.__name__, unknown[0], parameters_of(own)))
        if args and (first := next(iter(accepted), None)) in kwargs:  # as in SGD(net.parameters(), lr=0.1)
            fix = "leave out the parameters, which the Trainer or bind(net) sets" if first == "lr" else "give it once"
            raise TypeError(f"{type(self).__name__} got {first} by position and by name: {fix}")
        init(self, *args, **kwargs)

    changed.__init__ = checked
    return kind


def _name_options(kind: Any) -> None:
    """Name in the signature of a class what its ``**options`` stand for: keyword-only arguments of the base class."""
    _, *own = inspect.signature(kind.__init__).parameters.values()
    if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
        names = {parameter.name for parameter in own}
        inherited = inspect.signature(kind.__mro__[1]).parameters.values()
        keyword = [p for p in inherited if p.kind is p.KEYWORD_ONLY and p.name not in names]
        own = [*own[:-1], *keyword] if keyword else own
    elif not hasattr(kind, "__signature__"):  # of a base class
        return
    kind.__signature__ = inspect.Signature(own)


@lru_cache(maxsize=1024)
def parameters_of(kind: type) -> Mapping[str, inspect.Parameter]:
    """Return the constructor's parameters by name."""
    return inspect.signature(kind).parameters


refuse_unknown_arguments(Configured)


def to_json(value: Any) -> Any:
    """
    Turn a Configured object into what :mod:`json` can write.

    A layer that occurs a second time becomes ``{"ref": n}``, the n-th layer that was completed, from 0 on.

    Raises
    ------
    TypeError
        If an argument is of a kind that JSON and the registry do not know.

    Examples
    --------
    >>> to_json(portanet.Dropout(0.3))
    {'type': 'portanet.Dropout', 'p': 0.3}
    """
    return _to_json(value, {})


def _to_json(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, Configured):
        kind = type(value)
        if id(value) in numbers:
            return {"ref": numbers[id(value)]}
        own = Configured._own.get(kind.__name__) is kind
        name = f"portanet.{kind.__name__}" if own else f"{kind.__module__}.{kind.__qualname__}"
        if refused := {"type", "ref"} & value.arguments().keys():
            raise TypeError(
                f"{kind.__name__} cannot be saved: rename its argument {min(refused)!r}, which the file needs"
            )
        config = {"type": name, **{key: _to_json(item, numbers) for key, item in value.arguments().items()}}
        if kind._by_reference:
            numbers[id(value)] = len(numbers)
        return config
    if isinstance(value, (list, tuple)):
        return [_to_json(item, numbers) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": [[key, _to_json(item, numbers)] for key, item in value.items()]}
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"argument {value!r} of type {type(value).__name__} cannot be saved: use numbers, strings or layers"
    )


def from_json(config: Any) -> Any:
    """
    Build again what :func:`to_json` described. Only registered classes are called; no code is loaded.

    Raises
    ------
    ValueError
        If a type is not registered, or its constructor refuses the arguments.

    Examples
    --------
    >>> from_json({"type": "portanet.Linear", "in_features": 3, "out_features": 2})
    Linear(3, 2)
    """
    return _Builder().build(config)


class _Builder:
    """Builds objects from their description, and counts the layers, each as often as it is used."""

    def __init__(self) -> None:
        self.built: list[tuple[Configured, int]] = []
        self.n_layers = 0

    def build(self, config: Any) -> Any:
        if isinstance(config, list):
            return tuple(self.build(item) for item in config)
        if not isinstance(config, dict):
            return config
        if config.keys() == {"ref"}:
            return self._again(config["ref"])
        if config.keys() == {"dict"}:
            return {str(key): self.build(item) for key, item in config["dict"]}
        before = self.n_layers
        arguments = {key: self.build(item) for key, item in config.items() if key != "type"}
        kind = _find(str(config.get("type")))
        signature = inspect.signature(kind)
        starred = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
        items = arguments.pop(starred, ()) if starred else ()
        try:
            signature.bind(*items, **arguments)
        except TypeError as error:
            raise ValueError(f"{kind.__name__} does not take these arguments ({error}): {arguments}") from error
        made = kind(*items, **arguments)
        if kind._by_reference:
            self.n_layers += 1
            self.built.append((made, self.n_layers - before))
        return made

    def _again(self, ref: Any) -> Configured:
        """Return a layer that occurred before."""
        if type(ref) is not int or not 0 <= ref < len(self.built):
            raise ValueError(f"ref {ref!r} names a layer that does not come before it")
        made, n_layers = self.built[ref]
        self.n_layers += n_layers
        if self.n_layers > MAX_LAYER_USES:  # fifty layers, each of which holds the one before twice
            raise ValueError(f"it describes more than {MAX_LAYER_USES} uses of layers")
        return made


def _find(name: str) -> type[Configured]:
    """Find a registered class: PortaNet's, or a user's by its full name, or by its own where only one has it."""
    if name.startswith("portanet."):
        found = [kind for own, kind in Configured._own.items() if own == name.removeprefix("portanet.")]
    else:
        users, last = Configured._users, name.rpartition(".")[2]
        found = [users[name]] if name in users else [kind for kind in users.values() if kind.__name__ == last]
    if len(found) != 1:
        how = "is unknown" if not found else "is ambiguous"
        raise ValueError(f"type {name!r} {how}: import the module that defines this class, and no other of its name")
    return found[0]
