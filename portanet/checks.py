"""Checks of arguments and attributes: each returns the value to keep, or names the argument, its value and the fix."""

import math
import numbers
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from os import PathLike
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

SWITCHES = {
    "frozen": "call freeze() or unfreeze() of the layer",
    "requires_grad": "call freeze() or unfreeze() of the layer",
    "trainable": "call freeze() or unfreeze() of the layer",
    "training": "give vjp(x, train=...): there is no mode",
}
"""Attributes that other libraries heed, and what to do instead of setting them."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_repr = Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: Any) -> str:
    """
    Write a value for a message: long ones in short, and of an array only its shape.

    Examples
    --------
    >>> shown("x"), shown(10**100), shown(np.ones((2, 3)))
    ("'x'", '100000000000000000...0000000000000000000', 'an array of shape (2, 3)')
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and not shape and hasattr(value, "item"):
        value = value.item()  # 7.0, and not np.float64(7.0)
    elif isinstance(shape, tuple):
        return f"an array of shape {tuple(shape)}"
    return " ".join(map(str.strip, _repr.repr(value).splitlines()))  # arrays in a list have several lines


class Checked(Generic[T]):
    """
    An attribute that is checked whenever it is set, in the constructor or later.

    Where several attributes must fit together, their class has a method ``_check_together()``, which raises ValueError.
    The constructor calls it at its end; a later assignment calls it too, and is undone if it is refused.

    Parameters
    ----------
    check : callable
        ``check(name, value, **limits)`` returns the value to keep, or raises ValueError.
    **limits
        Passed to it.

    Examples
    --------
    >>> class Coin:
    ...     p = Checked(check_number, at_least=0, at_most=1)
    ...
    ...     def __init__(self, p):
    ...         self.p = p
    >>> coin = Coin(0.5)
    >>> coin.p = "heads"
    Traceback (most recent call last):
    ...
    ValueError: p must be a number in [0, 1], got 'heads'
    """

    def __init__(self, check: Callable[..., T], **limits: Any):
        self.check, self.limits = check, limits

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: object, value: Any) -> None:
        # No __get__: Python then reads the instance's dict. Before the first assignment, it returns this object.
        attributes, value = vars(instance), self._checked(instance, value)
        before = attributes.get(self.name, self)
        attributes[self.name] = value
        if before is not self and hasattr(instance, "_check_together"):
            try:
                instance._check_together()
            except BaseException:
                attributes[self.name] = before
                raise

    def _checked(self, instance: object, value: Any) -> T:
        return self.check(self.name, value, **self.limits)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type) -> T: ...


class Fixed(Checked[T]):
    """
    A checked attribute that stays as the constructor set it, for sizes and all that the shapes of weights follow from.

    Examples
    --------
    >>> portanet.Conv2D(4, 4, 3, groups=2).groups = 4
    Traceback (most recent call last):
    ...
    AttributeError: 'groups' of Conv2D cannot be changed: make a new Conv2D
    """

    def __set__(self, instance: object, value: Any) -> None:
        if self.name in vars(instance):
            kind = type(instance).__name__
            raise AttributeError(f"{self.name!r} of {kind} cannot be changed: make a new {kind}")
        super().__set__(instance, value)


def check_fields(instance: object, **checks: Callable[[str, Any], object]) -> None:
    """
    Check fields of a frozen dataclass, and keep the values that the checks return.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Coin:
    ...     p: float
    ...
    ...     def __post_init__(self):
    ...         check_fields(self, p=check_number)
    >>> Coin(np.float32(0.5))
    Coin(p=0.5)
    """
    for name, check in checks.items():
        object.__setattr__(instance, name, check(name, getattr(instance, name)))


