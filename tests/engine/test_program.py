"""When a network's program is made anew, and what it computes beside layers that it knows nothing of."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.engine import Program, compiled, train_step
from portanet.typing import Pullback


def a_net() -> pn.Sequential:
    return pn.Sequential(pn.Linear(4, 3), pn.BatchNorm(3), pn.TanH(), pn.Linear(3, 2)).initialize(seed=1)


X, Y = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")
Y = Y[:, :2]


def test_a_program_is_kept_while_layers_and_device_stay() -> None:
    net = a_net()
    program = compiled(net)
    trainer = pn.Trainer(net, pn.MSELoss(), pn.Adam())
    trainer.fit(X, Y, epochs=2, progress=False)
    net.predict(X)
    net(X)
    net.set_weights(net.get_weights())
    assert compiled(net) is program


def insert(net: pn.Sequential) -> None:
    net.layers.insert(2, pn.Linear(3, 3))


def replace(net: pn.Sequential) -> None:
    net.layers[2] = pn.ReLU()


def append_inside(net: pn.Sequential) -> None:
    net.layers[2] = inner = pn.Sequential()
    compiled(net)
    inner.append(pn.ReLU())


CHANGES = {
    "append": lambda net: net.append(pn.Sigmoid()),
    "pop": lambda net: net.pop(),
    "insert": insert,
    "replace": replace,
    "append inside": append_inside,
    "freeze": lambda net: net[0].freeze(),
    "device": lambda net: net.to("strict"),
}


@pytest.mark.strict
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_program_is_made_anew_when_layers_or_the_device_change(change: Callable[..., Any]) -> None:
    pytest.importorskip("array_api_strict")
    net = a_net()
    net(X)
    program = compiled(net)
    change(net)
    assert compiled(net) is not program
    assert compiled(net) is compiled(net)
    to_numpy = net.backend.to_numpy
    x = net.asarray(X)
    with net.backend.activate():
        np.testing.assert_allclose(to_numpy(net(x)), to_numpy(net.forward(x)), rtol=1e-5)


def test_a_program_dies_with_its_network() -> None:
    import gc
    import weakref

    net = a_net()
    program = weakref.ref(compiled(net))
    del net
    gc.collect()
    assert program() is None


class ByHand(pn.Layer):
    """Scales its input and writes its gradient without ``accumulate``."""

    def __init__(self, features: int):
        self.features = features
        self.weight = pn.Parameter((features,), pn.initializers.ones)

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        w = self.weight.data

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                self.weight.grad += pn.namespace(x).sum(x * dy, axis=0)
            return dy * w if need_dx else None

        return x * w, pullback


class HandMade(pn.Layer):
    """Runs a known layer and scales its output, with both gradients written by hand."""

    def __init__(self, features: int):
        self.features = features
        self.inner = pn.Linear(features, features, bias=False)

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        xp, w = pn.namespace(x), self.inner.weight

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                w.grad += xp.matmul(xp.matrix_transpose(x), dy)
            return xp.matmul(dy, xp.matrix_transpose(w.data)) if need_dx else None

        return xp.matmul(x, w.data), pullback


MIXED = {
    "first": lambda: [ByHand(4), pn.Linear(4, 2)],
    "between": lambda: [pn.Linear(4, 3), ByHand(3), pn.TanH(), pn.Linear(3, 2)],
    "nested": lambda: [pn.Linear(4, 3), pn.Sequential(ByHand(3), pn.Residual(ByHand(3))), pn.Linear(3, 2)],
    "with a known layer inside": lambda: [pn.Linear(4, 3), HandMade(3), pn.Linear(3, 2)],
    "twice": lambda: [pn.Linear(4, 3), hand := ByHand(3), pn.TanH(), hand, pn.Linear(3, 2)],
}


@pytest.mark.parametrize("build", MIXED.values(), ids=MIXED)
def test_gradients_written_by_hand_are_right_beside_known_layers(backend: Backend, build: Callable[..., Any]) -> None:
    nets = [pn.Sequential(*build()).initialize(seed=1, device=backend, dtype="float64") for _ in range(2)]
    for net, run in zip(nets, (compiled(nets[0]), nets[1]), strict=True):
        assert isinstance(run, Program if net is nets[0] else pn.Sequential)
        optimizer = pn.SGD(0.1).bind(net)
        net.flat.grad[...] = 1e6
        with backend.activate():
            for _ in range(3):
                train_step(run, pn.MSELoss(), optimizer, net.asarray(X), net.asarray(Y))
    for name, values in nets[0].get_weights().items():
        np.testing.assert_allclose(values, nets[1].get_weights()[name], rtol=1e-12, atol=1e-13, err_msg=name)


TRAIN = """
import sys, hashlib, numpy as np, portanet as pn
rng = np.random.default_rng(0)
images, labels = rng.normal(size=(40, 12, 12, 1)), np.arange(40) % 3
nets = {
    "dense": pn.Sequential(pn.Flatten(), pn.Linear(144, 30), pn.ReLU(), pn.Dropout(0.2), pn.Linear(30, 3)),
    "convolutional": pn.Sequential(
        pn.Conv2D(1, 4, 3), pn.ReLU(), pn.MaxPool2D(2), pn.BatchNorm(4), pn.Conv2D(4, 4, 3), pn.TanH(),
        pn.MaxPool2D(3), pn.Flatten(), pn.Linear(4, 3),
    ),
}
for name, net in nets.items():
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), device="cpu")
    trainer.fit(images, labels, epochs=2, batch_size=16, progress=False)
    print(name, hashlib.sha256(net.flat.data.tobytes()).hexdigest())
