"""
What is compared with PyTorch: first how, for a kind of object each, then the tables, a line a case.

A case is an object of PortaNet and a function that makes its counterpart from a part of PyTorch, so that the tables are
read without PyTorch. It computes its results twice, as float64 NumPy arrays by name: ``ours`` on a backend, ``theirs``
with PyTorch. ``CASES`` are kept in a file and hold on every backend; ``GRID`` is large and computed anew each time.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

import portanet as pn
from portanet.backends import Backend
from portanet.layers.adaptive import AdaptivePool, OutputSize
from portanet.layers.conv import Conv, ConvTranspose
from portanet.layers.pooling import AvgPool, MaxPool, Pool
from portanet.schedules import CosineDecay, ExponentialDecay, OneCycle, StepDecay, WarmUp

Results = dict[str, np.ndarray]
Pads = tuple[tuple[int, int], ...]
Draw = Callable[[np.random.RandomState, tuple[int, ...]], np.ndarray]


def source(seed: int = 0) -> np.random.RandomState:
    """Random numbers of the kind that NumPy promises never to change (NEP 19): inputs need no place in the file."""
    return np.random.RandomState(seed)


def slopes(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient that is carried back."""
    return np.asarray(source(1).normal(size=shape))


def numbers(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Of either sign, from nearly linear for a sigmoid to saturating it."""
    return rng.normal(size=shape) * 10 ** rng.uniform(-1, 1.5, size=shape)


def normal(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def shares(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(size=shape)


def indices(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.randint(shape[-1], size=shape[:-1], dtype="int64")


def one_hot(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.eye(shape[-1])[indices(rng, shape)]


def distributions(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def logarithms(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.log(distributions(rng, shape))


def padded(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Class indices; every second one is -100, but not the first."""
    labels = indices(rng, shape)
    labels.reshape(-1)[1::2] = -100
    return labels


def counts(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.poisson(2.0, size=shape).astype("float64")


def signs(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.sign(rng.normal(size=shape))


def halves(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """As many numbers on the last axis as there are pairs."""
    return rng.normal(size=(*shape[:-1], shape[-1] // 2))


@dataclass(frozen=True)
class Case:
    """What all have: how much results may differ beside a relative 1e-10."""

    # Rounding: 1 - y² of a saturated tanh is the difference of two numbers near 1.
    atol: ClassVar[float] = 1e-14

    def ours(self, backend: Backend) -> Results:
        raise NotImplementedError

    def theirs(self, torch: Any) -> Results:
        raise NotImplementedError


@dataclass(frozen=True)
class LayerCase(Case):
    """Output, and gradients with respect to the input and every parameter."""

    layer: pn.Layer
    counterpart: Callable[[Any], Any]
    shape: tuple[int, ...]

    values = staticmethod(numbers)

    def __str__(self) -> str:
        return f"{self.layer!r} of {self.shape}"

    def inputs(self) -> tuple[Any, dict[str, Any]]:
        rng = source()
        weights = {name: rng.normal(size=p.shape) for name, p in self.layer.named_parameters()}
        return self.values(rng, self.shape), weights

    def ours(self, backend: Backend) -> Results:
        x, weights = self.inputs()
        layer = self.layer.initialize(device=backend, dtype="float64")
        layer.set_weights(weights)
        y, pullback = layer.vjp(backend.asarray(x))
        dx = pullback(backend.asarray(slopes(y.shape)))
        gradients = {f"d {name}": backend.to_numpy(p.grad) for name, p in layer.named_parameters()}
        return {"y": backend.to_numpy(y), "dx": backend.to_numpy(dx), **gradients}

    def theirs(self, torch: Any) -> Results:
        x, weights = self.inputs()
        x = torch.from_numpy(x).requires_grad_()
        weights = {name: torch.from_numpy(values).requires_grad_() for name, values in weights.items()}
        there = {name: self.moved(w) for name, w in weights.items()}
        module = self.counterpart(torch.nn).double()
        y = self.call(torch, lambda x: torch.func.functional_call(module, there, x, strict=True), x)
        y.backward(torch.from_numpy(slopes(y.shape)))
        gradients = {f"d {name}": w.grad.numpy() for name, w in weights.items()}
        return {"y": y.detach().numpy(), "dx": x.grad.numpy(), **gradients}

    def moved(self, weight: Any) -> Any:
        """PyTorch's weights are (out, in, *kernel), those of a transposed convolution (in, out, *kernel)."""
        channels = (-2, -1) if isinstance(self.layer, ConvTranspose) else (-1, -2)
        same_order = weight.ndim == 1 or isinstance(self.layer, (pn.LayerNorm, pn.RMSNorm))
        return weight if same_order else weight.movedim(channels, (0, 1))

    def call(self, torch: Any, module: Callable[[Any], Any], x: Any) -> Any:
        return module(x)


@dataclass(frozen=True)
class SpatialCase(LayerCase):
    """
    A layer over space: PyTorch has the channels on axis 1.

    ``pads`` are cells before and after each axis that are padded by hand, or cut off the output of a transposed
    convolution, where PyTorch has no such padding.
    """

    pads: Pads = ()

    atol: ClassVar[float] = 1e-12  # sums of some hundred numbers, in any order and by any algorithm

    values = staticmethod(normal)

    def call(self, torch: Any, module: Callable[[Any], Any], x: Any) -> Any:
        sides = [n for pair in reversed(self.pads) for n in pair]  # those of the last axis first
        pad, x = torch.nn.functional.pad, x.movedim(-1, 1)
        match self.layer:
            case ConvTranspose():
                y = pad(module(x), [-n for n in sides])
            case MaxPool():
                y = module(pad(x, sides, value=-torch.inf))
            case AvgPool(count_include_pad=False):
                y = module(pad(x, sides)) / module(pad(torch.ones_like(x), sides))
            case _:
                y = module(pad(x, sides))
        return y.movedim(1, -1)


@dataclass(frozen=True)
class BatchNormCase(SpatialCase):
    """Three steps of training, then inference with the running statistics; gradients add up."""

    STEPS: ClassVar[tuple[bool, ...]] = (True, True, True, False)

    def inputs(self) -> tuple[Any, dict[str, Any]]:
        _, weights = super().inputs()
        return source(2).normal(1.0, 3.0, size=(len(self.STEPS), *self.shape)), weights

    def ours(self, backend: Backend) -> Results:
        batches, weights = self.inputs()
        layer = self.layer.initialize(device=backend, dtype="float64")
        layer.set_weights(layer.get_weights() | weights)
        results: dict[str, list[np.ndarray]] = {"y": [], "dx": []}
        for x, train in zip(batches, self.STEPS, strict=True):
            y, pullback = layer.vjp(backend.asarray(x), train=train)
            dx = pullback(backend.asarray(slopes(y.shape)))
            results["y"].append(backend.to_numpy(y))
            results["dx"].append(backend.to_numpy(dx))
        states = {name: backend.to_numpy(state.data) for name, state in layer.named_buffers()}
        gradients = {f"d {name}": backend.to_numpy(p.grad) for name, p in layer.named_parameters()}
        return {**{name: np.stack(steps) for name, steps in results.items()}, **states, **gradients}

    def theirs(self, torch: Any) -> Results:
        batches, weights = self.inputs()
        module = self.counterpart(torch.nn).double()
        module.load_state_dict(module.state_dict() | {name: torch.from_numpy(w) for name, w in weights.items()})
        batches, outputs = torch.from_numpy(batches).requires_grad_(), []
        for x, train in zip(batches, self.STEPS, strict=True):
            y = self.call(torch, module.train(train), x)
            y.backward(torch.from_numpy(slopes(y.shape)))
            outputs.append(y.detach().numpy())
        return {
            "y": np.stack(outputs),
            "dx": batches.grad.numpy(),
            **{name: getattr(module, name).numpy() for name, _ in self.layer.named_buffers()},
            **{f"d {name}": p.grad.numpy() for name, p in module.named_parameters()},
        }


@dataclass(frozen=True)
class LossCase(Case):
    """Value, and gradient with respect to the prediction."""

    loss: pn.Loss
    counterpart: Callable[[Any], Callable[..., Any]]
    prediction: Callable[..., np.ndarray]
    target: Callable[..., np.ndarray]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.loss!r} of {self.prediction.__name__} {self.shape} and {self.target.__name__}"

    def inputs(self) -> tuple[Any, Any]:
        rng = source()
        return self.prediction(rng, self.shape), self.target(rng, self.shape)

    def ours(self, backend: Backend) -> Results:
        prediction, target = map(backend.asarray, self.inputs())
        value, pullback = self.loss.vjp(prediction, target)
        gradient = pullback(backend.asarray(slopes(value.shape)))
        return {"value": np.asarray(backend.to_numpy(value)), "gradient": backend.to_numpy(gradient)}

    def theirs(self, torch: Any) -> Results:
        prediction, target = map(torch.from_numpy, self.inputs())
        prediction.requires_grad_()
        value = self.counterpart(torch.nn.functional)(prediction, target, reduction=self.loss.reduction)
        value.backward(torch.from_numpy(slopes(value.shape)))
        return {"value": value.detach().numpy(), "gradient": prediction.grad.numpy()}


@contextmanager
def float64_scalars(torch: Any) -> Iterator[None]:
    """PyTorch keeps scalars of an optimizer's state, such as the product of NAdam's momenta, in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class OptimizerCase(Case):
    """Weights after each step of a sequence of gradients."""

    optimizer: pn.Optimizer
    counterpart: Callable[[Any, list[Any]], Any]

    def __str__(self) -> str:
        return repr(self.optimizer)

    def inputs(self) -> tuple[Any, Any]:
        rng = source()
        return rng.normal(size=8), numbers(rng, (7, 8))

    def ours(self, backend: Backend) -> Results:
        start, gradients = map(backend.asarray, self.inputs())
        net = pn.Linear(3, 2).initialize(device=backend, dtype="float64")
        net.flat.data[...] = start
        self.optimizer.bind(net)
        path = []
        for step in range(gradients.shape[0]):
            net.flat.grad[...] = gradients[step, ...]
            self.optimizer.step()
            path.append(np.array(backend.to_numpy(net.flat.data)))
        return {"weights": np.stack(path)}

    def theirs(self, torch: Any) -> Results:
        weights, gradients = map(torch.from_numpy, self.inputs())
        if self.optimizer.clip_norm is not None:  # by hand, since clip_grad_norm_ adds 1e-6 to the norm
            norms = torch.linalg.norm(gradients, dim=1, keepdim=True)
            gradients *= torch.clamp(self.optimizer.clip_norm / norms, max=1.0)
        optimizer, path = self.counterpart(torch.optim, [weights]), []
        with float64_scalars(torch):
            for weights.grad in gradients:
                optimizer.step()
                path.append(np.array(weights.numpy()))
        return {"weights": np.stack(path)}


RATE, STEPS = 0.1, 20


@dataclass(frozen=True)
class ScheduleCase(Case):
    """Learning rates before the first step and after each of ``STEPS``."""

    schedule: pn.schedules.Schedule
    counterpart: Callable[[Any, Any], Any]

    def __str__(self) -> str:
        return repr(self.schedule)

    def ours(self, backend: Backend) -> Results:
        """A schedule is arithmetic of Python numbers: the backend has no part in it."""
        return {"rates": np.asarray([self.schedule(step) for step in range(STEPS + 1)])}

    def theirs(self, torch: Any) -> Results:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
        scheduler = self.counterpart(torch.optim.lr_scheduler, optimizer)
        rates = scheduler.get_last_lr()
        for _ in range(STEPS):
            optimizer.step()
            scheduler.step()
            rates = rates + scheduler.get_last_lr()
        return {"rates": np.asarray(rates)}


def same(layer: Conv | Pool, lengths: tuple[int, ...]) -> Pads:
    """Padding for ``ceil(length / stride)`` outputs, the odd number after: PyTorch has it for a stride of 1 only."""
    window = layer.window(lengths if isinstance(layer, Conv) else (*lengths, 1))
    if isinstance(layer, ConvTranspose):  # the padding of the convolution that it transposes
        lengths = tuple(n * s for n, s in zip(lengths, window.stride, strict=True))
    totals = [
        max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        for n, s, k, d in zip(lengths, window.stride, window.size, window.dilation, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)


def sliding(
    kind: type[Conv | Pool],
    sizes: tuple[Any, ...],
    shape: tuple[int, ...],
    *,
    padding: Literal["valid", "same"] | int | Pads = "valid",
    **options: Any,
) -> SpatialCase:
    """A convolution or pooling, and PyTorch's of the same name, which spells options otherwise."""
    layer = kind(*sizes, padding=padding, **options)
    there = dict(options)
    if isinstance(layer, AvgPool):
        there.setdefault("count_include_pad", False)
    pads: Pads
    match padding:
        case "valid":
            pads = ()
        case "same":
            pads = same(layer, shape[1:-1])
        case int():
            pads, there["padding"] = (), padding
        case _:
            pads = padding
    return SpatialCase(layer, lambda nn: getattr(nn, kind.__name__[:-1] + "d")(*sizes, **there), shape, pads)


def residual(nn: Any, branch: Any) -> Any:
    module = nn.Module()
    module.branch, module.forward = branch, lambda x: x + branch(x)
    return module


def upsample(nn: Any, **how: Any) -> Any:
    return nn.Upsample(**how)


def adaptive(kind: type[AdaptivePool], size: OutputSize, nn: Any) -> Any:
    return getattr(nn, kind.__name__[:-1] + "d")(size)


def parallel(nn: Any, *branches: Any) -> Any:
    from torch import cat

    module = nn.ModuleList(branches)
    module.forward = lambda x: cat([branch(x) for branch in module], dim=1)
    return module


LAYERS = [
    *(
        LayerCase(layer, counterpart, shape)
        for layer, counterpart in (
            (pn.ReLU(), lambda nn: nn.ReLU()),
            (pn.LeakyReLU(), lambda nn: nn.LeakyReLU()),
            (pn.LeakyReLU(0.2), lambda nn: nn.LeakyReLU(0.2)),
            (pn.ELU(), lambda nn: nn.ELU()),
            (pn.ELU(0.5), lambda nn: nn.ELU(0.5)),
            (pn.GELU(), lambda nn: nn.GELU()),
            (pn.GELU(approximate=True), lambda nn: nn.GELU(approximate="tanh")),
            (pn.SiLU(), lambda nn: nn.SiLU()),
            (pn.Softplus(), lambda nn: nn.Softplus(threshold=100)),  # it is linear from there on, by default from 20
            (pn.TanH(), lambda nn: nn.Tanh()),
            (pn.Sigmoid(), lambda nn: nn.Sigmoid()),
            (pn.SELU(), lambda nn: nn.SELU()),
            (pn.CELU(), lambda nn: nn.CELU()),
            (pn.CELU(0.5), lambda nn: nn.CELU(0.5)),
            (pn.ReLU6(), lambda nn: nn.ReLU6()),
            (pn.Hardtanh(), lambda nn: nn.Hardtanh()),
            (pn.Hardtanh(-0.5, 2.0), lambda nn: nn.Hardtanh(-0.5, 2.0)),
            (pn.Hardswish(), lambda nn: nn.Hardswish()),
            (pn.Mish(), lambda nn: nn.Mish()),
            (pn.LogSigmoid(), lambda nn: nn.LogSigmoid()),
            (pn.PReLU(), lambda nn: nn.PReLU()),
            (pn.Softmax(), lambda nn: nn.Softmax(dim=-1)),
            (pn.LogSoftmax(), lambda nn: nn.LogSoftmax(dim=-1)),
        )
        for shape in ((1, 5), (16, 7), (2, 3, 4))
    ),
    *(
        LayerCase(layer, counterpart, (n, 6))
        for layer, counterpart in (
            (pn.Linear(6, 3), lambda nn: nn.Linear(6, 3)),
            (pn.Linear(6, 1), lambda nn: nn.Linear(6, 1)),
            (pn.Linear(6, 4, bias=False), lambda nn: nn.Linear(6, 4, bias=False)),
            (pn.Reshape(2, 3), lambda nn: nn.Unflatten(1, (2, 3))),
            (pn.Reshape(3, 1, -1), lambda nn: nn.Unflatten(1, (3, 1, 2))),
            (
                pn.Sequential(pn.Linear(6, 5), pn.ReLU(), pn.Linear(5, 4), pn.Softmax()),
                lambda nn: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Softmax(dim=-1)),
            ),
            (
                pn.Sequential(pn.TanH(), pn.Sequential(pn.Linear(6, 2, bias=False), pn.GELU()), pn.Linear(2, 3)),
                lambda nn: nn.Sequential(
                    nn.Tanh(), nn.Sequential(nn.Linear(6, 2, bias=False), nn.GELU()), nn.Linear(2, 3)
                ),
            ),
        )
        for n in (1, 9)
    ),
    *(LayerCase(pn.GLU(), lambda nn: nn.GLU(), shape) for shape in ((1, 6), (2, 3, 4))),
    LayerCase(pn.Flatten(), lambda nn: nn.Flatten(), (1, 3, 2)),
    LayerCase(pn.Flatten(), lambda nn: nn.Flatten(), (4, 3, 2, 2)),
    LayerCase(
        pn.Sequential(pn.Flatten(), pn.Linear(6, 8), pn.SiLU(), pn.Reshape(4, 2)),
        lambda nn: nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.SiLU(), nn.Unflatten(1, (4, 2))),
        (5, 3, 2),
    ),
]

SLIDING = [
    sliding(pn.Conv1D, (2, 3, 3), (2, 7, 2)),
    sliding(pn.Conv1D, (2, 2, 2), (1, 6, 2), stride=2, padding=((0, 1),), bias=False),
    sliding(pn.Conv1D, (2, 4, 4), (1, 7, 2), padding="same", dilation=2, groups=2),
    sliding(pn.Conv2D, (1, 2, 3), (1, 5, 4, 1)),
    sliding(pn.Conv2D, (2, 3, (3, 2)), (2, 5, 4, 2), stride=(2, 1), padding="same"),
    sliding(pn.Conv2D, (2, 2, (2, 3)), (1, 4, 5, 2), padding=((1, 2), (0, 0)), dilation=(2, 1)),
    sliding(pn.Conv2D, (4, 4, 2), (1, 4, 4, 4), stride=3, padding=1, groups=4),
    sliding(pn.Conv3D, (2, 1, 2), (1, 4, 3, 2, 2), stride=(2, 1, 1), padding=1),
    sliding(pn.ConvTranspose1D, (2, 3, 3), (2, 4, 2), stride=2, output_padding=1),
    sliding(pn.ConvTranspose1D, (2, 2, 4), (1, 4, 2), stride=3, padding="same", groups=2),
    sliding(pn.ConvTranspose2D, (2, 1, (3, 2)), (2, 4, 3, 2), stride=2, padding="same", bias=False),
    sliding(pn.ConvTranspose2D, (2, 4, 3), (1, 2, 3, 2), padding=((0, 1), (1, 1)), dilation=2, groups=2),
    sliding(pn.ConvTranspose3D, (2, 1, (2, 1, 3)), (2, 2, 3, 2, 2), stride=(2, 1, 1), padding=((0, 0), (0, 0), (1, 0))),
    *(sliding(kind, (2,), (1, 7, 2)) for kind in (pn.MaxPool1D, pn.AvgPool1D)),
    *(sliding(kind, (4, 3), (2, 7, 1), padding="same") for kind in (pn.MaxPool1D, pn.AvgPool1D)),
    *(sliding(kind, (3, 2), (1, 6, 5, 2), padding=1, ceil_mode=True) for kind in (pn.MaxPool2D, pn.AvgPool2D)),
    *(sliding(kind, ((3, 2), 1), (1, 4, 5, 2), padding=((1, 2), (0, 1))) for kind in (pn.MaxPool2D, pn.AvgPool2D)),
    *(sliding(kind, (5, 2), (1, 4, 4, 1), ceil_mode=True) for kind in (pn.MaxPool2D, pn.AvgPool2D)),
    sliding(pn.AvgPool2D, (3, 2), (1, 6, 5, 2), padding=1, ceil_mode=True, count_include_pad=True),
    sliding(pn.AvgPool2D, (5, 2), (1, 4, 4, 1), ceil_mode=True, count_include_pad=True),
    *(sliding(kind, ((2, 3, 2), 1), (1, 3, 4, 3, 2), padding="same") for kind in (pn.MaxPool3D, pn.AvgPool3D)),
    sliding(pn.MaxPool1D, (3, 2), (1, 9, 2), padding=1, dilation=2),
    sliding(pn.MaxPool2D, ((2, 3), 1), (2, 6, 5, 1), padding=((1, 0), (2, 1)), dilation=(3, 2)),
]

UPSAMPLINGS: list[tuple[int | tuple[int, ...], str, tuple[int, ...]]] = [
    (3, "linear", (2, 4, 2)),
    (2, "bilinear", (2, 3, 1, 2)),
    ((5, 4), "bilinear", (1, 2, 3, 1)),
    ((1, 2, 3), "trilinear", (1, 2, 3, 2, 1)),
]

ADAPTIVE_POOLINGS: list[tuple[type[AdaptivePool], OutputSize, tuple[int, ...]]] = [
    *((kind, 3, (7,)) for kind in (pn.AdaptiveAvgPool1D, pn.AdaptiveMaxPool1D)),
    *((kind, (3, 6), (5, 4)) for kind in (pn.AdaptiveAvgPool2D, pn.AdaptiveMaxPool2D)),
    *((kind, (2, None, 3), (3, 4, 5)) for kind in (pn.AdaptiveAvgPool3D, pn.AdaptiveMaxPool3D)),
]

SPATIAL = [
    *(
        SpatialCase(layer, counterpart, shape)
        for layer, counterpart, shape in (
            (pn.GlobalAvgPool(), lambda nn: nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()), (2, 5, 3)),
            (pn.GlobalAvgPool(), lambda nn: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 3, 4, 2)),
            (pn.GlobalMaxPool(), lambda nn: nn.Sequential(nn.AdaptiveMaxPool1d(1), nn.Flatten()), (2, 5, 3)),
            (pn.GlobalMaxPool(), lambda nn: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), (2, 3, 4, 2)),
            (pn.Upsample(3), lambda nn: nn.Upsample(scale_factor=3), (1, 4, 2)),
            (pn.Upsample(), lambda nn: nn.Upsample(scale_factor=2), (1, 2, 3, 2)),
            (pn.Upsample((3, 1)), lambda nn: nn.Upsample(scale_factor=(3, 1)), (1, 2, 3, 2)),
            (pn.Pad(((1, 2),), value=0.5), lambda nn: nn.ConstantPad1d((1, 2), 0.5), (2, 3, 2)),
            (pn.Pad((1, (0, 2))), lambda nn: nn.ZeroPad2d((0, 2, 1, 1)), (2, 3, 2, 2)),
            (pn.Pad(2, mode="reflect"), lambda nn: nn.ReflectionPad2d(2), (2, 3, 4, 2)),
            (
                pn.Pad(((1, 0), 2, 1), mode="reflect"),
                lambda nn: nn.ReflectionPad3d((1, 1, 2, 2, 1, 0)),
                (1, 2, 3, 2, 2),
            ),
            (pn.Pad((4, (0, 1)), mode="replicate"), lambda nn: nn.ReplicationPad2d((0, 1, 4, 4)), (2, 3, 1, 2)),
            (pn.Pad(3, mode="circular"), lambda nn: nn.CircularPad1d(3), (2, 3, 2)),
            (pn.PReLU(4), lambda nn: nn.PReLU(4), (2, 3, 2, 4)),
            (pn.InstanceNorm(4), lambda nn: nn.InstanceNorm1d(4), (3, 5, 4)),
            (pn.InstanceNorm(2, eps=0.1, affine=True), lambda nn: nn.InstanceNorm2d(2, 0.1, affine=True), (2, 3, 4, 2)),
            (pn.GroupNorm(2, 4), lambda nn: nn.GroupNorm(2, 4), (3, 4)),
            (pn.GroupNorm(2, 6), lambda nn: nn.GroupNorm(2, 6), (2, 3, 2, 6)),
            (pn.GroupNorm(4, 4, eps=0.1, affine=False), lambda nn: nn.GroupNorm(4, 4, 0.1, affine=False), (2, 5, 4)),
            (
                pn.Sequential(
                    *(pn.Conv2D(1, 4, 3), pn.ReLU(), pn.MaxPool2D(2), pn.Conv2D(4, 3, 3, padding="same")),
                    *(pn.GlobalAvgPool(), pn.Linear(3, 2)),
                ),
                lambda nn: nn.Sequential(
                    *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding="same")),
                    *(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(3, 2)),
                ),
                (2, 8, 7, 1),
            ),
            (
                pn.Residual(pn.Sequential(pn.Conv1D(2, 3, 3, padding="same"), pn.TanH(), pn.Conv1D(3, 2, 1))),
                lambda nn: residual(
                    nn, nn.Sequential(nn.Conv1d(2, 3, 3, padding="same"), nn.Tanh(), nn.Conv1d(3, 2, 1))
                ),
                (2, 5, 2),
            ),
            (
                pn.Parallel(pn.Conv2D(2, 3, 3, padding=1), pn.AvgPool2D(1), pn.Conv2D(2, 1, 1, bias=False)),
                lambda nn: parallel(nn, nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(1), nn.Conv2d(2, 1, 1, bias=False)),
                (2, 4, 3, 2),
            ),
        )
    ),
    *(
        SpatialCase(pn.Upsample(factor, mode=mode), partial(upsample, scale_factor=factor, mode=mode), shape)
        for factor, mode, shape in UPSAMPLINGS
    ),
    *(
        SpatialCase(kind(size), partial(adaptive, kind, size), (2, *lengths, 2))
        for kind, size, lengths in ADAPTIVE_POOLINGS
    ),
    *(
        LayerCase(layer, counterpart, shape)
        for layer, counterpart in (
            (pn.LayerNorm(4), lambda nn: nn.LayerNorm(4)),
            (
                pn.LayerNorm(4, eps=0.1, elementwise_affine=False),
                lambda nn: nn.LayerNorm(4, 0.1, elementwise_affine=False),
            ),
            (pn.RMSNorm(4), lambda nn: nn.RMSNorm(4)),
            (pn.RMSNorm(4, eps=0.1, elementwise_affine=False), lambda nn: nn.RMSNorm(4, 0.1, elementwise_affine=False)),
        )
        for shape in ((3, 4), (2, 3, 2, 4))
    ),
    LayerCase(pn.LayerNorm((3, 4)), lambda nn: nn.LayerNorm((3, 4)), (2, 2, 3, 4)),
    LayerCase(pn.RMSNorm((2, 3, 4), eps=0.01), lambda nn: nn.RMSNorm((2, 3, 4), 0.01), (2, 2, 3, 4)),
    *(
        BatchNormCase(layer, counterpart, shape)
        for layer, counterpart, shape in (
            (pn.BatchNorm(4), lambda nn: nn.BatchNorm1d(4), (5, 4)),
            (pn.BatchNorm(2, momentum=1.0), lambda nn: nn.BatchNorm1d(2, momentum=1.0), (1, 6, 2)),
            (pn.BatchNorm(2, momentum=0.3, eps=0.1), lambda nn: nn.BatchNorm2d(2, 0.1, momentum=0.3), (2, 3, 4, 2)),
            (pn.BatchNorm(3, affine=False), lambda nn: nn.BatchNorm3d(3, affine=False), (2, 2, 1, 2, 3)),
            (pn.BatchNorm(2, momentum=None), lambda nn: nn.BatchNorm1d(2, momentum=None), (2, 3, 2)),
        )
    ),
]


