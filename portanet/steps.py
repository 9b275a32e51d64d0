"""
The steps of a pass over data: each takes its batch, changes the weights, and leaves on the device what it measured.

On a GPU, to ask for a small step takes longer than to do it. Where the backend can, a step is therefore recorded once,
and replayed for every other batch of its size, and several at a time where nothing is asked between them:
:class:`RecordedSteps`. Data that are too large for the device stay on the host, and come batch by batch:
:class:`FedSteps`.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from portanet import kernels
from portanet.backends import Backend
from portanet.typing import Array

Step = Callable[[Array, Array], Sequence[Array]]
"""Changes the weights for a batch and its target, and gives numbers: arrays of shape ()."""

WARM_UP = 2
"""Steps to take before one is recorded: they compile what it needs."""

TOGETHER = 16
"""Steps to record as one: by estimate, to launch a recording takes as long as a small step does."""


class Steps:
    """
    Steps one by one.

    Parameters
    ----------
    step : callable
        ``step(x, target)`` takes one, and gives arrays of shape ().
    data : tuple of two arrays, shape (N, ...)
        Inputs and targets, on the device.
    batches : sequence of slice
        Of N, in order.
    numbers : array, shape (len(batches), ...)
        Where each step leaves what it gives.
    backend : Backend
        Of these arrays.

    Examples
    --------
    >>> x, numbers = np.asarray([1.0, 2.0, 4.0]), np.zeros((2, 1))
    >>> batches = [slice(0, 2), slice(2, 3)]
    >>> cpu = portanet.get_backend("cpu")
    >>> steps = Steps(lambda x, target: [np.sum(x * target)], (x, x), batches, numbers, cpu)
    >>> steps.begin(order=np.asarray([2, 1, 0]))
    >>> while steps.left:
    ...     taken = steps.take()
    >>> numbers
    array([[20.],
           [ 1.]])
    """

    def __init__(
        self, step: Step, data: tuple[Array, Array], batches: Sequence[slice], numbers: Array, backend: Backend
    ):
        self.step, self.data, self.batches, self.numbers, self.backend = step, data, batches, numbers, backend

    def hold(self, arrays: Sequence[Array]) -> None:
        """Keep the arrays that the steps of a pass change."""

    def begin(self, order: np.ndarray | None) -> None:
        """Begin a pass, in an order of the examples or as they stand."""
        self.order = None if order is None else self.backend.asarray(order)
        self.taken = 0

    @property
    def left(self) -> int:
        """Steps of the pass that are still to take."""
        return len(self.batches) - self.taken

    def take(self, most: int = 1) -> int:
        """Take the next step, or up to so many at once; return how many."""
        numbers, taken = self.numbers, self.taken
        for i, number in enumerate(self.step(*self.bring())):
            numbers[taken, i] = number
        self.taken += 1
        return 1

    def bring(self) -> tuple[Array, Array]:
        """Give inputs and targets of the next batch."""
        (x, target), batch = self.data, self.batches[self.taken]
        if self.order is None:
            return x[batch, ...], target[batch, ...]
        take, rows = self.backend.xp.take, self.order[batch]
        return take(x, rows, axis=0), take(target, rows, axis=0)


class FedSteps(Steps):
    """Steps one by one on NumPy arrays, of which a batch is on the device, and the next one on its way."""

    def begin(self, order: np.ndarray | None) -> None:
        super().begin(None)
        dtype = self.backend.to_numpy(self.numbers).dtype  # the network's, which floats become
        rows = self.batches if order is None else [order[batch] for batch in self.batches]
        self.fed = self.backend.iter_batches(
            tuple(a[here].astype(dtype if a.dtype.kind == "f" else a.dtype) for a in self.data) for here in rows
        )

    def bring(self) -> tuple[Array, Array]:
        x, target = next(self.fed)
        return x, target


class RecordedSteps(Steps):
    """
    Steps of which one is recorded, and replayed for each batch but a last one of another size.

    So are several in a row, as one, where as many may be taken at once. What changes from step to step is on the
    device: the order, and how many steps were taken. Numbers that a layer or a loss keeps outside of arrays are those
    of the recorded step ever after. Where recording fails, a warning says why, and steps are taken one by one.
    """

    def __init__(
        self, step: Step, data: tuple[Array, Array], batches: Sequence[slice], numbers: Array, backend: Backend
    ):
        super().__init__(step, data, batches, numbers, backend)
        self.size = batches[0].stop
        self.kept_order = self._count(batches[-1].stop)
        self.place = self._count(1)  # of the next step in the pass
        self.whole = 0  # steps of full size that were taken
        self.replays: dict[int, Callable[[], None]] = {}  # by how many steps they take
        self.capture = backend.capture  # None where it can record nothing, or nothing more
        self.together = TOGETHER
        self.held: Sequence[Array] = ()

    def hold(self, arrays: Sequence[Array]) -> None:
        # A recording knows addresses, which must not become anything else's; for other arrays it is void.
        if [*map(id, arrays)] != [*map(id, self.held)]:
            self.replays.clear()
        self.held = arrays

    def begin(self, order: np.ndarray | None) -> None:
        super().begin(order)
        self.kept_order[...] = self._count(self.kept_order.shape[0]) if self.order is None else self.order
        self.order = self.kept_order
        self.place[...] = 0

    def take(self, most: int = 1) -> int:
        batch = self.batches[self.taken]
        if batch.stop - batch.start != self.size:
            return super().take()
        n, replay = 1, None
        if self.whole >= WARM_UP:
            whole_left = self.left - (self.batches[-1].stop - self.batches[-1].start != self.size)
            n = self.together if min(most, whole_left) >= self.together else 1
            replay = self.replays.get(n) or self._record(n)
        if replay is None:
            n, replay = 1, self._take_here
        replay()
        self.whole += n
        self.taken += n
        return n

    def _take_here(self, n: int = 1) -> None:
        """Take the step that the device has come to, and those after it."""
        for _ in range(n):
            batch = kernels.gather_batch(self.kept_order, self.place, self.size, self.data)
            kernels.write_metrics(self.numbers, self.place, self.step(*batch))

    def _count(self, n: int) -> Array:
        xp = self.backend.xp
        return xp.arange(n, dtype=xp.int64, device=self.numbers.device)

    def _record(self, n: int) -> Callable[[], None] | None:
        """Record so many steps as one; None where that cannot be."""
        if self.capture is None:  # the same steps, one by one
            return None
        others = list(self.replays.values())  # at most one, whose memory serves both
        try:
            self.replays[n] = self.capture(partial(self._take_here, n), *others)
        except Exception as error:  # of the library, or of what asks for a number that does not exist yet
            if n > 1:  # one may do
                self.together = 1
                return None
            self.capture = None
            self.replays.clear()
            warnings.warn(
                f"training steps are taken one by one: to record one failed ({type(error).__name__}: {error})",
                RuntimeWarning,
                stacklevel=6,  # the call of fit
            )
        return self.replays.get(n)
