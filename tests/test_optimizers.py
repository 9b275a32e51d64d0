"""What single steps do; test_reference.py follows whole runs."""

import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.cases import OPTIMIZERS, linear
from tests.reference.cases import float64_scalars


def after_one_step(optimizer: pn.Optimizer, backend: Backend, gradient: list[float]) -> np.ndarray:
    """The change of a weight vector that starts at 1."""
    net = pn.Linear(len(gradient), 1, bias=False, init=pn.initializers.ones).initialize(device=backend, dtype="float64")
    optimizer.bind(net)
    net.flat.grad[...] = backend.asarray(np.asarray(gradient))
    optimizer.step()
    return backend.to_numpy(net.flat.data) - 1


def test_first_steps_are_those_of_the_formulas(backend: Backend) -> None:
    g = [0.5, -2.0]
    np.testing.assert_allclose(after_one_step(pn.SGD(0.1), backend, g), [-0.05, 0.2])
    np.testing.assert_allclose(after_one_step(pn.Adam(0.1), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(after_one_step(pn.Adagrad(0.1), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(
        after_one_step(pn.RMSprop(0.1, alpha=0.75), backend, g), [-0.2, 0.2], rtol=1e-6
    )  # g / sqrt(0.25 g²)
    np.testing.assert_allclose(after_one_step(pn.SGD(0.1, weight_decay=0.5), backend, g), [-0.1, 0.15])
    np.testing.assert_allclose(after_one_step(pn.AdamW(0.1, weight_decay=0.5), backend, g), [-0.15, 0.05], rtol=1e-6)
    np.testing.assert_allclose(after_one_step(pn.Adam(0.1, amsgrad=True), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(after_one_step(pn.RAdam(0.1), backend, g), [-0.05, 0.2])
    np.testing.assert_allclose(after_one_step(pn.Adamax(0.1), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(after_one_step(pn.Adadelta(rho=0.75, eps=1e-20), backend, g), [-2e-10, 2e-10])
    np.testing.assert_allclose(after_one_step(pn.Lion(0.1), backend, g), [-0.1, 0.1])
    np.testing.assert_allclose(after_one_step(pn.Lion(0.1, weight_decay=0.5), backend, g), [-0.15, 0.05])
    np.testing.assert_allclose(after_one_step(pn.SGD(0.1, weight_decay=0.5, maximize=True), backend, g), [0.0, -0.25])


def test_the_gradient_is_clipped_to_its_norm_and_no_further(backend: Backend) -> None:
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=1.0), backend, [3.0, 4.0]), [-0.6, -0.8])
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=10.0), backend, [3.0, 4.0]), [-3.0, -4.0])
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=1.0), backend, [0.0, 0.0]), [0.0, 0.0])


def test_the_learning_rate_changes_on_the_device(backend: Backend) -> None:
    net = pn.Linear(1, 1, bias=False, init=pn.initializers.zeros).initialize(device=backend)
    optimizer = pn.SGD(1.0).bind(net)
    net.flat.grad[...] = 1.0
    optimizer.step()
    optimizer.lr = 0.25
    optimizer.step()
    assert float(net.flat.data[0]) == -1.25
    assert optimizer.lr == 0.25


