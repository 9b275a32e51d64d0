"""Compile every CUDA kernel with NVRTC, which needs no GPU: pip install nvidia-cuda-nvrtc-cu12."""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet as pn
from bench.networks import NETWORKS
from portanet.backends import Backend
from portanet.kernels.windows import Window
from tests.cupy_on_cpu import CuPy, stand_ins, standing_in
from tests.kernel_cases import elementwise_fns, loss_fns

WINDOW = Window.fit((9, 8), (3, 2), stride=(2, 1), dilation=(1, 2), padding=((1, 0), (2, 2)))
POOL = Window.fit(WINDOW.output_shape, (2, 3), stride=(2, 3), dilation=(1, 1), padding="valid")

CUPY_OPTIONS = [b"-std=c++17", b"-ftz=true", b"--device-as-default-execution-space"]
"""Options with which CuPy 14.2 calls the compiler."""


@cache
def nvrtc() -> ctypes.CDLL | None:
    """CUDA's run-time compiler, from its wheel."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            if ".alt." not in path.name:
                return ctypes.CDLL(str(path))
    return None


def compile_for(architecture: str, code: str) -> tuple[int, str]:
    """Return the size of the machine code, 0 after an error, and the log of the compiler."""
    library, program = nvrtc(), ctypes.c_void_p()
    assert library is not None
    options = [f"-arch={architecture}".encode(), *CUPY_OPTIONS]
    assert not library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None)
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if not failed:
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return 0 if failed else size.value, log.value.decode()


def sources() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return all sources by name with the macros that each needs; elementwise ones once for each function."""
    cupy = CuPy()
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    with standing_in(stand_ins(cupy, cupy.cuda.Device)):
        from portanet.backends.cupy import (
            batches,
            conv,
            conv_block,
            dense,
            elementwise,
            kernels,
            pooling,
            random,
            tracing,
        )
        from portanet.backends.cupy.source import Source
        from portanet.backends.cupy.windows import macros

        pool = {f"POOL_{name}": value for name, value in macros(POOL, channels=4).items()}
        for name in ("FORWARD", "WEIGHT_GRADIENT", "INPUT_GRADIENT"):
            sizes = {**macros(WINDOW, channels=3), **pool}
            found[f"conv_block {name}"] = getattr(conv_block, name), {**sizes, "HAS_BIAS": 1, **dense.IDENTITY}
        for module in (batches, kernels, conv, dense, elementwise, pooling, random):
            for name, value in vars(module).items():
                if isinstance(value, Source):
                    found[name] = value, macros(WINDOW, channels=3)
        (value, _), (gradient, _), (mean, _) = (found.pop(name) for name in ("ELEMENTWISE", "GRADIENT", "MEAN"))
        traced = [tracing.TracedFn.trace(fn, np.dtype("float32")) for fn in elementwise_fns()]
        for name, of_none in (("BIAS", None), ("DENSE", dense.IDENTITY), ("INPUT_GRADIENT", dense.ONE)):
            value_of, _ = found.pop(name)
            for i, fn in enumerate([None, *filter(None, traced)]):
                macros_of = of_none if fn is None else fn.derivative if name == "INPUT_GRADIENT" else fn.output
                if macros_of is not None:
                    found[f"{name} {i}"] = value_of, {**macros_of, "HAS_BIAS": i % 2}
        traced += [tracing.TracedFn.trace(fn, np.dtype("float32"), has_other=True) for fn in loss_fns()]
        for i, fn in enumerate(filter(None, traced)):
            found[f"ELEMENTWISE {i}"] = value, fn.output
            for dy in ("dy[i]", "scalar_dy"):
                found[f"GRADIENT {i} {dy}"] = gradient, {**fn.derivative, "DY": dy}
            of_gradient = {f"{name}_OF_GRADIENT": text for name, text in fn.derivative.items()}
            found[f"MEAN {i}"] = mean, {**fn.output, **of_gradient}
    return found


SOURCES = sources()


def test_the_sources_are_found() -> None:
    assert {
        "BATCHES",
        "ELEMENTWISE 0",
        "GRADIENT 15 scalar_dy",
        "UPDATES",
        "SOFTMAX",
        "CONVOLUTION",
        "POOLING",
    } <= SOURCES.keys()


@pytest.mark.skipif(nvrtc() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("types", [("float", "int", "unsigned char"), ("double", "long long", "long long")], ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_compiles_without_warnings(name: str, types: tuple[str, str, str], architecture: str) -> None:
    source, macros = SOURCES[name]
    named = dict(zip(("T", "INDEX", "VALUE"), types, strict=True))
    named |= {f"VALUE{i}": named["VALUE"] for i in range(3)}
    size, log = compile_for(architecture, source.text({**named, **macros}))
    assert not log
    assert size > 1000


@pytest.mark.skipif(nvrtc() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.mechanism
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", ["000-toy", "001-ae-usps", "003-mlp", "004-cnn"])
def test_a_step_as_one_persistent_kernel_compiles_without_warnings(cuda: Backend, name: str, architecture: str) -> None:
    from portanet.backends.cupy import persistent
    from portanet.backends.cupy.source import record_launches

    network = NETWORKS[name]
    trainer = pn.Trainer(network.build().initialize(device=cuda), network.loss(), network.optimizer())
    x = cuda.asarray(np.ones((4, *network.input_shape), "float32"))
    y = {"labels": np.zeros(4, int), "values": trainer.predict(x), "input": x}[network.target]
    with record_launches() as launches:
        trainer.step(x, cuda.asarray(y))
    assert persistent.is_supported(launches)
    size, log = compile_for(architecture, persistent.source_of(launches))
    assert not log
    assert size > 1000


@pytest.mark.skipif(nvrtc() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
def test_the_compiler_reports_an_error() -> None:
    source, _ = SOURCES["UPDATES"]
    code = source.text({"T": "float", "INDEX": "int"})
    size, log = compile_for("sm_90", code.replace("grad[i]", "gard[i]", 1))
    assert not size
    assert 'identifier "gard" is undefined' in log
