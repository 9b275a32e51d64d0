"""Competitors, their processes, and the costs of libraries."""

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Self

import numpy as np
import pytest

from bench.networks import NETWORKS
from bench.peers import Unsupported, costs, gemm_bound, race
from bench.peers.child import Worker, one_line, time
from bench.peers.competitors import COMPETITORS
from bench.peers.process import Child, ChildFailed
from bench.peers.race import Settings
from bench.peers.table import network_table
from portanet.backends.precision import get_float32_matmul_precision


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child("portanet", "cpu", 1) as child:
        yield child


def test_gemm_bound_sizes_are_those_of_each_layer() -> None:
    assert list(gemm_bound.sizes(NETWORKS["003-lenet"].recipe(), 128)) == [
        (128 * 28 * 28, 25, 32),
        (128 * 14 * 14, 25 * 32, 64),
        (128, 3136, 100),
        (128, 100, 10),
    ]


def test_gemm_bound_skips_the_input_gradient_of_the_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[gemm_bound.Product] = []
    monkeypatch.setattr(gemm_bound, "_run_all", products.extend)
    gemm_bound.step(NETWORKS["003-mlp"].recipe(), "cpu")
    operations = [p.repeats * math.prod(p.a.shape) * p.b.shape[1] for p in products]
    first, last = 300 * 784 * 100, 300 * 100 * 10
    assert operations == pytest.approx([first, first, last, last, last], rel=0.05)  # blocks may omit a few rows


@pytest.mark.parametrize(("m", "k", "n"), [(5, 4, 2), (100_352, 25, 32), (7, 3136, 100)])
def test_blocks_add_up_to_the_product(m: int, k: int, n: int) -> None:
    for product in (gemm_bound.forward(m, k, n), gemm_bound.weight_gradient(m, k, n)):
        operations = product.repeats * math.prod(product.a.shape) * product.b.shape[1]
        assert 0.95 * m * k * n <= operations <= m * k * n


def test_child_prepares_and_times_tasks_and_reports_memory(child: Child) -> None:
    child.ask(do="step", recipe=NETWORKS["000-toy"].recipe().to_json())
    assert 0 < child.ask(do="time", seconds=0.01)["median"] < 1
    child.ask(do="inference", recipe=NETWORKS["000-toy"].recipe().to_json(), batch_size=2)
    assert child.ask(do="memory")["bytes"] > 2**20


def test_child_returns_the_error_of_a_failed_request(child: Child) -> None:
    with pytest.raises(ChildFailed, match="ValueError: unknown request"):
        child.ask(do="sing")
    recipe = {**NETWORKS["000-toy"].recipe().to_json(), "layers": [{"type": "Wavelet"}]}
    with pytest.raises(ChildFailed, match=r"portanet\.Wavelet' is unknown"):
        child.ask(do="step", recipe=recipe)


def test_child_has_additional_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {}
    monkeypatch.setattr("subprocess.Popen", lambda command, *, env, **_: started.update(env))
    Child("portanet", "cpu", 1, {"PORTANET_DISABLE": "adam"})
    assert started["PORTANET_DISABLE"] == "adam"
    assert started["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("precision", "override"), [("float32", "0"), ("tf32", None)])
def test_a_race_on_a_gpu_is_of_equal_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, override: str | None
) -> None:
    started: dict[str, Any] = {}
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    monkeypatch.setattr("subprocess.Popen", lambda command, *, env, **_: started.update(command=command, env=env))
    Child("jax", "cuda", 1, precision=precision)
    assert started["command"][-2:] == ["--precision", precision]
    assert started["env"].get("NVIDIA_TF32_OVERRIDE") == override
    assert started["env"]["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_the_precision_of_each_library_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    portanet = importlib.import_module("bench.peers.portanet")
    try:
        portanet.set_precision("tf32")
        assert get_float32_matmul_precision() == "tf32"
    finally:
        portanet.set_precision("float32")
    pytest.importorskip("jax", reason="it is one of the libraries")
    jax = importlib.import_module("bench.peers.jax")
    for precision, name in (("tf32", "tensorfloat32"), ("float32", "highest")):
        jax.set_precision(precision)
        assert jax.jax.config.jax_default_matmul_precision == name
    pytest.importorskip("torch", reason="it is one of the libraries")
    torch = importlib.import_module("bench.peers.torch")
    for precision in ("tf32", "float32"):
        torch.set_precision(precision)
        flags = torch.torch.backends.cuda.matmul.allow_tf32, torch.torch.backends.cudnn.allow_tf32
        assert flags == (precision == "tf32",) * 2


def test_a_child_sets_the_precision_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("bench.peers.portanet")
    chosen: list[str] = []
    monkeypatch.setattr(module, "set_precision", chosen.append)
    monkeypatch.setattr(module, "step", lambda recipe, device: int)
    for device in ("cpu", "cuda"):
        Worker("portanet", device, "tf32").answer({"do": "step", "recipe": NETWORKS["000-toy"].recipe().to_json()})
    assert chosen == ["tf32"]


class OnGPU:
    """A child that takes 100 bytes of the GPU, or 300 for PyTorch, in its first task."""

    used = 1000

    def __init__(self, competitor: str, device: str, threads: int, *, precision: str):
        self.size = 100 if competitor == "portanet" else 300
        assert precision == "tf32"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, limit: float = 0.0, **request: Any) -> dict[str, float]:
        if "recipe" in request:
            OnGPU.used += self.size
        return {"median": 1.0, "bytes": 2.0}


