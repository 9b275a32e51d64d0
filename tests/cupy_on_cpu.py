"""
The part of CuPy that PortaNet uses, on a CPU: arrays are NumPy arrays, and CUDA kernels are compiled by g++.

The kernels are compiled from the same sources as for CUDA. The threads of a block run one after another; if a kernel
exchanges values between threads, each thread is a fiber that waits for the others; in a cooperative launch, these are
fibers of all blocks. cuBLAS is replaced by plain column-major loops.

What it cannot show: that a memory fence or an atomic operation is missing, that memory of a pool is used again, that
work in two streams overlaps, and that subnormal numbers are 0. Only a GPU can: see test_cupy_on_gpu.py.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

COMPILER = shutil.which("g++")

FLAGS = ["-std=c++14", "-O0", "-w", "-fPIC", "-fno-gnu-unique"]  # each library has static variables of its own

HEADERS = """
#include <cmath>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
"""

CUDA = r"""
using std::cos; using std::exp; using std::expm1; using std::fabs; using std::log; using std::log1p;
using std::pow; using std::sin; using std::sqrt; using std::tanh;
template <class T> T erfcx(T x) { // Laplace's continued fraction
  if (x < 4) return exp(x * x) * std::erfc(x);
  T rest = 0;
  for (int k = 60; k > 0; k--) rest = T(k) / 2 / (x + rest);
  return T(0.56418958354775629) / (x + rest);
}
#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __shared__ static __attribute__((section("shared_memory")))
extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
struct { unsigned x; } threadIdx, blockIdx, blockDim, gridDim;
unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }

namespace fibers {
  constexpr int max_blocks = 3, max_threads = 256, max_fibers = max_blocks * max_threads, stack_bytes = 1 << 16;
  constexpr int shared_bytes = 1 << 14;
  ucontext_t scheduler, contexts[max_fibers];
  char stacks[max_fibers][stack_bytes], slots[2][max_fibers][8], shared[max_blocks][shared_bytes];
  bool done[max_fibers], waits[max_fibers];  // at a barrier
  int n_exchanges[max_fibers];
  unsigned n_alive[max_blocks], n_waiting[max_blocks];
  unsigned current; // fiber
  void (*body)();
  void yield() { swapcontext(&contexts[current], &scheduler); }
  // End the barrier of the current block, if all of its threads that run wait at it.
  void end_barrier() {
    const unsigned first = current - threadIdx.x, block = first / blockDim.x;
    if (n_waiting[block] != n_alive[block]) return;
    n_waiting[block] = 0;
    for (unsigned t = first; t < first + blockDim.x; ++t) waits[t] = false;
  }
  void begin() {
    body();
    done[current] = true, --n_alive[(current - threadIdx.x) / blockDim.x];
    end_barrier();
  }
  // Run some blocks at once; each has shared memory of its own.
  void run(void (*f)(), unsigned first_block, unsigned n_blocks) {
    body = f;
    for (unsigned t = 0; t < n_blocks * blockDim.x; ++t) {
      getcontext(&contexts[t]);
      contexts[t].uc_stack.ss_sp = stacks[t];
      contexts[t].uc_stack.ss_size = stack_bytes;
      contexts[t].uc_link = &scheduler;
      makecontext(&contexts[t], begin, 0);
      done[t] = waits[t] = false, n_exchanges[t] = 0;
    }
    for (unsigned block = 0; block < n_blocks; ++block) n_alive[block] = blockDim.x, n_waiting[block] = 0;
    const std::size_t n_shared = __stop_shared_memory - __start_shared_memory;
    for (bool running = true; running;) {
      running = false;
      for (unsigned block = 0; block < n_blocks; ++block) {
        memcpy(__start_shared_memory, shared[block], n_shared);
        blockIdx.x = first_block + block;
        for (unsigned t = 0; t < blockDim.x; ++t) {
          current = block * blockDim.x + t, threadIdx.x = t;
          if (!done[current]) running = true;
          if (!done[current] && !waits[current]) swapcontext(&scheduler, &contexts[current]);
        }
        memcpy(shared[block], __start_shared_memory, n_shared);
      }
    }
  }
}

