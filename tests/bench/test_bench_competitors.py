"""The other competitors, the process of each, and what they cost."""

import json
import math
import subprocess
import sys
from time import perf_counter

import numpy as np
import pytest

from bench.networks import NETWORKS
from bench.peers import Unfit, costs, floor
from bench.peers.child import in_a_line, time
from bench.peers.competitors import COMPETITORS
from bench.peers.process import Child, Failed


@pytest.fixture(scope="module")
def child():
    with Child("portanet", "cpu", 1) as child:
        yield child


def test_the_floor_counts_the_products_of_each_layer():
    assert list(floor.sizes(NETWORKS["003-lenet"].recipe(), 128)) == [
        (128 * 28 * 28, 25, 32),
        (128 * 14 * 14, 25 * 32, 64),
        (128, 3136, 100),
        (128, 100, 10),
    ]


def test_the_floor_has_no_input_gradient_for_the_first_layer(monkeypatch):
    counted = []
    monkeypatch.setattr(floor, "_run", counted.extend)
    floor.step(NETWORKS["003-mlp"].recipe(), "cpu")
    operations = [p.times * math.prod(p.a.shape) * p.b.shape[1] for p in counted]
    first, last = 300 * 784 * 100, 300 * 100 * 10
    assert operations == pytest.approx([first, first, last, last, last], rel=0.05)  # pieces may leave a few rows out


@pytest.mark.parametrize(("m", "k", "n"), [(5, 4, 2), (100_352, 25, 32), (7, 3136, 100)])
def test_the_pieces_of_a_product_add_up(m, k, n):
    for product in (floor.forward(m, k, n), floor.weight_gradient(m, k, n)):
        done = product.times * math.prod(product.a.shape) * product.b.shape[1]
        assert 0.95 * m * k * n <= done <= m * k * n


def test_a_child_prepares_times_and_reports_its_memory(child):
    child.ask(do="step", recipe=NETWORKS["000-toy"].recipe().to_json())
    assert 0 < child.ask(do="time", seconds=0.01)["median"] < 1
    child.ask(do="inference", recipe=NETWORKS["000-toy"].recipe().to_json(), batch_size=2)
    assert child.ask(do="memory")["bytes"] > 2**20


def test_a_child_says_why_it_cannot(child):
    with pytest.raises(Failed, match="ValueError: there is no such request"):
        child.ask(do="sing")
    recipe = {**NETWORKS["000-toy"].recipe().to_json(), "layers": [{"type": "Wavelet"}]}
    with pytest.raises(Failed, match=r"portanet\.Wavelet' is unknown"):
        child.ask(do="step", recipe=recipe)


def test_a_child_that_takes_too_long_is_ended():
    with Child("floor", "cpu", 1) as child:
        child.ask(do="step", recipe=NETWORKS["000-toy"].recipe().to_json())
        begun = perf_counter()
        with pytest.raises(Failed, match=r"took more than 0\.2 s"):
            child.ask(0.2, do="time", seconds=60)
        assert perf_counter() - begun < 30
        with pytest.raises(Failed, match=r"its process ended: see python -m bench\.peers\.child floor"):
            child.ask(do="memory")


def test_errors_are_told_in_a_line():
    assert in_a_line(ModuleNotFoundError("No module named 'jax'", name="jax")) == "jax is not installed"
    assert in_a_line(Unfit("no such layers")) == "no such layers"
    assert in_a_line(ValueError("two\nlines")) == "ValueError: two lines"


def test_a_network_that_diverged_is_not_timed():
    with pytest.raises(FloatingPointError, match="diverged"):
        time(lambda: np.float32("nan"), 0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count the memory otherwise")
def test_peak_memory_is_this_process_own_grows_and_stays():
    here = np.ones(2**28, np.uint8)
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
    assert before < here.nbytes  # Linux adds up what each core counted now and then, so some pages may be missing
    assert during - before > 0.9 * 2**26
    assert after > during - 0.1 * 2**26


def test_scikit_learn_gets_the_same_layers():
    pytest.importorskip("sklearn", reason="is the competitor")
    from bench.peers import sklearn

    model, *_ = sklearn._begun(NETWORKS["004-mlp"].recipe())
    assert [weights.shape for weights in model.coefs_] == [(784, 300), (300, 10)]
    assert model.activation == "relu"
    assert model.solver == "adam"
    assert float(sklearn.step(NETWORKS["001-ae-usps"].recipe(), "cpu")()) > 0
    assert sklearn.inference(NETWORKS["003-logistic"].recipe(), "cpu", 7)().shape == (7, 10)
    for id in ("004-cnn", "000-toy-softmax"):
        with pytest.raises(Unfit, match="no such layers"):
            sklearn.step(NETWORKS[id].recipe(), "cpu")


def test_every_contender_names_a_file_and_a_library_that_can_be_measured():
    assert {c.library for name, c in COMPETITORS.items() if name != "floor"} == costs.DISTRIBUTIONS.keys()
    folder = floor.__file__.rpartition("floor.py")[0]
    for competitor in COMPETITORS.values():
        with open(f"{folder}{competitor.module}.py") as file:
            source = file.read()
        assert "\ndef step(" in source
        assert "\ndef inference(" in source


def test_costs_count_what_a_library_requires():
    settings = costs.Settings(rounds=1)
    measured = costs.costs("portanet", settings)
    assert measured["requires"] == ["array-api-compat", "numpy", "safetensors"]
    assert measured["installed"] > 10 * 2**20
    assert 0 < measured["import"] < measured["first_step"]
    json.dumps(measured)


def test_a_library_that_does_not_start_is_left_out_of_the_costs(monkeypatch, capsys):
    def measured(library, settings):
        if library == "portanet":
            raise Failed("its process ended")
        return {"import": 0.1}

    monkeypatch.setattr(costs, "costs", measured)
    assert "portanet" not in costs.all_costs(costs.Settings(), str)
    assert capsys.readouterr().err == "bench: costs of portanet cannot be measured: its process ended\n"
