"""
What is compared with PyTorch: first how, for a kind of object each, then the tables, a line a case.

A case is an object of PortaNet and a function that makes its counterpart from a part of PyTorch, so that the tables are
read without PyTorch. It computes its results twice, as float64 NumPy arrays by name: ``ours`` on a backend, ``theirs``
with PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import portanet as pn
from portanet.backends import Backend
from portanet.schedules import CosineDecay, ExponentialDecay, OneCycle, StepDecay, WarmUp

Results = dict[str, np.ndarray]


def source(seed=0):
    """Random numbers of the kind that NumPy promises never to change (NEP 19): inputs need no place in the file."""
    return np.random.RandomState(seed)


def slopes(shape):
    """The gradient that is carried back."""
    return np.asarray(source(1).normal(size=shape))


def numbers(rng, shape):
    """Of either sign, from nearly linear for a sigmoid to saturating it."""
    return rng.normal(size=shape) * 10 ** rng.uniform(-1, 1.5, size=shape)


def shares(rng, shape):
    return rng.uniform(size=shape)


def indices(rng, shape):
    return rng.randint(shape[-1], size=shape[:-1], dtype="int64")


def one_hot(rng, shape):
    return np.eye(shape[-1])[indices(rng, shape)]


def distributions(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


@dataclass(frozen=True)
class LayerCase:
    """Output, and gradients with respect to the input and every parameter."""

    layer: pn.Layer
    counterpart: Callable[[Any], Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.layer!r} of {self.shape}"

    def inputs(self):
        rng = source()
        weights = {name: rng.normal(size=p.shape) for name, p in self.layer.named_parameters().items()}
        return numbers(rng, self.shape), weights

    def ours(self, backend: Backend) -> Results:
        x, weights = self.inputs()
        layer = self.layer.initialize(device=backend, dtype="float64")
        layer.set_weights(weights)
        y, pullback = layer.vjp(backend.asarray(x))
        dx = pullback(backend.asarray(slopes(y.shape)))
        gradients = {f"d {name}": backend.to_numpy(p.grad) for name, p in layer.named_parameters().items()}
        return {"y": backend.to_numpy(y), "dx": backend.to_numpy(dx), **gradients}

    def theirs(self, torch: Any) -> Results:
        x, weights = self.inputs()
        x, module = torch.from_numpy(x).requires_grad_(), self.counterpart(torch.nn).double()
        # Transposed, there and back: PyTorch's weights are (out, in).
        module.load_state_dict({name: torch.from_numpy(values.T) for name, values in weights.items()})
        y = module(x)
        y.backward(torch.from_numpy(slopes(y.shape)))
        gradients = {f"d {name}": p.grad.numpy().T for name, p in module.named_parameters()}
        return {"y": y.detach().numpy(), "dx": x.grad.numpy(), **gradients}


@dataclass(frozen=True)
class LossCase:
    """Value, and gradient with respect to the prediction."""

    loss: pn.Loss
    counterpart: Callable[[Any], Callable[..., Any]]
    prediction: Callable[..., np.ndarray]
    target: Callable[..., np.ndarray]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.loss!r} of {self.prediction.__name__} {self.shape} and {self.target.__name__}"

    def inputs(self):
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


@dataclass(frozen=True)
class OptimizerCase:
    """Weights after each step of a sequence of gradients."""

    optimizer: pn.Optimizer
    counterpart: Callable[[Any, list[Any]], Any]

    def __str__(self) -> str:
        return repr(self.optimizer)

    def inputs(self):
        rng = source()
        return rng.normal(size=8), numbers(rng, (7, 8))

    def ours(self, backend: Backend) -> Results:
        start, gradients = map(backend.asarray, self.inputs())
        net = pn.Linear(3, 2).initialize(device=backend, dtype="float64")
        net.buffer.data[...] = start
        self.optimizer.bind(net)
        path = []
        for step in range(gradients.shape[0]):
            net.buffer.grad[...] = gradients[step, ...]
            self.optimizer.step()
            path.append(np.array(backend.to_numpy(net.buffer.data)))
        return {"weights": np.stack(path)}

    def theirs(self, torch: Any) -> Results:
        weights, gradients = map(torch.from_numpy, self.inputs())
        if self.optimizer.clip_norm is not None:  # by hand, since clip_grad_norm_ adds 1e-6 to the norm
            norms = torch.linalg.norm(gradients, dim=1, keepdim=True)
            gradients *= torch.clamp(self.optimizer.clip_norm / norms, max=1.0)
        optimizer, path = self.counterpart(torch.optim, [weights]), []
        for weights.grad in gradients:
            optimizer.step()
            path.append(np.array(weights.numpy()))
        return {"weights": np.stack(path)}


RATE, STEPS = 0.1, 20


@dataclass(frozen=True)
class ScheduleCase:
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
    LayerCase(pn.Flatten(), lambda nn: nn.Flatten(), (1, 3, 2)),
    LayerCase(pn.Flatten(), lambda nn: nn.Flatten(), (4, 3, 2, 2)),
    LayerCase(
        pn.Sequential(pn.Flatten(), pn.Linear(6, 8), pn.SiLU(), pn.Reshape(4, 2)),
        lambda nn: nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.SiLU(), nn.Unflatten(1, (4, 2))),
        (5, 3, 2),
    ),
]


def classes_second(prediction, target):
    """PyTorch has the classes on axis 1, PortaNet on the last; class indices have no such axis."""
    return prediction.movedim(-1, 1), target.movedim(-1, 1) if target.ndim == prediction.ndim else target


def cross_entropy(F):
    """Cross-entropy of probabilities, which PyTorch has for their logarithms and class indices."""

    def loss(prediction, target, **options):
        p, t = classes_second(prediction, target)
        return F.nll_loss(p.log(), t.argmax(dim=1) if t.ndim == p.ndim else t, **options)

    return loss


def softmax_cross_entropy(F, *, class_weights=None, **how):
    def loss(prediction, target, **options):
        weight = None if class_weights is None else prediction.new_tensor(class_weights)
        return F.cross_entropy(*classes_second(prediction, target), weight=weight, **how, **options)

    return loss


WEIGHTS = (0.5, 1.0, 2.0, 0.25)

LOSSES = [
    LossCase(loss(reduction=reduction), counterpart, prediction, target, shape)
    for loss, counterpart, prediction, target in (
        (pn.MSELoss, lambda F: F.mse_loss, numbers, numbers),
        (pn.L1, lambda F: F.l1_loss, numbers, numbers),
        (pn.Huber, lambda F: F.huber_loss, numbers, numbers),
        (partial(pn.Huber, 0.5), lambda F: partial(F.huber_loss, delta=0.5), numbers, numbers),
        (pn.BCE, lambda F: F.binary_cross_entropy, shares, shares),
        (pn.BCE, lambda F: F.binary_cross_entropy, shares, one_hot),
        (pn.BCEWithLogits, lambda F: F.binary_cross_entropy_with_logits, numbers, shares),
        (pn.BCEWithLogits, lambda F: F.binary_cross_entropy_with_logits, numbers, one_hot),
        (pn.CrossEntropy, cross_entropy, distributions, indices),
        (pn.CrossEntropy, cross_entropy, distributions, one_hot),
        *(
            (partial(pn.SoftmaxCrossEntropy, **how), partial(softmax_cross_entropy, **how), numbers, target)
            for how in (
                {},
                {"label_smoothing": 0.1},
                {"class_weights": WEIGHTS},
                {"label_smoothing": 0.3, "class_weights": WEIGHTS},
            )
            for target in (indices, distributions)
        ),
    )
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
        (pn.RMSprop(), lambda optim, w: optim.RMSprop(w, 1e-3, alpha=0.9, eps=1e-7)),
        (pn.RMSprop(0.1, rho=0.7, eps=0.01), lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.7, eps=0.01)),
        (pn.RMSprop(0.1, momentum=0.9), lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.9, eps=1e-7, momentum=0.9)),
        (pn.RMSprop(0.1, centered=True), lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.9, eps=1e-7, centered=True)),
        (
            pn.RMSprop(0.1, momentum=0.9, centered=True, weight_decay=0.2),
            lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.9, eps=1e-7, momentum=0.9, centered=True, weight_decay=0.2),
        ),
        (pn.Adam(), lambda optim, w: optim.Adam(w, 1e-3)),
        (pn.Adam(0.1, betas=(0.8, 0.95), eps=0.01), lambda optim, w: optim.Adam(w, 0.1, betas=(0.8, 0.95), eps=0.01)),
        (pn.Adam(0.1, weight_decay=0.2), lambda optim, w: optim.Adam(w, 0.1, weight_decay=0.2)),
        (pn.Adam(0.1, weight_decay=0.2, clip_norm=10.0), lambda optim, w: optim.Adam(w, 0.1, weight_decay=0.2)),
        (pn.AdamW(), lambda optim, w: optim.AdamW(w, 1e-3, weight_decay=0.01)),
        (pn.AdamW(0.1, weight_decay=0.2), lambda optim, w: optim.AdamW(w, 0.1, weight_decay=0.2)),
        (pn.AdamW(0.1, weight_decay=0.2, clip_norm=10.0), lambda optim, w: optim.AdamW(w, 0.1, weight_decay=0.2)),
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
        (StepDecay(RATE, every=6, factor=0.3), lambda lr, optimizer: lr.StepLR(optimizer, 6, gamma=0.3)),
        (ExponentialDecay(RATE, factor=0.8), lambda lr, optimizer: lr.ExponentialLR(optimizer, 0.8)),
        (CosineDecay(RATE, STEPS), lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, STEPS)),
        (CosineDecay(RATE, STEPS, last=0.01), lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, STEPS, 0.01)),
        *(
            # PyTorch counts rates and PortaNet the steps between them, one fewer; PyTorch's highest rate may fall
            # between two steps, PortaNet's falls on one, `up`.
            (
                OneCycle(RATE, steps, rise=rise),
                lambda lr, optimizer, steps=steps, up=up: lr.OneCycleLR(
                    optimizer, RATE, total_steps=steps + 1, pct_start=(up + 1) / (steps + 1), cycle_momentum=False
                ),
            )
            for steps, rise, up in ((STEPS, 0.3, 6), (STEPS + 3, 0.5, 12))
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

CASES = [*LAYERS, *LOSSES, *OPTIMIZERS, *SCHEDULES]
