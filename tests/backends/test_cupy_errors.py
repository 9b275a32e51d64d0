"""
Errors while the CUDA backend is loaded, with a stand-in for the module cupy.

Computation on a GPU is tested with the fixture ``backend``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet
from portanet.backends import BackendUnavailable, backend_of, get_backend, namespace
from tests.cupy_on_cpu import stand_ins, standing_in


class Array:
    """Stand-in for cupy.ndarray."""

    def __init__(self, values: Any, device: Any):
        self.values, self.device = values, device


Array.__module__ = "cupy"


class FakeCuPy(ModuleType):
    """The part of CuPy that loading the backend needs; ``fail`` gives the exceptions that functions raise."""

    __version__ = "14.2.0"

    def __init__(self, count: int = 2, **fail: Any):
        super().__init__("cupy")
        self.fail, self.current = fail, 0
        self.entered: list[int] = []
        vars(self).update({name: value for name, value in vars(np).items() if not name.startswith("_")})
        vars(self).update(abs=np.abs, max=np.max, min=np.min, round=np.round, ndarray=Array)
        fake = self

        class Device:
            def __init__(self, index: int):
                self.id = index

            def __int__(self) -> int:
                return self.id

            def __eq__(self, other: Any) -> bool:
                return self.id == other.id

            __hash__ = None  # type: ignore[assignment]  # as Python has it where == is defined

            def __enter__(self) -> None:
                self.before, fake.current = fake.current, self.id
                fake.entered.append(self.id)

            def __exit__(self, *_: Any) -> None:
                fake.current = self.before

            def synchronize(self) -> None:
                fake._call("synchronize", None)

        runtime = SimpleNamespace(
            getDeviceCount=lambda: self._call("getDeviceCount", count),
            getDeviceProperties=lambda index: {"name": b"Abacus %d" % index, "totalGlobalMem": 80 * 2**30},
            runtimeGetVersion=lambda: 12000,  # CuPy was built with it
        )
        self.cuda = SimpleNamespace(
            Device=Device,
            runtime=runtime,
            get_local_runtime_version=lambda: self._call("get_local_runtime_version", 12090),
        )
        self.ones = lambda shape, dtype: self._call("ones", Array(np.ones(shape, dtype), self.current))
        self.matmul = lambda a, b: self._call("matmul", a)
        self.asnumpy = lambda array: array.values

    def _call(self, name: str, result: Any) -> Any:
        if name in self.fail:
            raise self.fail[name]
        return result


Install = Callable[[FakeCuPy | None], None]


@pytest.fixture
def install(registry: ModuleType) -> Iterator[Install]:
    """Return a function that replaces the module cupy by a stand-in."""
    with standing_in({}), ExitStack() as stack:

        def install(cupy: FakeCuPy | None) -> None:
            modules = {"cupy": None} if cupy is None else stand_ins(cupy, cupy.cuda.Device)
            stack.enter_context(standing_in(modules))

        yield install


def reason_for(device: str = "cuda") -> str:
    with pytest.raises(BackendUnavailable) as error:
        get_backend(device)
    return str(error.value)


def test_cupy_is_not_installed(install: Install) -> None:
    install(None)
    reason = reason_for()
    assert reason.startswith("import cupy failed (")
    assert reason.endswith("pip install 'portanet[cuda12]' for a CUDA 12 driver, or 'portanet[cuda13]' for CUDA 13")


def test_the_advice_of_cupy_is_left_out(install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CuPy reports a broken installation in ten lines; only the cause of the error helps."""
    (tmp_path / "cupy.py").write_text(
        "try:\n    import no_such_library\n"
        "except ImportError as exc:\n    raise ImportError('=====\\nFailed to import CuPy.\\n=====') from exc\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert reason_for().startswith("import cupy failed (No module named 'no_such_library'): pip install")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"),
        RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"),
        ImportError("libcuda.so.1: cannot open shared object file"),
    ],
    ids=["no driver", "no device", "no library"],
)
def test_cuda_does_not_answer(install: Install, error: Exception) -> None:
    install(FakeCuPy(getDeviceCount=error))
    assert reason_for() == (
        f"cupy 14.2.0 is installed but CUDA does not answer ({error}): "
        f"check the NVIDIA driver with nvidia-smi, and the variable CUDA_VISIBLE_DEVICES"
    )


