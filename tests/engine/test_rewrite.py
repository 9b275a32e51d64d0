"""Which layers are moved and unfolded before a network is run, and what may be assumed of a layer."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.engine import rewrite, traits
from portanet.engine.program import Program
from portanet.engine.traits import Traits, traits_of


class MyReLU(pn.ReLU):
    """A subclass that may compute something else."""


class MySequential(pn.Sequential):
    """A subclass that may do more than run its layers."""


RELU, TANH, GELU, POOL = pn.ReLU(), pn.TanH(), pn.GELU(), pn.MaxPool1D(2)
CONV, DROPOUT = pn.Conv1D(1, 2, 3), pn.Dropout()

CASES = {
    "activation before pooling": ([CONV, RELU, POOL], [CONV, POOL, RELU]),
    "several activations": ([RELU, TANH, POOL], [RELU, POOL, TANH]),
    "two blocks": ([CONV, RELU, POOL, CONV, TANH, POOL], [CONV, POOL, RELU, CONV, POOL, TANH]),
    "pooling first": ([POOL, RELU], [POOL, RELU]),
    "pooling alone": ([POOL], [POOL]),
    "something between": ([RELU, DROPOUT, POOL], [RELU, DROPOUT, POOL]),
    "average pooling": ([RELU, avg := pn.AvgPool1D(2)], [RELU, avg]),
    "GELU falls somewhere": ([GELU, POOL], [GELU, POOL]),
    "subclass": ([own := MyReLU(), POOL], [own, POOL]),
    "nested": ([pn.Sequential(CONV, pn.Sequential(RELU)), pn.Sequential(POOL)], [CONV, POOL, RELU]),
    "auto-encoder": ([pn.AutoEncoder(pn.Sequential(CONV, RELU), POOL)], [CONV, POOL, RELU]),
    "unknown container": ([chain := MySequential(RELU, POOL)], [chain]),
    "other containers": ([branches := pn.Parallel(pn.Sequential(RELU, POOL))], [branches]),
    "nothing": ([pn.Sequential()], []),
}


@pytest.mark.parametrize(("layers", "rewritten"), CASES.values(), ids=CASES)
def test_layers_are_unfolded_and_pooling_moves_forward(layers: list[Any], rewritten: list[Any]) -> None:
    before = list(layers)
    result = rewrite(layers)
    assert len(result) == len(rewritten)
    assert all(one is other for one, other in zip(result, rewritten, strict=True))
    assert layers == before


def test_a_rewritten_network_gives_the_same_numbers(backend: Backend) -> None:
    net = pn.Sequential(
        *(pn.Conv2D(1, 2, 3), pn.Sequential(pn.ReLU(), pn.MaxPool2D(2)), pn.TanH(), pn.MaxPool2D(2, 1)),
        *(pn.Flatten(), pn.Linear(32, 2)),
    ).initialize(seed=1, device=backend, dtype="float64")
    x = net.asarray(np.random.default_rng(0).normal(size=(3, 12, 12, 1)))

    def passed(run: Program | pn.Sequential) -> list[np.ndarray]:
        net.zero_grad()
        with backend.activate():
            y, pullback = run.vjp(x)
            dx = pullback(y)
        return [np.array(backend.to_numpy(a)) for a in (y, dx, net.flat.grad)]

    assert [type(layer) for layer in rewrite([net])[1:5]] == [pn.MaxPool2D, pn.ReLU, pn.MaxPool2D, pn.TanH]
    for ours, expected in zip(passed(pn.engine.compiled(net)), passed(net), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_a_subclass_has_no_traits_until_they_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "_TABLE", dict(traits._TABLE))
    assert traits_of(RELU) == Traits(elementwise_monotonic=True)
    assert traits_of(MyReLU()) == Traits()
    traits.register(MyReLU, Traits(elementwise_monotonic=True))
    assert [type(layer) for layer in rewrite([MyReLU(), POOL])] == [pn.MaxPool1D, MyReLU]


def test_registered_traits_hold_for_networks_that_have_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "_TABLE", dict(traits._TABLE))
    net = pn.Sequential(MyReLU(), POOL).initialize()
    program = pn.engine.compiled(net)
    traits.register(MyReLU, Traits(elementwise_monotonic=True))
    assert pn.engine.compiled(net) is not program
