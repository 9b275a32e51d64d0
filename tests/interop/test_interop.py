"""PyTorch modules as networks and back: equal outputs, equal gradients, equal weights."""

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import portanet as pn
from bench.networks import NETWORKS
from portanet.interop import from_torch, load_state_dict, to_torch
from tests.cases import LAYERS
from tests.random_nets import random_net

LAYERS = copy.deepcopy(LAYERS)  # other tests change theirs
TOLERANCE: Any = {"rtol": 1e-9, "atol": 1e-11}
SINGLE: Any = {"rtol": 1e-6, "atol": 1e-6}

pytestmark = pytest.mark.torch


def first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def last(y: np.ndarray) -> np.ndarray:
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def modules(torch: ModuleType) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Modules with the shape of one input."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, n_in: int, n_out: int, stride: int):
            super().__init__()
            self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(n_out)
            self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
            self.direct = nn.Identity() if stride == 1 else nn.Conv2d(n_in, n_out, 1, stride=stride)

        def forward(self, x: Any) -> Any:
            y = self.conv2(torch.relu(self.norm(self.conv1(x))))
            return torch.relu(y + self.direct(x))

    class ResNet(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
            self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2))
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            y = self.pool(self.blocks(self.stem(x)))
            return self.head(y.view(y.size(0), -1))

    class LeNet(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2 = nn.Linear(400, 20), nn.Linear(20, 10)

        def forward(self, x: Any) -> Any:
            x = nn.functional.max_pool2d(torch.tanh(self.conv1(x)), 2)
            x = nn.functional.avg_pool2d(torch.tanh(self.conv2(x)), 2)
            x = torch.flatten(x, 1)
            return nn.functional.log_softmax(self.fc2(torch.sigmoid(self.fc1(x))), dim=1)

    mlp = nn.Sequential(
        nn.Linear(7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4), nn.BatchNorm1d(4, momentum=None)
    )
    encoder = nn.Sequential(nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    decoder = nn.Sequential(
        *(nn.Linear(5, 64), nn.ELU(), nn.Unflatten(1, (4, 4, 4))),
        *(nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(3, 1, 3, padding=1, bias=False), nn.Sigmoid()),
    )
    signals = nn.Sequential(
        *(nn.Conv1d(2, 6, 3, padding="same", groups=2), nn.PReLU(6), nn.MaxPool1d(2), nn.GroupNorm(2, 6)),
        *(nn.Upsample(scale_factor=2), nn.ReflectionPad1d((1, 2)), nn.Flatten(), nn.LazyLinear(3)),
    )
    signals(torch.zeros(2, 2, 8))
    return {
        "LeNet": (LeNet(), (1, 28, 28)),
        "MLP with BatchNorm": (mlp, (7,)),
        "auto-encoder": (nn.Sequential(encoder, decoder), (1, 8, 8)),
        "residual net": (ResNet(), (3, 6, 6)),
        "signals": (signals, (2, 8)),
        "one module": (nn.Conv2d(2, 3, 3), (2, 5, 5)),
        "sequences": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.RMSNorm(6)), (5, 4)),
    }


NAMES = ["LeNet", "MLP with BatchNorm", "auto-encoder", "residual net", "signals", "one module", "sequences"]


def torch_gradients(torch: ModuleType, module: Any, x: np.ndarray, dy: np.ndarray) -> tuple[Any, Any, dict[str, Any]]:
    """Output, dx and gradients of the parameters, in training mode."""
    tensor = torch.tensor(x, requires_grad=True)
    module.train()
    y = module(tensor)
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), tensor.grad.numpy(), {k: p.grad.numpy() for k, p in module.named_parameters()}


def assert_same_in_training(
    torch: ModuleType, net: pn.Layer, module: Any, x: np.ndarray, channels_first: bool = True
) -> dict[str, Any]:
    """Compare outputs and dx, and return the gradients of the parameters of the module; x is that of the module."""
    ours, theirs = (last, first) if channels_first else (lambda a: a, lambda a: a)
    y, pullback = net.vjp(ours(x))
    dy = np.random.default_rng(3).normal(size=y.shape).astype(y.dtype)
    net.zero_grad()
    dx = pullback(dy)
    y_torch, dx_torch, grads = torch_gradients(torch, module, x, theirs(dy))
    np.testing.assert_allclose(theirs(y), y_torch, **TOLERANCE)
    np.testing.assert_allclose(theirs(dx), dx_torch, **TOLERANCE)
    return grads


