"""
PortaNet's counterparts of PyTorch's modules, functions and optimizers, a line each.

PyTorch tests these on samples of arguments and inputs, with which torch_samples.py compares PortaNet. To compare one
more, add a line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import portanet as pn


@dataclass(frozen=True)
class Counterpart:
    """
    PortaNet's class for a class of PyTorch.

    An argument that PortaNet lacks must have PyTorch's default, or the value in ``only``; else the sample is skipped.
    """

    kind: type[Any]
    names: Mapping[str, str] = field(default_factory=dict)
    """PortaNet's names of arguments that are called otherwise."""
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """How PortaNet writes the value of an argument, by PyTorch's name."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of PortaNet that PyTorch's class lacks."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """The one value that PortaNet computes, of arguments that it lacks."""
    unless: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    """Which other samples PortaNet cannot run: a condition on the sample, by reason."""
    changes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """How a sample's value is changed before both libraries are given it."""
    ndim: int = 1
    """Fewest axes of a batch. PyTorch also takes a single example, which has fewer and becomes a batch of one."""
    axis: int | str = -1
    """The axis of a batch that PortaNet has last, or PyTorch's argument that says which."""
    joined: bool = False
    """Whether PortaNet's prediction is PyTorch's first and third input, one after the other on the last axis."""


def spatial(kind: type[pn.Layer], n_axes: int, **how: Any) -> Counterpart:
    """A layer over space: PyTorch has the channels on axis 1."""
    return Counterpart(kind, ndim=n_axes + 2, axis=1, **how)


def conv_transpose(kind: type[pn.Layer], n_axes: int) -> Counterpart:
    """A transposed convolution. PyTorch's output_padding must be below the stride or the dilation, ours the stride."""

    def adds_too_much(sample: Any) -> bool:
        extra, stride = (np.asarray(sample.arguments[name]) for name in ("output_padding", "stride"))
        return bool(np.any(extra >= stride))

    return spatial(kind, n_axes, unless={"output_padding of at least the stride": adds_too_much})


def batch_norm(ndim: int) -> Counterpart:
    unless = {"PortaNet refuses to train on an empty batch": lambda sample: sample.train and not len(sample.inputs[0])}
    return Counterpart(pn.BatchNorm, unless=unless, ndim=ndim, axis=1)


def instance_norm(n_axes: int) -> Counterpart:
    """Instance normalization. The samples have a momentum of 0.3, which only running statistics use."""
    return spatial(pn.InstanceNorm, n_axes, only={"momentum": 0.3})


def prelu() -> Counterpart:
    unless = {"x is a single number, without channels": lambda sample: not sample.inputs[0].ndim}
    return Counterpart(pn.PReLU, unless=unless, ndim=2, axis=1)


def has_one_axis(sample: Any) -> bool:
    return bool(sample.inputs[0].ndim == 1)


def has_no_range(sample: Any) -> bool:
    """Whether the limits of Hardtanh are in the wrong order."""
    return bool(sample.arguments["min_val"] >= sample.arguments["max_val"])


def pad(mode: str, n_axes: int) -> Counterpart:
    """Padding. PyTorch's tuples begin with the last axis."""

    def first_axis_first(padding: Any) -> Any:
        return padding if isinstance(padding, int) else tuple(zip(padding[-2::-2], padding[::-2], strict=True))

    return spatial(pn.Pad, n_axes, values={"padding": first_axis_first}, fixed={"mode": mode})


def classes(kind: type[pn.Loss]) -> Counterpart:
    """
    A loss of classes, which PyTorch has on axis 1.

    Some samples have negative class weights, which PortaNet refuses: both libraries are given their absolute values.
    The mean over labels that are all ignored is NaN in PyTorch.
    """

    def counts_nothing(sample: Any) -> bool:
        labels, ignored = sample.inputs[1], sample.arguments["ignore_index"]
        return bool(sample.arguments["reduction"] == "mean" and (labels == ignored).all())

    unless = {"the mean over no labels, which is 0": counts_nothing}
    return Counterpart(kind, changes={"weight": abs}, unless=unless, ndim=2, axis=1)


def kl_div() -> Counterpart:
    def is_negative(sample: Any) -> bool:
        return not sample.arguments["log_target"] and bool((sample.inputs[1] < 0).any())

    return Counterpart(pn.KLDivLoss, unless={"negative probabilities": is_negative})


def no_signs(sample: Any) -> bool:
    return bool((sample.inputs[1].abs() != 1).any())


