"""The interface of the courses: its names, used as a student's script uses them."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import course
from portanet.backends import Backend, backend_of
from portanet.testing import central_difference
from tests.cases import away_from_zero, linear, rows

METHODS = {"forward", "zero_grad", "backward_update_gradient", "backward_delta", "update_parameters"}
X, SIGNALS, IMAGES = away_from_zero(5, 4), away_from_zero(2, 7, 4), away_from_zero(2, 5, 4, 4)
SHARES = rows(np.random.default_rng(1).uniform(0.1, 1, size=(5, 4)))
MODULES = [
    (course.Linear(4, 3), X),
    (course.Linear(4, 3, bias=False), X),
    *((kind(), X) for kind in (course.TanH, course.Sigmoid, course.Softmax, course.ReLU)),
    (course.Conv1D(4, 2, 3), SIGNALS),
    (course.MaxPool1D(2, 2), SIGNALS),
    (course.AvgPool1D(2, 2), SIGNALS),
    (course.Conv2D(4, 2, 3), IMAGES),
    (course.MaxPool2D(2, 2), IMAGES),
    (course.AvgPool2D(2, 2), IMAGES),
    (course.Flatten(), IMAGES),
    (course.Sequential(course.Linear(4, 4), course.TanH(), course.Linear(4, 2), course.Softmax()), X),
    (course.Sequential(course.Linear(4, 4), course.Sequential(pn.Dropout(0.5), pn.BatchNorm(4)), pn.GELU()), X),
]
LOSSES = [
    (course.MSELoss(), X, away_from_zero(5, 4)),
    (course.BCE(), SHARES, np.abs(np.sign(X - SHARES)) * SHARES[::-1]),
    (course.CrossEntropy(), SHARES, np.asarray([0, 3, 1, 1, 2])),
    (course.CrossEntropy(), SHARES, np.eye(4)[[0, 3, 1, 1, 2]]),
    (course.LogSoftmaxCrossEntropy(), X, np.asarray([0, 3, 1, 1, 2])),
]

modules = pytest.mark.parametrize(("module", "x"), MODULES, ids=[repr(module) for module, _ in MODULES])
losses = pytest.mark.parametrize(("loss", "yhat", "y"), LOSSES, ids=[f"{loss!r}-{y.ndim}d" for loss, _, y in LOSSES])

POINTS = np.random.default_rng(0).normal(size=(5, 4))
SIGNS = np.asarray([[1], [1], [-1], [-1], [-1]])


def toy(seed: int = 0) -> course.Sequential:
    return course.Sequential(course.Linear(4, 4), course.Linear(4, 1), course.TanH()).to(seed=seed)


def gradients(module: course.Module) -> dict[str, np.ndarray]:
    backend = module.flat.backend
    return {name: np.array(backend.to_numpy(p.grad)) for name, p in module.named_parameters()}


def test_the_names_are_those_of_portanet() -> None:
    assert course.KMeans is pn.KMeans
    kinds = {name: getattr(course, name) for name in course.__all__}
    for base, theirs in ((course.Module, pn.Layer), (course.Loss, pn.Loss)):
        for name, kind in kinds.items():
            if issubclass(kind, base) and kind is not base:
                assert issubclass(kind, theirs)
                assert issubclass(
                    kind,
                    getattr(
                        pn,
                        {"BCE": "BCELoss", "LogSoftmaxCrossEntropy": "CrossEntropyLoss", "CrossEntropy": "Loss"}.get(
                            name, name
                        ),
                    ),
                )


def test_every_module_and_loss_is_tested_here() -> None:
    kinds = [getattr(course, name) for name in course.__all__]
    for base, cases in ((course.Module, MODULES), (course.Loss, LOSSES)):
        assert {type(case[0]) for case in cases} == {kind for kind in kinds if issubclass(kind, base)} - {base}


@modules
def test_every_module_answers_to_the_five_methods(backend: Backend, module: pn.course.Module, x: Any) -> None:
    module.initialize(seed=0, device=backend, dtype="float64")
    dy = np.random.default_rng(0).normal(size=module.forward(x).shape)

    def value(x: np.ndarray) -> float:
        return float(np.sum(backend.to_numpy(module.forward(x)) * dy))

    module.zero_grad()
    assert module.backward_update_gradient(x, dy) is None  # type: ignore[func-returns-value]
    found = gradients(module)
    dx = backend.to_numpy(module.backward_delta(x, dy))
    np.testing.assert_allclose(dx, central_difference(value, x), rtol=1e-6, atol=1e-8)
    for name, parameter in module.named_parameters():
        before = np.array(backend.to_numpy(parameter.data))

        def value_with(w: np.ndarray, data: Any = parameter.data) -> float:
            data[...] = backend.asarray(w.copy())
            return value(x)

        np.testing.assert_allclose(found[name], central_difference(value_with, before), rtol=1e-6, atol=1e-8)
        value_with(before)
    weights = module.get_weights()
    module.update_parameters(0.5)
    for name, gradient in gradients(module).items():
        np.testing.assert_array_equal(gradient, found[name], err_msg="backward_delta adds to no gradient")
        np.testing.assert_array_equal(module.get_weights()[name], weights[name] - 0.5 * gradient)
    module.backward_update_gradient(x, dy)
    module.zero_grad()
    assert not any(gradient.any() for gradient in gradients(module).values())
    assert set(dir(course.Module)) > METHODS


@modules
def test_gradients_add_up(module: pn.course.Module, x: Any) -> None:
    module.initialize(seed=0, dtype="float64").zero_grad()
    dy = module.forward(x)
    module.backward_update_gradient(x, dy)
    once = gradients(module)
    module.backward_update_gradient(x, dy)
    for name, gradient in gradients(module).items():
        np.testing.assert_allclose(gradient, 2 * once[name], rtol=1e-15)


@losses
def test_a_loss_gives_one_cost_an_example_and_the_gradient_of_their_sum(
    backend: Backend, loss: pn.course.Loss, yhat: Any, y: Any
) -> None:
    def value(yhat: np.ndarray) -> float:
        return float(np.sum(backend.to_numpy(loss.forward(backend.asarray(yhat), y))))

    costs = backend.to_numpy(loss.forward(backend.asarray(yhat), y))
    assert costs.shape == (5,)
    each = [
        float(backend.to_numpy(loss(backend.asarray(yhat[i : i + 1]), backend.asarray(y[i : i + 1])))) for i in range(5)
    ]
    np.testing.assert_allclose(costs, each, rtol=1e-12)
    delta = backend.to_numpy(loss.backward(backend.asarray(yhat), y))
    np.testing.assert_allclose(delta, central_difference(value, yhat), rtol=1e-6, atol=1e-8)


def test_squared_error_is_that_of_the_report() -> None:
    yhat, y = np.asarray([[1, 2], [3, 4]]), np.asarray([[0.5, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(course.MSELoss().forward(yhat, y), np.linalg.norm(y - yhat, axis=1) ** 2)
    np.testing.assert_array_equal(course.MSELoss().backward(yhat, y), 2 * (yhat - y))
    np.testing.assert_array_equal(course.MSELoss().backward(y=y, yhat=yhat), 2 * (yhat - y))


def test_a_target_of_another_shape_is_refused() -> None:
    loss = course.MSELoss()
    for method in (loss.forward, loss.backward):
        with pytest.raises(
            ValueError, match=r"target must have shape \(5, 1\) or \(5,\) to match the prediction \(5, 1\), got \(4,\)"
        ):
            method(np.zeros((5, 1)), np.zeros(4))


def test_a_delta_of_another_shape_is_refused_and_changes_nothing() -> None:
    module = course.Linear(4, 1)
    module.zero_grad()
    with pytest.raises(ValueError, match=r"delta must have the output's shape \(5, 1\), got \(5,\)"):
        module.backward_update_gradient(X, np.ones(5))
    assert not gradients(module)["weight"].any()


def test_an_error_names_its_argument() -> None:
    net, loss, x = course.Sequential(course.Linear(4, 1)), course.MSELoss(), np.ones((5, 4))
    calls: dict[str, Callable[[], Any]] = {
        "input": lambda: net.backward_delta("text", np.ones((5, 1))),
        "delta": lambda: net.backward_delta(x, "text"),
        "y": lambda: loss.forward(net.forward(x), "text"),
        "batch_y": lambda: course.Optim(net, loss, eps=0.1).step(x, "text"),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"^{name} is a str: give an array"):
            call()


def test_a_training_loop_of_module_calls_reaches_the_targets() -> None:
    """Layer by layer, as before there is a Sequential."""
    first, second, tanh, loss = course.Linear(4, 4), course.Linear(4, 1), course.TanH(), course.MSELoss()
    costs = []
    for _ in range(4000):
        hidden = first.forward(POINTS)
        score = second.forward(hidden)
        yhat = tanh.forward(score)
        costs.append(loss.forward(yhat, SIGNS).mean())
        for layer in (first, second):
            layer.zero_grad()
        delta = tanh.backward_delta(score, loss.backward(yhat, SIGNS))
        second.backward_update_gradient(hidden, delta)
        delta = second.backward_delta(hidden, delta)
        first.backward_update_gradient(POINTS, delta)
        for layer in (first, second):
            layer.update_parameters(0.05)
    assert np.abs(yhat - SIGNS).max() < 0.011
    assert costs[-1] < 1e-3 * costs[0]


def test_every_way_to_train_gives_the_same_weights() -> None:
    """Layer by layer, through Sequential, by Optim, and by the Trainer: the same up to rounding."""
    loss = course.MSELoss()

    def by_layer(net: course.Sequential) -> None:
        inputs = [POINTS]
        modules = [module for module in net if isinstance(module, course.Module)]
        assert len(modules) == len(net)
        for module in modules:
            inputs.append(module.forward(inputs[-1]))
        delta = loss.backward(inputs.pop(), SIGNS)
        for module, x in zip(reversed(modules), reversed(inputs), strict=True):
            module.zero_grad()
            module.backward_update_gradient(x, delta)
            delta = module.backward_delta(x, delta)
        for module in modules:
            module.update_parameters(0.05)

    def by_net(net: course.Sequential) -> None:
        net.zero_grad()
        net.backward_update_gradient(POINTS, loss.backward(net.forward(POINTS), SIGNS))
        net.update_parameters(0.05)

    def by_backward(net: course.Sequential) -> None:
        net.zero_grad()
        delta = loss.backward(net.forward(POINTS), SIGNS)
        np.testing.assert_array_equal(net.backward(POINTS, delta), net.backward_delta(POINTS, delta))
        net.update_parameters(0.05)

    def trained(step: Callable[..., Any]) -> np.ndarray:
        net = toy(seed=3)
        for _ in range(20):
            step(net)
        return net.flat.data

    net = toy(seed=3)
    pn.Trainer(net, pn.MSELoss(reduction="sum"), pn.SGD(0.05)).fit(
        POINTS, SIGNS, epochs=20, batch_size=5, shuffle=False, progress=False
    )
    optim = course.Optim(toy(seed=3), loss, 0.05)
    for _ in range(20):
        optim.step(POINTS, SIGNS)
    for weights in (trained(by_layer), trained(by_net), trained(by_backward), optim.net.flat.data):
        np.testing.assert_allclose(weights, net.flat.data, rtol=1e-12)


def test_sgd_takes_the_batches_of_the_trainer_and_returns_the_costs() -> None:
    data, targets = np.random.default_rng(1).normal(size=(20, 4)), np.ones((20, 1))
    optim = course.Optim(toy(), course.MSELoss(), 0.01, seed=5)
    costs = optim.sgd(data, targets, batch_size=8, n_iter=3)
    net = toy()
    trainer = pn.Trainer(net, pn.MSELoss(reduction="sum"), pn.SGD(0.01), seed=5)
    history = trainer.fit(data, targets, epochs=3, batch_size=8, progress=False)
    assert costs == history["loss"]
    np.testing.assert_array_equal(optim.net.flat.data, net.flat.data)


def test_a_step_returns_the_cost_before_it() -> None:
    optim = course.Optim(toy(), course.MSELoss(), 0.01)
    costs = course.MSELoss().forward(optim.net.forward(POINTS), SIGNS)
    np.testing.assert_allclose(optim.step(POINTS, SIGNS), np.sum(costs), rtol=1e-15)
    assert np.sum(course.MSELoss().forward(optim.net.forward(POINTS), SIGNS)) < np.sum(costs)


def test_optim_takes_any_network_and_loss_of_portanet(backend: Backend) -> None:
    net = pn.Sequential(pn.Linear(4, 1), pn.TanH()).to(backend)
    optim = course.Optim(net, pn.MSELoss(), 0.1)
    optim.step(POINTS, SIGNS)
    costs = optim.sgd(POINTS.tolist(), SIGNS.tolist(), batch_size=2, n_iter=20)
    assert costs[-1] < costs[0]


def test_whole_numbers_lists_and_float32_are_taken() -> None:
    x = np.arange(8).reshape(2, 4)
    net = toy()
    y = net.forward(x)
    assert y.dtype == "float64"
    for same in (x.tolist(), x.astype("float32"), x.astype("float64"), x.astype("uint8")):
        np.testing.assert_array_equal(net.forward(same), y)
        np.testing.assert_array_equal(net.backward_delta(same, [[1], [1]]), net.backward_delta(x, np.ones((2, 1))))
    assert course.TanH().forward(x).dtype == "float64"
    assert toy().to(dtype="float32").forward(x).dtype == "float32"


def test_sequential_takes_modules_or_a_list_of_them() -> None:
    by_list = course.Sequential([course.Linear(4, 4), course.TanH()])
    assert repr(by_list) == repr(course.Sequential(course.Linear(4, 4), course.TanH()))
    by_list.append(course.Linear(4, 2))
    assert by_list.forward(X).shape == (5, 2)
    with pytest.raises(TypeError, match="must be a layer, got"):
        course.Sequential([course.Linear])


def test_each_module_of_a_network_draws_its_own_weights() -> None:
    net = course.Sequential(course.Linear(4, 4), course.Linear(4, 4))
    net.forward(X)
    assert (linear(net, 0).weight.data != linear(net, 1).weight.data).all()
    assert (toy(seed=1).flat.data != toy(seed=0).flat.data).any()


def test_files_and_copies_keep_the_interface(tmp_path: Path) -> None:
    net = course.Sequential(course.Linear(4, 2), course.Softmax())
    net.save(tmp_path / "net.safetensors")
    for twin in (pn.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert isinstance(twin, course.Sequential)
        assert [type(layer) for layer in twin] == [course.Linear, course.Softmax]
        np.testing.assert_array_equal(twin.backward_delta(X, np.ones((5, 2))), net.backward_delta(X, np.ones((5, 2))))


def test_a_file_with_layers_of_portanet_loads_these(tmp_path: Path) -> None:
    pn.Sequential(pn.Linear(4, 2), pn.TanH()).save(tmp_path / "net.safetensors")
    net = pn.load(tmp_path / "net.safetensors")
    assert isinstance(net, pn.Sequential)
    assert [type(net), *map(type, net)] == [pn.Sequential, pn.Linear, pn.TanH]


def test_a_step_reads_nothing_back(no_host_reads: Backend) -> None:
    net = course.Sequential(course.Linear(4, 4), course.TanH(), course.Linear(4, 2), course.Softmax()).to(no_host_reads)
    x, y = net.asarray(X), net.asarray(np.eye(2)[[0, 0, 1, 1, 1]])
    net.forward(x)
    for loss in (course.MSELoss(), course.BCE(), course.CrossEntropy()):
        net.zero_grad()
        yhat = net.forward(x)
        loss.forward(yhat, y)
        net.backward_update_gradient(x, loss.backward(yhat, y))
        net.update_parameters(0.1)
        course.Optim(net, loss, 0.1).step(x, y)
    assert backend_of(yhat) is no_host_reads
