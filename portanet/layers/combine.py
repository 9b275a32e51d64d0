"""Layers made of layers, other than one after another."""

from collections.abc import Iterator, Sequence

from portanet.backends import namespace
from portanet.layers.base import Layer, check_layer
from portanet.typing import Array, Pullback, Shape


class Residual(Layer):
    """
    Add a branch to its input: ``y = x + branch(x)`` [1]_.

    Parameters
    ----------
    branch : Layer
        Its output has the shape of its input.

    References
    ----------
    .. [1] K. He et al., Deep residual learning for image recognition, CVPR 2016.

    Examples
    --------
    >>> block = Residual(portanet.Sequential(portanet.Linear(8, 8), portanet.ReLU()))
    >>> block(np.zeros((5, 8), dtype="float32")).shape
    (5, 8)
    """

    def __init__(self, branch: Layer):
        self.branch: Layer = check_layer(branch)

    def output_shape(self, shape: Shape) -> Shape:
        if (branched := self.branch.output_shape(shape)) != shape:
            raise ValueError(f"Residual needs a branch that keeps the shape: it makes {branched} of {shape}")
        return shape

    def forward(self, x: Array) -> Array:
        return self._sum(x, self.branch.forward(x))

    def by_example(self, train: bool) -> bool:
        return all(child.by_example(train) for _, child in self.children())

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        branched, pull_branch = self.branch.vjp(x, train=train)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dx = pull_branch(dy, need_dx=need_dx, need_grads=need_grads)
            return dx + dy if need_dx else None

        return self._sum(x, branched), pullback

    @staticmethod
    def _sum(x: Array, branched: Array) -> Array:
        if branched.shape != x.shape:
            raise ValueError(f"Residual needs a branch that keeps the shape: it makes {branched.shape} of {x.shape}")
        return x + branched


class Parallel(Layer):
    """
    Give the input to several branches and join their outputs along the last axis.

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
        self.branches = tuple(map(check_layer, branches))

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(i), branch) for i, branch in enumerate(self.branches))

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [branch.output_shape(shape) for branch in self.branches]
        self._check_outputs(shapes)
        return (*shapes[0][:-1], sum(joined[-1] for joined in shapes))

    def forward(self, x: Array) -> Array:
        return self._join([branch.forward(x) for branch in self.branches])

    def by_example(self, train: bool) -> bool:
        return all(child.by_example(train) for _, child in self.children())

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        outputs, pullbacks = zip(*(branch.vjp(x, train=train) for branch in self.branches), strict=True)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            start, dx = 0, None
            for output, pull_branch in zip(outputs, pullbacks, strict=True):
                end = start + output.shape[-1]
                part = pull_branch(dy[..., start:end], need_dx=need_dx, need_grads=need_grads)
                start, dx = end, part if dx is None or not need_dx else dx + part
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
    An encoder that makes a code of its input, and a decoder that makes the input again.

    Train it with the input as the target; ``encode`` and ``decode`` give either half.

    Parameters
    ----------
    encoder, decoder : Layer
        The decoder takes what the encoder gives.

    Examples
    --------
    >>> net = AutoEncoder(portanet.Linear(64, 8), portanet.Linear(8, 64)).initialize()
    >>> x = np.zeros((5, 64), dtype="float32")
    >>> net.encode(x).shape, net(x).shape
    ((5, 8), (5, 64))
    """

    def __init__(self, encoder: Layer, decoder: Layer):
        self.encoder: Layer = check_layer(encoder)
        self.decoder: Layer = check_layer(decoder)

    def output_shape(self, shape: Shape) -> Shape:
        return self.decoder.output_shape(self.encoder.output_shape(shape))

    def encode(self, x: Array) -> Array:
        """Codes of inputs, after drawing initial weights if there are none yet."""
        self._ready()
        return self.encoder(x)

    def decode(self, code: Array) -> Array:
        """Outputs for codes, after drawing initial weights if there are none yet."""
        self._ready()
        return self.decoder(code)

    def forward(self, x: Array) -> Array:
        return self.decoder.forward(self.encoder.forward(x))

    def by_example(self, train: bool) -> bool:
        return all(child.by_example(train) for _, child in self.children())

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        code, pull_code = self.encoder.vjp(x, train=train)
        y, pull_y = self.decoder.vjp(code, train=train)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return pull_code(pull_y(dy, need_grads=need_grads), need_dx=need_dx, need_grads=need_grads)

        return y, pullback
