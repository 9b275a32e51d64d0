"""Checks and conversions of the arguments of plots."""

import numpy as np

from portanet.backends import as_array, backend_of, host_array, is_host_data
from portanet.typing import Array

MAX_NUMBER = 1e300
"""Largest number in a plot: differences of larger ones overflow."""


def check_numbers(name: str, values: Array, *shapes: tuple[int | str, ...], finite: bool = True) -> np.ndarray:
    """
    Return numbers as a NumPy array that has one of the shapes, in which a letter stands for any length but 0.

    Examples
    --------
    >>> check_numbers("points", [[0, 1], [2, 3]], ("N", 2))
    array([[0, 1],
           [2, 3]])
    >>> check_numbers("counts", np.ones((2, 3)), ("C", "C"))
    Traceback (most recent call last):
    ...
    ValueError: counts must have shape (C, C), got (2, 3)
    """
    if not is_host_data(values):
        array = as_array(values, name=name)
        values = backend_of(array).to_numpy(array)
    host = host_array(values, name=name)
    if not any(_has_shape(host, shape) for shape in shapes):
        wanted = " or ".join(map(str, shapes)).replace("'", "")
        raise ValueError(f"{name} must have shape {wanted}, got {host.shape}")
    if not host.size:
        raise ValueError(f"{name} is empty, of shape {host.shape}: give at least one number")
    if finite and not (np.abs(host) <= np.float64(MAX_NUMBER)).all():  # a Python float would become float32
        raise ValueError(f"{name} holds NaN, infinity or numbers above {MAX_NUMBER:g}: remove or scale these")
    return host


def _has_shape(array: np.ndarray, shape: tuple[int | str, ...]) -> bool:
    if array.ndim != len(shape):
        return False
    wanted = (array.shape[shape.index(axis)] if isinstance(axis, str) else axis for axis in shape)
    return array.shape == tuple(wanted)


def check_points(name: str, values: Array) -> np.ndarray:
    """Return points of the plane, shape (N, 2), as float64: differences of integers may overflow."""
    return check_numbers(name, values, ("N", 2)).astype(np.float64)


def check_labels(name: str, values: Array, n: int, *, n_classes: int | None = None) -> np.ndarray:
    """
    Return the class indices of n examples as a NumPy array.

    Examples
    --------
    >>> check_labels("labels", [0, 2], 2, n_classes=2)
    Traceback (most recent call last):
    ...
    ValueError: labels must be from 0 to 1, as there are 2 classes, got 2
    """
    labels = check_numbers(name, values, (n,))
    if labels.dtype.kind == "f":
        raise ValueError(f"{name} must be integers, got dtype {labels.dtype}")
    labels = labels.astype(np.int64)
    if n_classes is not None and (wrong := labels[(labels < 0) | (labels >= n_classes)]).size:
        raise ValueError(f"{name} must be from 0 to {n_classes - 1}, as there are {n_classes} classes, got {wrong[0]}")
    return labels