def in_portanets_order(torch: ModuleType, module: Any, grads: dict[str, Any], shape: Any) -> dict[str, np.ndarray]:
    """Return gradients as the weights of a network: those of a module whose parameters are its gradients."""
    holder = copy.deepcopy(module)
    with torch.no_grad():
        for name, parameter in holder.named_parameters():
            parameter.copy_(torch.from_numpy(grads[name]))
    return from_torch(holder, shape).get_weights()


@pytest.mark.parametrize("name", NAMES)
def test_a_network_from_torch_has_equal_outputs_and_gradients(name: str, torch: ModuleType) -> None:
    torch.manual_seed(0)
    module, shape = modules(torch)[name]
    module.double()
    net = from_torch(module, shape)
    x = np.random.default_rng(0).normal(size=(4, *shape))
    grads = assert_same_in_training(torch, net, module, x, channels_first=name != "sequences")
    expected = in_portanets_order(torch, module, grads, shape)
    for parameter_name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[parameter_name], **TOLERANCE, err_msg=parameter_name)
    module.eval()
    with torch.no_grad():
        y_torch = module(torch.tensor(x)).numpy()
    y = net.predict(x) if name == "sequences" else first(net.predict(last(x)))
    np.testing.assert_allclose(y, y_torch, **TOLERANCE)  # the running statistics, too, are equal