def paddings(kind: type[Conv | Pool]) -> tuple[Literal["valid"], Literal["same"], int, Pads]:
    return "valid", "same", 1, ((0, 2), (1, 0), (2, 1))[: kind.n_axes]


CONVOLVED: list[dict[str, Any]] = [
    *({}, {"dilation": 2}, {"groups": 2, "bias": False}, {"groups": 4, "dilation": 2}, {"output_padding": 1})
]
POOLED: list[dict[str, Any]] = [
    *({}, {"ceil_mode": True}, {"count_include_pad": True}, {"ceil_mode": True, "count_include_pad": True}),
    *({"dilation": 2}, {"ceil_mode": True, "dilation": 2}),
]

GRID = [
    *(
        sliding(kind, (4, 8, kernel), shape, stride=stride, padding=padding, **how)
        for (kind, kernel, shape), stride, how in itertools.product(
            (
                (pn.Conv1D, 2, (1, 9, 4)),
                (pn.Conv1D, 5, (3, 10, 4)),
                (pn.Conv2D, 3, (2, 5, 6, 4)),
                (pn.Conv2D, (4, 1), (1, 9, 5, 4)),
                (pn.Conv3D, (2, 1, 3), (2, 3, 4, 6, 4)),
                (pn.ConvTranspose1D, 3, (2, 5, 4)),
                (pn.ConvTranspose2D, (3, 4), (1, 4, 3, 4)),
                (pn.ConvTranspose3D, 3, (1, 3, 2, 3, 4)),
            ),
            (1, 2, 3),
            CONVOLVED,
        )
        for padding in paddings(kind)
        if "output_padding" not in how or (issubclass(kind, ConvTranspose) and stride > 1 and padding != "same")
    ),
    *(
        sliding(kind, (window, stride), shape, padding=padding, **how)
        for (kind, window, shape), stride, how in itertools.product(
            (
                *((kind, 3, (1, 8, 2)) for kind in (pn.MaxPool1D, pn.AvgPool1D)),
                *((kind, (3, 4), (2, 6, 7, 2)) for kind in (pn.MaxPool2D, pn.AvgPool2D)),
                *((kind, 3, (1, 4, 3, 5, 2)) for kind in (pn.MaxPool3D, pn.AvgPool3D)),
            ),
            (None, 1, 2, 5),
            POOLED,
        )
        for padding in paddings(kind)
        if ("count_include_pad" not in how or issubclass(kind, AvgPool))
        and ("dilation" not in how or kind in (pn.MaxPool1D, pn.MaxPool2D))
        and (
            "ceil_mode" not in how or padding in ("valid", 1)
        )  # other padding, done by hand, would be part of the axis
    ),
]


