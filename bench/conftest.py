"""Options, timing and output file of ``python -m pytest bench``."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.machine import measurement_info, threads
from bench.results import rounded
from portanet import BackendUnavailable, get_backend

DEVICES = ("cpu", "cuda")
MAX_SECONDS = 0.3
"""Default of --benchmark-max-time: the default of pytest-benchmark, 1 s, is long for hundreds of cases."""
devices_key: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", action="append", choices=DEVICES, help="device to time; may be repeated (default: all available)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("bench needs pytest-benchmark: pip install -e '.[bench]'")
    if not any(argument.startswith("--benchmark-max-time") for argument in config.invocation_params.args):
        config.option.benchmark_max_time = MAX_SECONDS
    selected = config.getoption("--device")
    available = config.stash[devices_key] = []
    for device in selected or DEVICES:
        try:
            get_backend(device)
            available.append(device)
        except BackendUnavailable as error:
            if selected:
                raise pytest.UsageError(f"--device {device}: {error}") from error


def devices(config: pytest.Config) -> list[str]:
    """Return the devices that this run times."""
    available: list[str] = config.stash[devices_key]
    return available


def pytest_report_header(config: pytest.Config) -> str:
    return f"devices: {', '.join(devices(config))}; BLAS threads: {threads()}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices(metafunc.config))


@pytest.fixture
def timed(benchmark: Any, device: str) -> Callable[[Callable[[], Any]], None]:
    """Time a function without arguments, including a synchronization of the device."""
    backend = get_backend(device)

    def time(run: Callable[[], Any]) -> None:
        def synchronized() -> None:
            run()
            backend.synchronize()

        with backend.activate():
            benchmark(synchronized)

    return time


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_json(config: pytest.Config, benchmarks: list[Any]) -> dict[str, Any]:
    """Replace the format of pytest-benchmark, which holds every single time."""
    info = {"kind": "suite", **measurement_info(devices(config), threads())}
    entries = [_entry(benchmark) for benchmark in benchmarks if not benchmark.has_error]
    results: dict[str, Any] = rounded({**info, "benchmarks": entries})
    return results


def _entry(benchmark: Any) -> dict[str, Any]:
    stats, params = benchmark.stats, dict(benchmark.params)
    return {
        "test": benchmark.name.partition("[")[0].removeprefix("test_"),
        "device": params.pop("device"),
        "params": params,
        "median": stats.median,
        "iqr": stats.iqr,
        "rounds": stats.rounds,
    }
