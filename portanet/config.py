"""
One mechanism for ``repr``, saving and loading: what an object was constructed with.

A :class:`Configured` class needs no code for it. Its constructor's arguments are kept when it is called; they read back
as the call (``repr``), as JSON (:func:`to_json`), and as the object again (:func:`from_json`).
"""

import inspect
from typing import Any, ClassVar

import numpy as np


class _Recorded(type):
    """Metaclass that keeps the arguments of each constructor call."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        bound = inspect.signature(cls).bind(*args, **kwargs)
        bound.apply_defaults()  # a file must not change its meaning with a default
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in bound.arguments.items()}
        object.__setattr__(made, "_arguments", plain)
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's own signature, which ``__call__`` above would hide from help and editors."""
        if cls.__init__ is object.__init__:  # type: ignore[misc]  # which says that it takes anything
            return inspect.Signature()
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]  # of the class, never of an instance
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Configured(metaclass=_Recorded):
    """
    Base of everything that is described by the arguments of its constructor.

    Arguments are numbers, strings, booleans, None, other Configured objects, and lists or tuples of these; to change
    one, construct again. A subclass is registered under its name when it is defined, so users' own classes load again
    wherever they are imported.
    """

    _own: ClassVar[dict[str, type["Configured"]]] = {}
    _users: ClassVar[dict[str, type["Configured"]]] = {}
    _arguments: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # Kept apart, so that a student's own `Linear` never stands in for PortaNet's in a file, nor the reverse.
        if cls.__module__.startswith("portanet."):
            Configured._own[cls.__name__] = cls
        else:
            Configured._users[f"{cls.__module__}.{cls.__qualname__}"] = cls

    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, by parameter name; a ``*name`` parameter holds a tuple."""
        return self._arguments

    def __repr__(self) -> str:
        """Read like the constructor call: ``Linear(784, 100, bias=False)``."""
        parameters = inspect.signature(type(self)).parameters
        shown = []
        for name, value in self.arguments().items():
            parameter = parameters[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                shown += [repr(item) for item in value]
            elif parameter.default is parameter.empty:
                shown.append(repr(value))
            elif value is not parameter.default and repr(value) != repr(parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def to_json(value: Any) -> Any:
    """
    Turn a Configured object into what :mod:`json` can write.

    Raises
    ------
    TypeError
        If an argument is of a kind that JSON and the registry do not know.

    Examples
    --------
    >>> to_json(portanet.Dropout(0.3))
    {'type': 'portanet.Dropout', 'p': 0.3}
    """
    if isinstance(value, Configured):
        kind = type(value)
        own = Configured._own.get(kind.__name__) is kind
        name = f"portanet.{kind.__name__}" if own else f"{kind.__module__}.{kind.__qualname__}"
        return {"type": name, **{key: to_json(item) for key, item in value.arguments().items()}}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
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
    if isinstance(config, list):
        return tuple(from_json(item) for item in config)
    if not isinstance(config, dict):
        return config
    arguments = {key: from_json(item) for key, item in config.items() if key != "type"}
    kind = _find(str(config.get("type")))
    signature = inspect.signature(kind)
    starred = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    items = arguments.pop(starred, ()) if starred else ()
    try:
        signature.bind(*items, **arguments)
    except TypeError as error:
        raise ValueError(f"{kind.__name__} does not take these arguments ({error}): {arguments}") from error
    return kind(*items, **arguments)


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