def classes_second(prediction: Any, target: Any) -> tuple[Any, Any]:
    """PyTorch has the classes on axis 1, PortaNet on the last; class indices have no such axis."""
    return prediction.movedim(-1, 1), target.movedim(-1, 1) if target.ndim == prediction.ndim else target


def cross_entropy(F: Any) -> Callable[..., Any]:
    """Cross-entropy of probabilities, which PyTorch has for their logarithms and class indices."""

    def loss(prediction: Any, target: Any, **options: str) -> Any:
        p, t = classes_second(prediction, target)
        return F.nll_loss(p.log(), t.argmax(dim=1) if t.ndim == p.ndim else t, **options)

    return loss


def softmax_cross_entropy(F: Any, *, weight: tuple[float, ...] | None = None, **how: float) -> Callable[..., Any]:
    def loss(prediction: Any, target: Any, **options: str) -> Any:
        w = None if weight is None else prediction.new_tensor(weight)
        return F.cross_entropy(*classes_second(prediction, target), weight=w, **how, **options)

    return loss


def ignoring(F: Any, *, ignore_index: int, **how: Any) -> Callable[..., Any]:
    """Negative log-likelihood of log-probabilities, which PyTorch has on axis 1."""

    def loss(prediction: Any, target: Any, **options: str) -> Any:
        return F.nll_loss(*classes_second(prediction, target), ignore_index=ignore_index, **how, **options)

    return loss


