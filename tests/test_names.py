"""Names of other libraries are answered with those of PortaNet."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import portanet as pn
from portanet.config import Configured
from portanet.names import ADVICE, ALIASES, ARGUMENTS, METHODS, our_name
from tests.cases import concrete


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


def test_other_names_of_arguments_are_no_names_of_ours() -> None:
    ours = {name for kind in concrete(Configured) for name in inspect.signature(kind).parameters}
    assert set(ARGUMENTS.values()) <= ours
    for kind in concrete(Configured):
        named = {*inspect.signature(kind).parameters} & {*ARGUMENTS, *ADVICE}
        assert named <= {"rho", "device"}, kind  # Adadelta and PCA have arguments of these names


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_another_library_is_answered(name: str) -> None:
    net = pn.Sequential(pn.Linear(2, 1))
    with pytest.raises(AttributeError, match=rf"^Sequential has no attribute '{name}': write "):
        getattr(net, name)
    assert not hasattr(net, name)


def test_other_missing_attributes_keep_the_error_of_python() -> None:
    class Own(pn.Layer):
        @property
        def broken(self) -> int:
            return self.nothing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'Own' object has no attribute 'nothing'"):
        _ = Own().broken


def test_aliases_are_names_of_ours() -> None:
    assert {re.split(r"\W", text)[0] for text in ALIASES.values()} <= {*pn.__all__}
    assert not {*ALIASES} & {*pn.__all__}


def test_every_name_in_the_tables_for_users_of_other_libraries_is_answered() -> None:
    for page in ("keras", "pytorch"):
        text = (Path(__file__).parents[1] / "docs" / "start" / f"{page}.md").read_text(encoding="utf-8")
        cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        names = {name for cell in cells for name in re.findall(r"`(?:nn\.|keras\.)?([A-Z]\w+)", cell)}
        assert len(names) >= 15
        others = names - {*pn.__all__} - {"Input"}  # networks need no Input
        assert not [name for name in others if our_name(name, pn.__all__) is None]