def test_the_four_networks_become_the_layers_that_one_would_write(torch: ModuleType) -> None:
    found = {name: repr(from_torch(*entry)) for name, entry in modules(torch).items()}
    assert found["LeNet"] == (
        "Sequential(Conv2D(1, 6, 5, padding=2), TanH(), MaxPool2D(2), Conv2D(6, 16, 5), TanH(), AvgPool2D(2), "
        "Flatten(), Linear(400, 20), Sigmoid(), Linear(20, 10), LogSoftmax())"
    )
    assert found["MLP with BatchNorm"] == (
        "Sequential(Linear(7, 9), BatchNorm(9), ReLU(), Linear(9, 4), BatchNorm(4, momentum=None))"
    )
    assert found["residual net"].endswith("GlobalAvgPool(), Linear(8, 5))")
    assert found["residual net"].count("Residual(") == 2


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "transformer"])  # see test_interop_sequences
def test_every_network_of_the_experiments_becomes_an_equal_module_and_comes_back(name: str, torch: ModuleType) -> None:
    network = NETWORKS[name]
    net = network.build().initialize(seed=1, dtype="float64")
    if any(isinstance(layer, pn.Dropout) for layer in net):
        net = pn.Sequential(*(layer for layer in net if not isinstance(layer, pn.Dropout)))
    module = to_torch(net)
    x = np.random.default_rng(0).uniform(size=(3, *network.input_shape))
    assert_same_in_training(torch, net, module, first(x))
    state = module.state_dict()
    grads = {name: parameter.grad for name, parameter in module.named_parameters()}
    holder = copy.deepcopy(net)  # its weights become PyTorch's gradients, in PortaNet's order
    load_state_dict(holder, {name: grads.get(name, tensor) for name, tensor in state.items()})
    expected = holder.get_weights()
    for parameter_name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[parameter_name], **TOLERANCE)
    module = to_torch(net).eval()  # with other running statistics than those of the start
    np.testing.assert_allclose(last(module(torch.tensor(first(x))).detach().numpy()), net.predict(x), **TOLERANCE)
    back = from_torch(module, first(x).shape[1:])
    np.testing.assert_allclose(back.predict(x), net.predict(x), rtol=1e-12)
    assert [type(layer) for layer in back] == [type(layer) for layer in net]


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_become_equal_modules_and_come_back(seed: int, torch: ModuleType) -> None:
    net, x = random_net(seed)
    module, expected = to_torch(net, x.shape[1:]).eval(), net.predict(x)
    y = module(torch.tensor(first(x))).detach().numpy()
    np.testing.assert_allclose(last(y), expected, rtol=1e-7, atol=1e-9)
    back = from_torch(module, first(x).shape[1:]).to("cpu", dtype="float64")  # float32 if it has no weights
    np.testing.assert_allclose(back.predict(x), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("input_shape", [(6, 4), None])
def test_pictures_without_channels_keep_their_order(input_shape: Any, torch: ModuleType) -> None:
    net = pn.Sequential(pn.Rescale(0.5), pn.Flatten(), pn.Linear(24, 3)).initialize(seed=1)
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    module = to_torch(net, input_shape)
    np.testing.assert_allclose(module(torch.tensor(x)).detach().numpy(), net.predict(x), **SINGLE)
    np.testing.assert_allclose(from_torch(module, (6, 4)).predict(x), net.predict(x), **SINGLE)


REFUSED = {
    **dict.fromkeys(
        [
            "AvgPool1D(3, stride=2, padding='same')",
            "Conv2D(4, 2, 2, padding=((0, 2), 1))",
            "ConvTranspose2D(4, 6, (3, 2), stride=2, padding='same', groups=2)",
        ],
        "its padding must be one number for each axis",
    ),
    "Conv2D(4, 4, (3, 2), stride=(2, 1), padding='same', dilation=(1, 2), groups=4)": "give its padding as a number",
    "RandomFlip()": "there is none for the layer",
    "RandomTranslation(2)": "there is none for the layer",
    "RandomCrop(3, 2)": "there is none for the layer",
    "RandomRotation(30.0)": "there is none for the layer",
    "RandomRotation(200.0)": "there is none for the layer",
    "RandomZoom((0.5, 1.0))": "there is none for the layer",
    "RandomZoom((0.8, 2.5))": "there is none for the layer",
    "GaussianNoise(0.1)": "there is none for the layer",
    **{repr(layer): "there is none for the layer" for layer, _ in LAYERS if isinstance(layer, pn.Graph)},
    **{
        repr(layer): "its mask_zeros must be False"
        for layer, _ in LAYERS
        if any(getattr(each, "mask_zeros", False) for each in layer.topology.layers.values())
    },
}
"""Layers without a module, with what the error says."""

NOT_IN_PYTORCH = {
    "Pad(8, mode='circular')": "PyTorch pads by one period at most",
}
"""Layers whose modules PyTorch refuses to run, by the reason."""


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer_becomes_an_equal_module_or_is_refused(layer: pn.Layer, x: np.ndarray, torch: ModuleType) -> None:
    layer.initialize(seed=1, dtype="float64")
    name = repr(layer)
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            to_torch(layer, x.shape[1:])
        return
    module, tensor = to_torch(layer, x.shape[1:]).eval(), torch.tensor(first(x))
    if name in NOT_IN_PYTORCH:
        with pytest.raises(RuntimeError):
            module(tensor)
        return
    np.testing.assert_allclose(last(module(tensor).detach().numpy()), layer.predict(x), **TOLERANCE)


def test_state_dicts_in_safetensors_are_loaded_by_pytorchs_names(torch: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, shape = modules(torch)["auto-encoder"]
    module.train()(torch.rand(4, *shape))  # other running statistics than those of the start
    module.eval()
    state = {name: tensor.numpy() for name, tensor in module[0].state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    net = pn.Sequential(pn.Conv2D(1, 4, 4, stride=2, padding=1), pn.ReLU(), pn.Flatten(), pn.Linear(64, 5))
    load_state_dict(net, tmp_path / "weights.safetensors")
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    with torch.no_grad():
        expected = module[0](torch.tensor(x)).numpy()
    np.testing.assert_allclose(net.predict(last(x)), expected, **SINGLE)


def test_a_state_dict_of_to_torch_is_loaded_again(torch: ModuleType) -> None:
    net = NETWORKS["res-net"].build().initialize(seed=1)
    other = NETWORKS["res-net"].build().initialize(seed=2)
    state = to_torch(net).state_dict()
    load_state_dict(other, {name: tensor.numpy() if "weight" in name else tensor for name, tensor in state.items()})
    assert all(
        np.array_equal(a, b) for a, b in zip(net.get_weights().values(), other.get_weights().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), "missing or unknown: 0.bias"),
        (lambda state: state.update({"9.bias": state["0.bias"]}), "missing or unknown: 9.bias"),
        (lambda state: state.update({"0.weight": state["0.weight"].T}), r"must have shape \(2, 3\), got \(3, 2\)"),
    ],
)
def test_wrong_state_dicts_change_nothing(change: Any, message: str, torch: ModuleType) -> None:
    net = pn.Sequential(pn.Linear(3, 2)).initialize(seed=1)
    before, state = net.get_weights(), torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        load_state_dict(net, state)
    assert all(np.array_equal(before[name], values) for name, values in net.get_weights().items())


def weight_files(torch: ModuleType) -> dict[str, tuple[Any, pn.Layer, tuple[int, ...]]]:
    """Modules and networks of the same layers, with the shape of one input of the module, by what is special."""
    nn = torch.nn
    return {
        "GroupNorm before Flatten": (
            nn.Sequential(nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(24, 3)),
            pn.Sequential(pn.GroupNorm(2, 6), pn.Flatten(), pn.Linear(24, 3)),
            (6, 4),
        ),
        "InstanceNorm before Flatten": (
            nn.Sequential(nn.InstanceNorm1d(6, affine=True), nn.Flatten(), nn.Linear(24, 3)),
            pn.Sequential(pn.InstanceNorm(6, affine=True), pn.Flatten(), pn.Linear(24, 3)),
            (6, 4),
        ),
        "Unflatten": (
            nn.Sequential(
                *(nn.Linear(5, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Unflatten(1, (6, 2, 2))),
                nn.ConvTranspose2d(6, 2, 3),
            ),
            pn.Sequential(
                *(pn.Linear(5, 24), pn.BatchNorm(24), pn.ReLU(), pn.Reshape(2, 2, 6)),
                pn.ConvTranspose2D(6, 2, 3),
            ),
            (5,),
        ),
        "Flatten and Unflatten": (
            nn.Sequential(
                *(nn.Conv1d(2, 3, 1), nn.Flatten(), nn.Linear(12, 8), nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 1, 1))
            ),
            pn.Sequential(pn.Conv1D(2, 3, 1), pn.Flatten(), pn.Linear(12, 8), pn.Reshape(4, 2), pn.Conv1D(2, 1, 1)),
            (2, 4),
        ),
        "Pad": (
            nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 2)),
            pn.Sequential(pn.Pad(1, mode="reflect"), pn.Conv2D(2, 3, 3), pn.Flatten(), pn.Linear(27, 2)),
            (2, 3, 3),
        ),
        "global pooling": (
            nn.Sequential(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(4, 2)),
            pn.Sequential(pn.GlobalAvgPool(), pn.Linear(4, 2)),
            (4, 3, 3),
        ),
    }