def test_binding_resets_the_state(backend: Backend) -> None:
    optimizer = pn.SGD(0.1, momentum=0.9)
    first, second = (after_one_step(optimizer, backend, [1.0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pn.SGD(-0.1), "lr must be a number of at least 0, got -0.1"),
        (lambda: pn.ParameterGroup(lr_factor=-1), "lr_factor must be a number of at least 0, got -1"),
        (lambda: pn.ParameterGroup(weight_decay=-3), "weight_decay must be a number of at least 0, got -3"),
        (lambda: pn.Adam(float("nan")), "lr must be a number of at least 0, got nan"),
        (lambda: pn.SGD(0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda: pn.SGD(0.1, clip_norm=0), "clip_norm must be a number above 0, got 0"),
        (lambda: pn.Adam(betas=(1.0, 0.9)), r"betas must be two numbers in \[0, 1\), got \(1.0, 0.9\)"),
        (lambda: pn.SGD(0.1, momentum=-3), r"momentum must be a number in \[0, 1\), got -3"),
        (lambda: pn.Adam(eps=-1.0), "eps must be a number of at least 0, got -1.0"),
        (lambda: pn.RMSprop(eps=-1.0), "eps must be a number of at least 0, got -1.0"),
        (lambda: pn.Adam(weight_decay=-1), "weight_decay must be a number of at least 0, got -1"),
        (lambda: pn.Lion(betas=(0.9,)), r"betas must be two numbers in \[0, 1\), got \(0.9,\)"),  # type: ignore[arg-type]
        (lambda: pn.NAdam(momentum_decay=-1), "momentum_decay must be a number of at least 0, got -1"),
        (lambda: pn.Adadelta(eps=0), "eps must be a number above 0, got 0"),
        (lambda: pn.SGD(maximize="yes"), "maximize must be True or False"),  # type: ignore[arg-type]
    ],
)
def test_settings_are_checked(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_repr_is_the_constructor_call() -> None:
    assert repr(pn.SGD(0.1, momentum=0.9, nesterov=True)) == "SGD(lr=0.1, momentum=0.9, nesterov=True)"


def test_an_optimizer_of_two_networks_is_refused() -> None:
    optimizer = pn.SGD(0.1)
    first, second = (pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), optimizer) for _ in range(2))
    x = np.ones((4, 1), "float32")
    second.step(x, x)
    for train in (lambda: first.step(x, x), lambda: first.fit(x, x, progress=False)):
        with pytest.raises(RuntimeError, match="bound to another network since: give each Trainer one of its own"):
            train()


def test_a_step_of_an_unbound_optimizer_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"bind\(net\)"):
        pn.SGD(0.1).step()
    net = pn.Linear(1, 1).initialize()
    optimizer = pn.SGD(0.1).bind(net)
    net.to(dtype="float64")
    with pytest.raises(RuntimeError, match=r"moved .*bind\(net\)"):
        optimizer.step()


def test_a_gradient_whose_square_overflows_is_clipped() -> None:
    step = after_one_step(pn.SGD(1.0, clip_norm=1.0), pn.get_backend("cpu"), [3e200, 4e200])
    np.testing.assert_allclose(step, [-0.6, -0.8])


@pytest.mark.parametrize("beta", [0.999, 0.9999, 0.99999])
def test_adam_moves_by_the_learning_rate_under_a_constant_gradient(beta: float) -> None:
    net = pn.Linear(1, 1, bias=False).initialize(seed=0)
    optimizer = pn.Adam(0.125, betas=(0.9, beta), eps=1e-30).bind(net)
    net.flat.grad[...] = 1.0
    for _ in range(300):
        before = net.flat.data.copy()
        optimizer.step()
    np.testing.assert_allclose(before - net.flat.data, 0.125, rtol=2e-4)


def test_the_first_step_of_adam_is_right_for_a_beta_near_one() -> None:
    net = pn.Linear(1, 1, bias=False, init=pn.initializers.ones).initialize()
    optimizer = pn.Adam(0.1, betas=(0.9, 0.99999)).bind(net)
    net.flat.grad[...] = 1.0
    optimizer.step()
    np.testing.assert_allclose(net.flat.data, 0.9, rtol=1e-6)


def test_betas_that_round_to_one_are_refused() -> None:
    optimizer = pn.Adam(betas=(0.9, 1 - 1e-9))
    optimizer.bind(pn.Linear(2, 1).initialize(dtype="float64"))
    with pytest.raises(ValueError, match=r"betas \(0.9, 0.999999999\) round to 1 in float32: take smaller ones"):
        optimizer.bind(pn.Linear(2, 1).initialize())


@pytest.mark.parametrize("betas", [(0.9,), (0.1, 0.9, 0.9)])
def test_there_are_two_betas(betas: Any) -> None:
    with pytest.raises(ValueError, match="betas must be two numbers"):
        pn.Adam(betas=betas)


optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)

GROUPS = (
    pn.ParameterGroup("0.*", max_ndim=1, weight_decay=0.0),
    pn.ParameterGroup("*.bias", lr_factor=0.5),
    pn.ParameterGroup("0.*", lr_factor=0.1, weight_decay=0.3),
)
SETTINGS = {  # factor of the learning rate, weight decay or None for that of the optimizer
    "0.weight": (0.1, 0.3),
    "0.bias": (1.0, 0.0),
    "1.weight": (1.0, None),
    "1.bias": (0.5, None),
}


