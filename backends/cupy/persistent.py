"""
A training step as one kernel that stays on the GPU for many steps: a persistent kernel.

It calls the kernels that a step launches, as functions, one after another. All blocks wait for one another where a
kernel reads what another one has written. Whether such a barrier takes less time than a launch depends on the GPU and
on the step, so both are timed, and the faster one is used. None of it has run on a GPU yet.
"""

import ctypes
import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import cupy
import numpy as np

from portanet.backends.cupy.source import THREADS_PER_BLOCK, TYPES, ByteBounds, Launch, Macros, Source

logger = logging.getLogger("portanet")

MIN_STEPS = 4096
"""Minimum expected steps. Compiling takes time once for each network; CuPy caches the kernel on disk."""

MAX_BLOCKS = 4096
"""Maximum blocks of a launch in a step that a persistent kernel runs. It is not tuned on a GPU."""

MAX_PARAMETERS = 500
"""Maximum parameters of the kernel, each of at most 8 bytes; CUDA allows 4 KiB."""

N_TIMED_LAUNCHES = 3
"""Timed launches of the graph and of the kernel. The minimum counts, because the first one also loads code."""

PREAMBLE = """
#define KERNEL __device__ void
#define THREAD_INDEX(i) const INDEX i = (INDEX)block * blockDim.x + threadIdx.x; if (i >= n) return

// An address; it becomes a pointer of the type that a function takes.
struct Address {
  long long value;
  template <class V> __device__ operator V*() const { return (V*)value; }
};

// A barrier of all blocks. It is not that of cooperative_groups, whose header is not on every machine that has CuPy.
// state[0] counts the blocks that have arrived. state[1] counts the barriers passed, so that a block at the next one is
// not mistaken for a late one.
__device__ void grid_sync(unsigned* state) {
  __syncthreads();
  if (threadIdx.x == 0) {
    volatile unsigned* passed = state + 1;
    const unsigned before = *passed;
    __threadfence();
    if (atomicAdd(state, 1u) == gridDim.x - 1) {
      *state = 0;
      __threadfence();
      *passed = before + 1;
    } else {
      while (*passed == before) {
#if __CUDA_ARCH__ >= 700
        __nanosleep(32);
#endif
      }
    }
    __threadfence();
  }
  __syncthreads();
}
"""

STRUCTURE = """
struct {structure} {{
const unsigned block;
{code}
static __device__ void run(INDEX n, {parameters}) {{
  for (unsigned block = blockIdx.x; block < (n + blockDim.x - 1) / blockDim.x; block += gridDim.x) {{
    {structure}{{block}}.{name}(n, {names});
    __syncthreads();
  }}
}}
}};
"""
"""
The kernels of a source as functions, and one of them run for all of its blocks.

``__syncthreads`` before the next block, because it uses the same shared memory.
"""


class PersistentKernel:
    """
    Runs steps by one launch. It is used as a CUDA graph of CuPy: launched on the current stream.

    Parameters
    ----------
    launches : sequence of Launch
        Those of one step. Their arrays must stay where they are.
    n_steps : int
    """

    def __init__(self, launches: Sequence[Launch], n_steps: int):
        self.kernel = cupy.RawKernel(source_of(launches), "run_steps", enable_cooperative_groups=True)
        # A cooperative launch needs all blocks on the GPU at once.
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        occupancy = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        resident = properties["multiProcessorCount"] * occupancy(self.kernel.kernel.ptr, THREADS_PER_BLOCK, 0)
        self.n_blocks = min(resident, max(map(_n_blocks, launches)))
        values = [value for launch in launches for value in (launch.n, *launch.arguments)]
        addresses = [np.int64(value.start) if isinstance(value, ByteBounds) else value for value in values]
        self.n_steps, self.arguments = n_steps, (cupy.zeros(2, dtype="uint32"), *addresses)

    def launch(self, n_steps: int | None = None) -> None:
        """Run the steps."""
        n = self.n_steps if n_steps is None else n_steps
        self.kernel((self.n_blocks,), (THREADS_PER_BLOCK,), (np.int32(n), *self.arguments))


class Autotuned:
    """
    Runs the same steps by several variants in turn while they are timed, then by the fastest one.

    Parameters
    ----------
    **variants : CUDA graph or PersistentKernel
    """

    def __init__(self, **variants: Any):
        self.variants = variants
        self.times: dict[str, list[float]] = {name: [] for name in variants}

    def launch(self) -> None:
        """Run the steps."""
        if len(self.variants) == 1:
            next(iter(self.variants.values())).launch()
            return
        name = min(self.times, key=lambda name: len(self.times[name]))
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        self.variants[name].launch()
        end.record()
        end.synchronize()
        self.times[name].append(cupy.cuda.get_elapsed_time(begin, end))
        if all(len(times) == N_TIMED_LAUNCHES for times in self.times.values()):
            best = {name: min(times) for name, times in self.times.items()}
            fastest = min(best, key=lambda name: best[name])
            measured = ", ".join(f"{name} {time:.3g} ms" for name, time in best.items())
            logger.info("steps run as a %s: a launch took %s", fastest, measured)
            self.variants = {fastest: self.variants[fastest]}


