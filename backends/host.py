"""Data on the host, whatever library holds them, as NumPy arrays of numbers."""

from collections.abc import Iterator, Set
from numbers import Number
from typing import Any, NoReturn

import numpy as np

from portanet.checks import shown

PORTABLE = frozenset(map(np.dtype, ("bool", *np.typecodes["AllInteger"], "float32", "float64")))
"""Dtypes that every library takes."""

DTYPE_NAMES = frozenset(("float16", *(dtype.name for dtype in PORTABLE)))

FIXES = {
    "O": "convert it to floats or integers of at most 64 bits",
    "c": "give real numbers, such as their real parts",
    "M": "give numbers instead of dates, such as days since the first one",
    "m": "give numbers instead of durations, such as seconds",
    "V": "copy its fields into the columns of an array of numbers",
}
"""What to do with arrays that hold no numbers, by the kind of their dtype; other kinds are strings."""

UNREADABLE = (ArithmeticError, BufferError, RuntimeError, TypeError, ValueError)
"""Errors of ``numpy.asarray`` where it cannot read a value."""


def is_host_data(values: Any) -> bool:
    """
    Whether values are in the memory of the host: arrays of NumPy, lists, data frames, other libraries' CPU arrays.

    Examples
    --------
    >>> is_host_data([1.0]), is_host_data(np.zeros(2))
    (True, True)
    """
    # Libraries have several names for the CPU: "cpu", "TFRT_CPU_0", "CPU_DEVICE".
    return not has_device(values) or "cpu" in str(values.device).lower()


def has_device(values: Any) -> bool:
    """Whether values are an array of another library than NumPy; a column of a data frame may be named "device"."""
    kind = type(values)
    named = hasattr(kind, "device") or "device" in getattr(values, "__dict__", ())
    return named and not issubclass(kind, (np.ndarray, np.generic))


def host_array(values: Any, dtype: str | None = None, *, name: str = "values") -> np.ndarray:
    """
    Return host data as a NumPy array of real numbers, in a dtype and byte order that every library takes.

    Half and extended precision, which some libraries lack, become float32 and float64.

    Raises
    ------
    ValueError
        If they are not real numbers, or some are missing; the message names the argument and the fix.

    Examples
    --------
    >>> host_array([1, 2], "float32")
    array([1., 2.], dtype=float32)
    >>> host_array([[1, 2], [3]], name="x")
    Traceback (most recent call last):
    ...
    ValueError: x has rows of unequal length: pad or cut them to one length
    """
    host = values if type(values) is np.ndarray else host_values(values, name=name)
    if host.dtype not in PORTABLE:
        if host.dtype.kind not in "biuf":
            host = _stack_columns(name, values, host)
        host = cast(host, _portable(host.dtype), name=name)
    return host if dtype is None else cast(host, check_dtype_name(dtype), name=name)


def cast(host: np.ndarray, dtype: str | np.dtype[Any], *, name: str) -> np.ndarray:
    """
    Convert an array to a dtype, and refuse finite numbers that become infinite.

    The processor reports them while it converts, so that the check takes no second look at the numbers.

    Examples
    --------
    >>> cast(np.asarray([1.0, 1e39]), "float32", name="x")
    Traceback (most recent call last):
    ...
    ValueError: x holds numbers too large for float32: scale them, or use float64
    """
    if host.dtype == dtype:
        return host
    try:
        with np.errstate(over="raise", under="ignore"):
            return host.astype(dtype, copy=False)
    except FloatingPointError:
        fix = "scale them, or use float64" if dtype == "float32" else "scale them"
        raise ValueError(f"{name} holds numbers too large for {np.dtype(dtype)}: {fix}") from None


def check_dtype_name(dtype: str) -> str:
    """Return ``dtype``, or raise ValueError if it is not the name of a dtype of real numbers."""
    if not isinstance(dtype, str) or dtype not in DTYPE_NAMES:
        raise ValueError(f"dtype must be a name such as 'float32' or 'int64', got {shown(dtype)}")
    return dtype


