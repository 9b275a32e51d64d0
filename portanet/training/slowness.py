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
        Returns the number of threads, which the line names. None for a device that computes while Python goes on: the
        times of its steps cannot be measured without waiting for it, and nothing is logged.

    Examples
    --------
    >>> times = StepTimes(lambda: 2)
    >>> for seconds in [0.001] * 10 + [0.1] * 51:
    ...     times.add(seconds)
    >>> times.warned
    True
    """

    def __init__(self, get_num_threads: Callable[[], int] | None):
        self.get_num_threads = get_num_threads
        self.fastest = math.inf
        self.warned = False
        self._total, self._n = 0.0, 0

    def add(self, seconds: float) -> None:
        """Count a step."""
        if self.get_num_threads is None:
            return
        self.fastest = min(self.fastest, seconds)
        self._total += seconds
        self._n += 1
        if self._total > WINDOW:
            slower = self._total / self._n / self.fastest
            self._total, self._n = 0.0, 0
            if slower > FACTOR and not self.warned:
                self.warned = True
                n = self.get_num_threads()
                logger.warning(
                    "training steps take %.0f times as long as the fastest one: other programs may use the cores. "
                    "PortaNet runs %d thread%s: portanet.set_num_threads or PORTANET_NUM_THREADS sets their number",
                    *(slower, n, "s" * (n > 1)),
                )