def kl_div(F: Any, **how: bool) -> Callable[..., Any]:
    """Reduced by hand, because PyTorch warns that its "mean" will change."""

    def loss(prediction: Any, target: Any, *, reduction: str) -> Any:
        terms = F.kl_div(prediction, target, reduction="none", **how)
        return terms if reduction == "none" else getattr(terms, reduction)()

    return loss


def multi_margin(F: Any, *, weight: tuple[float, ...] | None = None, **how: float) -> Callable[..., Any]:
    """PyTorch has this loss for rows of scores alone."""

    def loss(prediction: Any, target: Any, **options: str) -> Any:
        w = None if weight is None else prediction.new_tensor(weight)
        rows = prediction.reshape(-1, prediction.shape[-1])
        value = F.multi_margin_loss(rows, target.reshape(-1), weight=w, **how, **options)
        return value.reshape(target.shape) if value.ndim else value

    return loss


def gaussian(F: Any, **how: Any) -> Callable[..., Any]:
    """The prediction holds means, then variances."""

    def loss(prediction: Any, target: Any, **options: str) -> Any:
        mean, variance = prediction.chunk(2, dim=-1)
        return F.gaussian_nll_loss(mean, target, variance, **how, **options)

    return loss


def positive_weight(F: Any, weight: float | tuple[float, ...]) -> Callable[..., Any]:
    def loss(prediction: Any, target: Any, **options: str) -> Any:
        w = prediction.new_tensor(weight)
        return F.binary_cross_entropy_with_logits(prediction, target, pos_weight=w, **options)

    return loss


