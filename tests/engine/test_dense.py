"""Segments of Linear layers and activations compute what the layers compute."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.engine import compiled

X = np.random.default_rng(0).normal(size=(6, 4))


class Mine(pn.Linear):
    """A Linear layer that could compute something else."""


class Cubic(pn.Activation):
    """An activation of a user's own."""

    def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
        return x * x * x, lambda: 3 * x * x


class Doubled(pn.TanH):
    """An activation with a pullback of its own."""

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
        y, pullback = super().vjp(x, train=train)
        return 2 * y, lambda dy, **need: pullback(2 * dy, **need)


def tied() -> list[pn.Layer]:
    first, second = pn.Linear(4, 4), pn.Linear(4, 4)
    second.weight = first.weight
    return [first, pn.TanH(), second, pn.Linear(4, 2)]


NETS: dict[str, tuple[Callable[[], list[pn.Layer]], str]] = {
    "dense": (lambda: [pn.Linear(4, 3), pn.TanH(), pn.Linear(3, 2)], "<Linear TanH Linear>"),
    "without bias": (lambda: [pn.Linear(4, 3, bias=False), pn.ReLU(), pn.Sigmoid()], "<Linear ReLU> Sigmoid"),
    "activation first": (lambda: [pn.TanH(), pn.Linear(4, 3), Cubic()], "TanH <Linear Cubic>"),
    "dropout between": (
        lambda: [pn.Linear(4, 3), pn.ELU(), pn.Dropout(0.5), pn.Linear(3, 2), pn.Softmax()],
        "<Linear ELU> Dropout <Linear> Softmax",
    ),
    "nested": (
        lambda: [pn.Sequential(pn.Linear(4, 3), pn.Sequential(pn.GELU())), pn.Linear(3, 2)],
        "<Linear GELU Linear>",
    ),
    "subclass": (lambda: [pn.Linear(4, 4), Mine(4, 3), pn.TanH(), pn.Linear(3, 2)], "<Linear> Mine TanH <Linear>"),
    "own pullback": (lambda: [pn.Linear(4, 4), Doubled(), pn.Linear(4, 3)], "<Linear> Doubled <Linear>"),
    "frozen": (lambda: [pn.Linear(4, 3).freeze(), pn.TanH(), pn.Linear(3, 2)], "Linear TanH <Linear>"),
    "used twice": (
        lambda: [again := pn.Linear(4, 4), pn.TanH(), again, pn.Linear(4, 2)],
        "Linear TanH Linear <Linear>",
    ),
    "tied": (tied, "Linear TanH Linear <Linear>"),
    "in a residual block": (lambda: [pn.Residual(pn.Linear(4, 4)), pn.Linear(4, 3)], "Residual <Linear>"),
}


def described(net: pn.Layer) -> str:
    def name(part: Any) -> str:
        names = " ".join(type(layer).__name__ for layer in getattr(part, "layers", [part]))
        return f"<{names}>" if type(part).__name__ == "DenseSegment" else names

    return " ".join(map(name, compiled(net).layers))


@pytest.mark.parametrize(("build", "expected"), NETS.values(), ids=NETS)
def test_segments_hold_linear_layers_that_nothing_else_uses(build: Callable[[], list[pn.Layer]], expected: str) -> None:
    assert described(pn.Sequential(*build()).initialize()) == expected


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (0, 4)], ids=str)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("build", [build for build, _ in NETS.values()], ids=NETS)
def test_outputs_and_gradients_are_those_of_the_layers(
    backend: Backend, build: Callable[[], list[pn.Layer]], train: bool, shape: tuple[int, ...]
) -> None:
    net = pn.Sequential(*build()).initialize(seed=1, device=backend, dtype="float64")
    x = net.asarray(np.resize(X, shape))
    found = []
    for prepare in (lambda net: net, compiled):
        runnable = prepare(net.initialize(seed=1))  # Dropout draws the same again
        with backend.activate():
            for need_dx, need_grads in ((True, True), (False, True), (True, False)):
                net.flat.grad[...] = 7.0  # of a step before
                runnable.zero_grad()
                y, pullback = runnable.vjp(x, train=train)
                dx = pullback(y, need_dx=need_dx, need_grads=need_grads)
                assert (dx is None) == (not need_dx)
                found += [y, *([dx] if need_dx else []), *([net.flat.grad + 0.0] if need_grads else [])]
            found.append(runnable.forward(x))
    half = len(found) // 2
    for expected, ours in zip(found[:half], found[half:], strict=True):
        np.testing.assert_allclose(backend.to_numpy(ours), backend.to_numpy(expected), rtol=1e-12, atol=1e-12)


