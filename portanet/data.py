"""What is trained on: examples with their targets, looked at once before the first step, and the batches they make."""

from typing import Any

import numpy as np

from portanet.backends import namespace
from portanet.layers.base import Layer
from portanet.losses import Loss
from portanet.typing import Array


def check_data(
    net: Layer, loss: Loss, x: Any, target: Any, name: str = "", *, may_stay: bool = False
) -> tuple[Array, Array]:
    """
    Bring inputs and targets to the device, after all the checks that a step must not make.

    Parameters
    ----------
    net, loss
        What they are for.
    x, target : array_like, N of each
    name : str
        Of the data, for messages: what stands before "x" and "target".
    may_stay : bool
        Whether NumPy arrays for which the device has no room stay on the host.

    Raises
    ------
    ValueError
        If they are unfit; the message names which, and the fix.

    Examples
    --------
    >>> net = portanet.Linear(2, 1).initialize()
    >>> x, target = check_data(net, portanet.MSELoss(), [[1.0, 2.0]], [[0.5]])
    >>> x.dtype
    dtype('float32')
    >>> check_data(net, portanet.MSELoss(), [[1.0, np.nan]], [[0.5]])
    Traceback (most recent call last):
    ...
    ValueError: x holds NaN or infinity: remove or replace these values
    """
    x, target = _numbers(f"{name}x", x), _numbers(f"{name}target", target)
    on_host = isinstance(x, np.ndarray) and isinstance(target, np.ndarray)
    if not (may_stay and on_host) or net.flat.backend.fits(x.nbytes + target.nbytes):
        x, target = net.asarray(x), net.asarray(target)
    xp = namespace(x)
    for kind, values in (("x", x), ("target", target)):
        if xp.isdtype(values.dtype, "real floating") and not bool(xp.all(xp.isfinite(values))):
            raise ValueError(f"{name}{kind} holds NaN or infinity: remove or replace these values")
    if not xp.isdtype(x.dtype, "real floating"):
        raise ValueError(f"{name}x has dtype {x.dtype}: give floats, for instance x / 255")
    if x.shape[0] == 0:
        raise ValueError(f"{name}x holds no examples: its shape is {x.shape}")
    if target.shape[0] != x.shape[0]:
        raise ValueError(f"{name}target holds {target.shape[0]} examples and {name}x {x.shape[0]}: give as many")
    try:
        loss.check_target(xp, target, (x.shape[0], *net.output_shape(x.shape[1:])))
    except ValueError as error:
        raise ValueError(f"{name}data do not fit: {error}") from None
    return x, target


def _numbers(name: str, values: Any) -> Array:
    if not hasattr(values, "device"):
        values = np.asarray(values)
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {values.dtype}: give numbers in an array without gaps")
    if values.ndim == 0:
        raise ValueError(f"{name} is a single number: give an array with one row an example")
    return values


def batch_slices(n: int, batch_size: int) -> list[slice]:
    """
    Where each batch is; a single example that is left over joins the batch before.

    Examples
    --------
    >>> batch_slices(7, 3)
    [slice(0, 3, None), slice(3, 7, None)]
    """
    starts = list(range(0, n, batch_size))
    if batch_size > 1 and len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n], strict=True)]