def two_layers(backend: Backend | None = None) -> pn.Sequential:
    return pn.Sequential(pn.Linear(3, 2), pn.Linear(2, 2)).initialize(seed=2, device=backend, dtype="float64")


def like(optimizer: pn.Optimizer, **changes: Any) -> pn.Optimizer:
    return type(optimizer)(**{**optimizer.arguments(), **changes})


def follow(net: pn.Layer, optimizer: pn.Optimizer, gradients: np.ndarray) -> dict[str, np.ndarray]:
    """Step along given gradients, and return the weights."""
    optimizer.bind(net)
    for gradient in gradients:
        net.flat.grad[...] = net.asarray(gradient)
        optimizer.step()
    return net.get_weights()


# L-BFGS moves each parameter by the gradients of all.
of_single_weights = pytest.mark.parametrize(
    "optimizer", [each for each in OPTIMIZERS if not isinstance(each, pn.LBFGS)], ids=repr
)


@of_single_weights
def test_each_group_moves_as_under_an_optimizer_of_its_own(backend: Backend, optimizer: pn.Optimizer) -> None:
    gradients = np.random.default_rng(0).normal(size=(4, 14))
    clipped = gradients
    if optimizer.clip_norm is not None:  # the norm is that of all parameters
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        clipped = gradients * np.minimum(1.0, optimizer.clip_norm / norms)
    weights = follow(two_layers(backend), like(optimizer, groups=GROUPS), gradients)
    for name, (factor, own) in SETTINGS.items():
        decay = optimizer.weight_decay if own is None else own
        alone = like(optimizer, lr=optimizer.lr * factor, weight_decay=decay, clip_norm=None)
        expected = follow(two_layers(), alone, clipped)[name]
        np.testing.assert_allclose(weights[name], expected, rtol=1e-12, atol=1e-14, err_msg=name)


def test_groups_move_by_the_formulas(backend: Backend) -> None:
    net = pn.Sequential(pn.Linear(1, 1, init=pn.initializers.ones)).initialize(device=backend, dtype="float64")
    for kind, expected in {
        pn.SGD: 1 - 0.01 * (2 + 0.5 * 1),  # w - lr factor (g + decay w)
        pn.AdamW: 1 - 0.01 * 0.5 - 0.01,  # w - lr factor decay w - lr factor g / |g|
        pn.Adagrad: 1 - 0.01,
    }.items():
        net.initialize(dtype="float64")
        groups = [pn.ParameterGroup("*.weight", lr_factor=0.1, weight_decay=0.5)]
        weights = follow(net, kind(0.1, groups=groups), np.full((1, 2), 2.0))
        np.testing.assert_allclose(weights["0.weight"], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (pn.ParameterGroup(), {"0.weight", "0.bias", "1.weight", "1.bias"}),
        (pn.ParameterGroup("1.*"), {"1.weight", "1.bias"}),
        (pn.ParameterGroup("*.weight"), {"0.weight", "1.weight"}),
        (pn.ParameterGroup(max_ndim=1), {"0.bias", "1.bias"}),
        (pn.ParameterGroup("0.*", max_ndim=1), {"0.bias"}),
        (pn.ParameterGroup("[01].bias", max_ndim=2), {"0.bias", "1.bias"}),
        (pn.ParameterGroup("weight"), set()),
    ],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)
def test_a_group_matches_names_and_numbers_of_axes(group: pn.ParameterGroup, names: set[str]) -> None:
    parameters = dict(two_layers().named_parameters())
    assert {name for name, parameter in parameters.items() if group.matches([name], parameter)} == names


def test_a_learning_rate_that_is_set_counts_in_every_group(backend: Backend) -> None:
    net = two_layers(backend)
    optimizer = pn.SGD(1.0, groups=GROUPS).bind(net)
    optimizer.lr = 0.5
    before = net.get_weights()
    net.flat.grad[...] = 1.0
    optimizer.step()
    np.testing.assert_allclose(net.get_weights()["1.bias"], before["1.bias"] - 0.25)


@pytest.mark.parametrize("groups", [["0.*"], [{"names": "0.*"}], "0.*"], ids=str)
def test_groups_are_checked(groups: Any) -> None:
    with pytest.raises(TypeError, match="groups must be a list of ParameterGroup objects, got"):
        pn.SGD(0.1, groups=groups)


