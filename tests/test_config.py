"""``repr``, JSON, files and copies say what an object is now, whatever was changed since it was made."""

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import portanet as pn
from portanet import initializers, schedules
from portanet.backends import Backend
from portanet.config import Configured, from_json, parameters_of, to_json
from portanet.initializers import Constant, Normal, Uniform, VarianceScaling
from tests.cases import LAYERS, LOSSES, OPTIMIZERS

# Copies, since other tests put the objects of cases.py on devices that have no name.
LAYERS, LOSSES, OPTIMIZERS = copy.deepcopy((LAYERS, LOSSES, OPTIMIZERS))
LOSS_OBJECTS = [loss for loss, *_ in LOSSES]
OTHERS = [
    *(Constant(0.5), Normal(0.1), Uniform(0.0, 0.5), VarianceScaling(2.0, "fan_avg", "uniform")),
    *(schedules.ConstantRate(0.1), schedules.StepDecay(0.1, step_size=3), schedules.ExponentialDecay(0.1, factor=0.5)),
    *(schedules.CosineDecay(0.1, steps=9), schedules.OneCycle(0.1, steps=9)),
    schedules.WarmUp(schedules.ConstantRate(0.1), steps=3),
    *(pn.Add(), pn.Multiply(), pn.Concatenate(), pn.Dot()),
    pn.MultiOutputLoss({"a": pn.MSELoss(), "b": pn.L1Loss()}, weights={"a": 0.5}),
    *(pn.KMeans(3, random_state=1), pn.PCA(2), pn.ParameterGroup("*.bias", lr_factor=0.5)),
]
T = TypeVar("T", bound=Configured)

EVERYTHING: list[Configured] = [*(layer for layer, _ in LAYERS), *LOSS_OBJECTS, *OPTIMIZERS, *OTHERS]
everything = pytest.mark.parametrize("thing", EVERYTHING, ids=[repr(thing) for thing in EVERYTHING])

BASES = {pn.Layer, pn.Activation, pn.Recurrent, pn.Loss, pn.ElementwiseLoss, pn.ClassificationLoss, pn.Optimizer}
BASES |= {initializers.Initializer, schedules.Schedule}


def test_every_public_class_is_under_these_tests() -> None:
    names = [vars(module).values() for module in (pn, schedules, initializers)]
    public = {kind for kinds in names for kind in kinds if isinstance(kind, type) and issubclass(kind, Configured)}
    assert public - BASES - {Configured} <= {type(thing) for thing in EVERYTHING}


@everything
def test_each_argument_is_an_attribute_of_its_name(thing: Configured) -> None:
    arguments = thing.arguments()
    assert arguments.keys() == inspect.signature(type(thing)).parameters.keys()
    for name in arguments:
        assert hasattr(thing, name)


@everything
def test_copies_and_json_give_the_same_object(thing: Configured) -> None:
    for twin in (
        from_json(json.loads(json.dumps(to_json(thing)))),
        copy.deepcopy(thing),
        pickle.loads(pickle.dumps(thing)),
    ):
        assert type(twin) is type(thing)
        assert repr(twin) == repr(thing)
        assert to_json(twin) == to_json(thing)


def simple_changes(thing: Configured) -> list[tuple[str, Any]]:
    """Return names and other values of arguments that are floats or bools."""
    changes: list[tuple[str, Any]] = []
    for name, value in thing.arguments().items():
        if vars(thing).get(name, value) is not value:
            continue  # bias=True is kept as the parameter, bias=False as None
        if isinstance(value, bool):
            changes.append((name, not value))
        elif isinstance(value, float):
            changes.append((name, value / 2 or 0.25))
    return changes


CHANGES = [(thing, *change) for thing in EVERYTHING for change in simple_changes(thing)]


def changed(thing: T, name: str, value: Any) -> T:
    """Return a copy with an attribute changed; what cannot be changed is never wrong."""
    thing = copy.deepcopy(thing)
    try:
        setattr(thing, name, value)
    except (AttributeError, ValueError) as error:
        pytest.skip(f"the argument cannot be set: {error}")
    return thing


@pytest.mark.parametrize(
    ("thing", "name", "value"), CHANGES, ids=[f"{thing!r}-{name}={value}" for thing, name, value in CHANGES]
)
def test_a_changed_argument_is_in_the_repr_and_in_json(thing: Configured, name: str, value: bool | float) -> None:
    kind: Any = type(thing)
    now = changed(thing, name, value)
    default = parameters_of(kind)[name].default
    assert (f"{name}={value!r}" in repr(now)) or value == default or default is inspect.Parameter.empty
    assert repr(now) != repr(thing)
    assert to_json(now)[name] == value
    assert copy.deepcopy(now).arguments()[name] == pickle.loads(pickle.dumps(now)).arguments()[name] == value


def rebuilt(thing: Configured) -> Any:
    try:
        return from_json(to_json(thing))
    except ValueError as error:
        pytest.skip(f"no constructor gives this: {error}")


LAYER_CHANGES = [(layer, x, *change) for layer, x in LAYERS for change in simple_changes(layer)]