def test_an_input_that_the_first_layer_refuses_is_refused() -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.TanH(), pn.Linear(3, 2)).initialize()
    for x, message in (
        (np.ones((6, 5), "float32"), r"needs x of shape \(N, ..., 4\), got \(N, 5\)"),
        (np.ones(4, "float32"), r"needs x of shape \(N, ..., 4\), got \(N,\)"),
        (np.ones((6, 4)), "x has dtype float64 but the weights have float32"),
    ):
        for call in (net, compiled(net).vjp):
            with pytest.raises(ValueError, match=message):
                call(x)


def test_layers_that_do_not_fit_one_another_are_refused_as_without_segments() -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.Linear(5, 2)).initialize()
    with pytest.raises(ValueError, match=r"Linear\(5, 2\) needs x of shape \(N, ..., 5\), got \(N, 3\)"):
        net(X.astype("float32"))


def test_a_gradient_of_another_dtype_is_cast() -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.TanH()).initialize()
    y, pullback = compiled(net).vjp(X.astype("float32"))
    assert pullback(np.ones(y.shape)).dtype == np.float32


MOVES: dict[str, Callable[[pn.Sequential], Any]] = {
    "drawn anew": lambda net: net.initialize(seed=5),
    "of another dtype": lambda net: net.to(dtype="float64"),
    "in another network": lambda net: pn.Sequential(pn.Linear(2, 4), net).initialize(seed=5),
    "by a layer": lambda net: net[0].to(dtype="float64").to(dtype="float32").weight.data.fill(3.0),  # type: ignore[attr-defined]
    "assigned": lambda net: setattr(net[0], "weight", pn.Linear(4, 3).initialize(seed=5).weight),
    "without bias": lambda net: setattr(net[0], "bias", None),
    "assigned in place": lambda net: net[0].weight.data.fill(3.0),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_weights_that_have_moved_are_looked_up_again(move: Callable[[pn.Sequential], Any]) -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.TanH(), pn.Linear(3, 2)).initialize()
    before = net.predict(X)
    move(net)
    x = net.asarray(X)
    assert not np.array_equal(net.predict(X), before) or net[0].bias is None  # type: ignore[attr-defined]
    np.testing.assert_allclose(net.predict(X), net.forward(x), rtol=1e-5)
    y, pullback = compiled(net).vjp(x)
    pullback(y)
    for layer in (net[0], net[2]):
        assert layer.weight.grad.any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_of_the_former_dtype_are_cast_after_a_move(dtype: str) -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.TanH()).initialize()
    net.predict(X)
    pn.Sequential(net).to(dtype="float64")
    x = X.astype(dtype)
    assert net.predict(x).dtype == net.asarray(x).dtype == np.float64
    np.testing.assert_array_equal(net.predict(x), net(x.astype("float64")))


def test_a_prediction_shares_no_memory_with_its_input() -> None:
    x = X.astype("float32")
    net = pn.Sequential(pn.Linear(4, 3), pn.Flatten()).initialize()
    for layers in (net, pn.Sequential(pn.Flatten()), pn.Flatten()):
        assert not np.shares_memory(layers.predict(x), x)


def test_the_parameter_of_an_activation_may_change() -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.LeakyReLU(0.1)).initialize()
    before = net.predict(X)
    net[1].negative_slope = 0.5
    assert not np.array_equal(net.predict(X), before)