@of_single_weights
def test_freezing_between_steps_stops_these_parameters_and_no_others(backend: Backend, optimizer: pn.Optimizer) -> None:
    optimizer, gradients = like(optimizer, clip_norm=None), np.random.default_rng(0).normal(size=(6, 14))
    net = two_layers(backend)
    optimizer.bind(net)
    for i, gradient in enumerate(gradients):
        if i == 2:
            net[0].freeze()
            frozen = net.get_weights()
            state = [backend.to_numpy(a[:8]).copy() for a in optimizer.state.values() if a.ndim]
        if i == 4:
            assert all((net.get_weights()[name] == frozen[name]).all() for name in ("0.weight", "0.bias"))
            for values, kept in zip([a for a in optimizer.state.values() if a.ndim], state, strict=True):
                np.testing.assert_array_equal(backend.to_numpy(values[:8]), kept)
            net[0].unfreeze()
        net.flat.grad[...] = net.asarray(gradient)
        optimizer.step()
    weights, expected = net.get_weights(), follow(two_layers(), like(optimizer), gradients)
    for name in ("1.weight", "1.bias"):
        np.testing.assert_allclose(weights[name], expected[name], rtol=1e-12, atol=1e-14)
    assert (weights["0.weight"] != frozen["0.weight"]).any()  # two steps of Lion may cancel
    if isinstance(optimizer, pn.SGD | pn.Adagrad | pn.RMSprop):  # Adam counts the steps of all parameters
        expected = follow(two_layers(), like(optimizer), gradients[[0, 1, 4, 5]])
        np.testing.assert_allclose(weights["0.weight"], expected["0.weight"], rtol=1e-12, atol=1e-14)


def bound(optimizer: pn.Optimizer) -> pn.Sequential:
    net = pn.Sequential(pn.Linear(3, 2), pn.Linear(2, 1)).initialize(seed=0)
    optimizer.bind(net)
    net.flat.grad[...] = 1.0
    return net


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", 0.5),
        ("groups", (pn.ParameterGroup("*", lr_factor=0.5),)),
        ("betas", (0.5, 0.5)),
        ("eps", 0.1),
        ("clip_norm", 0.1),
    ],
)
def test_settings_may_change_once_bound(name: str, value: Any) -> None:
    changed, fresh = pn.Adam(), pn.Adam(**{name: value})
    nets = [bound(changed), bound(fresh)]
    setattr(changed, name, value)
    changed.step()
    fresh.step()
    np.testing.assert_array_equal(nets[0].flat.data, nets[1].flat.data)


@pytest.mark.parametrize(
    ("optimizer", "name", "value"),
    [
        (pn.SGD(), "momentum", 0.9),
        (pn.SGD(momentum=0.9), "momentum", 0.0),
        (pn.RMSprop(), "momentum", 0.9),
        (pn.RMSprop(), "centered", True),
        (pn.Adam(), "amsgrad", True),
    ],
    ids=repr,
)
def test_a_setting_that_needs_another_state_is_refused_once_bound(optimizer: Any, name: str, value: Any) -> None:
    bound(optimizer)
    before = getattr(optimizer, name)
    with pytest.raises(ValueError, match=f"{name} cannot become {value!r} while the optimizer is bound: set it before"):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == before
    optimizer.step()
    unbound = pickle.loads(pickle.dumps(optimizer))
    setattr(unbound, name, value)
    bound(unbound)
    unbound.step()


def test_changed_weight_decay_applies_after_a_step() -> None:
    optimizer = pn.SGD(lr=0.1)
    net = bound(optimizer)
    optimizer.step()
    net.flat.zero_grad()
    before = net.flat.data.copy()
    optimizer.weight_decay = 0.5
    optimizer.step()
    np.testing.assert_allclose(net.flat.data, 0.95 * before, rtol=1e-6)


def test_a_network_that_lost_a_layer_is_refused() -> None:
    optimizer = pn.SGD(lr=0.1)
    net = bound(optimizer)
    net.pop()
    with pytest.raises(RuntimeError, match="appended or popped"):
        optimizer.step()