@pytest.mark.parametrize(
    ("layer", "x", "name", "value"),
    LAYER_CHANGES,
    ids=[f"{layer!r}-{name}={value}" for layer, _, name, value in LAYER_CHANGES],
)
def test_a_changed_layer_is_saved_as_what_it_computes_now(
    tmp_path: Path, layer: pn.Layer, x: Any, name: str, value: bool | float
) -> None:
    now = changed(layer.initialize(seed=1, device="cpu", dtype="float64"), name, value)
    rebuilt(now)
    now.save(tmp_path / "net")
    loaded = pn.load(tmp_path / "net")
    assert repr(loaded) == repr(now)
    for _ in range(2):
        results = [(y, pull(np.cos(y))) for y, pull in (net.vjp(x) for net in (now, loaded))]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(now(x), loaded(x))


NOT_CHANGED = {"eps", "log_input", "log_target"}
"""Arguments of losses that count only for small predictions, or with which other predictions and targets fit."""

LOSS_CHANGES = [
    (case, *change) for case in LOSSES for change in simple_changes(case[0]) if change[0] not in NOT_CHANGED
]


@pytest.mark.parametrize(
    ("case", "name", "value"), LOSS_CHANGES, ids=[f"{c[0]!r}-{c[2].ndim}d-{n}={v}" for c, n, v in LOSS_CHANGES]
)
def test_a_changed_loss_computes_what_its_repr_says(case: tuple[pn.Loss, Any, Any], name: str, value: float) -> None:
    loss, prediction, target = case
    now = changed(loss, name, value)
    np.testing.assert_array_equal(now(prediction, target), rebuilt(now)(prediction, target))
    assert (now(prediction, target) != loss(prediction, target)).any()


OPTIMIZER_CHANGES = [(optimizer, *change) for optimizer in OPTIMIZERS for change in simple_changes(optimizer)]


@pytest.mark.parametrize(
    ("optimizer", "name", "value"), OPTIMIZER_CHANGES, ids=[f"{o!r}-{n}={v}" for o, n, v in OPTIMIZER_CHANGES]
)
def test_a_changed_optimizer_does_what_its_repr_says(optimizer: pn.Optimizer, name: str, value: bool | float) -> None:
    def weights(used: pn.Optimizer) -> np.ndarray:
        net = pn.Linear(3, 2).initialize(seed=1, dtype="float64")
        trainer = pn.Trainer(net, pn.MSELoss(), used)
        for _ in range(3):
            trainer.step(np.eye(3), np.ones((3, 2)))
        return net.flat.data

    now = changed(optimizer, name, value)
    np.testing.assert_array_equal(weights(now), weights(rebuilt(now)))


def test_a_learning_rate_that_was_set_is_in_the_repr() -> None:
    optimizer = pn.SGD(0.5)
    optimizer.lr = 0.25
    assert repr(optimizer) == "SGD(lr=0.25)"


@pytest.mark.parametrize("layer", [pn.Linear(3, 2), pn.Conv2D(1, 2, 3), pn.ConvTranspose1D(1, 2, 3)], ids=repr)
def test_a_bias_that_was_taken_out_is_not_shown(tmp_path: Path, layer: pn.Layer) -> None:
    layer.bias = None
    assert repr(layer).endswith("bias=False)")
    layer.initialize().save(tmp_path / "net")
    assert list(pn.load(tmp_path / "net").get_weights()) == ["weight"]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_copy_of_a_bound_optimizer_has_its_settings_and_no_network(
    backend: Backend, optimizer: pn.Optimizer, clone: Callable[..., Any]
) -> None:
    net = pn.Linear(3, 2).initialize(device=backend)
    trainer = pn.Trainer(net, pn.MSELoss(), copy.deepcopy(optimizer))
    trainer.step(net.asarray(np.eye(3)), net.asarray(np.ones((3, 2))))
    trainer.optimizer.lr = 0.0625
    twin = clone(trainer.optimizer)
    assert repr(twin) == repr(trainer.optimizer)
    assert twin.lr == 0.0625
    with pytest.raises(RuntimeError, match=r"no weights.*bind\(net\)"):
        twin.step()
    twin.bind(net).step()


@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss(weight=(1, 2)), pn.NLLLoss(weight=(1, 2))], ids=repr)
def test_a_loss_that_keeps_weights_on_a_device_is_copied(backend: Backend, loss: pn.ClassificationLoss) -> None:
    prediction, target = (backend.asarray(values) for values in (np.log([[0.25, 0.75]]), np.asarray([1])))
    value = float(loss(prediction, target))
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert float(twin(prediction, target)) == value


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda flag: pn.MaxPool1D(2, ceil_mode=flag), "ceil_mode"),
        (lambda flag: pn.GELU(approximate=flag), "approximate"),
        (lambda flag: pn.SGD(momentum=0.9, nesterov=flag), "nesterov"),
        (lambda flag: pn.Linear(2, 2, bias=flag), "bias"),
    ],
    ids=["MaxPool1D", "GELU", "SGD", "Linear"],
)
@pytest.mark.parametrize("flag", [0, 1, False, True, np.False_, np.True_], ids=repr)
def test_flags_may_be_numbers(build: Any, name: str, flag: Any) -> None:
    thing = build(flag)
    assert thing.arguments()[name] is bool(flag)
    assert repr(from_json(to_json(thing))) == repr(thing) == repr(build(bool(flag)))
