"""
A training step as one kernel that stays on the GPU for many steps: a persistent kernel.

It calls the kernels that a step launches, as functions, one after another. All blocks wait for one another where a
kernel reads what another one has written. Whether such a wait takes less time than a launch depends on the GPU and on
the step, so that both are timed, and the faster one is used. None of it has run on a GPU yet.
"""

import ctypes
import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import cupy
import numpy as np

from portanet.backends.cupy.source import THREADS_PER_BLOCK, Launch, Macros, Memory, Source

logger = logging.getLogger("portanet")

MIN_STEPS = 4096
"""Fewest steps for which a kernel is compiled. It takes up to a second once for each network; CuPy keeps it on disk."""

MAX_BLOCKS = 4096
"""Most blocks of a launch in a step that a persistent kernel runs. It is not tuned on a GPU."""

MAX_PARAMETERS = 500
"""Most parameters of the kernel, each of at most 8 bytes; CUDA allows 4 KiB."""

TRIALS = 3
"""How often the graph and the persistent kernel are timed. The first launch of each is slower than the others."""

PREAMBLE = """
#define KERNEL __device__ void
#define THREAD_INDEX(i) const INDEX i = (INDEX)block * blockDim.x + threadIdx.x; if (i >= n) return

// An address; it becomes a pointer of the type that a function takes.
struct Address {
  long long value;
  template <class V> __device__ operator V*() const { return (V*)value; }
};

// Let each block wait for all others. state[0] counts the blocks that wait, and state[1] how often all have waited.
__device__ void wait_for_all_blocks(unsigned* state) {
  __syncthreads();
  if (threadIdx.x == 0) {
    volatile unsigned* times = state + 1;
    const unsigned before = *times;
    __threadfence();
    if (atomicAdd(state, 1u) == gridDim.x - 1) {
      *state = 0;
      __threadfence();
      *times = before + 1;
    } else {
      while (*times == before) {
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
"""The kernels of a source as functions, and one of them run for all of its blocks. Shared memory is used again by the
next block, so that its threads wait for one another."""

TYPES = {"int32": "int", "int64": "long long", "float32": "float", "float64": "double"}
"""C++ types of scalar arguments."""


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
        values = [value for launch in launches for value in (launch.n, *launch.values)]
        addresses = [np.int64(value.start) if isinstance(value, Memory) else value for value in values]
        self.n_steps, self.arguments = n_steps, (cupy.zeros(2, dtype="uint32"), *addresses)

    def launch(self, n_steps: int | None = None) -> None:
        """Run the steps."""
        n = self.n_steps if n_steps is None else n_steps
        self.kernel((self.n_blocks,), (THREADS_PER_BLOCK,), (np.int32(n), *self.arguments))


class Fastest:
    """
    Launches the fastest of several objects that run the same steps: each in turn while they are timed, then that one.

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
        if all(len(times) == TRIALS for times in self.times.values()):
            fastest = min(self.times, key=lambda name: min(self.times[name]))
            logger.info("steps run as a %s; a launch took %s ms", fastest, self.times)
            self.variants = {fastest: self.variants[fastest]}


def faster(graph: Any, launches: Sequence[Launch], n_steps: int) -> Any:
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
    one_step, calls = launches[: len(launches) // n_steps], [launch[:4] for launch in launches]
    steps_are_alike = calls == calls[: len(one_step)] * n_steps
    try:
        if not (steps_are_alike and is_supported(one_step) and len(launches) == _n_nodes(graph)):
            return graph
        kernel = PersistentKernel(one_step, n_steps)
        kernel.launch(0)  # fails where cooperative launches do; it runs no step
    except Exception as error:  # of the compiler, the driver or a library that is not found: graphs need none of it
        logger.info("steps are not run as a persistent kernel (%s: %s)", type(error).__name__, error)
        return graph
    return Fastest(graph=graph, kernel=kernel)


def is_supported(launches: Sequence[Launch]) -> bool:
    """Whether a persistent kernel can run the launches of a step."""
    return (
        bool(launches)
        and all(_n_blocks(launch) <= MAX_BLOCKS for launch in launches)
        and sum(1 + len(launch.values) for launch in launches) < MAX_PARAMETERS - 2
        # Of a block whose threads wait for one another, none may return early.
        and all(launch.n % THREADS_PER_BLOCK == 0 for launch in launches if "__syncthreads" in launch.source.code)
    )


def source_of(launches: Sequence[Launch]) -> str:
    """Return the CUDA C++ source of the kernel that runs the launches of a step."""
    structures: dict[tuple[Source, str, Macros], str] = {}  # some kernels are launched more than once
    parameters, statements, waits = ["int n_steps", "unsigned* state"], [], _waits(launches)
    for launch in launches:
        kernel = launch.source, launch.name, launch.macros
        structure = structures.setdefault(kernel, f"Kernel{len(structures)}")
        values = [launch.n, *launch.values]
        names = [f"a{len(parameters) + i}" for i in range(len(values))]
        types = ["Address" if isinstance(value, Memory) else TYPES[value.dtype.name] for value in values]
        parameters += map(" ".join, zip(types, names, strict=True))
        statements += ["wait_for_all_blocks(state);"] * next(waits) + [f"{structure}::run({', '.join(names)});"]
    body = "\n    ".join([*statements, "wait_for_all_blocks(state);"])
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


def _waits(launches: Sequence[Launch]) -> Iterator[bool]:
    """Yield whether each launch waits: one before it has written what it uses, or used what it writes."""
    used: list[Memory] = []
    written: list[Memory] = []
    for launch in launches:
        pairs = list(zip(_parameters(launch.source.code, launch.name), launch.values, strict=True))
        uses = [value for _, value in pairs if isinstance(value, Memory)]
        writes = [value for parameter, value in pairs if isinstance(value, Memory) and "const" not in parameter]
        wait = _overlap(uses, written) or _overlap(writes, used)
        if wait:
            used, written = [], []
        used, written = used + uses, written + writes
        yield wait


def _overlap(some: Sequence[Memory], others: Sequence[Memory]) -> bool:
    return any(a.start < b.stop and b.start < a.stop for a in some for b in others)


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