def autotune(graph: Any, launches: Sequence[Launch], n_steps: int) -> Any:
    """
    Return a CUDA graph, or what launches the faster of it and a persistent kernel.

    Parameters
    ----------
    graph : cupy.cuda.Graph
        Of some steps.
    launches : sequence of Launch
        Those of all steps, apart from what CuPy and cuBLAS have launched.
    n_steps : int
    """
    one_step, calls = launches[: len(launches) // n_steps], [*map(_without_addresses, launches)]
    steps_are_alike = calls == calls[: len(one_step)] * n_steps
    try:
        if not (steps_are_alike and is_supported(one_step) and len(launches) == _n_nodes(graph)):
            return graph
        kernel = PersistentKernel(one_step, n_steps)
        kernel.launch(0)  # runs no step; raises if the GPU refuses a cooperative launch
    except Exception as error:  # of the compiler, the driver or a library that is not found: graphs need none of it
        logger.info("steps are not run as a persistent kernel (%s: %s)", type(error).__name__, error)
        return graph
    return Autotuned(graph=graph, kernel=kernel)


def is_supported(launches: Sequence[Launch]) -> bool:
    """Whether a persistent kernel can run the launches of a step."""
    return (
        bool(launches)
        and all(_n_blocks(launch) <= MAX_BLOCKS for launch in launches)
        and sum(1 + len(launch.arguments) for launch in launches) < MAX_PARAMETERS - 2
        # Of a block whose threads wait for one another, none may return early.
        and all(launch.n % THREADS_PER_BLOCK == 0 for launch in launches if "__syncthreads" in launch.source.code)
    )


def source_of(launches: Sequence[Launch]) -> str:
    """Return the CUDA C++ source of the kernel that runs the launches of a step."""
    structures: dict[tuple[Source, str, Macros], str] = {}  # some kernels are launched more than once
    parameters, statements, waits = ["int n_steps", "unsigned* state"], [], _needs_grid_sync(launches)
    for launch in launches:
        kernel = launch.source, launch.name, launch.macros
        structure = structures.setdefault(kernel, f"Kernel{len(structures)}")
        values = [launch.n, *launch.arguments]
        names = [f"a{len(parameters) + i}" for i in range(len(values))]
        types = ["Address" if isinstance(value, ByteBounds) else TYPES[value.dtype.name] for value in values]
        parameters += map(" ".join, zip(types, names, strict=True))
        statements += ["grid_sync(state);"] * next(waits) + [f"{structure}::run({', '.join(names)});"]
    body = "\n    ".join([*statements, "grid_sync(state);"])
    return (
        f"{PREAMBLE}\n{''.join(_structure(*kernel, structure) for kernel, structure in structures.items())}"
        f'extern "C" __global__ void run_steps({", ".join(parameters)}) {{\n'
        f"  for (int step = 0; step < n_steps; ++step) {{\n    {body}\n  }}\n}}\n"
    )


def _structure(source: Source, name: str, macros: Macros, structure: str) -> str:
    """Write a kernel, with the others of its source, as functions of a structure; no macro is defined after it."""
    parameters, code = _parameters(source.code, name), source.code
    text = STRUCTURE.format(
        structure=structure,
        code=code,
        name=name,
        parameters=", ".join(parameters),
        names=", ".join(parameter.rpartition(" ")[2] for parameter in parameters),
    )
    defined = [*dict(macros), *re.findall(r"^#define (\w+)", code, re.MULTILINE)]
    before = "".join(f"#define {macro} {value}\n" for macro, value in macros)
    return before + text + "".join(f"#undef {macro}\n" for macro in defined)


def _parameters(code: str, name: str) -> list[str]:
    """
    Return the parameters of a kernel after the first one, n.

    Examples
    --------
    >>> _parameters("KERNEL scale(INDEX n, const T* x, T factor, T* y) {", "scale")
    ['const T* x', 'T factor', 'T* y']
    """
    found = re.search(rf"^KERNEL {name}\(INDEX n,([^)]*)\)", code, re.MULTILINE)
    assert found is not None, f"{name} must be defined as KERNEL {name}(INDEX n, ...)"
    return [" ".join(parameter.split()) for parameter in found[1].split(",")]


def _needs_grid_sync(launches: Sequence[Launch]) -> Iterator[bool]:
    """Yield whether a barrier is needed before each launch: one before it has written what it uses, or reverse."""
    used: list[ByteBounds] = []
    written: list[ByteBounds] = []
    for launch in launches:
        pairs = list(zip(_parameters(launch.source.code, launch.name), launch.arguments, strict=True))
        uses = [value for _, value in pairs if isinstance(value, ByteBounds)]
        writes = [value for parameter, value in pairs if isinstance(value, ByteBounds) and "const" not in parameter]
        wait = _may_share_memory(uses, written) or _may_share_memory(writes, used)
        if wait:
            used, written = [], []
        used, written = used + uses, written + writes
        yield wait


def _may_share_memory(some: Sequence[ByteBounds], others: Sequence[ByteBounds]) -> bool:
    return any(a.start < b.stop and b.start < a.stop for a in some for b in others)


def _without_addresses(launch: Launch) -> tuple[Any, ...]:
    """Return what must be the same in each step; temporary arrays may be elsewhere."""
    scalars = [value for value in launch.arguments if not isinstance(value, ByteBounds)]
    return launch.source, launch.name, launch.macros, launch.n, scalars


def _n_blocks(launch: Launch) -> int:
    return -(-int(launch.n) // THREADS_PER_BLOCK)


def _n_nodes(graph: Any) -> int:
    """Return the number of operations in a CUDA graph, of CuPy and cuBLAS too."""
    n = ctypes.c_size_t()
    status = _runtime().cudaGraphGetNodes(ctypes.c_void_p(graph.graph), None, ctypes.byref(n))
    if status:
        raise RuntimeError(f"cudaGraphGetNodes failed with status {status} of cudaError_t")
    return n.value


@cache
def _runtime() -> Any:
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cudart").abs_path)