def optional(check: Callable[..., T]) -> Callable[..., T | None]:
    """
    Return a check that lets None pass.

    Examples
    --------
    >>> optional(check_number)("clip_norm", None, above=0)
    """

    def check_or_none(name: str, value: Any, *context: Any, **limits: Any) -> T | None:
        return None if value is None else check(name, value, *context, **limits)

    return check_or_none


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """
    Check that a value is a finite number within limits, and return it as a Python number.

    Numbers of NumPy and arrays of shape () are numbers; booleans and strings are not.

    Examples
    --------
    >>> check_number("p", np.float32(0.5), at_least=0, below=1)
    0.5
    >>> check_number("eps", 0, above=0)
    Traceback (most recent call last):
    ...
    ValueError: eps must be a number above 0, got 0
    """
    number = as_number(value)
    if (
        number is None
        or not math.isfinite(number)
        or (at_least is not None and number < at_least)
        or (above is not None and number <= above)
        or (at_most is not None and number > at_most)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{name} must be a {_range(at_least, above, at_most, below)}, got {shown(value)}")
    return number


def as_number(value: Any) -> float | None:
    """
    Return a number of any library as a Python number, and None for what is no number.

    Examples
    --------
    >>> as_number(np.float32(0.5)), as_number("0.5")
    (0.5, None)
    """
    if type(value) is float:
        return value
    if hasattr(value, "mask"):  # a masked number
        return None
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an integer of hundreds of digits, a signaling NaN
        return None
    return int(value) if isinstance(value, numbers.Integral) else number


def _range(at_least: float | None, above: float | None, at_most: float | None, below: float | None) -> str:
    """
    Describe the numbers within limits.

    Examples
    --------
    >>> _range(0, None, None, 1), _range(None, 0, None, None), _range(None, None, None, None)
    ('number in [0, 1)', 'number above 0', 'finite number')
    """
    if (at_most, below) != (None, None):
        low = f"[{at_least}" if at_least is not None else f"({-math.inf if above is None else above}"
        high = f"{below})" if at_most is None else f"{at_most}]"
        return f"number in {low}, {high}"
    if above is not None:
        return f"number above {above}"
    return "finite number" if at_least is None else f"number of at least {at_least}"


@cache  # NumPy's isdtype takes 1 µs
def isdtype(xp: Any, dtype: Any, kind: str) -> bool:
    """
    Whether a dtype is of a kind of the Array API.

    Examples
    --------
    >>> isdtype(np, np.dtype("uint8"), "real floating")
    False
    """
    return bool(xp.isdtype(dtype, kind))


def check_count(name: str, value: Any, *, at_least: int = 1) -> int:
    """
    Check that a value is a whole number of at least 1, or another limit, and return it as an int.

    Examples
    --------
    >>> check_count("n_clusters", np.int64(3))
    3
    """
    if type(value) is int and at_least <= value <= sys.maxsize:  # in every step of a schedule
        return value
    try:
        count = at_least - 1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = at_least - 1
    if not at_least <= count <= sys.maxsize:
        limit = f", and at most {sys.maxsize}" if count > sys.maxsize else ""
        raise ValueError(f"{name} must be a whole number of at least {at_least}{limit}, got {shown(value)}")
    return count


def check_flag(name: str, value: Any) -> bool:
    """
    Check that a value is True or False.

    Examples
    --------
    >>> check_flag("bias", "no")
    Traceback (most recent call last):
    ...
    ValueError: bias must be True or False, got 'no'
    """
    if isinstance(value, (bool, np.bool_)) or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {shown(value)}")


def check_input_shape(name: str, value: Any) -> Any:
    """
    Check that a value is a shape without the batch axis, a tuple or list of whole numbers, or a tuple or dict of those.

    Examples
    --------
    >>> check_input_shape("input_shape", [28, 28, 1])
    (28, 28, 1)
    >>> check_input_shape("input_shape", 784)
    Traceback (most recent call last):
    ...
    ValueError: input_shape must be a tuple such as (28, 28, 1), got 784
    """
    if isinstance(value, dict) and value:
        return {key: check_input_shape(f"{name}[{key!r}]", shape) for key, shape in value.items()}
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} must be a tuple such as (28, 28, 1), got {shown(value)}")
    if value and all(isinstance(shape, (tuple, list)) for shape in value) and any(value):
        return tuple(check_input_shape(f"{name}[{i}]", shape) for i, shape in enumerate(value))
    return tuple(check_count(name, n) for n in value)


def check_choice(name: str, value: Any, *, choices: Sequence[str]) -> str:
    """
    Check that a value is one of some words.

    Examples
    --------
    >>> check_choice("mode", "max", choices=("min", "max"))
    'max'
    """
    if not isinstance(value, str) or value not in choices:
        words = [repr(choice) for choice in choices]
        raise ValueError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {shown(value)}")
    return value