template <class V> V __shfl_xor_sync(unsigned, V value, int distance) {
  using namespace fibers;
  const unsigned fiber = current, slot = n_exchanges[fiber]++ % 2;
  memcpy(slots[slot][fiber], &value, sizeof value);
  yield();
  memcpy(&value, slots[slot][fiber ^ distance], sizeof value);
  return value;
}

void __syncthreads() {
  using namespace fibers;
  waits[current] = true, ++n_waiting[(current - threadIdx.x) / blockDim.x];
  end_barrier();
  if (waits[current]) yield();
}

void __threadfence() {}
void __nanosleep(unsigned) { fibers::yield(); }
unsigned atomicAdd(unsigned* sum, unsigned value) { return (*sum += value) - value; }

template <class A> bool fits(const char* kind, int i) {
  const char wanted = std::is_pointer<A>() ? 'p' : std::is_floating_point<A>() ? 'f' : 'i';
  return kind[2 * i] == wanted && kind[2 * i + 1] == '0' + (int)sizeof(A);
}

template <class... A, std::size_t... I>
int launch(void (*kernel)(A...), void** arguments, const char* kinds, unsigned grid, std::index_sequence<I...>) {
  if (strlen(kinds) != 2 * sizeof...(A)) return 1;
  for (bool fit : {fits<A>(kinds, I)...}) if (!fit) return 1;
  static void (*k)(A...);
  static void** a;
  k = kernel, a = arguments, gridDim.x = grid;
  if (COOPERATIVE) {
    if (grid > fibers::max_blocks) return 2;
    fibers::run([] { k(*(A*)a[I]...); }, 0, grid);
  } else for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {
    if (FIBERS) fibers::run([] { k(*(A*)a[I]...); }, blockIdx.x, 1);
    else for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) k(*(A*)a[I]...);
  }
  return 0;
}

#define ENTRY(name) \
  template <class... A> int entry_##name(void (*kernel)(A...), void** a, const char* kinds, unsigned grid) { \
    return launch(kernel, a, kinds, grid, std::index_sequence_for<A...>()); } \
  extern "C" int launch_##name(void** a, const char* kinds, unsigned grid, unsigned block) { \
    blockDim.x = block; return entry_##name(name, a, kinds, grid); }
"""

CUBLAS = r"""
#include <cstddef>
template <class T> void gemm(int ta, int tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb,
                             T beta, T* c, int ldc) {
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i) {
      T sum = 0;
      for (int l = 0; l < k; ++l)
        sum += a[ta ? l + (size_t)i * lda : i + (size_t)l * lda] * b[tb ? j + (size_t)l * ldb : l + (size_t)j * ldb];
      T& entry = c[i + (size_t)j * ldc];
      entry = beta == 0 ? alpha * sum : alpha * sum + beta * entry;
    }
}
extern "C" {
int cudaGraphGetNodes(size_t graph, void**, size_t* n) { *n = graph; return 0; } // the graph is the number of its nodes
int cublasCreate_v2(void** handle) { *handle = new int; return 0; }
int cublasDestroy_v2(void* handle) { delete (int*)handle; return 0; }
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasSetWorkspace_v2(void*, void* where, size_t size) { return where && size ? 0 : 7; }
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* alpha,
    const void* a, int at, int lda, long long as, const void* b, int bt, int ldb, long long bs, const void* beta,
    void* c, int ct, int ldc, long long cs, int count, int compute, int algorithm) {
  if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m || at != bt || at != ct || algorithm != -1) return 7;
  if (at ? compute != 70 : compute != 68 && compute != 75 && compute != 77) return 15;
  for (int i = 0; i < count; ++i)
    if (at) gemm(ta, tb, m, n, k, *(double*)alpha, (double*)a + i * as, lda, (double*)b + i * bs, ldb,
                 *(double*)beta, (double*)c + i * cs, ldc);
    else gemm(ta, tb, m, n, k, *(float*)alpha, (float*)a + i * as, lda, (float*)b + i * bs, ldb,
              *(float*)beta, (float*)c + i * cs, ldc);
  return 0;
}
int cublasGemmEx(void* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at, int lda,
    const void* b, int bt, int ldb, const void* beta, void* c, int ct, int ldc, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0,
                                    1, compute, algorithm);
}
}
"""


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="cupy-on-cpu-"))


@cache
def _headers() -> Path:
    """Precompile the system's headers, which g++ finds beside the file that includes them."""
    assert COMPILER is not None
    path = _folder() / "headers.h"
    path.write_text(HEADERS)
    subprocess.run([COMPILER, *FLAGS, "-xc++-header", str(path), "-o", f"{path}.gch"], check=True)
    return path


