"""The affine layer."""

import math

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import check_count, check_flag
from portanet.initializers import Initializer, glorot_uniform, zeros
from portanet.kernels.products import as_rows
from portanet.layers.base import Layer, batch, check_input
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["Linear"]


class Linear(Layer):
    """
    Affine map ``y = x W + b`` of the last axis: x (N, ..., in_features), y (N, ..., out_features).

    Gradients, summed over all axes but the last: ``dW = xᵀ dy``, ``db = Σ dy``, ``dx = dy Wᵀ``.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of the last axis of x and of y. ``Linear(out_features)`` takes in_features from the first data.
    bias : bool
        Whether to add b.
    init : Initializer
        Initial W, of shape (in_features, out_features); b starts at zero.

    Examples
    --------
    >>> layer = Linear(3, 2)
    >>> layer(np.ones((5, 3), dtype="float32")).shape
    (5, 2)
    """

    input_size_argument = "in_features"

    def __init__(
        self,
        in_features: int | None = None,
        out_features: int | None = None,
        *,
        bias: bool = True,
        init: Initializer = glorot_uniform,
    ) -> None:
        shape = check_count("in_features", in_features), check_count("out_features", out_features)
        self.weight = Parameter(shape, init)
        self.bias = Parameter(shape[1:], zeros) if check_flag("bias", bias) else None

    @property
    def in_features(self) -> int:
        """Length of the last axis of x."""
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        """Length of the last axis of y."""
        return self.weight.shape[1]

    @property
    def init(self) -> Initializer:
        """Initializer of W."""
        return self.weight.init

    def output_shape(self, shape: Shape) -> Shape:
        n_in, n_out = self.weight.shape
        if not shape or shape[-1] != n_in:
            first = "" if len(shape) <= 1 else "Flatten() first, then "
            fix = f"{first}Linear({math.prod(shape)}, {n_out})?" if shape else "x[None, :] for a single example?"
            raise ValueError(f"{self!r} needs x of shape (N, ..., {n_in}), got {batch(shape)}: {fix}")
        return (*shape[:-1], n_out)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, w = namespace(x), self.weight.data
        self.output_shape(x.shape[1:])
        check_input(x, w)
        y = kernels.linear(x, w)
        if self.bias is not None:
            kernels.bias_add(y, self.bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                rows, drows = as_rows(x), as_rows(dy)
                self.weight.accumulate(xp.matmul(xp.matrix_transpose(rows), drows))
                if self.bias is not None:
                    self.bias.accumulate(kernels.bias_grad(dy))
            return kernels.linear(dy, xp.matrix_transpose(w)) if need_dx else None

        return y, pullback
