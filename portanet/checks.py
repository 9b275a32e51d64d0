"""Checks of arguments: each returns the value or raises ValueError."""

import operator
from typing import Any


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
