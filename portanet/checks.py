"""Checks of arguments and attributes."""

import operator
from typing import Any

SWITCHES = {
    "frozen": "call freeze() or unfreeze() of the layer",
    "requires_grad": "call freeze() or unfreeze() of the layer",
    "trainable": "call freeze() or unfreeze() of the layer",
    "training": "give vjp(x, train=...): there is no mode",
}
"""Attributes that other libraries heed, and what to do instead of setting them."""


def check_count(name: str, value: Any) -> int:
    """
    Check that a value is an integer of at least 1, and return it as an int.

    Examples
    --------
    >>> import numpy as np
    >>> check_count("n_clusters", np.int64(3))
    3
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return count


def check_dtype(dtype: str) -> str:
    """
    Check that a dtype is "float32" or "float64".

    Examples
    --------
    >>> check_dtype("float64")
    'float64'
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return dtype


def check_seed(seed: int) -> int:
    """
    Check that a seed is an integer of at least 0.

    Examples
    --------
    >>> check_seed(3)
    3
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    return number


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
