import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from portanet.backends import Backend
from portanet.kernels import random_bits
from portanet.kernels.random import philox4x64

LARGEST = 2**63 - 1
STREAMS = [(0, 0), (1, 2), (LARGEST, LARGEST), (0x0123456789ABCDEF, 1 << 40)]


def numpy_philox(key: int, counter: int, n: int) -> Any:
    """The expected integers: the first counter block is (1, counter, 0, 0), the key (key, 0)."""
    words = {"key": np.asarray([key, 0], "uint64"), "counter": np.asarray([0, counter, 0, 0], "uint64")}
    return np.random.Philox(**words).random_raw(-(-n // 4)).astype("<u8").view("<u2")[:n]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            "0000000000000000 0000000000000000 0000000000000000 0000000000000000",
            "0000000000000000 0000000000000000",
            "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        ),
        (
            "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
            "ffffffffffffffff ffffffffffffffff",
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
            "452821e638d01377 be5466cf34e90c6c",
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_philox_gives_the_known_answers_of_random123(backend: Backend, counter: str, key: str, expected: str) -> None:
    """Lines "philox4x64 10" of tests/kat_vectors in Random123, https://github.com/DEShawResearch/random123."""

    def words(line: str) -> tuple[Any, ...]:
        bits = np.asarray([int(word, 16) for word in line.split()], dtype="uint64").view("int64")
        return tuple(backend.asarray(bits[i : i + 1]) for i in range(len(bits)))

    result = [backend.to_numpy(word).view("uint64")[0] for word in philox4x64(words(counter), words(key))]
    assert [f"{word:016x}" for word in result] == expected.split()


@pytest.mark.parametrize("form", [random_bits, random_bits.portable], ids=["dispatched", "portable"])
@pytest.mark.parametrize("n", [0, 1, 16, 17, 1003], ids="n={}".format)
@pytest.mark.parametrize(("key", "counter"), STREAMS)
def test_random_bits_are_those_of_numpys_philox(backend: Backend, form: Any, key: int, counter: int, n: int) -> None:
    bits = form(backend.asarray([key, counter], "int64"), n)
    assert bits.shape == (n,)
    np.testing.assert_array_equal(backend.to_numpy(bits), numpy_philox(key, counter, n))


@pytest.mark.parametrize("form", [random_bits, random_bits.portable], ids=["dispatched", "portable"])
@pytest.mark.parametrize("first", [0, 1, 15, 16, 333])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_random_bits_from_a_position_on_are_a_part_of_all(backend: Backend, form: Any, n: int, first: int) -> None:
    stream = backend.asarray([7, 3], "int64")
    part, whole = form(stream, n, first), form(stream, first + n)
    np.testing.assert_array_equal(backend.to_numpy(part), backend.to_numpy(whole)[first:])


@pytest.mark.strict
def test_random_bits_read_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = pytest.importorskip("array_api_strict", reason="its arrays can be made to refuse a copy to the host")
    stream = strict.asarray([3, 4], device=strict.Device("device1"))

    def refuse(self: Any) -> None:
        raise AssertionError("an array was copied to the host")

    for conversion in ("__bool__", "__int__", "__float__", "__index__"):
        monkeypatch.setattr(type(stream), conversion, refuse)
    assert random_bits(stream, 17).device == stream.device


def test_random_bits_are_thread_safe() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # thousands of switches between setting a generator's state and drawing from it
    try:
        with ThreadPoolExecutor(4) as pool:
            drawn = list(pool.map(lambda key: random_bits(np.asarray([key, 0]), 64), range(5000)))
    finally:
        sys.setswitchinterval(interval)
    np.testing.assert_array_equal(drawn, [numpy_philox(key, 0, 64) for key in range(5000)])