WEIGHT_FILES = [
    *("GroupNorm before Flatten", "InstanceNorm before Flatten", "Unflatten", "Flatten and Unflatten", "Pad"),
    "global pooling",
]


@pytest.mark.parametrize("has_input_shape", [False, True])
@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weights_of_a_module_of_ones_own_are_loaded(name: str, has_input_shape: bool, torch: ModuleType) -> None:
    torch.manual_seed(0)
    module, net, shape = weight_files(torch)[name]
    module.double()
    net.initialize(dtype="float64")
    x = np.random.default_rng(0).normal(size=(3, *shape))
    load_state_dict(net, module.state_dict(), last(x).shape[1:] if has_input_shape else None)
    y = module.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(first(net.predict(last(x))), y, **TOLERANCE)
    y = to_torch(net, last(x).shape[1:]).eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(first(net.predict(last(x))), y, **TOLERANCE)


def test_a_linear_that_is_used_twice_keeps_its_order_before_a_reshape(torch: ModuleType) -> None:
    layer = pn.Linear(8, 8)
    net = pn.Sequential(layer, layer, pn.Reshape(2, 4), pn.Conv1D(4, 3, 1)).initialize(seed=1, dtype="float64")
    x = np.random.default_rng(0).normal(size=(3, 8))
    y = to_torch(net)(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(last(y), net.predict(x), **TOLERANCE)


def test_weights_after_a_flatten_of_unknown_channels_need_the_input_shape(torch: ModuleType) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 2)).double()
    net = pn.Sequential(pn.MaxPool1D(2), pn.Flatten(), pn.Linear(6, 2)).initialize(dtype="float64")
    with pytest.raises(ValueError, match=r"number of channels at Flatten\(\) is not known: give input_shape"):
        load_state_dict(net, module.state_dict())
    load_state_dict(net, module.state_dict(), (4, 3))
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(net.predict(last(x)), module(torch.tensor(x)).detach().numpy(), **TOLERANCE)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_weights_of_two_bytes_are_converted(name: str, torch: ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_tensors

    module = torch.nn.Sequential(torch.nn.Linear(3, 2)).to(getattr(torch, name))
    save_tensors(module.state_dict(), tmp_path / "w.safetensors")
    expected = module[0].weight.detach().float().numpy().T
    for weights in (module.state_dict(), tmp_path / "w.safetensors"):
        net = pn.Sequential(pn.Linear(3, 2))
        load_state_dict(net, weights)
        np.testing.assert_array_equal(net.get_weights()["0.weight"], expected)
    with pytest.raises(ValueError, match=f"must be of float32 or float64, got {name}: use module.float"):
        from_torch(module, (3,))


def test_a_damaged_file_of_weights_is_refused(torch: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(pn.FileFormatError, match="it is no safetensors file"):
        load_state_dict(pn.Linear(3, 2), tmp_path / "w.safetensors")


def test_modules_and_functions_without_a_layer_are_named(torch: ModuleType) -> None:
    nn = torch.nn

    class Own(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, function: Any):
            super().__init__()
            self.inner, self.function = nn.Linear(3, 3), function

        def forward(self, x: Any) -> Any:
            return self.function(self.inner, x)

    refused: list[tuple[Any, str]] = [
        (nn.Sequential(nn.Bilinear(3, 3, 2)), r"module '0' \(Bilinear\) cannot become a layer"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="reflect")), "its padding_mode is 'reflect'"),
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "it has no running statistics"),
        (Own(lambda inner, x: torch.cumsum(inner(x), 1)), r"\(cumsum\) cannot become a layer"),
        (Own(lambda inner, x: inner(inner(x))), "module 'inner' is called twice"),
        (Own(lambda inner, x: inner(x[:, :3])), r"\(getitem\) cannot become a layer"),
        (Own(lambda inner, x: inner(x) + 1.0), r"\(add\) cannot become a layer of PortaNet: its argument 1.0"),
        (Own(lambda inner, x: inner(x) + x.size(0)), "comes from nowhere"),
        (nn.Linear(3, 2).half(), "must be of float32 or float64, got float16"),
    ]
    for module, message in refused:
        with pytest.raises(ValueError, match=message):
            from_torch(module, (1, 8, 8) if "padding_mode" in message else (3,))
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got str"):
        from_torch("module", (3,))


