"""Every override of a backend equals the portable form on the same arrays."""

import os

import numpy as np
import pytest

from portanet.backends import Backend, devices, get_backend
from portanet.backends.numpy.core import compiled
from tests.kernel_cases import CASES, compare, copy_batch_last


def usable() -> list[Backend]:
    if "cupy" in os.environ.get("PORTANET_REQUIRE", "").split(","):
        get_backend("cuda")  # raises if it is missing
    return [get_backend(device.name) for device in devices() if device.usable]


def test_every_override_is_tested() -> None:
    for backend in usable():
        assert backend.kernels.keys() <= CASES.keys(), f"CASES lacks kernels of {backend.name}"


@pytest.mark.parametrize("batch_last", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_overrides_equal_the_portable_form(name: str, batch_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled is not None:
        monkeypatch.setattr("portanet.backends.numpy.core.memory.MIN_ELEMENTS", 0)  # the problems are small
        monkeypatch.setattr("portanet.backends.numpy.core.conv.MIN_IMAGES", 1 if batch_last else 100)
    if batch_last:
        monkeypatch.setattr("portanet.backends.numpy.conv.MIN_IMAGES_BATCH_LAST", 1)
    overriding = [backend for backend in usable() if name in backend.kernels]
    if not overriding:
        pytest.skip(f"no usable backend overrides {name}")
    for backend in overriding:
        compare(backend, name, copy_batch_last if batch_last else np.copy)
