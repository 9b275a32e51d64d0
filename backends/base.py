"""What a backend is: an array library on a device, with transfers, tuned kernels and graph capture."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from portanet.backends.exchange import SparseRows, adopt, is_sparse
from portanet.backends.host import cast, check_dtype_name, host_array, is_host_data, refuse_gradient

Batch: TypeAlias = tuple[np.ndarray, ...]


SILENT: Any = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}
"""NumPy's error state while networks compute: that of a GPU, which reports no overflow."""


def silent_overflow() -> AbstractContextManager[Any]:
    """Return the context that :attr:`Backend.activate` gives for libraries that compute with NumPy."""
    return np.errstate(**SILENT)


class BackendUnavailable(RuntimeError):
    """
    The device cannot be used; the message names the failed step and the fix.

    Examples
    --------
    >>> try:
    ...     net = portanet.Linear(2, 1).initialize(device="cpu:1")
    ... except portanet.BackendUnavailable as reason:
    ...     print(reason)
    device 'cpu:1' does not exist: use 'cpu', the only one
    """


class OutOfMemory(MemoryError):
    """
    The device has too little memory. The weights are those of the last whole step; the network stays usable.

    Parameters
    ----------
    device : str
        Name of the backend.
    asked, free : int
        Bytes requested, and bytes available.
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
        """Pickle as the constructor's arguments."""
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
        Array API namespace; functions may be replaced by faster ones of the same meaning.
    array_type : type
        Type of the library's arrays; :func:`portanet.namespace` goes by it. Backends of one type, such as two
        GPUs, share the namespace and the kernels of the one that was loaded first.
    device : object
        The library's own device, given to its creation functions.
    to_numpy : callable
        Copies an array to the host as a NumPy array, or views it.
    description : str
        Library, version and hardware, for people.
    kernels : mapping of str to callable
        Tuned replacements for functions of ``portanet.kernels``, by name.
    synchronize : callable
        Waits until the device has finished all work.
    activate : callable
        Returns the context to train and predict in. It makes the device the library's current one (CuPy puts every new
        array on the current device, whatever device the operands are on), silences overflow as on a GPU (``fit``
        reports it), and turns the library's out-of-memory error into :class:`portanet.OutOfMemory`.
    capture : callable, optional
        ``capture(step, n_steps, n_expected, share_pool_with)`` records n_steps calls of ``step()``, and returns a
        function without arguments that replays them on the same arrays. ``n_expected`` is about how many steps will be
        replayed. ``share_pool_with``, optional, is an earlier recording whose memory pool is used; the two must not run
        at the same time. It raises if an operation cannot be recorded.
    max_block_elements : int, optional
        Maximum elements of an array that is computed in blocks of rows; by default as many as stay in a CPU's cache.
    fits : callable
        ``fits(nbytes)`` tells whether data of so many bytes should be on the device as a whole.
    prefetch : callable, optional
        See :meth:`iter_batches`.
    get_num_threads, set_num_threads : callable, optional
        See :func:`portanet.get_num_threads` and :func:`portanet.set_num_threads`.

    Examples
    --------
    >>> backend = portanet.get_backend("cpu")
    >>> backend.name, backend.xp.sum(backend.asarray([1, 2], "float32"))
    ('cpu', np.float32(3.0))
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
    max_block_elements: int | None = None
    fits: Callable[[int], bool] = lambda nbytes: True
    prefetch: Callable[[Iterable[Batch]], Iterator[tuple[Any, ...]]] | None = None
    get_num_threads: Callable[[], int] | None = None
    set_num_threads: Callable[[int], None] | None = None

    def check_array(self, values: Any, *, name: str = "array") -> Any:
        """
        Return an array on this device as it is, and host data as a NumPy array of numbers.

        An array of another library on this device is taken through DLPack, without a copy.

        Parameters
        ----------
        values : array_like
            Host data (NumPy array, list, number, data frame, sparse matrix, CPU array of another library ...) or an
            array on this device.
        name : str
            Name of the argument, for messages.

        Raises
        ------
        ValueError
            If ``values`` does not hold numbers, or is on another device: a silent copy would hide a slow program.
        """
        if self.array_type is not np.ndarray and isinstance(values, self.array_type) and values.device == self.device:
            refuse_gradient(name, values)
            return values
        if is_host_data(values):
            return host_array(values, name=name)
        if not isinstance(values, self.array_type):
            refuse_gradient(name, values)
            if (adopted := adopt(values, self.xp, self.device)) is not None:
                return adopted
        raise ValueError(
            f"{name} is on {describe(values)} but is needed on {_place(self.device, self.array_type)}: "
            f"move the network with net.to(...), or pass the array as NumPy data"
        )

    def check_rows(self, values: Any, *, name: str = "array") -> Any:
        """As :meth:`check_array`, but rows of a sparse matrix become dense only when they are taken."""
        return SparseRows(values, name=name) if is_sparse(values) else self.check_array(values, name=name)

    def asarray(self, values: Any, dtype: str | None = None, *, name: str = "array") -> Any:
        """
        Copy host values to this device; an array that is on it is returned as it is.

        Parameters
        ----------
        values : array_like
            As for :meth:`check_array`.
        dtype : str, optional
            Name of the wanted type, such as ``"float32"``; by default the type of ``values``.
        name : str
            Name of the argument, for messages.

        Returns
        -------
        array
            On this device. It may share memory with ``values``.

        Raises
        ------
        ValueError
            As :meth:`check_array`.
        """
        array = self.check_array(values, name=name)
        if isinstance(array, np.ndarray):
            host = array if dtype is None else cast(array, check_dtype_name(dtype), name=name)
            with self.activate():
                return self.xp.asarray(host, device=self.device)
        if dtype is None:
            return array
        with self.activate():
            return self.xp.astype(array, getattr(self.xp, check_dtype_name(dtype)), copy=False)

    def iter_batches(self, batches: Iterable[Batch]) -> Iterator[tuple[Any, ...]]:
        """
        Copy batches of host arrays to the device, each during the computation on the one before if the library can.

        Parameters
        ----------
        batches : iterable of tuples of NumPy arrays

        Yields
        ------
        tuple of arrays
            On this device, valid until the next batch is requested.
        """
        return self.prefetch(batches) if self.prefetch else (tuple(map(self.asarray, batch)) for batch in batches)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backend":
        """Return the backend itself: a device is not copied."""
        return self

    def __repr__(self) -> str:
        return f"<Backend {self.name}: {self.description}>"


def describe(array: Any) -> str:
    """
    Return the device and library of an array, for error messages.

    Examples
    --------
    >>> describe(np.zeros(2))
    'cpu (numpy)'
    """
    return _place(array.device, type(array))


def _place(device: Any, array_type: type[Any]) -> str:
    return f"{device} ({array_type.__module__.partition('.')[0]})"


def refuse_ordinal(name: str, ordinal: str | None) -> None:
    """Refuse the ordinal of a device, for a backend with one device."""
    if ordinal is not None:
        raise BackendUnavailable(f"device '{name}:{ordinal}' does not exist: use {name!r}, the only one")