def host_values(values: Any, *, name: str = "values") -> np.ndarray:
    """
    Return host data as a NumPy array of any dtype, such as strings or dates.

    Raises
    ------
    ValueError
        If they are no array, or some are masked; the message names the argument and the fix.

    Examples
    --------
    >>> host_values(["cat", "dog"]).shape
    (2,)
    >>> host_values(np.ma.array([1, 2], mask=[False, True]), name="x")
    Traceback (most recent call last):
    ...
    ValueError: x is a masked array with 1 masked values: replace them with filled(...)
    """
    host = values if type(values) is np.ndarray else _read(name, values)
    if host.dtype.kind == "O" and not host.ndim:
        _refuse(name, values, host)
    return host


def refuse_gradient(name: str, values: Any) -> None:
    """Refuse a tensor of PyTorch that records gradients: they would not reach what it was computed from."""
    if getattr(values, "requires_grad", False) is True:
        raise ValueError(f"{name} is a tensor that requires gradients: give its detach()")


def _portable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype("float32" if dtype.itemsize <= 4 else "float64")
    return dtype.newbyteorder("=")


def _read(name: str, values: Any) -> np.ndarray:
    """Return what NumPy makes of values, which may be an array of objects."""
    rows = values if isinstance(values, (list, tuple)) else (values,)
    if masked := sum(np.count_nonzero(row.mask) for row in rows if hasattr(row, "filled")):
        kind = _a_type(values) if rows is values else "a masked array"
        raise ValueError(f"{name} is {kind} with {masked} masked values: replace them with filled(...)")
    if hasattr(values, "toarray"):  # sparse
        return np.asarray(values.toarray())
    refuse_gradient(name, values)
    try:
        return np.asarray(values)
    except UNREADABLE as error:
        if isinstance(values, (list, tuple)) and "inhomogeneous" in str(error):
            raise ValueError(f"{name} has rows of unequal length: pad or cut them to one length") from None
        raise ValueError(f"{name} is {_a_type(values)}, which NumPy cannot read ({error}): {FIXES['O']}") from error


def _stack_columns(name: str, values: Any, host: np.ndarray) -> np.ndarray:
    """Return the columns of a data frame as numbers, and refuse other values, which are no numbers."""
    columns = [_read_column(name, *column) for column in _columns(values)]
    return np.stack(columns, axis=1) if columns else _refuse(name, values, host)


def _columns(values: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the labels and columns of a data frame of pandas or polars, and nothing for other values."""
    if hasattr(values, "get_column"):
        yield from ((label, values.get_column(label)) for label in values.columns)
    elif hasattr(values, "iloc") and values.ndim == 2:  # labels may occur twice
        yield from ((label, values.iloc[:, i]) for i, label in enumerate(values.columns))


def _read_column(name: str, label: Any, column: Any) -> np.ndarray:
    try:
        host = np.asarray(column)
    except UNREADABLE:
        host = np.asarray(None)
    if host.dtype.kind not in "biuf":
        raise ValueError(f"{name} has a column {label!r} of {_dtype(column)}: convert it to numbers, or leave it out")
    return host


def _dtype(column: Any) -> str:
    """Describe the dtype of a column or series."""
    missing = getattr(column, "hasnans", False) or getattr(column, "null_count", int)()
    return f"dtype {column.dtype}{' with missing values' if missing else ''}"


def _refuse(name: str, values: Any, host: np.ndarray) -> NoReturn:
    """Say what values are that are not numbers, and what to give instead."""
    kind = host.dtype.kind
    if not host.ndim:
        listed = isinstance(values, (Iterator, Set))
        fix = "convert it with list(...)" if listed and kind == "O" else "give an array or a list of numbers"
        raise ValueError(f"{name} is {_a_type(values)}: {fix}")
    fix = FIXES.get(kind, "give numbers instead of strings")
    if kind != "c" and not isinstance(values, np.ndarray) and str(getattr(values, "dtype", "object")) != "object":
        raise ValueError(f"{name} has {_dtype(values)}: convert it to numbers without gaps")
    if kind == "O":
        for index, value in np.ndenumerate(host):
            if not isinstance(value, Number):
                where = ", ".join(map(str, index))
                raise ValueError(f"{name} has dtype object and holds {shown(value)} at [{where}]: give numbers only")
    raise ValueError(f"{name} has dtype {host.dtype}: {fix}")


def _a_type(values: Any) -> str:
    """
    Name the type of a value, with its article.

    Examples
    --------
    >>> _a_type({}), _a_type(iter([])), _a_type(None)
    ('a dict', 'a list_iterator', 'None')
    """
    kind = type(values).__name__
    if values is None:
        return "None"
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
