"""
A training step as one kernel that stays on the GPU for many steps: a persistent kernel.

It calls the kernels that a step launches, as functions, one after another. All blocks wait for one another where a
kernel reads what another one has written. Such a wait is estimated to take half as long as a launch; it was not
measured on a GPU.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import cupy
import numpy as np

from portanet.backends.cupy.source import THREADS_PER_BLOCK, Launch, Macros, Memory, Source

MAX_BLOCKS = 4096
"""Most blocks of a launch in a step that a persistent kernel runs; more of them would rather use all of the GPU. It is
not tuned on a GPU."""

MAX_PARAMETERS = 500
"""Most parameters of the kernel, each of at most 8 bytes; CUDA allows 4 KiB."""

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
    Runs steps by one launch. It is used as a CUDA graph of CuPy: uploaded, and launched on the current stream.

    Parameters
    ----------
    launches : sequence of Launch
        Those of one step. Their arrays must stay where they are.
    n_steps : int
    """

    def __init__(self, launches: Sequence[Launch], n_steps: int):
        # A cooperative launch needs all blocks on the GPU at once; each multiprocessor has room for one.
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        self.n_blocks = min(properties["multiProcessorCount"], max(map(_n_blocks, launches)))
        self.kernel = cupy.RawKernel(source_of(launches), "run_steps", enable_cooperative_groups=True)
        values = [value for launch in launches for value in (launch.n, *launch.values)]
        addresses = [np.int64(value.start) if isinstance(value, Memory) else value for value in values]
        self.arguments: list[Any] = [np.int32(n_steps), *addresses]

    def upload(self) -> None:
        """Compile the kernel, and allocate the state of its barrier."""
        self.kernel.compile()
        self.arguments.insert(1, cupy.zeros(2, dtype="uint32"))

    def launch(self) -> None:
        """Run the steps."""
        self.kernel((self.n_blocks,), (THREADS_PER_BLOCK,), tuple(self.arguments))


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
