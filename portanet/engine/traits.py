"""
What an executor may assume of a layer, by its exact class; of any other class it assumes nothing.

A subclass may compute something else, so it does not inherit traits: :func:`register` declares them.
"""

from dataclasses import dataclass, replace

from portanet import layers
from portanet.layers import Activation, Layer
from portanet.layers.topology import changed


@dataclass(frozen=True)
class Traits:
    """
    Properties of a layer class that executors use.

    Parameters
    ----------
    batch_independent : bool
        The output for an example depends on that example alone, and a call changes nothing: a batch may be computed in
        parts and in threads. Gradients must go through ``Parameter.accumulate`` and its kin.
    batch_independent_inference : bool
        The same for inference alone, as for dropout.
    elementwise_monotonic : bool
        One non-decreasing function of every number: it commutes with a maximum.
    max_pool : bool
        Every output is the maximum of some inputs.
    spatial : bool
        Its outputs have spatial axes, so that a batch may be worth dividing among threads.
    chain : bool
        Nothing but its inner layers, one after another, in the order of ``named_children()``.
    composite : bool
        As batch-independent as all its inner layers.
    affine : bool
        It computes what Linear does, from parameters ``weight`` and ``bias``.
    """

    batch_independent: bool = False
    batch_independent_inference: bool = False
    elementwise_monotonic: bool = False
    max_pool: bool = False
    spatial: bool = False
    chain: bool = False
    composite: bool = False
    affine: bool = False


_UNKNOWN = Traits()
_INDEPENDENT = Traits(batch_independent=True, batch_independent_inference=True)
_MONOTONIC = replace(_INDEPENDENT, elementwise_monotonic=True)
_SPATIAL = replace(_INDEPENDENT, spatial=True)
_MAX_POOL = replace(_SPATIAL, max_pool=True)
_INFERENCE = Traits(batch_independent_inference=True)
_COMPOSITE = Traits(composite=True)
_CHAIN = Traits(composite=True, chain=True)

_TABLE: dict[type, Traits] = {
    **dict.fromkeys((layers.ReLU, layers.Sigmoid, layers.Softplus, layers.TanH), _MONOTONIC),
    **dict.fromkeys((layers.MaxPool1D, layers.MaxPool2D), _MAX_POOL),
    **dict.fromkeys((layers.ELU, layers.GELU, layers.LeakyReLU, layers.SiLU), _INDEPENDENT),
    **dict.fromkeys((layers.LogSoftmax, layers.Softmax), _INDEPENDENT),
    **dict.fromkeys((layers.Flatten, layers.Reshape), _INDEPENDENT),
    layers.Linear: replace(_INDEPENDENT, affine=True),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _SPATIAL),
    **dict.fromkeys((layers.ConvTranspose1D, layers.ConvTranspose2D, layers.Upsample), _SPATIAL),
    **dict.fromkeys((layers.AvgPool1D, layers.AvgPool2D), _SPATIAL),
    **dict.fromkeys((layers.GlobalAvgPool, layers.GlobalMaxPool), _INDEPENDENT),
    **dict.fromkeys((layers.LayerNorm, layers.GroupNorm, layers.Normalize), _INDEPENDENT),
    **dict.fromkeys((layers.BatchNorm, layers.Dropout, layers.SpatialDropout, layers.GaussianNoise), _INFERENCE),
    **dict.fromkeys((layers.RandomCrop, layers.RandomFlip, layers.RandomShift), _INFERENCE),
    **dict.fromkeys((layers.Residual, layers.Parallel), _COMPOSITE),
    **dict.fromkeys((layers.Sequential, layers.AutoEncoder), _CHAIN),
}


def register(kind: type[Layer], traits: Traits) -> None:
    """
    Declare the traits of a layer class, this very class and no subclass.

    Examples
    --------
    >>> class Cube(portanet.Activation):
    ...     def elementwise(self, xp, x):
    ...         return x * x * x, lambda: 3 * x * x
    >>> register(Cube, Traits(batch_independent=True, batch_independent_inference=True, elementwise_monotonic=True))
    >>> traits_of(Cube()).elementwise_monotonic
    True
    """
    _TABLE[kind] = traits
    changed()  # programs that were compiled before know other traits


def traits_of(layer: object) -> Traits:
    """Return what may be assumed of a layer."""
    return _TABLE.get(type(layer), _UNKNOWN)


def is_known(layer: Layer) -> bool:
    """Whether the class of a layer has traits: it then gives gradients to ``Parameter.accumulate`` and its kin."""
    return type(layer) in _TABLE


def is_elementwise(layer: object) -> bool:
    """Whether a layer is :class:`portanet.Activation` with another formula, and nothing more."""
    return isinstance(layer, Activation) and type(layer).vjp is Activation.vjp


def is_spatial(layer: Layer) -> bool:
    """Whether a layer, or one inside it, has outputs with spatial axes."""
    traits = traits_of(layer)
    return any(is_spatial(inner) for _, inner in layer.named_children()) if traits.composite else traits.spatial


def is_batch_independent(layer: Layer, *, train: bool) -> bool:
    """
    Whether a batch may be given to a layer in parts.

    Examples
    --------
    >>> dropout = portanet.Sequential(portanet.Linear(2, 2), portanet.Dropout())
    >>> is_batch_independent(dropout, train=True), is_batch_independent(dropout, train=False)
    (False, True)
    """
    traits = traits_of(layer)
    if traits.composite:
        return all(is_batch_independent(inner, train=train) for _, inner in layer.named_children())
    return traits.batch_independent if train else traits.batch_independent_inference
