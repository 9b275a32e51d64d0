"""How many threads compute on the CPU."""

from portanet.backends.registry import get_backend
from portanet.checks import check_count


def get_num_threads() -> int:
    """
    Return how many threads compute on the CPU.

    At first it is ``PORTANET_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number of cores that this process may
    use. Without the compiled kernels, it is the number of threads of NumPy's BLAS.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    get = get_backend("cpu").get_num_threads
    return get() if get is not None else 1


def set_num_threads(number: int) -> None:
    """
    Set how many threads compute on the CPU: the compiled kernels use at most 256.

    Parameters
    ----------
    number : int
        At least 1.

    Raises
    ------
    ValueError
        If it is no whole number of at least 1.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    number, change = check_count("number", number), get_backend("cpu").set_num_threads
    if change is not None:
        change(number)