def check_text(name: str, value: Any) -> str:
    """
    Check that a value is a string.

    Examples
    --------
    >>> check_text("pattern", "*.bias")
    '*.bias'
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, got {shown(value)}")
    return value


def check_texts(name: str, value: Any) -> tuple[str, ...]:
    """
    Check that a value is a sequence of strings, and return it as a tuple.

    Examples
    --------
    >>> check_texts("classes", np.asarray(["cat", "dog"]))
    ('cat', 'dog')
    >>> check_texts("classes", [0, 1])
    Traceback (most recent call last):
    ...
    ValueError: classes must be a sequence of strings, got [0, 1]
    """
    # A set has no order, and a mapping from numbers to names iterates over its numbers.
    listed = (
        hasattr(value, "__iter__")
        and getattr(value, "ndim", 1) == 1
        and not isinstance(value, (Mapping, set, frozenset))
    )
    texts = tuple(value) if listed else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a sequence of strings, got {shown(value)}")
    return tuple(map(str, texts))


def check_mapping(name: str, value: Any, *, example: str) -> Mapping[str, Any]:
    """
    Check that a value maps strings to something, and is not empty.

    Examples
    --------
    >>> check_mapping("panels", {}, example="{'loss': losses}")
    Traceback (most recent call last):
    ...
    ValueError: panels is empty: give for instance {'loss': losses}
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a mapping with strings as keys, got {shown(value)}: give {example}")
    if not value:
        raise ValueError(f"{name} is empty: give for instance {example}")
    return value


def check_callable(name: str, value: F, *, example: str) -> F:
    """
    Check that a value can be called.

    Examples
    --------
    >>> check_callable("score", 3, example="net.predict")
    Traceback (most recent call last):
    ...
    ValueError: score must be a function such as net.predict, got 3
    """
    if not callable(value):
        raise ValueError(f"{name} must be a function such as {example}, got {shown(value)}")
    return value


def check_shape(name: str, value: Any) -> tuple[int, ...]:
    """
    Check that a value is the shape of an array, and return it as a tuple.

    Examples
    --------
    >>> check_shape("shape", [3, np.int64(2)])
    (3, 2)
    """
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} must be a tuple such as (3, 2), got {shown(value)}")
    return tuple(check_count(name, n, at_least=0) for n in value)


def check_path(name: str, value: Any) -> Path:
    """
    Check that a value is a path, and return it as a Path.

    Examples
    --------
    >>> check_path("path", 3)
    Traceback (most recent call last):
    ...
    ValueError: path must be a string or Path, got 3
    """
    text = value if isinstance(value, str) else value.__fspath__() if isinstance(value, PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{name} must be a string or Path, got {shown(value)}")
    return Path(text)


def check_sample_weight(xp: Any, name: str, weights: Any, n: int) -> None:
    """
    Check that floats are weights of n examples: finite, not negative, and not all zero. It reads values back.

    Examples
    --------
    >>> check_sample_weight(np, "sample_weight", np.asarray([1.0, -1.0]), 2)
    Traceback (most recent call last):
    ...
    ValueError: sample_weight holds -1: give a finite number of at least 0 for each example
    """
    if tuple(weights.shape) != (n,):
        raise ValueError(f"{name} must have shape ({n},), one weight an example, got {tuple(weights.shape)}")
    fine = xp.isfinite(weights) & (weights >= 0)
    if not bool(xp.all(fine)):
        first = float(weights[int(xp.argmin(xp.astype(fine, xp.int8)))])
        raise ValueError(f"{name} holds {first:g}: give a finite number of at least 0 for each example")
    if not bool(xp.any(weights > 0)):
        raise ValueError(f"{name} holds zeros only, so that no example counts: give one of them a positive weight")
    if not bool(xp.isfinite(xp.sum(weights))):
        raise ValueError(f"{name} has a sum too large for {weights.dtype}: divide all weights by the largest")


def check_dtype(dtype: str) -> str:
    """
    Check that a dtype is "float32" or "float64".

    Examples
    --------
    >>> check_dtype("float64")
    'float64'
    """
    return check_choice("dtype", dtype, choices=("float32", "float64"))


def check_seed(seed: int) -> int:
    """
    Check that a seed is an integer of at least 0.

    Examples
    --------
    >>> check_seed(3)
    3
    """
    return check_count("seed", seed, at_least=0)


def refuse_switch(owner: object, name: str) -> None:
    """
    Refuse to set an attribute that would be ignored; a user's class may define one of its own.

    Examples
    --------
    >>> portanet.Linear(3, 2).trainable = False
    Traceback (most recent call last):
    ...
    AttributeError: 'trainable' of Linear cannot be set: call freeze() or unfreeze() of the layer
    """
    if name in SWITCHES and (name == "frozen" or not hasattr(type(owner), name)):
        raise AttributeError(f"{name!r} of {type(owner).__name__} cannot be set: {SWITCHES[name]}")


def check_ranks(name: str, value: Any) -> None:
    """Refuse what is neither None nor a communicator, whose class stands above the modules that call this."""
    if value is not None and not hasattr(value, "all_reduce"):
        raise TypeError(f"{name} must be a Communicator or None, got {shown(value)}")
