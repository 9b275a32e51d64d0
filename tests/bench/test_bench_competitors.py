"""Competitors, their processes, and the costs of libraries."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import pytest

from bench.networks import NETWORKS
from bench.peers import Unsupported, costs, gemm_bound
from bench.peers.child import one_line, time
from bench.peers.competitors import COMPETITORS
from bench.peers.process import Child, ChildFailed
from bench.peers.race import Settings


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
