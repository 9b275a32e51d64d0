"""The options, the timing and the file of ``python -m pytest bench``."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.machine import measured_on, threads
from bench.results import rounded
from portanet import BackendUnavailable, get_backend

DEVICES = ("cpu", "cuda")
SECONDS = 0.3
"""Of a case, unless --benchmark-max-time is given: pytest-benchmark's second is long for hundreds of cases."""
devices_key: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", action="append", choices=DEVICES, help="time on this device; may be repeated (default: all usable)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("bench needs pytest-benchmark: pip install -e '.[bench]'")
    if not any(given.startswith("--benchmark-max-time") for given in config.invocation_params.args):
        config.option.benchmark_max_time = SECONDS
    asked = config.getoption("--device")
    usable = config.stash[devices_key] = []
    for device in asked or DEVICES:
        try:
            get_backend(device)
            usable.append(device)
        except BackendUnavailable as reason:
            if asked:
                raise pytest.UsageError(f"--device {device}: {reason}") from reason


def devices(config: pytest.Config) -> list[str]:
    """Return what this run times."""
    usable: list[str] = config.stash[devices_key]
    return usable


def pytest_report_header(config: pytest.Config) -> str:
    return f"devices: {', '.join(devices(config))}; BLAS threads: {threads()}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices(metafunc.config))


@pytest.fixture
def timed(benchmark: Any, device: str) -> Callable[[Callable[[], Any]], None]:
    """Time a function of no arguments, from its call to when the device has done what it asked for."""
    backend = get_backend(device)

    def time(run: Callable[[], Any]) -> None:
        def until_done() -> None:
            run()
            backend.synchronize()

        with backend.activate():
            benchmark(until_done)

    return time


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_json(config: pytest.Config, benchmarks: list[Any]) -> dict[str, Any]:
    """Replace pytest-benchmark's own form, which holds every single time."""
    results = {"kind": "suite", **measured_on(devices(config), threads())}
    entries = [_entry(benchmark) for benchmark in benchmarks if not benchmark.has_error]
    small: dict[str, Any] = rounded({**results, "benchmarks": entries})
    return small


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
