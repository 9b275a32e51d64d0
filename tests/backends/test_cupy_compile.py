"""Every CUDA kernel goes through CUDA's own compiler, which needs no GPU: pip install nvidia-cuda-nvrtc-cu12."""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import array_api_compat  # noqa: F401 (before a part of it is replaced)
import pytest
from cupy_on_cpu import CuPy, stand_ins, standing_in

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


def sources() -> dict[str, Any]:
    """All there are, by name."""
    cupy = CuPy()
    with standing_in(stand_ins(cupy, cupy.cuda.Device)):
        from portanet.backends.cupy import conv, kernels, pooling
        from portanet.backends.cupy.source import Source

        modules = kernels, conv, pooling
        return {name: value for m in modules for name, value in vars(m).items() if isinstance(value, Source)}


def window_macros() -> dict[str, int]:
    cupy = CuPy()
    with standing_in(stand_ins(cupy, cupy.cuda.Device)):
        from portanet.backends.cupy.windows import macros

        return macros(WINDOW, channels=3)


SOURCES = sources()


def test_there_are_sources():
    assert {"ELEMENTWISE", "UPDATES", "SOFTMAX", "CONVOLUTION", "POOLING", "RANDOM"} <= SOURCES.keys()


@pytest.mark.skipif(nvrtc() is None, reason="CUDA's compiler is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("types", [("float", "int", "unsigned char"), ("double", "long long", "long long")], ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_it_compiles_without_a_word(name, types, architecture):
    macros = dict(zip(("T", "INDEX", "LABEL"), types, strict=True))
    size, log = compile_for(architecture, SOURCES[name].text({**macros, **window_macros()}))
    assert not log
    assert size > 1000


@pytest.mark.skipif(nvrtc() is None, reason="CUDA's compiler is not installed: pip install nvidia-cuda-nvrtc-cu12")
def test_a_mistake_would_be_found():
    code = SOURCES["UPDATES"].text({"T": "float", "INDEX": "int"})
    size, log = compile_for("sm_90", code.replace("grad[i]", "gard[i]", 1))
    assert not size
    assert 'identifier "gard" is undefined' in log
