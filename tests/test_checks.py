"""Every constructor refuses nonsense by one sentence that names the argument; so does setting the attribute later."""

import copy
import inspect
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.checks import Checked, check_count, check_flag, check_number
from portanet.config import parameters_of
from portanet.estimator import Estimator
from portanet.initializers import Constant, Initializer, Normal, Uniform, VarianceScaling
from portanet.schedules import ConstantRate, CosineDecay, ExponentialDecay, OneCycle, Schedule, StepDecay, WarmUp
from tests.cases import LAYERS, LOSSES, OPTIMIZERS, concrete

THINGS: list[Any] = [
    *{type(thing): thing for thing, *_ in (*LAYERS, *LOSSES)}.values(),
    *{type(thing): thing for thing in OPTIMIZERS}.values(),
    *(Constant(1.0), Normal(0.1), Uniform(-1.0, 1.0), VarianceScaling(1.0, "fan_avg", "uniform")),
    *(ConstantRate(0.1), StepDecay(0.1, 2), ExponentialDecay(0.1, 0.5), CosineDecay(0.1, 3), OneCycle(0.1, 3)),
    pn.MultiOutputLoss({"a": pn.MSELoss()}, weights={"a": 2.0}),
    *(WarmUp(ConstantRate(0.1), 2), pn.ParameterGroup(), pn.KMeans(2), pn.PCA(2)),
]
CALLBACKS: list[tuple[Any, dict[str, Any]]] = [
    (pn.EarlyStopping, {}),
    (pn.ReduceLROnPlateau, {}),
    (pn.LearningRateScheduler, {"schedule": ConstantRate(0.1)}),
    (pn.WeightAveraging, {}),
    (pn.CSVLogger, {"path": "log.csv"}),
    (pn.JSONLogger, {"path": "log.jsonl"}),
    (pn.TensorBoard, {"log_dir": "runs"}),
    (pn.ModelCheckpoint, {"path": "run.safetensors"}),
]
CONSTRUCTORS = [(type(thing), thing.arguments()) for thing in THINGS] + CALLBACKS
NONSENSE = [
    object(),
    "nonsense",
    np.str_("0.5"),
    np.asarray("0.5"),
    math.nan,
    -7,
    b"x",
    10**400,
    {},
    np.zeros((2, 2, 2)),
    [[]],
    1j,
]
TEXTS = {"path", "log_dir", "monitor", "pattern"}
"""Arguments that take any string."""

ARGUMENTS = [
    (kind, valid, name)
    for kind, valid in CONSTRUCTORS
    for name, parameter in parameters_of(kind).items()
    if parameter.kind is not inspect.Parameter.VAR_POSITIONAL
]


NUMBERS = {"value", "low", "alpha", "negative_slope", "margin", "ignore_index", "min_val", "scale", "offset"}
"""Arguments that take any number."""


def is_fine(kind: type[Any], name: str, value: Any) -> bool:
    """Whether this nonsense is a value after all."""
    if isinstance(value, str):
        return name in TEXTS
    if isinstance(value, int):
        return value == -7 and (name in NUMBERS or (kind, name) == (pn.PReLU, "init"))
    return (name, type(value)) in {
        ("path", bytes),
        ("log_dir", bytes),
        ("weight", dict),
        ("weights", dict),
        ("groups", list),
    }


def test_no_constructor_is_left_out() -> None:
    kinds = {kind for kind, _ in CONSTRUCTORS}
    public: tuple[type, ...] = (pn.Layer, pn.Loss, pn.Optimizer, Estimator, pn.Callback)
    for base in public:
        assert not {kind for kind in concrete(base) if parameters_of(kind)} - kinds - {pn.Callback}
    for parent in (Initializer, Schedule):
        assert {kind for kind in parent.__subclasses__() if kind.__module__.startswith("portanet.")} <= kinds


@pytest.mark.parametrize(("kind", "valid", "name"), ARGUMENTS, ids=[f"{k.__name__}-{n}" for k, _, n in ARGUMENTS])
def test_nonsense_is_refused(kind: Any, valid: dict[str, Any], name: str) -> None:
    refused = 0
    starred = [p.name for p in parameters_of(kind).values() if p.kind is p.VAR_POSITIONAL]
    items = valid[starred[0]] if starred else ()
    others = {key: given for key, given in valid.items() if key not in starred}
    for value in NONSENSE:
        if is_fine(kind, name, value):
            continue
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as raised:
            kind(*items, **{**others, name: value})
        assert len(str(raised.value)) < 300, str(raised.value)
        assert "\n" not in str(raised.value)
        refused += 1
    assert refused > 3


CHECKED = [
    (thing, name)
    for thing in THINGS
    for name in thing.arguments()
    if isinstance(inspect.getattr_static(type(thing), name, None), Checked)
]


