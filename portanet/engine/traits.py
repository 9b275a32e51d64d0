"""
What an executor may assume of a layer, by its exact class; of any other class it assumes nothing.

A subclass may compute something else, so it does not inherit traits: :func:`register` declares them.
"""

from dataclasses import dataclass

from portanet import layers
from portanet.layers import Activation, Layer
from portanet.layers.pooling import MaxPool
from portanet.layers.topology import changed


@dataclass(frozen=True)
class Traits:
    """
    Properties of a layer class that executors use.

    Parameters
    ----------
    elementwise_monotonic : bool
        One non-decreasing function of every number: it commutes with a maximum.
    max_pool : bool
        Every output is the maximum of some inputs.
    chain : bool
        Nothing but its inner layers, one after another, in the order of ``named_children()``.
    affine : bool
        It computes what Linear does, from parameters ``weight`` and ``bias``.
    convolution : bool
        It computes what Conv1D, Conv2D or Conv3D does, with the same attributes and methods.
    """

    elementwise_monotonic: bool = False
    max_pool: bool = False
    chain: bool = False
    affine: bool = False
    convolution: bool = False


_NONE = Traits()

_TABLE: dict[type, Traits] = {
    **dict.fromkeys((layers.ReLU, layers.Sigmoid, layers.Softplus, layers.TanH), Traits(elementwise_monotonic=True)),
    **dict.fromkeys((layers.LogSigmoid, layers.ReLU6, layers.SELU), Traits(elementwise_monotonic=True)),
    **dict.fromkeys((layers.MaxPool1D, layers.MaxPool2D, layers.MaxPool3D), Traits(max_pool=True)),
    layers.Linear: Traits(affine=True),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), Traits(convolution=True)),
    **dict.fromkeys((layers.Sequential, layers.AutoEncoder), Traits(chain=True)),
}


def register(kind: type[Layer], traits: Traits) -> None:
    """
    Declare the traits of a layer class, this very class and no subclass.

    Examples
    --------
    >>> class Cube(portanet.Activation):
    ...     def elementwise(self, xp, x):
    ...         return x * x * x, lambda: 3 * x * x
    >>> register(Cube, Traits(elementwise_monotonic=True))
    >>> traits_of(Cube()).elementwise_monotonic
    True
    """
    _TABLE[kind] = traits
    changed()  # programs that were compiled before know other traits


def traits_of(layer: object) -> Traits:
    """Return what may be assumed of a layer."""
    return _TABLE.get(type(layer), _NONE)


def is_elementwise(layer: object) -> bool:
    """Whether a layer is an activation with the ``vjp`` of :class:`portanet.Activation`."""
    return isinstance(layer, Activation) and type(layer).vjp is Activation.vjp


def is_max_pool(layer: object) -> bool:
    """Whether a layer is max pooling with the ``vjp`` of :class:`portanet.MaxPool2D`."""
    return traits_of(layer).max_pool and isinstance(layer, MaxPool) and type(layer).vjp is MaxPool.vjp
