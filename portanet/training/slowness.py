"""Noticing that other programs slow training down."""

import logging
import math
from collections.abc import Callable

WINDOW = 5.0
"""Seconds of training over which steps must be slow."""

FACTOR = 8.0
"""How many times as long as the fastest step they must take on average."""

logger = logging.getLogger("portanet")


class StepTimes:
    """
    Logs one line where steps take many times as long as the fastest one, for seconds on end.

    Parameters
    ----------
    get_num_threads : callable or None
        Of the backend: the line names the number of threads and the setting.

    Examples
    --------
    >>> times = StepTimes(lambda: 2)
    >>> for seconds in [0.001] * 10 + [0.1] * 51:
    ...     times.add(seconds)
    >>> times.told
    True
    """

    def __init__(self, get_num_threads: Callable[[], int] | None):
        self.get_num_threads = get_num_threads
        self.fastest = math.inf
        self.told = False
        self._total, self._n = 0.0, 0

    def add(self, seconds: float) -> None:
        """Count a step."""
        self.fastest = min(self.fastest, seconds)
        self._total += seconds
        self._n += 1
        if self._total > WINDOW:
            slower = self._total / self._n / self.fastest
            self._total, self._n = 0.0, 0
            if slower > FACTOR and not self.told:
                self.told = True
                self._tell(slower)

    def _tell(self, slower: float) -> None:
        if self.get_num_threads is None:
            fix = "other programs may use the device"
        else:
            n = self.get_num_threads()
            fix = (
                f"other programs may use the cores. PortaNet runs {n} thread{'s' * (n > 1)}: "
                f"portanet.set_num_threads or PORTANET_NUM_THREADS sets their number"
            )
        logger.warning("training steps take %.0f times as long as the fastest one; %s", slower, fix)