"""


def test_on_plain_numpy_training_without_the_engine_gives_the_same_bits() -> None:
    runs = []
    for disabled in ("", "engine"):
        # The compiled kernels round dense layers in another way than products and activations one by one.
        environment = {**os.environ, "PORTANET_CORE": "0", "OMP_NUM_THREADS": "1", "PORTANET_DISABLE": disabled}
        command = [sys.executable, "-c", TRAIN]
        runs.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    default, without = (run.communicate()[0].splitlines() for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert len(default) == 2
    assert default == without


class Tied(pn.Layer):
    """A layer that PortaNet knows nothing of, with the weight of another one."""

    def __init__(self, other: pn.Linear):
        self.other, self.weight = other, other.weight

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                self.weight.grad += x.T @ dy
            return dy @ self.weight.data.T

        return x @ self.weight.data, pullback


def gradients_of_both(net: pn.Layer) -> list[np.ndarray]:
    """The gradient of the sum of the outputs, from the program and from the network."""
    found = []
    for runnable in (compiled(net), net):
        net.flat.grad[...] = 1e6  # of a step before
        runnable.zero_grad()
        y, pullback = runnable.vjp(X)
        pullback(np.ones_like(y))
        found.append(net.flat.grad.copy())
    return found


def test_a_weight_shared_with_an_unknown_layer_keeps_both_gradients() -> None:
    linear = pn.Linear(4, 4)
    ours, theirs = gradients_of_both(pn.Sequential(linear, Tied(linear)).initialize(seed=0))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_layer_unfrozen_within_a_frozen_block_is_trained() -> None:
    last = pn.Linear(4, 3)
    block = pn.Sequential(pn.Linear(4, 4), pn.ReLU(), last)
    net = pn.Sequential(pn.Linear(4, 4), block).initialize(seed=0)
    block.freeze()
    last.unfreeze()
    ours, theirs = gradients_of_both(net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # they sum the rows in different orders
    assert np.abs(last.weight.grad).max() > 0


def test_a_pullback_to_the_input_alone_leaves_gradients() -> None:
    net = a_net()
    ours, _ = gradients_of_both(net)
    compiled(net).zero_grad()
    y, pullback = compiled(net).vjp(X)
    pullback(np.ones_like(y))
    before = net.flat.grad.copy()
    y, pullback = compiled(net).vjp(X)
    pullback(np.ones_like(y), need_grads=False)
    np.testing.assert_array_equal(net.flat.grad, before)
    np.testing.assert_array_equal(before, ours)
