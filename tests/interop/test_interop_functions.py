"""Functions of PyTorch become the layers of their modules, or one error names the node and what to write instead."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.interop import from_torch

pytestmark = pytest.mark.torch


def calling(torch: ModuleType, function: Any) -> Any:
    """Return a module that calls a function after a Linear."""

    class Own(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return function(self.a(x))

    return Own()


ACTIVATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "gelu": ({"approximate": "tanh"}, "GELU(approximate=True)"),
    "elu": ({"alpha": 0.5}, "ELU(alpha=0.5)"),
    "celu": ({"alpha": 0.5}, "CELU(alpha=0.5)"),
    "leaky_relu": ({"negative_slope": 0.1}, "LeakyReLU(negative_slope=0.1)"),
    "hardtanh": ({"max_val": 2.0}, "Hardtanh(max_val=2.0)"),
    "relu6": ({}, "ReLU6()"),
    "mish": ({}, "Mish()"),
    "hardswish": ({}, "Hardswish()"),
    "softplus": ({}, "Softplus()"),
    "selu": ({}, "SELU()"),
    "logsigmoid": ({}, "LogSigmoid()"),
    "silu": ({}, "SiLU()"),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_becomes_the_layer_of_its_module(name: str, torch: ModuleType) -> None:
    options, expected = ACTIVATIONS[name]
    module = calling(torch, lambda x: getattr(torch.nn.functional, name)(x, **options))
    net, x = from_torch(module, (4,)), np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    assert repr(net[1]) == expected
    np.testing.assert_allclose(net.predict(x), module(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_tensors_may_be_given_by_name(torch: ModuleType) -> None:
    net = from_torch(calling(torch, lambda x: torch.cat(tensors=[x, torch.relu(x)], dim=1)), (4,))
    assert isinstance(net[1], pn.Parallel)


def assign(x: Any) -> Any:
    x[:, 0] = 0
    return x


def refused(torch: ModuleType) -> dict[str, tuple[Any, str]]:
    """Return functions and what the error says, by what is wrong."""
    functional = torch.nn.functional
    return {
        "pool": (
            lambda x: functional.adaptive_avg_pool2d(x, 1),
            r"adaptive_avg_pool2d\) .*write nn.Adaptive",
        ),
        "pad": (lambda x: functional.pad(x, (1, 1)), r"\(pad\) cannot become a layer of PortaNet: .*write nn.Constant"),
        "softplus": (lambda x: functional.softplus(x, beta=2), r"'softplus' .*its beta is 2"),
        "alpha": (lambda x: torch.add(x, torch.relu(x), alpha=3), r"'add' \(add\) .*'alpha'"),
        "assignment": (assign, "module cannot be traced .*must not depend on values"),
        "condition": (lambda x: x if x.sum() > 0 else -x, "module cannot be traced .*control flow"),
        "loop": (lambda x: sum(row for row in x), "module cannot be traced"),
    }


@pytest.mark.parametrize("name", ["pool", "pad", "softplus", "alpha", "assignment", "condition", "loop"])
def test_what_is_no_layer_is_named(name: str, torch: ModuleType) -> None:
    function, message = refused(torch)[name]
    with pytest.raises(ValueError, match=message):
        from_torch(calling(torch, function), (4,))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_modules_that_run_or_lack_others_are_refused(torch: ModuleType) -> None:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(3, 3))
    wrong = {
        "the device 'meta': load its weights": nn.Sequential(nn.Linear(3, 3, device="meta")),
        r"DataParallel\) runs another module: give its attribute 'module'": nn.DataParallel(net),
        r"OptimizedModule\) runs another module: give its attribute '_orig_mod'": torch.compile(net),
        "RecursiveScriptModule of torch.jit: give the module that it was made of": torch.jit.script(net),
    }
    for message, module in wrong.items():
        with pytest.raises(ValueError, match=message):
            from_torch(module, (3,))
