"""Kernels of ``portanet.kernels`` tuned for NumPy; tests hold each against the portable form of the same name."""

import threading
from typing import Any

import numpy as np


class _Generators(threading.local):
    """One generator a thread: to construct one draws entropy and takes 8 µs, to set its state takes 1."""

    def __init__(self) -> None:
        self.philox = np.random.Philox()


_generators = _Generators()


def random_bits(stream: np.ndarray, n: int) -> np.ndarray:
    """NumPy's own Philox, four integers a word: 1 ms for a million, where the portable form takes 17."""
    key, counter = stream.tolist()
    state: Any = {  # the stubs want arrays in it; tuples are taken too, and faster
        "bit_generator": "Philox",
        "state": {"counter": (0, counter, 0, 0), "key": (key, 0)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # nothing is left in the buffer
        "has_uint32": 0,
        "uinteger": 0,
    }
    _generators.philox.state = state
    return _generators.philox.random_raw(-(-n // 4)).view(np.uint16)[:n]