MODULES = {
    "nn.ReLU": Counterpart(pn.ReLU),
    "nn.LeakyReLU": Counterpart(pn.LeakyReLU),
    "nn.ELU": Counterpart(pn.ELU),
    "nn.GELU": Counterpart(pn.GELU, values={"approximate": lambda how: how == "tanh"}),
    "nn.SiLU": Counterpart(pn.SiLU),
    "nn.Softplus": Counterpart(pn.Softplus),
    "nn.Tanh": Counterpart(pn.TanH),
    "nn.Sigmoid": Counterpart(pn.Sigmoid),
    "nn.SELU": Counterpart(pn.SELU),
    "nn.CELU": Counterpart(pn.CELU),
    "nn.PReLU": prelu(),
    "nn.ReLU6": Counterpart(pn.ReLU6),
    "nn.Hardtanh": Counterpart(pn.Hardtanh, unless={"both libraries refuse it": has_no_range}),
    "nn.Hardswish": Counterpart(pn.Hardswish),
    "nn.Mish": Counterpart(pn.Mish),
    "nn.LogSigmoid": Counterpart(pn.LogSigmoid),
    "nn.GLU": Counterpart(pn.GLU, unless={"x has one axis, that of the batch": has_one_axis}, axis="dim"),
    "nn.Softmax": Counterpart(pn.Softmax, axis="dim"),
    "nn.Softmax2d": spatial(pn.Softmax, 2),
    "nn.LogSoftmax": Counterpart(pn.LogSoftmax, axis="dim"),
    "nn.Linear": Counterpart(pn.Linear, ndim=2),
    "nn.Conv1d": spatial(pn.Conv1D, 1),
    "nn.Conv2d": spatial(pn.Conv2D, 2),
    "nn.Conv3d": spatial(pn.Conv3D, 3),
    "nn.ConvTranspose1d": conv_transpose(pn.ConvTranspose1D, 1),
    "nn.ConvTranspose2d": conv_transpose(pn.ConvTranspose2D, 2),
    "nn.ConvTranspose3d": conv_transpose(pn.ConvTranspose3D, 3),
    "nn.MaxPool1d": spatial(pn.MaxPool1D, 1),
    "nn.MaxPool2d": spatial(pn.MaxPool2D, 2),
    "nn.MaxPool3d": spatial(pn.MaxPool3D, 3),
    "nn.AvgPool1d": spatial(pn.AvgPool1D, 1),
    "nn.AvgPool2d": spatial(pn.AvgPool2D, 2),
    "nn.AvgPool3d": spatial(pn.AvgPool3D, 3),
    "nn.AdaptiveAvgPool1d": spatial(pn.AdaptiveAvgPool1D, 1),
    "nn.AdaptiveAvgPool2d": spatial(pn.AdaptiveAvgPool2D, 2),
    "nn.AdaptiveAvgPool3d": spatial(pn.AdaptiveAvgPool3D, 3),
    "nn.AdaptiveMaxPool1d": spatial(pn.AdaptiveMaxPool1D, 1),
    "nn.AdaptiveMaxPool2d": spatial(pn.AdaptiveMaxPool2D, 2),
    "nn.AdaptiveMaxPool3d": spatial(pn.AdaptiveMaxPool3D, 3),
    **{
        f"nn.{name}Pad{n_axes}d": pad(mode, n_axes)
        for name, mode in (
            *(("Zero", "constant"), ("Constant", "constant"), ("Reflection", "reflect")),
            *(("Replication", "replicate"), ("Circular", "circular")),
        )
        for n_axes in (1, 2, 3)
    },
    "nn.BatchNorm1d": batch_norm(2),
    "nn.BatchNorm2d": batch_norm(4),
    "nn.BatchNorm3d": batch_norm(5),
    "nn.GroupNorm": Counterpart(pn.GroupNorm, ndim=2, axis=1),
    "nn.InstanceNorm1d": instance_norm(1),
    "nn.InstanceNorm2d": instance_norm(2),
    "nn.InstanceNorm3d": instance_norm(3),
    "nn.LayerNorm": Counterpart(pn.LayerNorm),
    "nn.RMSNorm": Counterpart(pn.RMSNorm),
    "nn.MSELoss": Counterpart(pn.MSELoss),
    "nn.L1Loss": Counterpart(pn.L1Loss),
    "nn.HuberLoss": Counterpart(pn.HuberLoss),
    "nn.SmoothL1Loss": Counterpart(pn.SmoothL1Loss, unless={"beta of 0": lambda sample: sample.arguments["beta"] == 0}),
    "nn.BCELoss": Counterpart(pn.BCELoss),
    "nn.BCEWithLogitsLoss": Counterpart(pn.BCEWithLogitsLoss, changes={"pos_weight": abs}),
    "nn.KLDivLoss": kl_div(),
    "nn.PoissonNLLLoss": Counterpart(pn.PoissonNLLLoss),
    "nn.GaussianNLLLoss": Counterpart(pn.GaussianNLLLoss, joined=True),
    "nn.SoftMarginLoss": Counterpart(pn.SoftMarginLoss),
    "nn.HingeEmbeddingLoss": Counterpart(pn.HingeEmbeddingLoss, unless={"targets other than -1 and 1": no_signs}),
    "nn.MultiMarginLoss": Counterpart(
        pn.MultiMarginLoss,
        changes={"weight": lambda weight: None if weight is None else abs(weight)},
        unless={"an example without the axis of a batch": lambda sample: sample.inputs[0].ndim < 2},
        ndim=2,
    ),
    "nn.CrossEntropyLoss": classes(pn.CrossEntropyLoss),
    "nn.NLLLoss": classes(pn.NLLLoss),
}