WEIGHTS = (0.5, 1.0, 2.0, 0.25)

LOSS_KINDS: list[tuple[Callable[..., pn.Loss], Callable[[Any], Callable[..., Any]], Draw, Draw]] = [
    (pn.MSELoss, lambda F: F.mse_loss, numbers, numbers),
    (pn.L1Loss, lambda F: F.l1_loss, numbers, numbers),
    (pn.HuberLoss, lambda F: F.huber_loss, numbers, numbers),
    (partial(pn.HuberLoss, 0.5), lambda F: partial(F.huber_loss, delta=0.5), numbers, numbers),
    (pn.SmoothL1Loss, lambda F: F.smooth_l1_loss, numbers, numbers),
    (partial(pn.SmoothL1Loss, 3.0), lambda F: partial(F.smooth_l1_loss, beta=3.0), numbers, numbers),
    (pn.KLDivLoss, kl_div, logarithms, distributions),
    (pn.KLDivLoss, kl_div, logarithms, one_hot),
    (partial(pn.KLDivLoss, log_target=True), partial(kl_div, log_target=True), logarithms, logarithms),
    *(
        (partial(pn.PoissonNLLLoss, **how), lambda F, how=how: partial(F.poisson_nll_loss, **how), draw, counts)
        for how, draw in (
            ({}, normal),
            ({"full": True}, normal),
            ({"log_input": False}, shares),
            ({"log_input": False, "full": True, "eps": 0.01}, shares),
        )
    ),
    (pn.GaussianNLLLoss, gaussian, shares, halves),
    (partial(pn.GaussianNLLLoss, full=True, eps=0.5), partial(gaussian, full=True, eps=0.5), shares, halves),
    (pn.SoftMarginLoss, lambda F: F.soft_margin_loss, numbers, signs),
    (pn.HingeEmbeddingLoss, lambda F: F.hinge_embedding_loss, numbers, signs),
    (partial(pn.HingeEmbeddingLoss, 0.5), lambda F: partial(F.hinge_embedding_loss, margin=0.5), numbers, signs),
    *(
        (partial(pn.MultiMarginLoss, **how), partial(multi_margin, **how), numbers, indices)
        for how in ({}, {"p": 2, "margin": 0.5}, {"weight": WEIGHTS})
    ),
    (pn.BCELoss, lambda F: F.binary_cross_entropy, shares, shares),
    (pn.BCELoss, lambda F: F.binary_cross_entropy, shares, one_hot),
    (pn.BCEWithLogitsLoss, lambda F: F.binary_cross_entropy_with_logits, numbers, shares),
    (pn.BCEWithLogitsLoss, lambda F: F.binary_cross_entropy_with_logits, numbers, one_hot),
    *(
        (partial(pn.BCEWithLogitsLoss, pos_weight=weight), partial(positive_weight, weight=weight), numbers, shares)
        for weight in (3.0, WEIGHTS)
    ),
    (pn.course.CrossEntropy, cross_entropy, distributions, indices),
    (pn.course.CrossEntropy, cross_entropy, distributions, one_hot),
    *(
        (partial(pn.CrossEntropyLoss, **how), partial(softmax_cross_entropy, **how), numbers, target)
        for how in (
            {},
            {"label_smoothing": 0.1},
            {"weight": WEIGHTS},
            {"label_smoothing": 0.3, "weight": WEIGHTS},
        )
        for target in (indices, distributions)
    ),
    *(
        (partial(pn.CrossEntropyLoss, **how), partial(softmax_cross_entropy, **how), numbers, target)
        for target, ignored in ((padded, -100), (indices, 1))
        for how in (
            {"ignore_index": ignored},
            {"ignore_index": ignored, "label_smoothing": 0.3, "weight": WEIGHTS},
        )
    ),
    *(
        (partial(pn.NLLLoss, ignore_index=ignored), partial(ignoring, ignore_index=ignored), logarithms, target)
        for target, ignored in ((padded, -100), (indices, 2))
    ),
]