def test_a_module_of_ones_own_may_have_the_name_of_another(torch: ModuleType) -> None:
    class Normalize(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.dropout(self.inner(x), 0.2, self.training)

    assert repr(from_torch(torch.nn.Sequential(Normalize()), (3,))) == "Sequential(Linear(3, 3), Dropout(p=0.2))"


def test_a_layer_used_on_two_orders_of_axes_is_refused(torch: ModuleType) -> None:
    layer = pn.Linear(8, 8)
    net = pn.Sequential(pn.Conv2D(1, 2, 1), pn.Flatten(), layer, pn.ReLU(), layer)
    with pytest.raises(ValueError, match=r"uses Linear\(8, 8\) twice, on inputs of different orders"):
        to_torch(net)


def test_a_layer_of_ones_own_is_refused(torch: ModuleType) -> None:
    class Own(pn.ReLU):
        pass

    with pytest.raises(ValueError, match=r"there is none for the layer Own\(\)"):
        to_torch(pn.Sequential(Own()))


def test_a_refused_network_keeps_its_open_sizes(torch: ModuleType) -> None:
    net = pn.Sequential(pn.Linear(2), pn.GaussianNoise(0.1))
    with pytest.raises(ValueError, match="GaussianNoise"):
        to_torch(net, (3,))
    assert repr(net) == "Sequential(Linear(2), GaussianNoise(0.1))"
    with pytest.raises(RuntimeError, match="no input size yet"):
        to_torch(net)


def test_a_layer_used_twice_is_one_module(torch: ModuleType) -> None:
    layer = pn.Linear(3, 3)
    module = to_torch(pn.Sequential(layer, pn.TanH(), layer))
    assert module[0] is module[2]


def test_importing_the_package_does_not_import_pytorch() -> None:
    import subprocess
    import sys

    code = "import sys, portanet; portanet.interop; print('torch' in sys.modules, 'onnx' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False False\n"
    )


def modules_that_differ(torch: Any) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Modules that PortaNet has no layer for, by what the error says."""

    class FlatView(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.view(1, -1)

    hooked = torch.nn.Linear(4, 4)
    hooked.weight.register_hook(lambda gradient: gradient * 0)
    return {
        "its threshold 0.5 is below 20": (torch.nn.Softplus(threshold=0.5), (4,)),
        "its dim is None, which is the batch here": (torch.nn.Softmax(), (4, 3)),
        "its first length is 1, not the batch's": (torch.nn.Sequential(FlatView()), (4,)),
        "has hooks, which may change its output or gradients": (hooked, (4,)),
    }


def test_what_computes_something_else_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for message, (module, shape) in modules_that_differ(torch).items():
        with pytest.raises(ValueError, match=message):
            from_torch(module, shape)