# Functions, and the modules that compute the same.
FUNCTIONS = {
    "nn.functional.relu": "nn.ReLU",
    "nn.functional.leaky_relu": "nn.LeakyReLU",
    "nn.functional.elu": "nn.ELU",
    "nn.functional.gelu": "nn.GELU",
    "nn.functional.silu": "nn.SiLU",
    "nn.functional.softplus": "nn.Softplus",
    "nn.functional.selu": "nn.SELU",
    "nn.functional.celu": "nn.CELU",
    "nn.functional.relu6": "nn.ReLU6",
    "nn.functional.hardtanh": "nn.Hardtanh",
    "nn.functional.hardswish": "nn.Hardswish",
    "nn.functional.mish": "nn.Mish",
    "nn.functional.logsigmoid": "nn.LogSigmoid",
    "nn.functional.glu": "nn.GLU",
    "tanh": "nn.Tanh",
    "sigmoid": "nn.Sigmoid",
    "softmax": "nn.Softmax",
    "log_softmax": "nn.LogSoftmax",
    "nn.functional.linear": "nn.Linear",
    "nn.functional.conv1d": "nn.Conv1d",
    "nn.functional.conv2d": "nn.Conv2d",
    "nn.functional.conv3d": "nn.Conv3d",
    "nn.functional.conv_transpose1d": "nn.ConvTranspose1d",
    "nn.functional.conv_transpose2d": "nn.ConvTranspose2d",
    "nn.functional.conv_transpose3d": "nn.ConvTranspose3d",
    "nn.functional.max_pool1d": "nn.MaxPool1d",
    "nn.functional.max_pool2d": "nn.MaxPool2d",
    "nn.functional.max_pool3d": "nn.MaxPool3d",
    "nn.functional.avg_pool1d": "nn.AvgPool1d",
    "nn.functional.avg_pool2d": "nn.AvgPool2d",
    "nn.functional.avg_pool3d": "nn.AvgPool3d",
    "nn.functional.adaptive_avg_pool1d": "nn.AdaptiveAvgPool1d",
    "nn.functional.adaptive_avg_pool2d": "nn.AdaptiveAvgPool2d",
    "nn.functional.adaptive_avg_pool3d": "nn.AdaptiveAvgPool3d",
    "nn.functional.adaptive_max_pool1d": "nn.AdaptiveMaxPool1d",
    "nn.functional.adaptive_max_pool2d": "nn.AdaptiveMaxPool2d",
    "nn.functional.adaptive_max_pool3d": "nn.AdaptiveMaxPool3d",
    "nn.functional.mse_loss": "nn.MSELoss",
    "nn.functional.l1_loss": "nn.L1Loss",
    "nn.functional.huber_loss": "nn.HuberLoss",
    "nn.functional.smooth_l1_loss": "nn.SmoothL1Loss",
    "nn.functional.binary_cross_entropy": "nn.BCELoss",
    "nn.functional.binary_cross_entropy_with_logits": "nn.BCEWithLogitsLoss",
    "nn.functional.kl_div": "nn.KLDivLoss",
    "nn.functional.poisson_nll_loss": "nn.PoissonNLLLoss",
    "nn.functional.gaussian_nll_loss": "nn.GaussianNLLLoss",
    "nn.functional.soft_margin_loss": "nn.SoftMarginLoss",
    "nn.functional.hinge_embedding_loss": "nn.HingeEmbeddingLoss",
    "nn.functional.multi_margin_loss": "nn.MultiMarginLoss",
    "nn.functional.cross_entropy": "nn.CrossEntropyLoss",
    "nn.functional.nll_loss": "nn.NLLLoss",
}

OPTIMIZERS = {
    "optim.SGD": Counterpart(pn.SGD),
    "optim.RMSprop": Counterpart(pn.RMSprop),
    "optim.Adam": Counterpart(pn.Adam),
    "optim.AdamW": Counterpart(pn.AdamW),
    "optim.NAdam": Counterpart(pn.NAdam),
    "optim.RAdam": Counterpart(pn.RAdam),
    "optim.Adamax": Counterpart(pn.Adamax),
    "optim.Adagrad": Counterpart(pn.Adagrad),
    "optim.Adadelta": Counterpart(pn.Adadelta),
    "optim.LBFGS": Counterpart(
        pn.LBFGS, unless={"several evaluations of the loss in a step": lambda sample: sample.arguments["max_iter"] > 1}
    ),
}

COUNTERPARTS = {**MODULES, **{name: MODULES[module] for name, module in FUNCTIONS.items()}, **OPTIMIZERS}
