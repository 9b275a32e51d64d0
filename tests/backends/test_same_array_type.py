"""Kernels are chosen by the type of the arrays, so two backends of one type must have the same kernels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import get_backend, registry
from portanet.kernels import elementwise


@pytest.fixture(autouse=True)
def _registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_registered", "_loaded", "_by_type"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


def register(name: str, **changes: Any) -> None:
    backend = replace(get_backend("cpu"), name=name, **changes)
    registry.register(name, lambda ordinal: backend, library="numpy")


def own_kernel(*args: Any) -> Any:
    return elementwise(*args)


@pytest.mark.parametrize(
    "kernels",
    [
        lambda kernels: {},
        lambda kernels: {**kernels, "elementwise": own_kernel},
        lambda kernels: {**kernels, "softmax": own_kernel},
    ],
    ids=["none", "another", "one more"],
)
def test_other_kernels_for_the_array_type_of_another_backend_are_refused(kernels: Callable[..., Any]) -> None:
    register("other", kernels=kernels(get_backend("cpu").kernels))
    for _ in range(2):  # a refused backend is not kept
        with pytest.raises(
            ValueError,
            match=r"backend 'other' has other kernels than 'cpu' for the same array type ndarray: .* of its own",
        ):
            get_backend("other")
    assert pn.namespace(np.zeros(2)) is get_backend("cpu").xp
    assert pn.Linear(2, 2).initialize().backend is get_backend("cpu")


def test_a_backend_with_the_same_kernels_and_array_type_is_accepted() -> None:
    register("same")
    assert pn.Linear(2, 2).initialize(device="same").backend is get_backend("same")
    assert get_backend("same") is not get_backend("cpu")
