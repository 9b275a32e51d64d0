"""
Linear layers and the activations after them as one segment, which looks up kernels, weights and gradients once.

Without it, a training step takes 1.35 times as long on 000-toy, whose arrays are small, and as long within the noise on
003-mlp (``python -m bench mechanisms --mechanisms dense``, two threads).
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from portanet import kernels
from portanet.backends import namespace
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


class DenseSegment:
    """
    Linear layers one after another, each with or without an activation: ``y = f(x W + b)``.

    The pullback overwrites the gradients: no other part of the network may use these parameters.

    Parameters
    ----------
    layers : sequence of Layer
        Linear layers that fit one another, and activations that each follow one; they have weights.
    """

    trained = True

    def __init__(self, layers: Sequence[Any]):
        self.layers = tuple(layers)
        self.parameters = [parameter for layer in layers for parameter in layer.parameters()]
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
        w = self._pairs[0].w
        self._xp, self._input_shape = namespace(w), w.shape[:1]
        of_forward = kernels.linear.resolve(w), kernels.bias_add.resolve(w), kernels.elementwise.resolve(w)
        of_gradients = kernels.matmul_into.resolve(w), kernels.bias_grad.resolve(w)
        self._forward_kernels, self._gradient_kernels = of_forward, of_gradients

    def __repr__(self) -> str:
        return f"DenseSegment({', '.join(map(repr, self.layers))})"

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        self._check(x)
        linear, bias_add, elementwise = self._forward_kernels
        for w, b, fn, _, _ in self._pairs:
            x = linear(x, w)
            if b is not None:
                bias_add(x, b)
            if fn is not None:
                x = elementwise(x, fn)[0]
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        self._check(x)
        linear, bias_add, elementwise = self._forward_kernels
        saved = []
        for w, b, fn, dw, db in self._pairs:
            y, dx = linear(x, w), None
            if b is not None:
                bias_add(y, b)
            if fn is not None:
                y, dx = elementwise(y, fn)
            saved.append((x, w, dx, dw, db))
            x = y

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            xp, first = self._xp, saved[0]
            if dy.dtype != x.dtype:
                dy = xp.astype(dy, x.dtype)
            matmul_into, bias_grad = self._gradient_kernels
            for call in reversed(saved):
                a, w, dx, dw, db = call
                if dx is not None:
                    dy = dx(dy)
                if need_grads:
                    rows, drows = (a, dy) if a.ndim == 2 else [xp.reshape(v, (-1, v.shape[-1])) for v in (a, dy)]
                    matmul_into(dw, xp.matrix_transpose(rows), drows)
                    if db is not None:
                        bias_grad(dy, db)
                if need_dx or call is not first:
                    dy = linear(dy, xp.matrix_transpose(w))
            return dy if need_dx else None

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
