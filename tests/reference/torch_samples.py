"""
PortaNet beside PyTorch's own samples: the arguments and inputs on which PyTorch tests its modules, functions and
optimizers.

The table in torch_counterparts.py names the counterparts. Every sample is compared, or counted under a reason; what has
no line in the table counts as "PortaNet has no such layer". The counts are kept in torch_samples_skipped.json, which
this command writes, with PyTorch installed::

    python -m tests.reference.torch_samples
"""

import inspect
import json
import random
import re
import sys
import unittest
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import portanet as pn
from portanet.backends import Backend
from portanet.engine import compiled
from portanet.layers.conv import ConvTranspose
from tests.reference.cases import float64_scalars
from tests.reference.torch_counterparts import COUNTERPARTS, FUNCTIONS, Counterpart

Results = dict[str, np.ndarray]
Counts = dict[str, dict[str, int]]

LIST = Path(__file__).with_name("torch_samples_skipped.json")


class Skipped(Exception):
    """A sample that PortaNet cannot run; the message is the reason under which it counts."""


class Moved(Exception):
    """PyTorch no longer has its samples where this module looks for them; the message names what is missing."""


@dataclass(frozen=True)
class Sample:
    """The arguments of a class of PyTorch, and the inputs that an object of it is called with."""

    name: str
    description: str
    kind: type[Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Any, ...] = ()
    weights: tuple[Any, ...] = ()
    """Those that a function is given; a module has its own."""
    train: bool = False

    def __str__(self) -> str:
        mode = "training" if self.train else "inference"
        return f"{self.name}{self.args} {dict(self.kwargs)} {self.description} ({mode})"

    @cached_property
    def counterpart(self) -> Counterpart:
        return COUNTERPARTS[self.name]

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """PyTorch's arguments by name, with the defaults."""
        first = (None,) * self.name.startswith("optim.")  # the parameters
        bound = inspect.signature(self.kind).bind(*first, *self.args, **self.kwargs)
        bound.apply_defaults()
        named = {name: plain(value) for name, value in list(bound.arguments.items())[len(first) :]}
        return {name: value for name, value in named.items() if (name, value) not in (("args", None), ("kwargs", {}))}

    def ours(self) -> Any:
        """Make PortaNet's object of the same arguments."""
        there, ours = self.counterpart, dict[str, Any]()
        accepted, signature = inspect.signature(there.kind).parameters, inspect.signature(self.kind).parameters
        for name, value in self.arguments.items():
            own_name = there.names.get(name, name)
            if name == there.axis:
                continue
            if own_name in accepted:
                ours[own_name] = there.values[name](value) if name in there.values else value
            elif name in there.only and value != there.only[name]:
                raise Skipped(f"{name} other than {there.only[name]}")
            elif name not in there.only and value != plain(signature[name].default):
                raise Skipped(f"PortaNet has no argument {name}")
        for reason, holds in there.unless.items():
            if holds(self):
                raise Skipped(reason)
        return there.kind(**ours)

    def channels_last(self, a: np.ndarray) -> np.ndarray:
        """Bring an input or the output of a layer to PortaNet's layout."""
        axis = self.counterpart.axis
        a = a[None] if self.is_example else a
        return np.moveaxis(a, self.arguments[axis] if isinstance(axis, str) else axis, -1)

    def output(self, y: np.ndarray) -> np.ndarray:
        """Bring an output, or its gradient, to PortaNet's layout."""
        kind = self.counterpart.kind
        if issubclass(kind, pn.Loss):
            return y[None] if self.is_example and self.arguments["reduction"] == "none" else y
        y = self.channels_last(y)
        return y.reshape(y.shape[0], y.shape[-1]) if kind in (pn.GlobalAvgPool, pn.GlobalMaxPool) else y

    def target(self, t: np.ndarray) -> np.ndarray:
        """Bring the target of a loss to PortaNet's layout."""
        if t.ndim == self.inputs[0].ndim:
            return self.channels_last(t)
        return t[None] if self.is_example else t

    def weight(self, w: np.ndarray) -> np.ndarray:
        """
        Bring a weight to PortaNet's layout, (*kernel, in, out).

        PyTorch's is (out, in, *kernel), that of a transposed convolution (in, out, *kernel).
        """
        channels = (-2, -1) if issubclass(self.counterpart.kind, ConvTranspose) else (-1, -2)
        return w if w.ndim == 1 else np.moveaxis(w, (0, 1), channels)

    @property
    def is_example(self) -> bool:
        """Whether the input lacks the axis of a batch."""
        return bool(self.inputs[0].ndim < self.counterpart.ndim)


