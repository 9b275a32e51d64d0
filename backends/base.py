"""What a backend is: an array library, a device, and the ways in and out of it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def silent_overflow() -> AbstractContextManager[Any]:
    """Return the context that :attr:`Backend.activate` gives for libraries that compute with NumPy."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


class BackendUnavailable(RuntimeError):
    """The device cannot be used here; the message names the step that failed and the fix."""


@dataclass(frozen=True, eq=False)
class Backend:
    """
    One array library on one device.

    Parameters
    ----------
    name : str
        The device as the user writes it, complete: ``"cpu"``, ``"cuda:1"``.
    xp : module
        Array API namespace. What it holds may be replaced by faster functions of the same meaning.
    array_type : type
        Type of the library's arrays; :func:`portanet.backends.namespace` goes by it.
    device : object
        The library's own device, given to its creation functions.
    to_numpy : callable
        Copies or views an array as a NumPy array on the host.
    description : str
        Library, version and hardware, for people.
    kernels : mapping of str to callable
        Tuned replacements for functions of ``portanet.kernels``, by name.
    synchronize : callable
        Waits until the device has finished what it was given.
    activate : callable
        Returns the context to train and predict in: the device is the library's current one, and an overflow is
        silent, as on a GPU (``fit`` reports it).
    """

    name: str
    xp: Any
    array_type: type
    device: Any
    to_numpy: Callable[[Any], np.ndarray]
    description: str
    kernels: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    synchronize: Callable[[], None] = lambda: None
    activate: Callable[[], AbstractContextManager[Any]] = nullcontext

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """
        Bring host values, or an array that is here already, to this device.

        Parameters
        ----------
        values : array_like
            Host data (NumPy array, list, number ...) or an array on this device.
        dtype : str, optional
            Name of the wanted type, such as ``"float32"``; by default the type of ``values``.

        Returns
        -------
        array
            On this device. It may share memory with ``values``.

        Raises
        ------
        ValueError
            If ``values`` is on another device: a silent copy between devices would hide a slow program.
        """
        if isinstance(values, (np.ndarray, np.generic)) or not hasattr(values, "device"):
            return self.xp.asarray(np.asarray(values, dtype=dtype), device=self.device)
        if not isinstance(values, self.array_type) or values.device != self.device:
            raise ValueError(
                f"array is on {describe(values)} but is needed on {self.name}: "
                f"move the network with net.to(...), or pass the array as NumPy data"
            )
        return values if dtype is None else self.xp.astype(values, getattr(self.xp, dtype), copy=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backend":
        """A device has no copies."""
        return self

    def __repr__(self) -> str:
        return f"<Backend {self.name}: {self.description}>"


def describe(array: Any) -> str:
    """
    Where an array lives, for error messages.

    Examples
    --------
    >>> describe(np.zeros(2))
    'cpu (numpy)'
    """
    return f"{array.device} ({type(array).__module__.partition('.')[0]})"
