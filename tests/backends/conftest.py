"""A registry that a test may fill, and that is itself again afterwards."""

from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import pytest

from portanet import kernels
from portanet.backends import registry as module
from portanet.backends.tracing import Symbol


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The registry as a fresh process has it: nothing is loaded or chosen yet, no default, no entry point read."""
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.setattr(module, "_default", None)
    monkeypatch.setattr(module, "_entry_points_read", False)
    for kernel in vars(kernels).values():
        if isinstance(kernel, kernels.kernel):
            monkeypatch.setattr(kernel, "chosen", {})
    with (
        mock.patch.dict(module.registered),
        mock.patch.dict(module._loaded, clear=True),
        mock.patch.dict(module.by_type, {Symbol: module.by_type[Symbol]}, clear=True),
    ):
        yield module