def test_a_group_that_matches_no_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"matches no parameter: give a pattern for one of '0\.weight', '0\.bias'"):
        bound(pn.SGD(lr=0.1, groups=[pn.ParameterGroup("bias", weight_decay=0.0)]))


def test_an_optimizer_whose_bind_failed_is_not_bound() -> None:
    optimizer = pn.SGD(lr=0.1, groups=[pn.ParameterGroup("bias")])
    with pytest.raises(ValueError, match="matches no parameter"):
        optimizer.bind(pn.Sequential(pn.Linear(2, 1)))
    with pytest.raises(RuntimeError, match="the optimizer has no weights"):
        optimizer.step()


def test_a_learning_rate_of_zero_is_saved() -> None:
    optimizer = pn.SGD(0.1)
    optimizer.lr = 0.0
    assert repr(optimizer) == repr(pn.SGD(0.0)) == "SGD(lr=0.0)"


@pytest.mark.parametrize("name", ["frozen", "requires_grad", "trainable"])
def test_a_parameter_refuses_flags_that_nothing_reads(name: str) -> None:
    with pytest.raises(AttributeError, match=r"call freeze\(\) or unfreeze\(\)"):
        setattr(pn.Linear(3, 2).weight, name, False)


def test_clip_norm_leaves_out_frozen_parameters() -> None:
    optimizer = pn.SGD(lr=1.0, clip_norm=1e3)
    net = bound(optimizer)
    net[0].freeze()
    linear(net, 0).weight.grad[...] = 1e6
    before = linear(net, 1).weight.data.copy()
    optimizer.step()
    np.testing.assert_allclose(linear(net, 1).weight.data, before - 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "name", "value", "message"),
    [
        (pn.SGD(momentum=0.9), "momentum", 5.0, r"momentum must be a number in \[0, 1\), got 5.0"),
        (pn.SGD(), "weight_decay", -1.0, "weight_decay must be a number of at least 0, got -1.0"),
        (pn.SGD(), "clip_norm", 0, "clip_norm must be a number above 0, got 0"),
        (pn.Adam(), "betas", (2, 3), r"betas must be two numbers in \[0, 1\)"),
        (pn.RMSprop(), "eps", -1.0, "eps must be a number of at least 0, got -1.0"),
        (pn.SGD(), "groups", [pn.ParameterGroup("zzz")], "matches no parameter"),
    ],
    ids=repr,
)
def test_a_bound_optimizer_refuses_what_its_constructor_refuses(
    optimizer: Any, name: str, value: Any, message: str
) -> None:
    bound(optimizer)
    before = getattr(optimizer, name)
    with pytest.raises(ValueError, match=message):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == before


