"""
Linear layers and the activations after them as one segment, which looks up kernels, weights and gradients once.

Before bias and activation were part of the product, a training step without it took 1.35 times as long on 000-toy,
whose arrays are small (``python -m bench mechanisms --mechanisms dense``, two threads); it was not measured since.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from portanet import kernels
from portanet.backends import namespace
from portanet.engine.segment import Segment
from portanet.engine.traits import is_elementwise, traits_of
from portanet.layers.base import check_input
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback


class _Pair(NamedTuple):
    """A Linear layer and the activation after it."""

    w: Array
    b: Array | None
    fn: Callable[..., Any] | None
    dw: Array
    db: Array | None


class DenseSegment(Segment):
    """
    Linear layers one after another, each with or without an activation: ``y = f(x W + b)``.

    Parameters
    ----------
    layers : sequence of Layer
        Linear layers that fit one another, and activations that each follow one; they have weights.
    """

    def __init__(self, layers: Sequence[Any]):
        super().__init__(layers)
        self._pairs = [
            _Pair(
                layer.weight.data,
                None if layer.bias is None else layer.bias.data,
                after.elementwise if is_elementwise(after) else None,
                layer.weight.grad,
                None if layer.bias is None else layer.bias.grad,
            )
            for layer, after in pairwise((*layers, None))
            if traits_of(layer).affine
        ]
        self._input_shape = self._pairs[0].w.shape[:1]
        w = self._pairs[0].w
        self._dense, self._dense_gradient = kernels.dense.resolve(w), kernels.dense_gradient.resolve(w)

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        self._check(x)
        for w, b, fn, _, _ in self._pairs:
            x, _ = self._dense(x, w, b, fn)
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        self._check(x)
        saved: list[tuple[Any, ...]] = []
        last = None  # dy -> dz of the layer below
        for w, b, fn, dw, db in self._pairs:
            saved.append((x, w, dw, db, last))
            x, last = self._dense(x, w, b, fn)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if dy.dtype != x.dtype:
                dy = namespace(x).astype(dy, x.dtype)
            dz, first = dy if last is None else last(dy), saved[0]
            for call in reversed(saved):
                a, w, dw, db, below = call
                need = need_dx or call is not first
                dz = self._dense_gradient(dz, a, w, dw if need_grads else None, db, need, below)
            return dz

        return x, pullback

    def _check(self, x: Array) -> None:
        """Refuse an input that the first layer refuses."""
        if x.shape[1:] != self._input_shape:
            self.layers[0].output_shape(x.shape[1:])
        check_input(x, self._pairs[0].w)


def dense_segments(runnables: Sequence[Any], owned: Collection[Parameter]) -> list[Any]:
    """Group Linear layers, whose parameters all are ``owned``, and the activations after them into segments."""
    grouped: list[Any] = []
    n_out = 0
    for runnable in runnables:
        group = grouped[-1] if grouped and isinstance(grouped[-1], list) else []
        if traits_of(runnable).affine and all(parameter in owned for parameter in runnable.parameters()):
            if not group or runnable.in_features != n_out:
                grouped.append(group := [])
            group.append(runnable)
            n_out = runnable.out_features
        elif group and is_elementwise(runnable) and not is_elementwise(group[-1]):
            group.append(runnable)
        else:
            grouped.append(runnable)
    return [DenseSegment(part) if isinstance(part, list) else part for part in grouped]
