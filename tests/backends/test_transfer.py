"""Transfer to and from a device: Backend.asarray and Backend.to_numpy."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from portanet.backends import Backend, describe, devices, get_backend, is_host_data


class Frame:
    """Converts itself to an array on request, as data frames do."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)


@pytest.fixture
def memmap(tmp_path: Path) -> Any:
    return np.memmap(tmp_path / "values", dtype="float32", mode="w+", shape=(2, 3))


def read_only() -> np.ndarray:
    values = np.arange(3.0)
    values.flags.writeable = False
    return values


HOST: dict[str, Any] = {
    "list": [[1.0, 2.5], [3.0, 4.0]],
    "tuple of integers": (1, 2, 3),
    "booleans": [True, False],
    "number": 2.5,
    "empty": [],
    "NumPy scalar": np.float32(2.5),
    "array of no dimension": np.asarray(7),
    "no rows": np.zeros((0, 3)),
    "images": np.arange(6, dtype="uint8").reshape(1, 2, 3),
    "data frame": Frame(),
    "read-only": read_only(),
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other row": np.arange(12.0).reshape(4, 3)[::2],
    "reversed": np.arange(4.0)[::-1],
    "foreign byte order": np.arange(3, dtype=">i4"),
    "foreign floats": np.arange(3, dtype=np.dtype("float32").newbyteorder()),
}


@pytest.mark.parametrize("dtype", ["nonsense", "complex64", 3, b"x", {}, [[]], np.zeros(2), np.float32], ids=repr)
def test_a_dtype_is_a_name(backend: Backend, dtype: Any) -> None:
    for values in ([1.0], backend.asarray([1.0])):
        with pytest.raises(ValueError, match="dtype must be a name such as 'float32' or 'int64', got"):
            backend.asarray(values, dtype)


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("values", [pytest.param(values, id=name) for name, values in HOST.items()])
def test_to_numpy_undoes_asarray(backend: Backend, values: Any, dtype: str | None) -> None:
    array = backend.asarray(values, dtype)
    assert isinstance(array, backend.array_type)
    assert array.device == backend.device
    host = backend.to_numpy(array)
    assert type(host) is np.ndarray
    assert host.dtype == np.asarray(values, dtype).dtype.newbyteorder("=")
    np.testing.assert_array_equal(host, np.asarray(values, dtype))


def test_asarray_accepts_a_memmap(backend: Backend, memmap: Any) -> None:
    array = backend.asarray(memmap)
    assert type(array) is backend.array_type
    np.testing.assert_array_equal(backend.to_numpy(array), memmap)


def test_the_numpy_backend_shares_memory_with_its_input() -> None:
    values = np.zeros(3)
    assert get_backend("cpu").asarray(values) is values
    assert not get_backend("cpu").asarray(read_only()).flags.writeable


@pytest.mark.torch
@pytest.mark.parametrize("name", ["read-only", "reversed"])
def test_an_array_that_torch_cannot_share_is_copied(name: str) -> None:
    pytest.importorskip("torch", reason="PyTorch makes the copy")
    backend, values = get_backend("torch"), HOST[name].copy()
    before = values.copy()
    backend.asarray(HOST[name])[:] = -1.0
    np.testing.assert_array_equal(HOST[name], before)


def test_an_array_on_the_device_is_not_copied(backend: Backend) -> None:
    array = backend.asarray([1.0, 2.0])
    assert backend.asarray(array) is array
    assert backend.asarray(array, "float64") is array
    rounded = backend.asarray(array, "float32")
    assert backend.to_numpy(rounded).dtype == "float32"
    assert backend.to_numpy(array).dtype == "float64"


def test_an_array_of_another_library_is_taken_from_the_cpu_and_refused_from_a_device(backend: Backend) -> None:
    others = [get_backend(device.name) for device in devices() if device.usable and device.name != backend.name]
    assert others
    for other in others:
        array = other.asarray([1.0])
        if is_host_data(array):
            assert backend.asarray(array).device == backend.device
            continue
        with pytest.raises(ValueError, match=r"move the network with net\.to") as error:
            backend.asarray(array)
        assert f"array is on {describe(array)} but is needed on {describe(backend.asarray([0.0]))}: " in str(
            error.value
        )


@pytest.mark.strict
def test_an_array_of_another_device_of_the_library_is_refused() -> None:
    strict = pytest.importorskip("array_api_strict", reason="it has several devices")
    array = strict.asarray([1.0], device=strict.Device("device2"))
    with pytest.raises(ValueError, match=r"is on .*'device2'.* but is needed on .*'device1'.*: move the network"):
        get_backend("strict").asarray(array)


def test_to_numpy_keeps_the_indices_of_a_view(backend: Backend) -> None:
    xp, values = backend.xp, np.arange(24.0).reshape(4, 3, 2)
    array = backend.asarray(values)
    np.testing.assert_array_equal(backend.to_numpy(array[1::2, ...]), values[1::2])
    np.testing.assert_array_equal(backend.to_numpy(xp.permute_dims(array, (2, 0, 1))), values.transpose(2, 0, 1))
    total = backend.to_numpy(xp.sum(array))
    assert type(total) is np.ndarray
    assert (total.shape, float(total)) == ((), 276.0)


@pytest.mark.torch
def test_to_numpy_detaches_a_torch_tensor() -> None:
    torch = pytest.importorskip("torch", reason="only PyTorch's arrays require gradients")
    np.testing.assert_array_equal(get_backend("torch").to_numpy(torch.ones(2, requires_grad=True)), [1.0, 1.0])


def test_asarray_activates_the_device(backend: Backend) -> None:
    """CuPy creates arrays on the current device and ignores ``device=``."""
    active = []

    class Watched:
        def __enter__(self) -> None:
            active.append(True)

        def __exit__(self, *_: object) -> None:
            active.pop()

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            assert active
            return function(*args, **kwargs)

        return watched

    watching = {name: watch(getattr(backend.xp, name)) for name in ("asarray", "astype")}
    watched = replace(backend, xp=SimpleNamespace(**{**vars(backend.xp), **watching}), activate=Watched)
    array = watched.asarray([1.0, 2.0])
    assert backend.to_numpy(watched.asarray(array, "float32")).dtype == "float32"
    assert not active


def test_deepcopy_returns_the_same_backend(backend: Backend) -> None:
    assert copy.deepcopy({"backend": backend})["backend"] is backend