@cache
def compiled(code: str) -> str:
    """Compile a source with g++, and return the path of the library."""
    assert COMPILER is not None
    path = _folder() / f"{len(list(_folder().iterdir()))}.so"
    command = [COMPILER, *FLAGS, "-include", str(_headers()), "-shared", "-xc++", "-", "-o", str(path)]
    subprocess.run(command, input=code, text=True, check=True)
    return str(path)


class Array(np.ndarray):
    """Stand-in for ``cupy.ndarray``: an element is an array of shape ()."""

    @property
    def device(self) -> Any:
        return CuPy.current.cuda.Device(0)

    @property
    def shape(self) -> Any:
        return super().shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        with warnings.catch_warnings():  # array-api-compat sets the shape of CuPy's arrays, as CuPy allows
            warnings.simplefilter("ignore", DeprecationWarning)
            np.ndarray.shape.__set__(self, shape)  # type: ignore[attr-defined]

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data, device_id=0)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        CuPy.current.launches.append(ufunc.__name__)
        arrays = [np.asarray(x) if isinstance(x, Array) else x for x in inputs]
        if out is None:
            return _to_cupy(getattr(ufunc, method)(*arrays, **kwargs))
        getattr(ufunc, method)(*arrays, out=tuple(map(np.asarray, out)), **kwargs)
        return out[0]

    def __setitem__(self, key: Any, value: Any) -> None:
        CuPy.current.launches.append("copy")
        np.asarray(self)[key] = value

    def set(self, values: np.ndarray, stream: Any) -> None:
        assert type(values) is np.ndarray
        self[...] = values

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        if isinstance(item, np.generic):
            item = super().__getitem__((*(key if isinstance(key, tuple) else (key,)), ...))
        return item


Array.__module__ = "cupy"

LAUNCHING = {"argmax", "argmin", "concatenate", "concat", "stack", "take", "where", "zeros", "ones", "full", "arange"}
"""Functions of CuPy that launch a kernel, or set memory, apart from those that NumPy computes by a ufunc."""


