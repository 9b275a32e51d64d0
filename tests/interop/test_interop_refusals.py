"""PyTorch modules that no layer equals are refused, and those near to them become equal layers."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.interop import from_torch, load_state_dict, to_torch
from tests.cases import state_of

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("scale", [1, 2, 3, (2, 3)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear"])
def test_modes_of_upsample_are_equal_for_whole_factors(mode: str, scale: Any, torch: ModuleType) -> None:
    factor = tuple(map(float, scale)) if isinstance(scale, tuple) else float(scale)
    module = torch.nn.Upsample(scale_factor=factor, mode=mode)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype("float32")
    y = from_torch(module, (3, 5, 7)).predict(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), module(torch.tensor(x)).numpy(), rtol=1e-5, atol=1e-5)


def test_another_mode_of_upsample_is_refused(torch: ModuleType) -> None:
    module = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2, mode="bicubic"))
    with pytest.raises(ValueError, match=r"module '0' \(Upsample\) .*its mode is 'bicubic', which is none of Upsample"):
        from_torch(module, (3, 5, 5))


def traced(torch: ModuleType, function: Any, *inner: Any) -> Any:
    """Return a module whose forward is ``function(self, x)``; it holds modules."""

    class Own(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = inner or (torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
            self.relu = torch.nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return function(self, x)

    return Own()


def relu(torch: ModuleType, x: Any) -> Any:
    return torch.nn.functional.relu(x, inplace=True)


def test_an_operation_in_place_whose_input_is_used_again_is_refused(torch: ModuleType) -> None:
    def residual(m: Any, x: Any) -> Any:
        h = m.a(x)
        return h + m.b(m.relu(h))

    def function(m: Any, x: Any) -> Any:
        y = m.a(x)
        return y + relu(torch, y)

    def through_a_view(m: Any, x: Any) -> Any:
        y = m.a(x)
        return y + relu(torch, torch.flatten(y, 1))

    def augmented(m: Any, x: Any) -> Any:
        y = z = m.a(x)
        z += x
        return y + z

    with pytest.raises(ValueError, match=r"'iadd' \(iadd\) overwrites 'a', which is used again"):
        from_torch(traced(torch, augmented), (3,))
    for forward, name in [(residual, r"'relu' \(ReLU\)"), (function, "'relu'"), (through_a_view, "'relu'")]:
        with pytest.raises(ValueError, match=f"{name}.* overwrites 'a', which is used again"):
            from_torch(traced(torch, forward), (3,))
    net = from_torch(traced(torch, lambda m, x: m.b(relu(torch, m.relu(m.a(x))))), (3,))
    assert repr(net) == "Sequential(Linear(3, 3), ReLU(), ReLU(), Linear(3, 3))"


def test_an_augmented_sum_whose_input_is_not_used_again_is_a_residual(torch: ModuleType) -> None:
    def forward(m: Any, x: Any) -> Any:
        y = m.a(x)
        y += x
        return m.b(y)

    assert repr(from_torch(traced(torch, forward), (3,))) == "Sequential(Residual(Linear(3, 3)), Linear(3, 3))"


def networks() -> list[pn.Sequential]:
    """Networks without input sizes, without values, with values of one layer, and with all values."""
    head = pn.Linear(4, 2).initialize(seed=1)
    return [
        pn.Sequential(pn.Linear(4), pn.BatchNorm(), pn.Linear(2)),
        pn.Sequential(pn.Linear(3, 4), pn.BatchNorm(4), pn.Linear(4, 2)),
        pn.Sequential(pn.Linear(3, 4), pn.BatchNorm(4), head),
        pn.Sequential(pn.Linear(3, 4), pn.BatchNorm(4), pn.Linear(4, 2)).initialize(seed=1),
    ]


@pytest.mark.parametrize("net", networks(), ids=["no sizes", "no values", "some values", "all values"])
def test_a_refused_network_is_as_before(net: pn.Sequential, torch: ModuleType, tmp_path: Path) -> None:
    state = to_torch(pn.Sequential(pn.Linear(3, 4), pn.BatchNorm(4), pn.Linear(4, 2))).state_dict()
    own = pn.Sequential(*net, pn.GaussianNoise(0.1))
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    refused: dict[str, Callable[[], Any]] = {
        "layer without a module": lambda: to_torch(own, (3,)),
        "input that does not fit": lambda: to_torch(net, (3, 0)),
        "layer without a module, weights": lambda: load_state_dict(own, state, (3,)),
        "missing name": lambda: load_state_dict(net, {**state, "9.weight": state["0.weight"]}, (3,)),
        "shape": lambda: load_state_dict(net, {**state, "0.weight": state["0.weight"].T}, (3,)),
        "dtype": lambda: load_state_dict(net, {**state, "0.weight": state["0.weight"].to(torch.complex64)}, (3,)),
        "too large for the dtype": lambda: load_state_dict(net, {**state, "0.bias": [1e300] * 4}, (3,)),
        "no numbers": lambda: load_state_dict(net, {**state, "0.weight": "weight"}, (3,)),
        "no mapping": lambda: load_state_dict(net, 3, (3,)),
        "damaged file": lambda: load_state_dict(net, tmp_path / "w.safetensors", (3,)),
        "missing file": lambda: load_state_dict(net, tmp_path / "missing.safetensors", (3,)),
    }
    before = state_of(net)
    for why, call in refused.items():
        with pytest.raises((ValueError, TypeError, FileNotFoundError)):
            call()
        assert state_of(net) == before, why
    load_state_dict(net, state, (3,))
    assert to_torch(net).state_dict().keys() == state.keys()


def test_hooks_are_refused(torch: ModuleType) -> None:
    for hook in ("register_forward_hook", "register_forward_pre_hook"):
        module = torch.nn.Sequential(torch.nn.Linear(3, 3))
        getattr(module[0], hook)(lambda *arguments: None)
        with pytest.raises(ValueError, match=r"module '0' \(Linear\) has hooks, .* remove them"):
            from_torch(module, (3,))


@pytest.mark.parametrize("mode", [True, False])
def test_a_dropout_that_is_active_in_both_modes_or_none_is_refused(mode: bool, torch: ModuleType) -> None:
    dropout = torch.nn.functional.dropout
    module = traced(torch, lambda m, x: m.b(dropout(m.a(x), 0.5, mode)))
    with pytest.raises(ValueError, match=rf"'dropout' \(dropout\) has training={mode} in both modes"):
        from_torch(module.train(), (3,))
    module = traced(torch, lambda m, x: m.b(dropout(m.a(x), 0.5, m.training))).train(mode)
    assert repr(from_torch(module, (3,))) == "Sequential(Linear(3, 3), Dropout(), Linear(3, 3))"
    assert {inner.training for inner in module.modules()} == {mode}


def test_tied_weights_are_refused(torch: ModuleType) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    module[1].weight = module[0].weight
    with pytest.raises(ValueError, match=r"uses one tensor as '0.weight' and '1.weight'"):
        from_torch(module, (3,))


def test_parameters_that_require_no_gradient_are_frozen_both_ways(torch: ModuleType) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    for part in module[:2]:
        part.requires_grad_(requires_grad=False)
    net, x = from_torch(module, (3,)), np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    assert [parameter.frozen for parameter in net.parameters()] == [True] * 4 + [False] * 2
    before = net.get_weights()
    pn.Trainer(net, pn.MSELoss(), pn.SGD(0.1)).fit(x, np.zeros((8, 2), "float32"), epochs=1, progress=False)
    changed = [name for name, values in net.get_weights().items() if np.any(values != before[name])]
    assert changed == ["2.weight", "2.bias", "1.running_mean", "1.running_var"]
    assert [p.requires_grad for p in to_torch(net).parameters()] == [p.requires_grad for p in module.parameters()]


def test_a_module_with_one_frozen_parameter_of_two_is_refused(torch: ModuleType) -> None:
    module = torch.nn.Linear(3, 3)
    module.bias.requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="some of its parameters require gradients"):
        from_torch(module, (3,))


@pytest.mark.parametrize(
    ("mode", "fix"), [("reflect", "ReflectionPad2d"), ("replicate", "ReplicationPad2d"), ("circular", "CircularPad2d")]
)
def test_a_padding_mode_is_refused_with_the_module_that_has_it(mode: str, fix: str, torch: ModuleType) -> None:
    nn = torch.nn
    with pytest.raises(ValueError, match=f"its padding_mode is '{mode}', not 'zeros': put nn.{fix} before it"):
        from_torch(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)), (1, 5, 5))
    assert len(from_torch(nn.Sequential(getattr(nn, fix)(1), nn.Conv2d(1, 1, 3)), (1, 5, 5))) == 2


def test_states_of_recurrent_layers_are_refused(torch: ModuleType) -> None:
    with pytest.raises(ValueError, match="its return_state must be False"):
        to_torch(pn.GRU(3, 4, return_state=True))
