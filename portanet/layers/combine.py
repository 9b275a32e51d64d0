"""Layers made of other layers: residual blocks, parallel branches, auto-encoders."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, optional
from portanet.layers.base import Layer, check_layer, input_pullback
from portanet.layers.merge import parts_of
from portanet.layers.sequential import vjp_of_chain
from portanet.typing import Array, Pullback, Shape, Shapes

__all__ = ["AutoEncoder", "Parallel", "Residual"]


def _identity(dy: Array) -> Array:
    return dy


class _Addition:
    """Addition as a function for ``kernels.elementwise``, which a backend may divide among threads."""

    def elementwise(self, xp: Any, x: Array, t: Array) -> tuple[Array, Callable[[], float]]:
        return x + t, lambda: 1.0


_ADDITION = _Addition()


def _add(x: Array, y: Array) -> Array:
    """Return x + y; arrays have one shape and dtype."""
    return kernels.elementwise(x, _ADDITION.elementwise, y)[0]


class Residual(Layer):
    """
    Sum of a branch and its input, ``y = x + f(x)``, or of two branches, ``y = g(x) + f(x)`` [1]_.

    The gradient takes both ways: ``dx = dy + (∂f/∂x)ᵀ dy``.

    Parameters
    ----------
    branch : Layer
        f. Without a projection its output has the shape of x.
    projection : Layer, optional
        g, for a branch that changes the shape: ``Conv2D(16, 32, 1, stride=2)`` for instance.

    References
    ----------
    .. [1] K. He et al., Deep residual learning for image recognition, CVPR 2016.

    Examples
    --------
    >>> block = Residual(portanet.Sequential(portanet.Linear(8, 8), portanet.ReLU()))
    >>> block(np.zeros((5, 8), dtype="float32")).shape
    (5, 8)
    >>> wider = Residual(portanet.Linear(8, 16), projection=portanet.Linear(8, 16, bias=False))
    >>> wider(np.zeros((5, 8), dtype="float32")).shape
    (5, 16)
    """

    branch = Checked(check_layer)
    projection = Checked(optional(check_layer))

    def __init__(self, branch: Layer, *, projection: Layer | None = None):
        self.branch, self.projection = branch, projection

    def output_shape(self, shape: Shape) -> Shape:
        direct = shape if self.projection is None else self.projection.output_shape(shape)
        self._check(self.branch.output_shape(shape), direct)
        return direct

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        return ((name, layer, shape) for name, layer in self.named_children())

    def forward(self, x: Array) -> Array:
        return self._sum(self.branch.forward(x), x if self.projection is None else self.projection.forward(x))

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, pull_branch = self.branch.vjp(x, train=train)
        direct, pull_direct = (
            (x, input_pullback(_identity)) if self.projection is None else self.projection.vjp(x, train=train)
        )

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dx = pull_branch(dy, need_dx=need_dx, need_grads=need_grads)
            direct_dx = pull_direct(dy, need_dx=need_dx, need_grads=need_grads)
            return _add(dx, direct_dx) if need_dx else None

        return self._sum(y, direct), pullback

    def _sum(self, y: Array, direct: Array) -> Array:
        self._check(tuple(y.shape), tuple(direct.shape))
        return _add(direct, y)

    def _check(self, branch: Shape, direct: Shape) -> None:
        if branch != direct:
            fix = "give a projection" if self.projection is None else "the projection must change it likewise"
            raise ValueError(f"Residual adds a branch of shape {branch} to {direct}: {fix}")


class Parallel(Layer):
    """
    Several branches of one input, their outputs concatenated along the last axis: ``y = [f₁(x), ..., fₙ(x)]``.

    Each branch gets its part of dy; their dx are summed.

    Parameters
    ----------
    *branches : Layer
        Their outputs differ at most in the last axis.

    Examples
    --------
    >>> net = Parallel(portanet.Linear(8, 3), portanet.Sequential(portanet.Linear(8, 4), portanet.TanH()))
    >>> net(np.zeros((5, 8), dtype="float32")).shape
    (5, 7)
    """

    def __init__(self, *branches: Layer):
        if not branches:
            raise ValueError("Parallel needs at least one branch")
        self.branches = tuple(check_layer(f"branch {i}", branch) for i, branch in enumerate(branches))

    def _members(self) -> Iterator[tuple[str, Any]]:
        return ((str(i), branch) for i, branch in enumerate(self.branches))

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [branch.output_shape(shape) for branch in self.branches]
        self._check_outputs(shapes)
        return (*shapes[0][:-1], sum(joined[-1] for joined in shapes))

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        return ((name, branch, shape) for name, branch in self.named_children())

    def forward(self, x: Array) -> Array:
        return self._join([branch.forward(x) for branch in self.branches])

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        outputs, pullbacks = zip(*(branch.vjp(x, train=train) for branch in self.branches), strict=True)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dx = None
            for pull_branch, dpart in zip(pullbacks, parts_of(dy, outputs), strict=True):
                part = pull_branch(dpart, need_dx=need_dx, need_grads=need_grads)
                dx = part if dx is None or not need_dx else _add(dx, part)
            return dx

        return self._join(outputs), pullback

    @classmethod
    def _join(cls, outputs: Sequence[Array]) -> Array:
        cls._check_outputs([tuple(y.shape) for y in outputs])
        return namespace(outputs[0]).concat(outputs, axis=-1)

    @staticmethod
    def _check_outputs(shapes: list[Shape]) -> None:
        if len({shape[:-1] for shape in shapes}) > 1:
            raise ValueError(f"Parallel needs branches that differ in the last axis only, got outputs {shapes}")


class AutoEncoder(Layer):
    """
    An encoder followed by a decoder, ``y = decoder(encoder(x))``, trained to reconstruct its input.

    ``encode`` and ``decode`` give either half.

    Parameters
    ----------
    encoder, decoder : Layer
        The decoder takes the encoder's output.

    Examples
    --------
    >>> net = AutoEncoder(portanet.Linear(64, 8), portanet.Linear(8, 64)).initialize()
    >>> x = np.zeros((5, 64), dtype="float32")
    >>> net.encode(x).shape, net(x).shape
    ((5, 8), (5, 64))
    """

    encoder, decoder = Checked(check_layer), Checked(check_layer)

    def __init__(self, encoder: Layer, decoder: Layer):
        self.encoder, self.decoder = encoder, decoder

    def output_shape(self, shape: Shapes) -> Shapes:
        return self.decoder.output_shape(self.encoder.output_shape(shape))

    def _accepts_several(self) -> bool:
        return self.encoder._accepts_several()

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        yield "encoder", self.encoder, shape
        yield "decoder", self.decoder, self.encoder.output_shape(shape)

    def encode(self, x: Array) -> Array:
        """Return the codes of inputs; weights that are missing are drawn from seed 0."""
        self._ready()
        return self.encoder(x)

    def decode(self, code: Array) -> Array:
        """Return the outputs for codes; weights that are missing are drawn from seed 0."""
        self._ready()
        return self.decoder(code)

    def forward(self, x: Array) -> Array:
        return self.decoder.forward(self.encoder.forward(x))

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        halves = self.encoder, self.decoder
        return vjp_of_chain(halves, [half.topology.trainable for half in halves], x, train=train)
