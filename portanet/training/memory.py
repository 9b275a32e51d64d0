"""What to do when a step needs more memory than the device has."""

from collections.abc import Callable
from traceback import clear_frames

from portanet.backends import OutOfMemory


def find_batch_size(error: OutOfMemory, batch_size: int, try_step: Callable[[int], None]) -> OutOfMemory:
    """
    Return the error with a batch size that fits, found by halving.

    Parameters
    ----------
    error : OutOfMemory
        Of a step with ``batch_size``.
    try_step : callable
        Runs a step with a batch size and undoes it.
    """
    clear_frames(error.__traceback__)  # their variables hold arrays
    while batch_size >= 4:  # some layers need more than one example
        batch_size //= 2
        try:
            try_step(batch_size)
        except OutOfMemory as smaller:
            clear_frames(smaller.__traceback__)
        else:
            return OutOfMemory(error.device, error.asked, error.free, f"batch_size={batch_size} fits")
    return error
