"""Every CUDA kernel goes through CUDA's own compiler, which needs no GPU: pip install nvidia-cuda-nvrtc-cu12."""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import array_api_compat  # noqa: F401 (before a part of it is replaced)
import numpy as np
import pytest
from cupy_on_cpu import CuPy, stand_ins, standing_in
from kernel_cases import elementwise_fns, loss_fns

from portanet.kernels.windows import Window

WINDOW = Window.fit((9, 8), (3, 2), stride=(2, 1), dilation=(1, 2), padding=((1, 0), (2, 2)))


@cache
def nvrtc() -> ctypes.CDLL | None:
    """CUDA's run-time compiler, out of its wheel."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            if ".alt." not in path.name:
                return ctypes.CDLL(str(path))
    return None


def compile_for(architecture: str, code: str) -> tuple[int, str]:
    """Size of the machine code, and what the compiler had to say."""
    library, program = nvrtc(), ctypes.c_void_p()
    options = [f"-arch={architecture}".encode(), b"-std=c++17"]
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
    """All there are, by name, with the macros that each is used with; that of curves once for every activation."""
    cupy, found = CuPy(), {}
    with standing_in(stand_ins(cupy, cupy.cuda.Device)):
        from portanet.backends.cupy import batches, conv, elementwise, formulas, kernels, pooling
        from portanet.backends.cupy.source import Source
        from portanet.backends.cupy.windows import macros

        for module in (batches, kernels, conv, elementwise, pooling):
            for name, value in vars(module).items():
                if isinstance(value, Source):
                    found[name] = value, macros(WINDOW, channels=3)
        (value, _), (gradient, _) = found.pop("ELEMENTWISE"), found.pop("GRADIENT")
        written = [formulas.Code.of(formula, np.dtype("float32")) for formula in elementwise_fns()]
        written += [formulas.Code.of(formula, np.dtype("float32"), beside=True) for formula in loss_fns()]
        for i, curve in enumerate(filter(None, written)):
            found[f"ELEMENTWISE {i}"] = value, curve.value
            for dy in ("dy[i]", "factor"):
                found[f"GRADIENT {i} {dy}"] = gradient, {**curve.slope, "DY": dy}
    return found


SOURCES = sources()


def test_there_are_sources():
    assert {
        "BATCHES",
        "ELEMENTWISE 0",
        "GRADIENT 15 factor",
        "UPDATES",
        "SOFTMAX",
        "CONVOLUTION",
        "POOLING",
    } <= SOURCES.keys()


@pytest.mark.skipif(nvrtc() is None, reason="CUDA's compiler is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("types", [("float", "int", "unsigned char"), ("double", "long long", "long long")], ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_it_compiles_without_a_word(name, types, architecture):
    source, macros = SOURCES[name]
    size, log = compile_for(
        architecture, source.text({**dict(zip(("T", "INDEX", "VALUE"), types, strict=True)), **macros})
    )
    assert not log
    assert size > 1000


@pytest.mark.skipif(nvrtc() is None, reason="CUDA's compiler is not installed: pip install nvidia-cuda-nvrtc-cu12")
def test_a_mistake_would_be_found():
    source, _ = SOURCES["UPDATES"]
    code = source.text({"T": "float", "INDEX": "int"})
    size, log = compile_for("sm_90", code.replace("grad[i]", "gard[i]", 1))
    assert not size
    assert 'identifier "gard" is undefined' in log