def _returning_cupy(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if function.__name__ in LAUNCHING:
            CuPy.current.launches.append(function.__name__)
        return _to_cupy(function(*args, **kwargs))

    return call


def _to_cupy(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value).view(Array)
    if type(value) in (tuple, list):
        return type(value)(map(_to_cupy, value))
    return value


def _poisoned(empty: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Fill new memory, which often is zero, so that a test finds elements that a kernel does not write."""

    @wraps(empty)
    def filled(*args: Any, **kwargs: Any) -> np.ndarray:
        array = np.array(empty(*args, **kwargs))
        CuPy.current.allocators[-1](array.nbytes)
        array.fill(np.nan if array.dtype.kind == "f" else 77)
        if CuPy.current.is_recording:
            CuPy.current.kept.append(array)
        return array

    return filled


class CuPy(ModuleType):
    """
    Stand-in for the module ``cupy``.

    ``events`` lists the calls on streams, graphs and memory, and ``launches`` the names of kernels and functions that
    were run, or recorded: a kernel that is recorded does not run. ``matmul`` raises, as CuPy's does while a step is
    recorded.
    """

    __version__ = "14.2.0"
    current: "CuPy"

    def __init__(self, memory: int = 2**30):
        super().__init__("cupy")
        functions = {name: value for name, value in vars(np).items() if not name.startswith(("_", "matmul"))}
        functions |= {"abs": np.abs, "max": np.max, "min": np.min, "round": np.round}
        for name, value in functions.items():
            plain = isinstance(value, (type, ModuleType)) or not callable(value)
            setattr(self, name, value if plain else _returning_cupy(value))
        self.events: list[str] = []
        self.launches: list[str] = []
        self.compute_types: list[int] = []  # of the products
        self.is_recording = False
        self.recorded: list[tuple[Any, ...]] = []  # kernels with their arguments
        self.kept: list[np.ndarray] = []  # their memory is not used again, as in a pool that lives
        CuPy.current, self.streams = self, [_Stream(ptr=0)]
        self.ndarray = Array
        self.empty, self.empty_like = (_returning_cupy(_poisoned(empty)) for empty in (np.empty, np.empty_like))
        self.asnumpy = lambda array: np.array(array).view(np.ndarray)
        self.RawKernel = _RawKernel
        self.OutOfMemoryError = _OutOfMemoryError
        self.is_full = False  # whether cudaMalloc fails
        self.allocators: list[Callable[[int], Any]] = [lambda size: None]
        pool = _MemoryPool()
        self.get_default_memory_pool = lambda: pool
        self.cuda = SimpleNamespace(
            Device=_Device,
            Event=_Event,
            Memory=_Memory,
            MemoryPointer=lambda memory, offset: memory,
            MemoryPool=_MemoryPool,
            Stream=_Stream,
            alloc_pinned_memory=bytearray,
            driver=SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=lambda kernel, threads, memory: 1),
            get_elapsed_time=lambda begin, end: end.time - begin.time,
            get_current_stream=lambda: self.streams[-1],
            get_local_runtime_version=lambda: 12090,
            memory=SimpleNamespace(OutOfMemoryError=self.OutOfMemoryError),
            runtime=SimpleNamespace(
                CUDARuntimeError=_CUDARuntimeError,
                getDevice=lambda: 0,
                getDeviceCount=lambda: 1,
                getDeviceProperties=lambda index: {
                    "name": b"a CPU in disguise",
                    "totalGlobalMem": memory,
                    "multiProcessorCount": 3,
                },
                memGetInfo=lambda: (memory, memory),
            ),
            using_allocator=self.using_allocator,
        )

    @contextmanager
    def using_allocator(self, allocator: Any) -> Iterator[None]:
        self.events.append("set allocator")
        self.allocators.append(allocator)
        try:
            yield
        finally:
            self.allocators.pop()
            self.events.append("reset allocator")

    def matmul(self, a: Any, b: Any) -> Any:
        if a.size > 4:  # the test computation while the backend is loaded is smaller
            raise NotImplementedError("PortaNet multiplies through cuBLAS itself")
        return a


@contextmanager
def standing_in(modules: dict[str, Any]) -> Iterator[None]:
    """
    Replace modules in ``sys.modules``, and remove those that imported the real ones; undo it at the end.

    A module of None cannot be imported.
    """

    def remove() -> dict[str, Any]:
        tops = ("cupy", "array_api_compat.cupy", *modules)
        prefixes = ("portanet.backends.cupy", *(f"{top}." for top in tops))
        removed = {name: module for name, module in sys.modules.items() if name in tops or name.startswith(prefixes)}
        for name in removed:
            del sys.modules[name]
            vars(_parent(name)).pop(name.rpartition(".")[2], None)
        return removed

    before = remove()
    sys.modules.update(modules)
    try:
        yield
    finally:
        remove()
        sys.modules.update(before)
        for name, module in before.items():
            vars(_parent(name))[name.rpartition(".")[2]] = module


def _parent(name: str) -> ModuleType:
    return sys.modules.get(name.rpartition(".")[0]) or ModuleType("no parent")


def stand_ins(cupy: ModuleType, device: type) -> dict[str, Any]:
    """Modules that array-api-compat imports from CuPy, by name."""
    return {
        "cupy": cupy,
        "cupy.linalg": np.linalg,
        "cupy.fft": np.fft,
        "cupy.cuda.device": SimpleNamespace(Device=device),
    }


def pathfinder() -> ModuleType:
    """Stand-in for ``cuda.pathfinder``, which finds cuBLAS."""
    module: Any = ModuleType("cuda.pathfinder")
    module.load_nvidia_dynamic_lib = lambda name: SimpleNamespace(abs_path=compiled(CUBLAS))
    return module


class _Device:
    def __init__(self, index: int = 0):
        self.id = index

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]  # as Python has it where == is defined

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


class _CUDARuntimeError(RuntimeError):
    def __init__(self, status: int):
        super().__init__(f"error {status}")
        self.status = status


class _OutOfMemoryError(MemoryError):
    def __init__(self, size: int = 3 * 2**30, total: int = -1, limit: int = 0):
        super().__init__(f"Out of memory allocating {size:,} bytes")
        self._size = size


class _Memory:
    def __init__(self, size: int):
        if CuPy.current.is_full:
            raise _CUDARuntimeError(2)  # cudaErrorMemoryAllocation
        self.buffer = ctypes.create_string_buffer(size)
        self.ptr = ctypes.addressof(self.buffer)


class _MemoryPool:
    """Caches no blocks. As in CuPy, it frees them if cudaMalloc fails, but not after an OutOfMemoryError."""

    def __init__(self, allocator: Callable[[int], Any] = _Memory):
        self.allocator = allocator

    def malloc(self, size: int) -> Any:
        try:
            return self.allocator(size)
        except _CUDARuntimeError:
            self.free_all_blocks()
            raise _OutOfMemoryError(size) from None

    def set_limit(self, size: int) -> None:
        CuPy.current.events.append(f"limit {size}")

    def free_all_blocks(self) -> None:
        CuPy.current.events.append("free")

    def free_bytes(self) -> int:
        return 0

    used_bytes = get_limit = free_bytes


class _Event:
    def __init__(self, disable_timing: bool = False):
        pass

    def record(self, stream: Any = None) -> None:
        self.time = 1000 * perf_counter()

    def synchronize(self) -> None:
        pass


class _Stream:
    def __init__(self, non_blocking: bool = False, ptr: int | None = None):
        assert non_blocking or ptr == 0
        self.ptr = id(self) if ptr is None else ptr

    def __enter__(self) -> None:
        CuPy.current.streams.append(self)

    def __exit__(self, *_: object) -> None:
        CuPy.current.streams.pop()

    def begin_capture(self) -> None:
        CuPy.current.events.append("begin")
        CuPy.current.is_recording, self.n_launches = True, len(CuPy.current.launches)
        CuPy.current.recorded = []

    def end_capture(self) -> Any:
        CuPy.current.events.append("end")
        CuPy.current.is_recording = False
        return _Graph(len(CuPy.current.launches) - self.n_launches, CuPy.current.recorded)

    def wait_event(self, event: _Event) -> None:
        pass

    def synchronize(self) -> None:
        CuPy.current.events.append("synchronize")


class _Graph:
    """Runs its kernels again. It runs nothing if something else was launched while it was recorded."""

    def __init__(self, n_nodes: int, kernels: list[tuple[Any, ...]]):
        self.graph, self.kernels = n_nodes, kernels

    def upload(self) -> None:
        CuPy.current.events.append("upload")

    def launch(self) -> None:
        CuPy.current.events.append("launch")
        if len(self.kernels) == self.graph:
            for kernel, grid, block, arguments in self.kernels:
                kernel(grid, block, arguments)


class _RawKernel:
    def __init__(self, code: str, name: str, enable_cooperative_groups: bool = False):
        self.code, self.name, self.cooperative = code, name, enable_cooperative_groups
        # As functions of a structure, kernels have no entries of their own.
        names = [name] if self.cooperative else re.findall(r"^KERNEL (\w+)\(", code, re.MULTILINE)
        self.entries = "\n".join(f"ENTRY({each})" for each in names)

    @property
    def kernel(self) -> Any:
        return SimpleNamespace(ptr=id(self))

    def __call__(self, grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        CuPy.current.launches.append(self.name)
        if CuPy.current.is_recording:
            CuPy.current.recorded.append((self, grid, block, arguments))
            return
        waits = any(name in self.code for name in ("__shfl", "__syncthreads"))
        fibers = f"#define FIBERS {int(waits)}\n#define COOPERATIVE {int(self.cooperative)}\n"
        library = ctypes.CDLL(compiled(fibers + CUDA + self.code + self.entries))
        values, kinds = [], ""
        for argument in arguments:
            if isinstance(argument, Array):
                assert argument.flags.c_contiguous, f"an argument of {self.name} is not contiguous"
                value, kind = np.uint64(argument.data.ptr), "p"
            else:
                value, kind = argument, argument.dtype.kind
            values.append(np.asarray(value))
            kinds += f"{kind}{value.itemsize}"
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        failed = getattr(library, f"launch_{self.name}")(pointers, kinds.encode(), *grid, *block)
        assert failed != 2, f"{self.name} has more blocks than run at once: {grid}"
        assert not failed, f"{self.name} has other parameters than {kinds}"
