"""Frozen layers: weights and statistics stay, and no gradient is computed for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.engine import train_step
from portanet.typing import Pullback
from tests.cases import OPTIMIZERS, linear

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)), rng.normal(size=(16, 2))
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)


def a_net(device: Backend | None = None) -> pn.Sequential:
    net = pn.Sequential(pn.Linear(4, 5), pn.BatchNorm(5), pn.TanH(), pn.Linear(5, 2))
    return net.initialize(seed=1, device=device, dtype="float64")


def train(net: pn.Layer, optimizer: pn.Optimizer, **settings: Any) -> pn.Trainer:
    trainer = pn.Trainer(net, pn.MSELoss(), optimizer)
    trainer.fit(X, Y, epochs=2, batch_size=4, progress=False, **settings)
    return trainer


def changed(net: pn.Layer, before: dict[str, np.ndarray]) -> set[str]:
    return {name for name, values in net.get_weights().items() if (values != before[name]).any()}


@pytest.mark.filterwarnings("ignore:LBFGS needs all 16 examples")
@optimizers
@pytest.mark.parametrize("capture", ["auto", "never"])
def test_a_frozen_layer_keeps_its_weights_under_every_optimizer(
    backend: Backend, optimizer: pn.Optimizer, capture: Literal["auto", "never"]
) -> None:
    net = a_net(backend)
    net[0].freeze()
    before = net.get_weights()
    train(net, optimizer, capture=capture)
    assert changed(net, before) == {
        "1.weight", "1.bias", "1.running_mean", "1.running_var", "3.weight", "3.bias",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:LBFGS needs all 16 examples")
@optimizers
def test_weights_stay_when_a_layer_is_frozen_after_some_steps(optimizer: pn.Optimizer) -> None:
    """Momentum that was gathered before must not move them."""
    net = a_net()
    trainer = train(net, optimizer)
    net[0].freeze()
    before = net.get_weights()
    trainer.fit(X, Y, batch_size=4, progress=False)
    assert not {"0.weight", "0.bias"} & changed(net, before)
    net[0].unfreeze()
    trainer.fit(X, Y, batch_size=4, progress=False)
    assert {"0.weight", "0.bias"} <= changed(net, before)


def test_freezing_a_network_freezes_all_inside_and_unfreezing_undoes_it(backend: Backend) -> None:
    net = a_net(backend).freeze()
    before = net.get_weights()
    assert net.frozen
    assert all(layer.frozen for layer in net)
    with pytest.warns(UserWarning, match="all parameters are frozen: training changes none of them"):
        train(net, pn.SGD(0.1, momentum=0.9, weight_decay=0.1))
    assert changed(net, before) == set()
    net.unfreeze()
    assert not any(layer.frozen for layer in net)
    train(net, pn.SGD(0.1))
    assert changed(net, before) == set(before)


def test_a_frozen_batch_norm_uses_its_running_statistics_in_training(backend: Backend) -> None:
    net = pn.Sequential(pn.BatchNorm(4)).initialize(device=backend, dtype="float64")
    net.set_weights({**net.get_weights(), "0.running_mean": np.arange(4.0), "0.running_var": np.arange(1.0, 5.0)})
    net[0].freeze()
    before, x = net.get_weights(), net.asarray(X)
    with backend.activate():
        y, pullback = net.vjp(x, train=True)
        dx = pullback(x)
    np.testing.assert_allclose(
        backend.to_numpy(y), (X - np.arange(4.0)) / np.sqrt(np.arange(1.0, 5.0) + 1e-5), rtol=1e-12
    )
    np.testing.assert_allclose(backend.to_numpy(dx), X / np.sqrt(np.arange(1.0, 5.0) + 1e-5), rtol=1e-12)
    assert changed(net, before) == set()
    assert not backend.to_numpy(net.flat.grad).any()


@pytest.mark.parametrize("form", ["network", "program"])
def test_clipping_counts_trained_parameters_only(form: str) -> None:
    def clipped() -> pn.SGD:
        return pn.SGD(1.0, clip_norm=1e-3)

    net = pn.Sequential(pn.Linear(4, 5), pn.TanH(), pn.Linear(5, 2)).initialize(seed=1, dtype="float64")
    head = pn.Sequential(pn.Linear(5, 2)).initialize(dtype="float64")
    weights = net.get_weights()
    head.set_weights({"0.weight": weights["2.weight"], "0.bias": weights["2.bias"]})
    features = net[:2](X)
    net.flat.grad[...] = 1e6  # of a step before
    net[0].freeze()
    for model, x in ((net, X), (head, features)):
        optimizer = clipped().bind(model)
        run = pn.engine.compiled(model) if form == "program" else model
        for _ in range(3):
            train_step(run, pn.MSELoss(), optimizer, x, Y)
    np.testing.assert_allclose(linear(net, 2).weight.data, linear(head, 0).weight.data, rtol=1e-12)


class NoPullback(pn.Linear):
    """Fails where its gradient is asked for."""

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> None:
            raise AssertionError("this gradient is not needed")

        return super().vjp(x, train=train)[0], pullback


@pytest.mark.parametrize("form", ["network", "program"])
def test_layers_below_the_first_trained_one_are_not_pulled_back(form: str) -> None:
    net = pn.Sequential(pn.Sequential(NoPullback(4, 4), pn.TanH()), NoPullback(4, 3), pn.Linear(3, 2), pn.Linear(2, 2))
    net.initialize(dtype="float64")
    net[:3].freeze()
    net[2].unfreeze()
    before = net.get_weights()
    train_step(pn.engine.compiled(net) if form == "program" else net, pn.MSELoss(), pn.SGD(0.1).bind(net), X, Y)
    assert changed(net, before) == {"2.weight", "2.bias", "3.weight", "3.bias"}


def test_a_frozen_layer_between_trained_ones_passes_the_gradient_on(backend: Backend) -> None:
    both = [a_net(backend) for _ in range(2)]
    both[0][3].freeze()
    before = both[0].get_weights()
    for net in both:
        train_step(net, pn.MSELoss(), pn.SGD(0.1).bind(net), net.asarray(X), net.asarray(Y))
    assert not {"3.weight", "3.bias"} & changed(both[0], before)
    np.testing.assert_array_equal(both[0].get_weights()["0.weight"], both[1].get_weights()["0.weight"])


@pytest.mark.parametrize("inside", [pn.Residual, pn.Parallel, lambda f: pn.AutoEncoder(f, pn.Linear(4, 4))])
def test_frozen_layers_inside_composed_layers_stay(inside: Callable[[pn.Layer], pn.Layer]) -> None:
    net = pn.Sequential(pn.Linear(4, 4), inside(pn.Sequential(pn.Linear(4, 4), pn.TanH())), pn.Linear(4, 2))
    net.initialize(dtype="float64")
    frozen = next(net[1].named_children())[1].freeze()
    before = net.get_weights()
    train(net, pn.Adam(0.1, weight_decay=0.1))
    names = {name for name, p in net.named_parameters() if any(p is q for q in frozen.parameters())}
    assert len(names) == 2
    assert changed(net, before) == before.keys() - names


def test_frozen_layers_are_frozen_in_copies_and_files(tmp_path: Path) -> None:
    import copy
    import pickle

    net = a_net()
    net[1].freeze()
    net.save(tmp_path / "net")
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), pn.load(tmp_path / "net")):
        assert isinstance(twin, pn.Sequential)
        assert [layer.frozen for layer in twin] == [False, True, False, False]
        before = twin.get_weights()
        train(twin, pn.SGD(0.1, weight_decay=0.1))
        assert changed(twin, before) == {"0.weight", "0.bias", "3.weight", "3.bias"}


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("trainable", r"call freeze\(\) or unfreeze\(\)"),
        ("requires_grad", r"call freeze\(\) or unfreeze\(\)"),
        ("training", r"give vjp\(x, train=\.\.\.\): there is no mode"),
    ],
)
@pytest.mark.parametrize("layer", [pn.Linear(4, 2), pn.Sequential(pn.ReLU()), pn.BatchNorm(3)], ids=repr)
def test_switches_of_other_libraries_are_refused_with_the_fix(layer: pn.Layer, name: str, fix: str) -> None:
    with pytest.raises(AttributeError, match=rf"'{name}' of {type(layer).__name__} cannot be set: {fix}"):
        setattr(layer, name, False)


def test_frozen_is_changed_by_freeze_alone() -> None:
    with pytest.raises(AttributeError):
        pn.Linear(4, 2).frozen = True  # type: ignore[misc]


def test_what_is_added_to_a_frozen_layer_is_frozen() -> None:
    layer = pn.Linear(4, 3).freeze()
    layer.weight = pn.Parameter((4, 3), pn.initializers.ones)
    assert layer.weight.frozen
    net = pn.Sequential(pn.Linear(4, 3)).freeze()
    net.append(pn.Linear(3, 3))
    assert net[1].frozen
    assert all(parameter.frozen for parameter in net.parameters())
