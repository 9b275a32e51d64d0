"""What a backend is: an array library, a device, and the ways in and out of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Batch: TypeAlias = tuple[np.ndarray, ...]


def silent_overflow() -> AbstractContextManager[Any]:
    """Return the context that :attr:`Backend.activate` gives for libraries that compute with NumPy."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


class BackendUnavailable(RuntimeError):
    """
    The device cannot be used here; the message names the step that failed and the fix.

    Examples
    --------
    >>> try:
    ...     net = portanet.Linear(2, 1).initialize(device="cpu:1")
    ... except portanet.BackendUnavailable as reason:
    ...     print(reason)
    device 'cpu:1' does not exist: there is one, 'cpu'
    """


class OutOfMemory(MemoryError):
    """
    The device has too little memory; the weights are those of the last whole step, and the network can be used.

    Parameters
    ----------
    device : str
        Name of the backend.
    asked, free : int
        Bytes that were asked for, and that there are.
    fix : str
        What to do.

    Examples
    --------
    >>> print(OutOfMemory("cuda:0", asked=3 * 2**30, free=2**30))
    out of memory on cuda:0: 3.00 GiB were asked for and 1.00 GiB are free; take a smaller batch_size
    """

    def __init__(self, device: str, asked: int, free: int, fix: str = "take a smaller batch_size"):
        sizes = f"{asked / 2**30:.2f} GiB were asked for and {free / 2**30:.2f} GiB are free"
        super().__init__(f"out of memory on {device}: {sizes}; {fix}")
        self.device, self.asked, self.free, self.fix = device, asked, free, fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made with."""
        return type(self), (self.device, self.asked, self.free, self.fix)


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
        Type of the library's arrays; :func:`portanet.backends.namespace` goes by it. Backends of one type, such as two
        GPUs, share the namespace and the kernels of the one that was loaded first.
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
        silent, as on a GPU (``fit`` reports it). Where a library has several devices, all computation on one happens
        inside: CuPy puts every new array on the current device, whatever device the operands are on. It turns the
        library's own error for memory that is not there into :class:`OutOfMemory`.
    capture : callable, optional
        ``capture(step)`` records what ``step()`` would have the device do, and returns a function of no arguments that
        has it done, on the same arrays. ``capture(step, beside)`` does so in the memory of what ``capture`` returned
        before, which never runs at the same time. It raises where something cannot be recorded.
    fits : callable
        ``fits(nbytes)`` says whether data of so many bytes should be on the device as a whole.
    prefetch : callable, optional
        See :meth:`iter_batches`.
    """

    name: str
    xp: Any
    array_type: type[Any]
    device: Any
    to_numpy: Callable[[Any], np.ndarray]
    description: str
    kernels: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    synchronize: Callable[[], None] = lambda: None
    activate: Callable[[], AbstractContextManager[Any]] = nullcontext
    capture: Callable[..., Callable[[], None]] | None = None
    fits: Callable[[int], bool] = lambda nbytes: True
    prefetch: Callable[[Iterable[Batch]], Iterator[tuple[Any, ...]]] | None = None

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """
        Bring host values, or an array that is here already, to this device.

        Parameters
        ----------
        values : array_like
            Host data (NumPy array, list, number, data frame ...) or an array on this device.
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
        TypeError
            If ``values`` does not hold numbers.
        """
        if isinstance(values, (np.ndarray, np.generic)) or not hasattr(values, "device"):
            host = _numbers(values, dtype)
            with self.activate():
                return self.xp.asarray(host, device=self.device)
        if not isinstance(values, self.array_type) or values.device != self.device:
            raise ValueError(
                f"array is on {describe(values)} but is needed on {_place(self.device, self.array_type)}: "
                f"move the network with net.to(...), or pass the array as NumPy data"
            )
        if dtype is None:
            return values
        with self.activate():
            return self.xp.astype(values, getattr(self.xp, dtype), copy=False)

    def iter_batches(self, batches: Iterable[Batch]) -> Iterator[tuple[Any, ...]]:
        """
        Bring batches of host arrays to the device, the next one while one is at work where the library can.

        Parameters
        ----------
        batches : iterable of tuples of NumPy arrays

        Yields
        ------
        tuple of arrays
            On this device, until the next is asked for.
        """
        return self.prefetch(batches) if self.prefetch else (tuple(map(self.asarray, batch)) for batch in batches)

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
    return _place(array.device, type(array))


def _place(device: Any, array_type: type[Any]) -> str:
    return f"{device} ({array_type.__module__.partition('.')[0]})"


def _numbers(values: Any, dtype: str | None) -> np.ndarray:
    """Numbers in this machine's byte order, which every library takes."""
    host = np.asarray(values, dtype=dtype)
    if host.dtype.kind not in "biufc" or hasattr(values, "filled"):  # a masked array would lose its mask
        kind = type(values).__name__
        raise TypeError(f"values must be numbers without gaps, got {kind} of dtype {host.dtype}: convert or fill them")
    return host if host.dtype.isnative else host.astype(host.dtype.newbyteorder("="))


def refuse_ordinal(name: str, ordinal: str | None) -> None:
    """For a backend that has one device only."""
    if ordinal is not None:
        raise BackendUnavailable(f"device '{name}:{ordinal}' does not exist: there is one, {name!r}")
