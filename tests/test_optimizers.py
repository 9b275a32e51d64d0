"""What single steps do; test_reference.py follows whole runs."""

import numpy as np
import pytest

import portanet as pn


def after_one_step(optimizer: pn.Optimizer, backend, gradient: list[float]) -> np.ndarray:
    """The change of a weight vector that starts at 1."""
    net = pn.Linear(len(gradient), 1, bias=False, init=pn.initializers.ones).initialize(device=backend, dtype="float64")
    optimizer.bind(net)
    net.flat.grad[...] = backend.asarray(np.asarray(gradient))
    optimizer.step()
    return backend.to_numpy(net.flat.data) - 1


def test_first_steps_are_those_of_the_formulas(backend):
    g = [0.5, -2.0]
    np.testing.assert_allclose(after_one_step(pn.SGD(0.1), backend, g), [-0.05, 0.2])
    np.testing.assert_allclose(after_one_step(pn.Adam(0.1), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(after_one_step(pn.Adagrad(0.1), backend, g), [-0.1, 0.1], rtol=1e-7)
    np.testing.assert_allclose(
        after_one_step(pn.RMSprop(0.1, rho=0.75), backend, g), [-0.2, 0.2], rtol=1e-6
    )  # g / sqrt(0.25 g²)
    np.testing.assert_allclose(after_one_step(pn.SGD(0.1, weight_decay=0.5), backend, g), [-0.1, 0.15])
    np.testing.assert_allclose(after_one_step(pn.AdamW(0.1, weight_decay=0.5), backend, g), [-0.15, 0.05], rtol=1e-6)


def test_the_gradient_is_clipped_to_its_norm_and_no_further(backend):
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=1.0), backend, [3.0, 4.0]), [-0.6, -0.8])
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=10.0), backend, [3.0, 4.0]), [-3.0, -4.0])
    np.testing.assert_allclose(after_one_step(pn.SGD(1.0, clip_norm=1.0), backend, [0.0, 0.0]), [0.0, 0.0])


def test_the_learning_rate_changes_in_place(backend):
    net = pn.Linear(1, 1, bias=False, init=pn.initializers.zeros).initialize(device=backend)
    optimizer = pn.SGD(1.0).bind(net)
    net.flat.grad[...] = 1.0
    optimizer.step()
    optimizer.lr = 0.25
    optimizer.step()
    assert float(net.flat.data[0]) == -1.25
    assert optimizer.lr == 0.25


def test_binding_starts_anew(backend):
    optimizer = pn.SGD(0.1, momentum=0.9)
    first, second = (after_one_step(optimizer, backend, [1.0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pn.SGD(0.0), "lr must be a positive number, got 0.0"),
        (lambda: pn.Adam(float("nan")), "lr must be a positive number, got nan"),
        (lambda: pn.SGD(0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda: pn.SGD(0.1, clip_norm=0), "clip_norm must be positive, got 0"),
        (lambda: pn.Adam(betas=(1.0, 0.9)), r"betas must be two numbers in \[0, 1\), got \(1.0, 0.9\)"),
        (lambda: pn.SGD(0.1, momentum=-3), r"momentum must be in \[0, 1\), got -3"),
        (lambda: pn.Adam(eps=-1.0), "eps must not be negative, got -1.0"),
        (lambda: pn.RMSprop(eps=-1.0), "eps must not be negative, got -1.0"),
        (lambda: pn.Adam(weight_decay=-1), "weight_decay must not be negative, got -1"),
    ],
)
def test_settings_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_repr_is_the_constructor_call():
    assert repr(pn.SGD(0.1, momentum=0.9, nesterov=True)) == "SGD(lr=0.1, momentum=0.9, nesterov=True)"


def test_an_optimizer_of_two_networks_is_refused():
    optimizer = pn.SGD(0.1)
    first, second = (pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), optimizer) for _ in range(2))
    x = np.ones((4, 1), "float32")
    second.step(x, x)
    for train in (lambda: first.step(x, x), lambda: first.fit(x, x, progress=False)):
        with pytest.raises(RuntimeError, match="bound to another network since: give each Trainer one of its own"):
            train()


def test_a_step_without_weights_or_with_those_of_the_past_is_refused():
    with pytest.raises(RuntimeError, match=r"bind\(net\)"):
        pn.SGD(0.1).step()
    net = pn.Linear(1, 1).initialize()
    optimizer = pn.SGD(0.1).bind(net)
    net.to(dtype="float64")
    with pytest.raises(RuntimeError, match=r"moved .*bind\(net\)"):
        optimizer.step()


def test_a_gradient_whose_square_overflows_is_clipped():
    step = after_one_step(pn.SGD(1.0, clip_norm=1.0), pn.get_backend("cpu"), [3e200, 4e200])
    np.testing.assert_allclose(step, [-0.6, -0.8])


@pytest.mark.parametrize("beta", [0.999, 0.9999, 0.99999])
def test_a_steady_gradient_moves_weights_by_the_learning_rate_however_slowly_adam_forgets(beta):
    net = pn.Linear(1, 1, bias=False).initialize(seed=0)
    optimizer = pn.Adam(0.125, betas=(0.9, beta), eps=1e-30).bind(net)
    net.flat.grad[...] = 1.0
    for _ in range(300):
        before = net.flat.data.copy()
        optimizer.step()
    np.testing.assert_allclose(before - net.flat.data, 0.125, rtol=2e-4)


def test_the_first_step_of_adam_is_right_for_a_beta_near_one():
    net = pn.Linear(1, 1, bias=False, init=pn.initializers.ones).initialize()
    optimizer = pn.Adam(0.1, betas=(0.9, 0.99999)).bind(net)
    net.flat.grad[...] = 1.0
    optimizer.step()
    np.testing.assert_allclose(net.flat.data, 0.9, rtol=1e-6)


def test_betas_that_round_to_one_are_refused_where_they_do():
    optimizer = pn.Adam(betas=(0.9, 1 - 1e-9))
    optimizer.bind(pn.Linear(2, 1).initialize(dtype="float64"))
    with pytest.raises(ValueError, match=r"betas \(0.9, 0.999999999\) round to 1 in float32: take smaller ones"):
        optimizer.bind(pn.Linear(2, 1).initialize())


@pytest.mark.parametrize("betas", [(0.9,), (0.1, 0.9, 0.9)])
def test_there_are_two_betas(betas):
    with pytest.raises(ValueError, match="betas must be two numbers"):
        pn.Adam(betas=betas)
