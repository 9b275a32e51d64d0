"""Names of other libraries are answered with those of PortaNet."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import portanet as pn
from portanet.config import Configured
from portanet.names import ADVICE, ALIASES, ARGUMENTS, ATTRIBUTES, WITHOUT_COUNTERPART
from tests.cases import concrete

TRAINER = pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), pn.SGD(0.1))
OWNERS = {"Layer": TRAINER.net, "Parameter": TRAINER.net.parameters()[0], "Loss": TRAINER.loss}
OWNERS |= {"Optimizer": TRAINER.optimizer, "Trainer": TRAINER, "History": TRAINER.history, "Normalize": pn.Normalize()}


@pytest.mark.parametrize(
    ("kind", "argument", "advice"),
    [
        (pn.Conv2D, "strides", "Conv2D has no argument 'strides': it is called stride here"),
        (
            pn.Linear,
            "activation",
            r"Linear has no argument 'activation': add the activation as a layer, such as ReLU\(\)",
        ),
        (pn.MaxPool2D, "pool_size", "MaxPool2D has no argument 'pool_size': it is called kernel_size here"),
        (pn.Adam, "learning_rate", "Adam has no argument 'learning_rate': it is called lr here"),
        (pn.BatchNorm, "epsilon", "BatchNorm has no argument 'epsilon': it is called eps here"),
        (pn.ReLU, "inplace", "ReLU has no argument 'inplace': leave it out"),
        (pn.Dropout, "probability", "Dropout has no argument 'probability': it takes p"),
        (pn.Flatten, "order", "Flatten has no argument 'order': it takes none"),
        (pn.Embedding, "input_dim", "Embedding has no argument 'input_dim': it is called num_embeddings here"),
        (pn.Linear, "input_dim", r"Linear has no argument 'input_dim': give the number first, such as Linear\(.*\)"),
        (pn.Trainer, "model", "Trainer has no argument 'model': it is called net here"),
        (pn.Trainer, "epochs", "Trainer has no argument 'epochs': give it to fit"),
        (pn.ModelCheckpoint, "filepath", "ModelCheckpoint has no argument 'filepath': it is called path here"),
        (pn.EarlyStopping, "verbose", "EarlyStopping has no argument 'verbose': leave it out"),
        (TRAINER.fit, "verbose", "fit has no argument 'verbose': it is called progress here"),
        (TRAINER.fit, "validation_freq", "fit has no argument 'validation_freq': leave it out, every .* validated"),
        (TRAINER.fit, "X", "fit has no argument 'X': it is called x here"),
        (TRAINER.fit, "gamma", "fit has no argument 'gamma': it takes x, y, epochs, .*, resume"),
        (TRAINER.evaluate, "return_dict", "evaluate has no argument 'return_dict': leave it out, the result is a dict"),
        (TRAINER.predict, "verbose", "predict has no argument 'verbose': leave it out"),
    ],
)
def test_an_argument_of_another_library_is_answered(kind: Any, argument: str, advice: str) -> None:
    with pytest.raises(TypeError, match=f"^{advice}$"):
        kind(**{argument: 1})


def test_a_class_of_ones_own_names_its_arguments() -> None:
    class Own(pn.Layer):
        def __init__(self, size: int):
            self.size = size

    with pytest.raises(TypeError, match=r"^Own has no argument 'sise': it takes size$"):
        Own(sise=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [pn.SGD, pn.Adam, pn.AdamW, pn.LBFGS])
def test_an_optimizer_takes_no_parameters(kind: Any) -> None:
    """It is a habit from PyTorch."""
    fix = r"leave out the parameters, which the Trainer or bind\(net\) sets$"
    with pytest.raises(TypeError, match=f"^{kind.__name__} got lr by position and by name: {fix}"):
        kind(TRAINER.net.parameters(), lr=0.1)
    for parameters in (TRAINER.net.parameters(), iter(TRAINER.net.parameters())):
        with pytest.raises(TypeError, match=f"^lr must be a number, got list(_iterator)?: {fix}"):
            kind(parameters)


def test_an_argument_that_is_given_twice_is_named() -> None:
    with pytest.raises(TypeError, match=r"^Linear got in_features by position and by name: give it once$"):
        pn.Linear(3, in_features=3)  # type: ignore[misc]


def test_no_function_has_an_argument_of_our_name_and_of_another() -> None:
    functions: list[Any] = [*concrete(Configured), *concrete(pn.Callback), pn.Trainer, pn.Trainer.fit]
    accepted = [{*inspect.signature(function).parameters} for function in functions]
    assert set(ARGUMENTS.values()) <= set().union(*accepted)
    for other, own in ARGUMENTS.items():
        assert not [names for names in accepted if {other, own} <= names]


def test_what_is_advised_in_place_of_an_argument_is_no_argument_of_a_layer() -> None:
    for kind in concrete(pn.Layer):
        assert not {*inspect.signature(kind).parameters} & {*ADVICE}, kind


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names])
def test_an_attribute_of_another_library_is_answered(owner: str, name: str) -> None:
    thing = OWNERS[owner]
    with pytest.raises(AttributeError, match=rf"^{type(thing).__name__} has no attribute '{name}': write "):
        getattr(thing, name)
    assert not hasattr(thing, name)


@pytest.mark.parametrize("thing", OWNERS.values(), ids=OWNERS)
def test_an_attribute_of_no_library_has_the_error_of_python(thing: Any) -> None:
    with pytest.raises(AttributeError, match=f"^'{type(thing).__name__}' object has no attribute 'frobnicate'$"):
        _ = thing.frobnicate


def test_attributes_are_answered_for_classes_of_ones_own() -> None:
    class Own(pn.Loss):
        pass

    with pytest.raises(AttributeError, match=r"^Own has no attribute 'backward': write .*loss\.vjp"):
        _ = Own().backward  # type: ignore[attr-defined]


def test_other_missing_attributes_keep_the_error_of_python() -> None:
    class Own(pn.Layer):
        @property
        def broken(self) -> int:
            return self.nothing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'Own' object has no attribute 'nothing'"):
        _ = Own().broken


def test_aliases_are_names_of_ours() -> None:
    assert {re.split(r"\W", text)[0] for text in ALIASES.values()} <= {*pn.__all__}
    assert not {*ALIASES, *WITHOUT_COUNTERPART} & {*pn.__all__}


@pytest.mark.parametrize("name", [*ALIASES, *WITHOUT_COUNTERPART])
def test_a_name_of_another_library_is_answered(name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'portanet' has no attribute '{name}': (it is called|write) "):
        getattr(pn, name)


@pytest.mark.parametrize(
    ("module", "name", "ours"),
    [
        (pn, "MeanSquaredError", "MSELoss"),  # and not the metric, which is alike but for capitals
        (pn.metrics, "MeanSquaredError", "mean_squared_error"),
        (pn.layers, "Dense", "Linear"),
        (pn.losses, "CategoricalCrossEntropy", "CrossEntropyLoss, which takes logits,"),
        (pn.optimizers, "Nadam", "NAdam"),
        (pn.metrics, "accuracy_score", "accuracy"),
        (pn.datasets, "to_categorical", "one_hot"),
    ],
)
def test_a_module_answers_names_of_another_library(module: Any, name: str, ours: str) -> None:
    missing = f"^module '{module.__name__}' has no attribute"
    with pytest.raises(AttributeError, match=f"{missing} '{name}': it is called {ours} here$"):
        getattr(module, name)
    with pytest.raises(AttributeError, match=f"{missing} 'Frobnicate'$"):
        _ = module.Frobnicate


@pytest.mark.parametrize(
    ("metric", "ours"),
    [
        ("acc", "accuracy"),
        ("AUC", "roc_auc_score"),
        ("MSE", "mse"),
        ("sparse_categorical_accuracy", "accuracy"),
        ("root_mean_squared_error", "mean_squared_error, whose root it is,"),
    ],
)
def test_a_metric_of_another_library_is_answered(metric: str, ours: str) -> None:
    with pytest.raises(ValueError, match=f"^metric '{metric}' is unknown: it is called {ours} here$"):
        pn.Trainer(pn.Linear(2, 2), pn.CrossEntropyLoss(), pn.SGD(0.1), metrics=[metric])


@pytest.mark.parametrize(
    ("loss", "optimizer", "advice"),
    [
        ("mse", pn.Adam(), r"got 'mse': write MSELoss\(\)"),
        ("categorical_crossentropy", pn.Adam(), r"got 'categorical_crossentropy': write CrossEntropyLoss\(\)"),
        ("my_loss", pn.Adam(), r"got 'my_loss': write CrossEntropyLoss\(\)"),
        (pn.MSELoss(), "rmsprop", r"got 'rmsprop': write RMSprop\(\)"),
        (pn.MSELoss(), "my_optimizer", r"got 'my_optimizer': write Adam\(\)"),
    ],
)
def test_a_name_given_for_an_object_is_answered(loss: Any, optimizer: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        pn.Trainer(pn.Linear(2, 2), loss, optimizer)


def test_every_name_in_the_tables_for_users_of_other_libraries_is_answered() -> None:
    for page in ("keras", "pytorch"):
        text = (Path(__file__).parents[1] / "docs" / "start" / f"{page}.md").read_text(encoding="utf-8")
        cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        names = {name for cell in cells for name in re.findall(r"`(?:nn\.|keras\.)?([A-Z]\w+)", cell)}
        assert len(names) >= 15
        for name in names - {*pn.__all__}:
            with pytest.raises(AttributeError, match=f"has no attribute '{name}': "):
                getattr(pn, name)
