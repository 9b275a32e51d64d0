"""A registry that a test may fill, and the CUDA backend with a stand-in for CuPy."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import pytest

from portanet import kernels
from portanet.backends import Backend, get_backend
from portanet.backends import registry as module
from portanet.backends.tracing import Symbol
from tests.cupy_on_cpu import CuPy, pathfinder, stand_ins, standing_in


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The registry as a fresh process has it: nothing is loaded or chosen yet, no default, no entry point read."""
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.setattr(module, "_default", None)
    monkeypatch.setattr(module, "_entry_points_read", False)
    for kernel in vars(kernels).values():
        if isinstance(kernel, kernels.kernel):
            monkeypatch.setattr(kernel, "chosen", {})
    with (
        mock.patch.dict(module.registered),
        mock.patch.dict(module._loaded, clear=True),
        mock.patch.dict(module.by_type, {Symbol: module.by_type[Symbol]}, clear=True),
    ):
        yield module


@pytest.fixture
def cuda(registry: ModuleType) -> Iterator[Backend]:
    """The backend "cuda" with a stand-in for CuPy."""
    cupy = CuPy()
    with standing_in({**stand_ins(cupy, cupy.cuda.Device), "cuda.pathfinder": pathfinder()}):
        backend = get_backend("cuda")
        from portanet.backends.cupy import blas

        library = blas._library()

        class Recorder:
            """Lists products among the launches, and the cublasComputeType_t of each."""

            def cublasGemmEx(self, *arguments: Any) -> int:
                cupy.launches.append("product")
                cupy.compute_types.append(arguments[-2])
                return 0 if cupy.is_recording else library.cublasGemmEx(*arguments)

            def __getattr__(self, name: str) -> Any:
                return getattr(library, name)

        cupy.launches.clear()
        with mock.patch.object(blas, "_library", Recorder):
            yield backend


@pytest.fixture
def compute_types(cuda: Backend) -> list[int]:
    """The cublasComputeType_t of each product, in order."""
    return CuPy.current.compute_types