def changed(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that both libraries are given."""
    functions = COUNTERPARTS[name].changes if name in COUNTERPARTS else {}
    return {key: functions[key](value) if key in functions else value for key, value in kwargs.items()}


def plain(value: Any) -> Any:
    """Write a value without tensors, and what is equal for all axes as one number; no value at all is None."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, tuple) and len(set(value)) <= 1:
        return value[0] if value else None
    return value


class TorchSamples:
    """
    PyTorch's samples by name, the same at every run. Where PortaNet has no counterpart, only their number is kept.

    A module that differs between training and inference has samples of both.

    Raises
    ------
    Moved
        If PyTorch has the samples elsewhere or not at all.
    """

    LISTS = (
        ("torch.testing._internal.common_optimizers", "optim_db"),
        ("torch.testing._internal.common_modules", "module_db"),
        ("torch.testing._internal.common_methods_invocations", "op_db"),
    )

    def __init__(self, torch: Any):
        self.torch = torch
        self.samples: dict[str, list[Sample]] = {}
        self.numbers: dict[str, int] = {}
        optimizers, modules, functions = (self._load(*where) for where in self.LISTS)
        try:
            for info in optimizers:
                self._keep(f"optim.{info.name}", self._of_optimizer, info)
            for info in modules:
                self._keep(info.name, self._of_module, info)
            for info in functions:
                name = " ".join((info.name, info.variant_test_name)).strip()
                if name in FUNCTIONS or re.match("nn.functional.*(conv|pool)", name):
                    self._keep(name, self._of_function, info)
        except AttributeError as error:
            if not type(error.obj).__module__.startswith("torch."):
                raise
            raise Moved(f"PyTorch {torch.__version__}: {error}") from None

    def _load(self, module: str, name: str) -> Any:
        # These modules import expecttest, which PyTorch's own tests need and the samples do not.
        stub: Any = ModuleType("expecttest")
        stub.TestCase = unittest.TestCase
        sys.modules.setdefault("expecttest", stub)
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise Moved(f"PyTorch {self.torch.__version__} has no {module}.{name}: {error}") from None
        finally:
            if sys.modules["expecttest"] is stub:
                del sys.modules["expecttest"]

    def _keep(self, name: str, make: Callable[[str, Any], Iterator[Sample]], info: Any) -> None:
        self.torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        samples = list(make(name, info))
        self.numbers[name] = len(samples)
        if name in COUNTERPARTS:
            self.samples[name] = samples

    def _of_module(self, name: str, info: Any) -> Iterator[Sample]:
        for train in (False, True) if info.train_and_eval_differ else (False,):
            how = {"device": "cpu", "dtype": self.torch.float64, "requires_grad": False, "training": train}
            for given in info.module_inputs_func(info, **how):
                constructor, call = given.constructor_input, given.forward_input
                inputs = (*call.args, *call.kwargs.values()) if call else ()
                kwargs, inputs = changed(name, constructor.kwargs), self._joined(name, inputs)
                yield Sample(name, given.desc, info.module_cls, constructor.args, kwargs, inputs, train=train)

    def _of_function(self, name: str, info: Any) -> Iterator[Sample]:
        module = FUNCTIONS.get(name, "nn.Module")
        kind = getattr(self.torch.nn, module.removeprefix("nn."))
        for given in info.sample_inputs("cpu", self.torch.float64, requires_grad=False):
            args, kwargs, targets, weights = given.args, changed(name, given.kwargs), (), ()
            if "Conv" in module or "Linear" in module:
                args, kwargs, weights = sizes_and_weights(module, *args, **kwargs)
            elif "Loss" in module:
                n_targets = 1 + COUNTERPARTS[name].joined
                targets, args = args[:n_targets], args[n_targets:]
            yield Sample(name, "", kind, args, kwargs, self._joined(name, (given.input, *targets)), weights)

    def _joined(self, name: str, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Join the first and the third input if PortaNet's prediction is both; all broadcast to the first one."""
        if name not in COUNTERPARTS or not COUNTERPARTS[name].joined:
            return inputs
        first, target, third = inputs
        third = third[..., None] if third.ndim < first.ndim else third
        return self.torch.cat([first, third.expand_as(first)], dim=-1), target.expand_as(first)

    def _of_optimizer(self, name: str, info: Any) -> Iterator[Sample]:
        for given in info.optim_inputs_func("cpu"):
            yield Sample(name, given.desc, info.optim_cls, (), given.kwargs)

    def skipped(self) -> Counts:
        """How many samples of each name are skipped, by reason."""
        counts: Counts = {}
        for name, number in self.numbers.items():
            reasons = Counter[str]()
            if name not in COUNTERPARTS:
                kind = "optimizer" if name.startswith("optim.") else "loss" if name.endswith("Loss") else "layer"
                reasons[f"PortaNet has no such {kind}"] = number
            for sample in self.samples.get(name, ()):
                try:
                    sample.ours()
                except Skipped as reason:
                    reasons[str(reason)] += 1
            if reasons:
                counts[name] = dict(reasons)
        return counts

    def theirs(self, sample: Sample, dtype: str) -> tuple[Results, Results]:
        """
        Return what PortaNet is given, and what PyTorch computes of it in float64, both in PortaNet's layout.

        The numbers are those of the sample, and random ones for the weights and gradients, rounded to the dtype.
        """
        rng = np.random.RandomState(0)

        def normal(*shape: int) -> np.ndarray:
            return exact(rng.normal(size=shape), dtype)

        if sample.name.startswith("optim."):
            start, gradients = normal(8), normal(6, 8)
            return {"start": start, "gradients": gradients}, self._weights_after_steps(sample, start, gradients)
        torch = self.torch
        module = sample.kind(*sample.args, **sample.kwargs).double().train(sample.train)
        arrays = [w.numpy() for w in sample.weights] or [normal(*w.shape) for w in module.parameters()]
        weights = {
            name: exact(values, dtype) for (name, _), values in zip(module.named_parameters(), arrays, strict=True)
        }
        if hasattr(module, "running_mean") and module.running_mean is not None:
            weights["running_mean"] = normal(*module.running_mean.shape)
            weights["running_var"] = normal(*module.running_var.shape) ** 2 + 0.5
        state = {name: torch.from_numpy(w) for name, w in weights.items()}
        module.load_state_dict(module.state_dict() | state)
        x, *targets = (exact(tensor.numpy(), dtype) for tensor in sample.inputs)
        x_there = torch.from_numpy(x).requires_grad_()
        there = map(torch.from_numpy, targets)
        if sample.counterpart.joined:
            first, third = x_there.chunk(2, dim=-1)
            y = module(first, *there, third)
        else:
            y = module(x_there, *there)
        dy = normal(*y.shape)
        y.backward(torch.from_numpy(dy))
        given = {name: sample.weight(w) for name, w in weights.items()}
        given |= {"x": sample.channels_last(x), "dy": sample.output(dy)}
        if targets:
            given["target"] = sample.target(targets[0])
        results = {"y": sample.output(y.detach().numpy()), "dx": sample.channels_last(x_there.grad.numpy())}
        results |= {f"d {name}": sample.weight(w.grad.numpy()) for name, w in module.named_parameters()}
        results |= {name: b.numpy() for name, b in module.named_buffers() if name in weights}
        return given, results

    def _weights_after_steps(self, sample: Sample, start: np.ndarray, gradients: np.ndarray) -> Results:
        weights = self.torch.from_numpy(np.array(start))
        optimizer, path = sample.kind([weights], **sample.kwargs), []
        with float64_scalars(self.torch):
            for weights.grad in self.torch.from_numpy(gradients):
                optimizer.step()
                path.append(np.array(weights.numpy()))
        return {"weights": np.stack(path)}


def exact(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round floats as a dtype does; they stay float64."""
    return values.astype(dtype).astype("float64") if values.dtype.kind == "f" else values


def ours(sample: Sample, given: Results, backend: Backend, dtype: str, *, engine: bool = False) -> Results:
    """Return what PortaNet computes. With ``engine``, the engine runs the layer as it runs a network."""
    made = sample.ours()
    arrays = {name: backend.asarray(a, dtype if a.dtype.kind == "f" else None) for name, a in given.items()}
    if isinstance(made, pn.Optimizer):
        return {"weights": weights_after_steps(made, backend, arrays["start"], arrays["gradients"])}
    if isinstance(made, pn.Loss):
        y, loss_pullback = made.vjp(arrays["x"], arrays["target"])
        results = {"y": y, "dx": loss_pullback(arrays["dy"])}
        return {name: np.asarray(backend.to_numpy(a)) for name, a in results.items()}
    net = pn.Sequential(made)
    if engine and isinstance(made, pn.Activation) and given["x"].ndim > 1:
        n = given["x"].shape[-1]  # the engine computes an activation together with the Linear before it
        net = pn.Sequential(pn.Linear(n, n, bias=False), made)
    net.initialize(device=backend, dtype=dtype)
    net.set_weights(
        {
            name: np.eye(values.shape[0]) if len(net) > 1 else given[name.removeprefix("0.")]
            for name, values in net.get_weights().items()
        }
    )
    run = compiled(net) if engine else made
    with backend.activate():
        run.zero_grad()
        y, pullback = run.vjp(arrays["x"], train=sample.train)
        results = {"y": y, "dx": pullback(arrays["dy"])}
        results |= {f"d {name}": parameter.grad for name, parameter in made.named_parameters()}
        results |= {name: buffer.data for name, buffer in made.named_buffers()}
        if not sample.train:
            results["inference"] = net(arrays["x"]) if engine else made.forward(arrays["x"])
    return {name: np.array(backend.to_numpy(a)) for name, a in results.items()}


def weights_after_steps(optimizer: pn.Optimizer, backend: Backend, start: Any, gradients: Any) -> np.ndarray:
    net = pn.Linear(3, 2).initialize(device=backend, dtype=str(backend.to_numpy(start).dtype))
    net.flat.data[...] = start
    optimizer.bind(net)
    path = []
    for step in range(gradients.shape[0]):
        net.flat.grad[...] = gradients[step, ...]
        optimizer.step()
        path.append(np.array(backend.to_numpy(net.flat.data)))
    return np.stack(path)


def sizes_and_weights(module: str, weight: Any, bias: Any = None, **kwargs: Any) -> tuple[Any, Any, Any]:
    """Return the module's arguments and weights for a function, which reads its sizes from the weights."""
    (first, second, *kernel_size), groups = weight.shape, kwargs.get("groups", 1)
    channels = (first, second * groups) if "Transpose" in module else (second * groups, first)
    sizes = (*channels, tuple(kernel_size)) if kernel_size else channels
    weights = (weight,) if bias is None else (weight, bias)
    return sizes, {**kwargs, "bias": bias is not None}, weights


def changes(listed: Counts, found: Counts) -> list[str]:
    """Say where the numbers of skipped samples differ from those in the list."""
    before, now = (
        {(name, reason): number for name, reasons in counts.items() for reason, number in reasons.items()}
        for counts in (listed, found)
    )
    return [
        f"{row[0]}, {row[1]!r}: {now.get(row, 0)} samples are skipped, the list has {before.get(row, 0)}"
        for row in sorted(before.keys() | now.keys())
        if now.get(row, 0) != before.get(row, 0)
    ]


def short(version: str) -> str:
    """Shorten a version to that which the list names: 2.13.0+cpu is 2.13."""
    return ".".join(version.split(".")[:2])


def write_list(samples: TorchSamples) -> None:
    """Write the list, a line for each name."""
    lines = [f"    {json.dumps(name)}: {json.dumps(counts)}" for name, counts in sorted(samples.skipped().items())]
    version = json.dumps(short(samples.torch.__version__))
    text = ",\n".join(lines)
    LIST.write_text(f'{{\n  "PyTorch": {version},\n  "skipped": {{\n{text}\n  }}\n}}\n')


if __name__ == "__main__":
    samples = TorchSamples(import_module("torch"))
    write_list(samples)
    skipped = sum(sum(samples.skipped()[name].values()) for name in samples.skipped() if name in COUNTERPARTS)
    print(f"{sum(map(len, samples.samples.values())) - skipped} samples are compared, {skipped} are skipped")
    print(f"{sum(samples.numbers.values())} samples are there, with those of what PortaNet does not have")