LOSSES = [
    LossCase(loss(reduction=reduction), counterpart, prediction, target, shape)
    for loss, counterpart, prediction, target in LOSS_KINDS
    for reduction in ("mean", "sum", "none")
    for shape in ((1, 4), (7, 4), (2, 3, 4))
]

OPTIMIZERS = [
    OptimizerCase(optimizer, counterpart)
    for optimizer, counterpart in (
        (pn.SGD(0.1), lambda optim, w: optim.SGD(w, 0.1)),
        (pn.SGD(0.1, momentum=0.9), lambda optim, w: optim.SGD(w, 0.1, momentum=0.9)),
        (pn.SGD(0.1, momentum=0.8, nesterov=True), lambda optim, w: optim.SGD(w, 0.1, momentum=0.8, nesterov=True)),
        (pn.SGD(0.1, weight_decay=0.2), lambda optim, w: optim.SGD(w, 0.1, weight_decay=0.2)),
        (
            pn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.2),
            lambda optim, w: optim.SGD(w, 0.1, momentum=0.9, nesterov=True, weight_decay=0.2),
        ),
        (pn.SGD(0.1, clip_norm=10.0), lambda optim, w: optim.SGD(w, 0.1)),
        (
            pn.SGD(0.1, momentum=0.9, weight_decay=0.2, clip_norm=10.0),
            lambda optim, w: optim.SGD(w, 0.1, momentum=0.9, weight_decay=0.2),
        ),
        (pn.RMSprop(), lambda optim, w: optim.RMSprop(w)),
        (pn.RMSprop(0.1, alpha=0.7, eps=0.01), lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.7, eps=0.01)),
        (pn.RMSprop(0.1, momentum=0.9), lambda optim, w: optim.RMSprop(w, 0.1, momentum=0.9)),
        (pn.RMSprop(0.1, centered=True), lambda optim, w: optim.RMSprop(w, 0.1, centered=True)),
        (
            pn.RMSprop(0.1, momentum=0.9, centered=True, weight_decay=0.2),
            lambda optim, w: optim.RMSprop(w, 0.1, momentum=0.9, centered=True, weight_decay=0.2),
        ),
        (pn.Adam(), lambda optim, w: optim.Adam(w, 1e-3)),
        (pn.Adam(0.1, betas=(0.8, 0.95), eps=0.01), lambda optim, w: optim.Adam(w, 0.1, betas=(0.8, 0.95), eps=0.01)),
        (pn.Adam(0.1, weight_decay=0.2), lambda optim, w: optim.Adam(w, 0.1, weight_decay=0.2)),
        (pn.Adam(0.1, weight_decay=0.2, clip_norm=10.0), lambda optim, w: optim.Adam(w, 0.1, weight_decay=0.2)),
        (pn.AdamW(), lambda optim, w: optim.AdamW(w, 1e-3, weight_decay=0.01)),
        (pn.AdamW(0.1, weight_decay=0.2), lambda optim, w: optim.AdamW(w, 0.1, weight_decay=0.2)),
        (pn.AdamW(0.1, weight_decay=0.2, clip_norm=10.0), lambda optim, w: optim.AdamW(w, 0.1, weight_decay=0.2)),
        (pn.Adam(0.1, amsgrad=True), lambda optim, w: optim.Adam(w, 0.1, amsgrad=True)),
        (
            pn.AdamW(0.1, weight_decay=0.2, amsgrad=True, maximize=True),
            lambda optim, w: optim.AdamW(w, 0.1, weight_decay=0.2, amsgrad=True, maximize=True),
        ),
        (pn.NAdam(), lambda optim, w: optim.NAdam(w)),
        (
            pn.NAdam(0.1, betas=(0.8, 0.95), eps=0.01, momentum_decay=0.1, weight_decay=0.2),
            lambda optim, w: optim.NAdam(w, 0.1, (0.8, 0.95), 0.01, weight_decay=0.2, momentum_decay=0.1),
        ),
        (
            pn.NAdam(0.1, weight_decay=0.2, decoupled_weight_decay=True),
            lambda optim, w: optim.NAdam(w, 0.1, weight_decay=0.2, decoupled_weight_decay=True),
        ),
        (pn.RAdam(), lambda optim, w: optim.RAdam(w)),
        (
            pn.RAdam(0.1, betas=(0.8, 0.95), eps=0.01, weight_decay=0.2),
            lambda optim, w: optim.RAdam(w, 0.1, (0.8, 0.95), 0.01, weight_decay=0.2),
        ),
        (
            pn.RAdam(0.1, weight_decay=0.2, decoupled_weight_decay=True),
            lambda optim, w: optim.RAdam(w, 0.1, weight_decay=0.2, decoupled_weight_decay=True),
        ),
        (pn.RAdam(0.1, betas=(0.9, 0.5)), lambda optim, w: optim.RAdam(w, 0.1, (0.9, 0.5))),  # never rectified
        (pn.Adamax(), lambda optim, w: optim.Adamax(w)),
        (
            pn.Adamax(0.1, betas=(0.8, 0.95), eps=0.01, weight_decay=0.2),
            lambda optim, w: optim.Adamax(w, 0.1, (0.8, 0.95), 0.01, weight_decay=0.2),
        ),
        (pn.Adadelta(), lambda optim, w: optim.Adadelta(w)),
        (
            pn.Adadelta(0.5, rho=0.7, eps=0.01, weight_decay=0.2),
            lambda optim, w: optim.Adadelta(w, 0.5, 0.7, 0.01, weight_decay=0.2),
        ),
        (pn.SGD(0.1, momentum=0.9, maximize=True), lambda optim, w: optim.SGD(w, 0.1, momentum=0.9, maximize=True)),
        (
            pn.RMSprop(0.1, weight_decay=0.2, clip_norm=10.0, maximize=True),
            lambda optim, w: optim.RMSprop(w, 0.1, weight_decay=0.2, maximize=True),
        ),
        (pn.Adagrad(), lambda optim, w: optim.Adagrad(w, 0.01)),
        (
            pn.Adagrad(0.1, eps=0.01, weight_decay=0.2),
            lambda optim, w: optim.Adagrad(w, 0.1, eps=0.01, weight_decay=0.2),
        ),
    )
]

