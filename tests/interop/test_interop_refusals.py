"""PyTorch modules that no layer equals are refused, and those near to them become equal layers."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from portanet.interop import from_torch

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("scale", [1, 2, 3, (2, 3)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear"])
def test_modes_of_upsample_are_equal_for_whole_factors(mode: str, scale: Any, torch: ModuleType) -> None:
    factor = tuple(map(float, scale)) if isinstance(scale, tuple) else float(scale)
    module = torch.nn.Upsample(scale_factor=factor, mode=mode)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype("float32")
    y = from_torch(module, (3, 5, 7)).predict(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), module(torch.tensor(x)).numpy(), rtol=1e-6, atol=1e-6)


def test_another_mode_of_upsample_is_refused(torch: ModuleType) -> None:
    module = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2, mode="bicubic"))
    with pytest.raises(ValueError, match=r"module '0' \(Upsample\) .*its mode is 'bicubic', which is none of Upsample"):
        from_torch(module, (3, 5, 5))