@pytest.mark.parametrize(("thing", "name"), CHECKED, ids=[f"{type(thing).__name__}-{name}" for thing, name in CHECKED])
def test_an_attribute_that_is_set_to_nonsense_stays(thing: Any, name: str) -> None:
    thing = copy.deepcopy(thing)
    before = getattr(thing, name)
    with pytest.raises((ValueError, TypeError, AttributeError), match=rf"\b{name}\b"):
        setattr(thing, name, object())
    assert getattr(thing, name) is before


@pytest.mark.parametrize(
    ("thing", "name", "value"),
    [
        (pn.MaxPool2D(3, padding=1), "kernel_size", 1),
        (pn.MaxPool1D(2), "padding", 2),
        (pn.AvgPool2D((3, 2), padding=1), "padding", (1, 2)),
        (pn.ConvTranspose2D(1, 1, 3, stride=2, output_padding=1), "stride", 1),
        (pn.ConvTranspose1D(1, 1, 3, stride=2), "output_padding", 2),
        (pn.ConvTranspose1D(1, 1, 3, stride=2, output_padding=1), "padding", "same"),
        (pn.GroupNorm(2, 4), "num_groups", 3),
        (pn.MaxPool1D(2, dilation=3, padding=3), "dilation", 2),
        (pn.Hardtanh(), "min_val", 1.0),
        (pn.Pad(1, value=2.0), "mode", "reflect"),
        (pn.Upsample((2, 3)), "mode", "linear"),
        (pn.BatchNorm(4), "momentum", None),
        (pn.BatchNorm(4, momentum=None), "momentum", 0.1),
        (pn.SGD(momentum=0.9, nesterov=True), "momentum", 0.0),
        (pn.SGD(), "nesterov", True),
        (pn.KMeans(1, init=[[0.0]]), "n_init", 5),
        (pn.ModelCheckpoint("run"), "keep", 3),
        (pn.EarlyStopping("gain", mode="max"), "mode", "auto"),
        (pn.ReduceLROnPlateau(), "monitor", "gain"),
    ],
    ids=lambda value: str(value).partition(" object at ")[0],  # an address differs between processes
)
def test_an_attribute_that_would_not_fit_the_others_stays(thing: Any, name: str, value: Any) -> None:
    before = getattr(thing, name)
    with pytest.raises(ValueError, match=f"{name}|nesterov"):
        setattr(thing, name, value)
    assert getattr(thing, name) is before


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (pn.Conv2D(4, 4, 3), "groups"),
        (pn.ConvTranspose1D(4, 4, 3), "groups"),
        (pn.LayerNorm(4), "normalized_shape"),
        (pn.GroupNorm(2, 4), "num_channels"),
        (pn.InstanceNorm(4), "num_features"),
        (pn.RMSNorm(4), "normalized_shape"),
    ],
    ids=str,
)
def test_what_the_shapes_of_weights_follow_from_cannot_be_changed(layer: pn.Layer, name: str) -> None:
    with pytest.raises(AttributeError, match=f"'{name}' of {type(layer).__name__} cannot be changed: make a new"):
        setattr(layer, name, 2)


@pytest.mark.parametrize("value", [1, np.int8(1), np.asarray(1), np.float32(1), 1.0])
def test_numbers_of_any_kind_are_python_numbers_inside(value: Any) -> None:
    assert type(check_number("lr", value)) in (int, float)
    assert repr(pn.SGD(value)) in ("SGD(lr=1)", "SGD(lr=1.0)")


@pytest.mark.parametrize("value", [True, np.True_, np.asarray(True)])
def test_a_truth_value_is_no_number(value: Any) -> None:
    for check in (check_number, check_count):
        with pytest.raises(ValueError, match="epochs must be a"):
            check("epochs", value)
    assert check_flag("bias", np.bool_(value)) is True


@pytest.mark.parametrize("value", [np.ma.masked, np.ma.array(0.5, mask=True)])
def test_a_masked_number_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match="lr must be"):
        pn.SGD(value)


@pytest.mark.parametrize("weight", [{1.0, 2.0}, np.ma.array([1.0, 2.0], mask=[False, True]), b"ab"], ids=repr)
def test_class_weights_have_an_order_and_no_gaps(weight: Any) -> None:
    with pytest.raises(ValueError, match="weight must be a list or dict with a number"):
        pn.CrossEntropyLoss(weight=weight)


@pytest.mark.parametrize("value", [Fraction(1, 2), Decimal("0.5"), np.float32(0.5), np.asarray(0.5)])
def test_fields_of_frozen_classes_are_python_numbers(value: Any) -> None:
    for thing in (
        ConstantRate(value),
        ExponentialDecay(value, value),
        Normal(value),
        pn.ParameterGroup(lr_factor=value),
    ):
        assert all(type(number) is float for number in vars(thing).values() if number not in ("*", None))
