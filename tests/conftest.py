"""What every test may use: each backend in turn, and arrays that cannot be read on the host."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

# Threads of OpenMP that wait in a loop take the cores from the other workers; the variable is read at its first import.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# SciPy reads at its import whether scikit-learn may work on arrays of other libraries than NumPy.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from portanet.backends import Backend, BackendUnavailable, get_backend

DEVICES = {"numpy": "cpu", "array_api_strict": "strict", "torch": "torch", "cupy": "cuda"}
MARKS = {"array_api_strict": [pytest.mark.strict], "torch": [pytest.mark.torch], "cupy": [pytest.mark.gpu]}
REQUIRED = {name for name in os.environ.get("PORTANET_REQUIRE", "").split(",") if name}
FOLDER = Path(__file__).parent
SLOW = ("test_experiments_quick.py", "test_cupy_on_cpu.py", "test_cupy_launches.py", "test_packaging.py")
REASONS = {  # of skips whose text names a layer, an argument, a kernel or a data set
    "uses the whole batch": "the layer uses the whole batch, or draws random numbers",
    "no usable backend overrides": "no usable backend overrides the kernel",
    "PORTANET_DATA": "PORTANET_DATA lacks the data set",
    "import cupy failed": "CuPy is not installed",
}
COLLECTS_CUPY = "cupy" in REQUIRED or find_spec("cupy") is not None


def pytest_configure() -> None:
    if unknown := REQUIRED - DEVICES.keys():
        raise pytest.UsageError(f"PORTANET_REQUIRE names {', '.join(unknown)}: choose among {', '.join(DEVICES)}")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts jobs in the background so
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite on all cores; ``-n 0`` runs it in one process, and so does PORTANET_REQUIRE=cupy: one GPU."""
    if "PYTEST_XDIST_WORKER" in os.environ or "cupy" in REQUIRED:
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and config.getoption("numprocesses", 0) is None and not config.option.usepdb:
        config.option.numprocesses, config.option.dist = "auto", "worksteal"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "experiments" in item.path.parts[len(FOLDER.parts) :]:
            item.add_marker(pytest.mark.experiments)
        if item.get_closest_marker("job") and "PORTANET_JOBS" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="it takes minutes: set PORTANET_JOBS=1"))
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
        names, params = getattr(item, "fixturenames", ()), getattr(item, "callspec", None)
        devices = [value for value in params.params.values() if isinstance(value, str)] if params else []
        if "no_host_reads" in names or "strict" in devices:
            item.add_marker(pytest.mark.strict)
        if "torch" in (*names, *devices):
            item.add_marker(pytest.mark.torch)


@pytest.fixture(scope="session", autouse=True)
def _loaded_backends() -> None:
    """Load every usable backend before a test replaces the registry: there is one backend per device."""
    for device in DEVICES.values():
        with suppress(BackendUnavailable):
            get_backend(device)


@pytest.fixture(
    params=[pytest.param(name, marks=MARKS.get(name, ())) for name in DEVICES if name != "cupy" or COLLECTS_CUPY],
    scope="session",
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each library; PORTANET_REQUIRE=cupy,torch makes a missing one fail instead of skip."""
    try:
        return get_backend(DEVICES[request.param])
    except BackendUnavailable as why:
        if request.param in REQUIRED:
            raise
        pytest.skip(str(why))


@pytest.fixture(autouse=True)
def _records_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record steps in short trainings too."""
    monkeypatch.setattr("portanet.engine.graph.MIN_STEPS_TO_RECORD", 1)


@pytest.fixture
def torch() -> Iterator[ModuleType]:
    torch = pytest.importorskip("torch", reason="PyTorch is what is compared with")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small arrays are not worth waiting for a thread
    yield torch
    torch.set_num_threads(threads)


@pytest.fixture
def no_host_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The strict backend, with arrays that refuse to become Python numbers and to be indexed by masks."""
    import array_api_strict

    strict = get_backend("strict")

    def refuse(self: object, *_: object) -> None:
        raise AssertionError("an array was read back to the host inside a step")

    for name in ("__bool__", "__float__", "__int__", "__index__", "__complex__"):
        monkeypatch.setattr(strict.array_type, name, refuse)
    array_api_strict.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
    yield strict
    array_api_strict.reset_array_api_strict_flags()


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    text = text.removeprefix("Skipped: ")
    for pattern, reason in REASONS.items():
        if re.search(pattern, text):
            return reason
    return text.partition(": ")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with one sentence: how many tests were skipped, and why."""
    counts = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    sentence = "no test was skipped"
    if total := counts.total():
        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in counts.most_common())
        sentence = f"{total:,} {'test was' if total == 1 else 'tests were'} skipped: {reasons}"
    if not COLLECTS_CUPY:
        sentence += "; CuPy is not installed, so its tests were not collected"
    terminalreporter.write_line(f"{sentence[0].upper()}{sentence[1:]}.")