@pytest.mark.parametrize("name", ["learning_rate", "param_groups"])
def test_names_of_other_libraries_are_refused(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'{name}' of SGD cannot be set: write lr"):
        setattr(pn.SGD(), name, 0.0)


def test_a_group_knows_all_names_of_a_shared_layer() -> None:
    shared = pn.Linear(3, 3)
    net = pn.Sequential(shared, pn.TanH(), shared, pn.Linear(3, 1)).initialize()
    optimizer = pn.SGD(0.5, groups=[pn.ParameterGroup("2.*", lr_factor=0.0)]).bind(net)
    before = net.get_weights()
    net.flat.grad[...] = 1.0
    optimizer.step()
    changed = {name for name, values in net.get_weights().items() if (values != before[name]).any()}
    assert changed == {"3.weight", "3.bias"}


def clipped(backend: Backend, gradient: float, clip_norm: float) -> np.ndarray:
    """Four weights after one step from 0, in float32."""
    net = pn.Linear(4, 1, bias=False, init=pn.initializers.zeros).initialize(device=backend)
    optimizer = pn.SGD(1.0, clip_norm=clip_norm).bind(net)
    net.weight.grad = np.full((4, 1), gradient)
    optimizer.step()
    return net.get_weights()["weight"]


@pytest.mark.parametrize("gradient", [0.0, 1e-30, 1.0, 1e25, 1e35])
@pytest.mark.parametrize("clip_norm", [1e-3, 1.0, 1e300])
def test_clipping_is_right_for_small_and_large_gradients(backend: Backend, gradient: float, clip_norm: float) -> None:
    expected = np.float32(-min(gradient, clip_norm / 2))  # the norm of four equal numbers is twice their value
    np.testing.assert_allclose(clipped(backend, gradient, clip_norm), expected, rtol=1e-6)


def test_a_norm_beyond_float32_clips() -> None:
    np.testing.assert_allclose(clipped(pn.get_backend("cpu"), 3e38, 1.0), -0.5, rtol=1e-6)


IN_TORCH: list[tuple[pn.Optimizer, Callable[..., Any]]] = [
    (pn.SGD(0.01, momentum=0.9), lambda optim, w: optim.SGD(w, 0.01, momentum=0.9)),
    (pn.RMSprop(0.01), lambda optim, w: optim.RMSprop(w, 0.01)),
    (pn.RMSprop(0.01, centered=True), lambda optim, w: optim.RMSprop(w, 0.01, centered=True)),
    (pn.Adam(0.01), lambda optim, w: optim.Adam(w, 0.01)),
    (pn.AdamW(0.01), lambda optim, w: optim.AdamW(w, 0.01)),
    (pn.Adagrad(0.01), lambda optim, w: optim.Adagrad(w, 0.01)),
    (pn.Adam(0.01, amsgrad=True), lambda optim, w: optim.Adam(w, 0.01, amsgrad=True)),
    (pn.NAdam(0.01), lambda optim, w: optim.NAdam(w, 0.01)),
    (pn.RAdam(0.01), lambda optim, w: optim.RAdam(w, 0.01)),
    (pn.Adamax(0.01), lambda optim, w: optim.Adamax(w, 0.01)),
    (pn.Adadelta(), lambda optim, w: optim.Adadelta(w)),
]


@pytest.mark.parametrize(("optimizer", "in_torch"), IN_TORCH, ids=[repr(optimizer) for optimizer, _ in IN_TORCH])
@pytest.mark.parametrize("gradient", [1e-30, 1e-19, 1e18, 1e19])
def test_steps_of_small_and_large_gradients_are_those_of_pytorch(
    torch: ModuleType, optimizer: pn.Optimizer, in_torch: Callable[..., Any], gradient: float
) -> None:
    net = pn.Linear(4, 1, bias=False, init=pn.initializers.zeros).initialize()
    optimizer.bind(net)
    weight = torch.nn.Parameter(torch.zeros(4, 1))
    other = in_torch(torch.optim, [weight])
    for _ in range(3):
        net.weight.grad, weight.grad = np.full((4, 1), gradient), torch.full((4, 1), gradient)
        optimizer.step()
        other.step()
    np.testing.assert_allclose(net.get_weights()["weight"], weight.detach().numpy(), rtol=1e-5)


LONG_RUNS: list[tuple[pn.Optimizer, Callable[..., Any]]] = [
    *IN_TORCH,
    (pn.AdamW(0.01, amsgrad=True, maximize=True), lambda optim, w: optim.AdamW(w, 0.01, amsgrad=True, maximize=True)),
    (
        pn.NAdam(0.01, weight_decay=0.1, decoupled_weight_decay=True),
        lambda optim, w: optim.NAdam(w, 0.01, weight_decay=0.1, decoupled_weight_decay=True),
    ),
    (
        pn.RAdam(0.01, betas=(0.8, 0.9), weight_decay=0.1),
        lambda optim, w: optim.RAdam(w, 0.01, (0.8, 0.9), weight_decay=0.1),
    ),
]


@pytest.mark.parametrize(("optimizer", "in_torch"), LONG_RUNS, ids=[repr(optimizer) for optimizer, _ in LONG_RUNS])
def test_each_of_20_steps_is_that_of_pytorch(
    torch: ModuleType, backend: Backend, optimizer: pn.Optimizer, in_torch: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(6, 1)), rng.normal(size=(20, 6, 1))
    net = pn.Linear(6, 1, bias=False).initialize(device=backend, dtype="float64")
    net.set_weights({"weight": start})
    optimizer.bind(net)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    other = in_torch(torch.optim, [weight])
    for gradient in gradients:
        net.weight.grad, weight.grad = gradient, torch.from_numpy(gradient)
        optimizer.step()
        with float64_scalars(torch):
            other.step()
        np.testing.assert_allclose(net.get_weights()["weight"], weight.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_each_of_20_steps_of_lion_is_that_of_the_paper(backend: Backend) -> None:
    gradients = np.random.default_rng(0).normal(size=(20, 14))
    net = two_layers(backend)
    w, m = backend.to_numpy(net.flat.data).copy(), np.zeros(14)
    optimizer = pn.Lion(0.1, betas=(0.8, 0.95), weight_decay=0.2).bind(net)
    for g in gradients:
        net.flat.grad[...] = net.asarray(g)
        optimizer.step()
        update = np.sign(0.8 * m + 0.2 * g)
        m = 0.95 * m + 0.05 * g
        w = w - 0.1 * (update + 0.2 * w)
        np.testing.assert_allclose(backend.to_numpy(net.flat.data), w, rtol=1e-12)


@optimizers
def test_maximizing_follows_the_opposite_gradient(backend: Backend, optimizer: pn.Optimizer) -> None:
    gradients = np.random.default_rng(0).normal(size=(4, 14))
    up = follow(two_layers(backend), like(optimizer, maximize=True), gradients)
    down = follow(two_layers(backend), like(optimizer), -gradients)
    for name, values in up.items():
        np.testing.assert_allclose(values, down[name], rtol=1e-14, err_msg=name)


def minimize(net: pn.Linear, optimizer: pn.Optimizer, steps: int) -> list[np.ndarray]:
    """Weights on the way to the minimum of a convex function that is not quadratic, from six weights of 1."""
    rng = np.random.default_rng(0)
    a, b, path = rng.normal(size=(9, 6)), rng.normal(size=9), []
    optimizer.bind(net)
    for _ in range(steps):
        w = net.get_weights()["weight"][:, 0]
        net.weight.grad = (a.T @ np.tanh(a @ w - b) + w)[:, None]
        optimizer.step()
        path.append(net.get_weights()["weight"][:, 0])
    return path


@pytest.mark.parametrize("history_size", [1, 3, 100])
@pytest.mark.parametrize("lr", [0.1, 0.5])
def test_each_of_20_steps_of_lbfgs_is_that_of_pytorch(
    torch: ModuleType, backend: Backend, lr: float, history_size: int
) -> None:
    net = pn.Linear(6, 1, bias=False, init=pn.initializers.ones).initialize(device=backend, dtype="float64")
    path = minimize(net, pn.LBFGS(lr, history_size=history_size), 20)
    rng = np.random.default_rng(0)
    a, b = torch.from_numpy(rng.normal(size=(9, 6))), torch.from_numpy(rng.normal(size=9))
    w = torch.ones(6, dtype=torch.float64, requires_grad=True)
    other = torch.optim.LBFGS([w], lr, max_iter=1, history_size=history_size)

    def closure() -> Any:
        other.zero_grad()
        loss = torch.log(torch.cosh(a @ w - b)).sum() + (w * w).sum() / 2
        loss.backward()
        return loss

    for ours in path:
        other.step(closure)
        np.testing.assert_allclose(ours, w.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_lbfgs_reaches_the_minimum_of_a_quadratic_function(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(30, 8)), rng.normal(size=(8, 2))
    net = pn.Linear(8, 2).initialize(device=backend, dtype="float64")
    trainer = pn.Trainer(net, pn.MSELoss(), pn.LBFGS())
    history = trainer.fit(x, x @ w + 3.0, epochs=40, batch_size=30, progress=False)
    assert history["loss"][-1] < 1e-12 * history["loss"][0]
    np.testing.assert_allclose(net.get_weights()["weight"], w, atol=1e-5)


def test_lbfgs_at_a_minimum_stays_there(backend: Backend) -> None:
    np.testing.assert_array_equal(after_one_step(pn.LBFGS(), backend, [0.0, 0.0]), [0.0, 0.0])


def test_the_history_of_lbfgs_has_a_fixed_size() -> None:
    with pytest.raises(AttributeError, match="'history_size' of LBFGS cannot be changed: make a new LBFGS"):
        pn.LBFGS().history_size = 3


def test_lbfgs_warns_of_batches_of_some_examples() -> None:
    trainer, x = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.LBFGS(0.1)), np.ones((8, 1))
    with pytest.warns(UserWarning, match="LBFGS needs all 8 examples in each step: give fit batch_size=8") as caught:
        trainer.fit(x, x, batch_size=4, progress=False)
    assert caught[0].filename == __file__
    trainer.fit(x, x, batch_size=8, progress=False)