@pytest.mark.parametrize(
    ("count", "device"), [(0, "cuda"), (1, "cuda:1"), (2, "cuda:2"), (2, "cuda:x"), (2, "cuda:-1"), (2, "cuda:")]
)
def test_a_device_that_does_not_exist(install: Install, count: int, device: str) -> None:
    install(FakeCuPy(count))
    name = device if ":" in device else f"{device}:0"
    assert reason_for(device).startswith(f"device '{name}' does not exist: CUDA sees {count}, numbered from 0; check")


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("ones", RuntimeError("CuPy failed to load libnvrtc.so.12:\nOSError")),
        ("matmul", ImportError('Failure finding "libcublas.so": No such file\n')),
        ("synchronize", RuntimeError("cudaErrorIllegalAddress")),
        ("get_local_runtime_version", RuntimeError("CuPy failed to load libcudart.so.12")),
    ],
)
def test_a_toolkit_library_is_missing(install: Install, function: str, error: Exception) -> None:
    failing: dict[str, Any] = {function: error}
    install(FakeCuPy(**failing))
    reason = reason_for("cuda:1")
    assert reason.startswith(f"cupy 14.2.0 finds device 'cuda:1' but cannot compute on it ({type(error).__name__}: ")
    assert "pip install 'portanet[cuda12]'" in reason
    assert "\n" not in reason


def test_usable_devices(install: Install) -> None:
    cupy = FakeCuPy()
    install(cupy)
    first, second = get_backend("cuda"), get_backend("cuda:1")
    assert (first.name, second.name) == ("cuda:0", "cuda:1")
    assert first is get_backend("cuda:0")
    assert first.description == "CuPy 14.2.0 on Abacus 0, 80 GiB, CUDA 12.9"
    assert [first.device.id, second.device.id] == [0, 1]
    assert cupy.entered == [0, 1]  # each made one test computation on itself
    assert (first.xp.sum, first.xp.acos) == (np.sum, np.arccos)  # from array-api-compat
    assert [device.name for device in portanet.devices() if device.name.startswith("cuda")] == ["cuda:0", "cuda:1"]


def test_activate_and_to_numpy_make_the_device_current(install: Install) -> None:
    cupy = FakeCuPy()
    install(cupy)
    backend = get_backend("cuda:1")
    with backend.activate():
        assert cupy.current == 1
        with backend.activate():  # nested
            assert cupy.current == 1
        assert cupy.current == 1
    assert cupy.current == 0
    cupy.asnumpy = lambda array: [cupy.current, *array.values]
    assert backend.to_numpy(Array([3.0], backend.device)) == [1, 3.0]
    assert cupy.current == 0


def test_arrays_created_by_cupy_itself(install: Install) -> None:
    cupy = FakeCuPy()
    install(cupy)
    assert namespace(Array([1.0], cupy.cuda.Device(1))) is get_backend("cuda").xp
    assert backend_of(Array([1.0], cupy.cuda.Device(1))) is get_backend("cuda:1")
    assert backend_of(Array([1.0], cupy.cuda.Device(0))) is get_backend("cuda:0")


def test_an_array_on_the_other_device_is_refused(install: Install) -> None:
    cupy = FakeCuPy()
    install(cupy)
    elsewhere = Array([1.0], cupy.cuda.Device(1))
    with pytest.raises(ValueError, match=r"array is on .*\(cupy\) but is needed on .*\(cupy\): move the network"):
        get_backend("cuda").asarray(elsewhere)
    assert get_backend("cuda:1").asarray(elsewhere) is elsewhere
    with pytest.raises(ValueError, match=r"\(cupy\) but is needed on cpu \(numpy\)"):
        get_backend("cpu").asarray(elsewhere)


def test_auto_selects_the_gpu(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install(FakeCuPy())
    assert get_backend("auto").name == "cuda:0"
    assert caplog.messages == ["device 'auto' took cuda:0"]
