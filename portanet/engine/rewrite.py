"""
Rewriting a list of layers into a cheaper list with the same output.

Without it, a training step takes 1.08 times as long on 003-lenet and 1.05 times on 004-cnn, which have max pooling
(``python -m bench mechanisms``, two threads). So small a gain may be noise, as bench/RESULTS.md explains.
"""

from collections.abc import Iterable, Iterator

from portanet.engine.traits import traits_of
from portanet.layers.base import Layer


def rewrite(layers: Iterable[Layer]) -> list[Layer]:
    """
    Unfold nested chains, and move max pooling before monotonic activations, which then have fewer numbers to compute.

    ``max(f(x)) = f(max(x))`` for a non-decreasing f. The gradient reaches the same position, unless rounding
    makes f(x) equal for different x: then it reaches the largest x, not the first.

    Examples
    --------
    >>> rewrite([portanet.Conv2D(1, 8, 3), portanet.Sequential(portanet.ReLU(), portanet.MaxPool2D(2))])
    [Conv2D(1, 8, 3), MaxPool2D(2), ReLU()]
    """
    rewritten = list(unfold(layers))
    for i in range(len(rewritten) - 1):
        activation, pooling = rewritten[i : i + 2]
        if traits_of(activation).elementwise_monotonic and traits_of(pooling).max_pool:
            rewritten[i : i + 2] = pooling, activation
    return rewritten


def unfold(layers: Iterable[Layer]) -> Iterator[Layer]:
    """
    Yield layers one by one, with nested chains such as Sequential replaced by their layers.

    Examples
    --------
    >>> list(unfold([portanet.Sequential(portanet.ReLU(), portanet.Sequential(portanet.TanH()))]))
    [ReLU(), TanH()]
    """
    for layer in layers:
        if traits_of(layer).chain:
            yield from unfold(inner for _, inner in layer.named_children())
        else:
            yield layer
