"""Every kernel that a backend overrides, against the portable form on the same arrays."""

import numpy as np
import pytest
from kernel_cases import CASES, compare, lay_batch_last

from portanet.backends import Backend, devices, get_backend

ELSEWHERE = {"chain", "chain_forward"}  # test_numpy_lanes.py


def usable() -> list[Backend]:
    return [get_backend(device.name) for device in devices() if device.usable]


def test_no_override_goes_untested():
    for backend in usable():
        assert backend.kernels.keys() <= CASES.keys() | ELSEWHERE, f"CASES lacks kernels of {backend.name}"


@pytest.mark.parametrize("batch_last", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_overrides_equal_the_portable_form(name, batch_last, monkeypatch):
    monkeypatch.setattr("portanet.backends.numpy.conv.LARGE", 0)  # small problems go Winograd's way, too
    if batch_last:
        monkeypatch.setattr("portanet.backends.numpy.conv.FEW", 1)
    overriding = [backend for backend in usable() if name in backend.kernels]
    if not overriding:
        pytest.skip(f"no backend that is usable here overrides {name}")
    for backend in overriding:
        compare(backend, name, lay_batch_last if batch_last else np.copy)