def test_the_memory_on_the_gpu_is_that_of_each_competitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "Child", OnGPU)
    monkeypatch.setattr(race, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(race, "gpu_memory_used", lambda: OnGPU.used)
    settings = Settings("cuda", rounds=2, precision="tf32")
    names, tasks = ["portanet", "torch-graph"], [race.STEP, race.INFERENCE[0]]
    result = race.run_network(NETWORKS["000-toy"], names, tasks, settings, lambda _: None)
    assert result["gpu_memory"] == {"portanet": 100, "torch-graph": 300}
    header, *_ = network_table(NETWORKS["000-toy"], result).splitlines()
    assert header.endswith("on the GPU")


def test_child_is_killed_after_the_time_limit() -> None:
    with Child("gemm-bound", "cpu", 1) as child:
        child.ask(do="step", recipe=NETWORKS["000-toy"].recipe().to_json())
        begin = perf_counter()
        with pytest.raises(ChildFailed, match=r"took more than 0\.2 s"):
            child.ask(0.2, do="time", seconds=60)
        assert perf_counter() - begin < 30
        with pytest.raises(ChildFailed, match=r"ended; to see why: python -m bench\.peers\.child gemm-bound"):
            child.ask(do="memory")


def test_errors_are_one_line() -> None:
    assert one_line(ModuleNotFoundError("No module named 'jax'", name="jax")) == "jax is not installed"
    assert one_line(Unsupported("no such layers")) == "no such layers"
    assert one_line(ValueError("two\nlines")) == "ValueError: two lines"


def test_timing_a_diverged_network_raises() -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        time(lambda: np.float32("nan"), 0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory differently")
def test_peak_memory_excludes_the_parent_and_never_falls() -> None:
    of_the_parent = np.ones(2**28, np.uint8)
    script = """
import numpy as np
from bench.peers.child import peak_memory
before = peak_memory()
block = np.ones(2**26, np.uint8)
during = peak_memory()
del block
print(before, during, peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, during, after = map(int, done.stdout.split())
    assert before < of_the_parent.nbytes  # Linux sums the counters of the cores from time to time: pages may be missing
    assert during - before > 0.9 * 2**26
    assert after > during - 0.1 * 2**26


def test_scikit_learn_has_the_same_layers() -> None:
    pytest.importorskip("sklearn", reason="tests the competitor scikit-learn")
    from bench.peers import sklearn

    model, *_ = sklearn._fitted_model(NETWORKS["004-mlp"].recipe())
    assert [weights.shape for weights in model.coefs_] == [(784, 300), (300, 10)]
    assert model.activation == "relu"
    assert model.solver == "adam"
    assert float(sklearn.step(NETWORKS["001-ae-usps"].recipe(), "cpu")()) > 0
    assert sklearn.inference(NETWORKS["003-logistic"].recipe(), "cpu", 7)().shape == (7, 10)
    for id in ("004-cnn", "000-toy-softmax"):
        with pytest.raises(Unsupported, match="no such layers"):
            sklearn.step(NETWORKS[id].recipe(), "cpu")


def test_every_competitor_has_a_module_and_a_library() -> None:
    assert {c.library for name, c in COMPETITORS.items() if name != "gemm-bound"} == costs.DISTRIBUTIONS.keys()
    folder = gemm_bound.__file__.rpartition("gemm_bound.py")[0]
    for competitor in COMPETITORS.values():
        with open(f"{folder}{competitor.module}.py") as file:
            source = file.read()
        assert "\ndef step(" in source
        assert "\ndef inference(" in source


def test_costs_include_dependencies() -> None:
    settings = Settings(rounds=1)
    measured = costs.costs("portanet", settings)
    assert measured["requires"] == ["array-api-compat", "numpy", "safetensors"]
    assert measured["installed"] > 10 * 2**20
    assert measured["import"] > 0
    assert measured["first_step"] > 0
    json.dumps(measured)


def test_a_library_that_fails_is_left_out_of_the_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(library: str, settings: Settings) -> dict[str, float]:
        if library == "portanet":
            raise ChildFailed("its process ended")
        return {"import": 0.1}

    monkeypatch.setattr(costs, "costs", measured)
    assert "portanet" not in costs.all_costs(Settings(), lambda _: None)
    assert capsys.readouterr().err == "bench: costs of portanet cannot be measured: its process ended\n"