SCHEDULES = [
    ScheduleCase(schedule, counterpart)
    for schedule, counterpart in (
        (StepDecay(RATE, step_size=6, factor=0.3), lambda lr, optimizer: lr.StepLR(optimizer, 6, gamma=0.3)),
        (ExponentialDecay(RATE, factor=0.8), lambda lr, optimizer: lr.ExponentialLR(optimizer, 0.8)),
        (CosineDecay(RATE, STEPS), lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, STEPS)),
        (CosineDecay(RATE, STEPS, eta_min=0.01), lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, STEPS, 0.01)),
        *(
            (
                OneCycle(RATE, steps, pct_start=pct_start),
                lambda lr, optimizer, steps=steps, pct_start=pct_start: lr.OneCycleLR(
                    optimizer, RATE, total_steps=steps, pct_start=pct_start, cycle_momentum=False
                ),
            )
            for steps, pct_start in ((STEPS + 1, 0.3), (STEPS + 4, 0.5))
        ),
        (
            WarmUp(ExponentialDecay(RATE, factor=0.8), steps=5),
            lambda lr, optimizer: lr.SequentialLR(
                optimizer,
                [lr.LinearLR(optimizer, 1 / 5, total_iters=4), lr.ExponentialLR(optimizer, 0.8)],
                milestones=[5],
            ),
        ),
    )
]

CASES = [*LAYERS, *SLIDING, *SPATIAL, *LOSSES, *OPTIMIZERS, *SCHEDULES]
