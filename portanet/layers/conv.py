"""
Convolutions, channels-last: (N, L, C), (N, H, W, C), (N, D, H, W, C).

One implementation serves any number of axes; the classes for 1, 2 and 3 axes set ``n_axes``.
"""

from typing import ClassVar, TypedDict, Unpack

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Fixed, check_count, check_flag
from portanet.initializers import Initializer, glorot_uniform, zeros
from portanet.kernels.windows import Padding, Window, pads_per_axis, per_axis
from portanet.layers.base import Layer, batch, check_input
from portanet.layers.windows import CheckedPerAxis, PerAxis, check_padding, check_per_axis, compact, window_of
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["Conv1D", "Conv2D", "Conv3D", "ConvTranspose1D", "ConvTranspose2D", "ConvTranspose3D"]

AXES = ("L", "HW", "DHW")


class ConvOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Conv`."""

    stride: PerAxis
    padding: Padding
    dilation: PerAxis
    groups: int
    bias: bool
    init: Initializer


class Conv(Layer):
    """
    Convolution over ``n_axes`` axes; :class:`Conv2D` documents the parameters.

    The weight has shape (*kernel_size, in_channels / groups, out_channels).
    """

    n_axes: ClassVar[int]
    stride = CheckedPerAxis(check_per_axis)
    padding = CheckedPerAxis(check_padding)
    dilation = CheckedPerAxis(check_per_axis)
    groups = Fixed(check_count)
    input_size_argument, input_size_multiple_of = "in_channels", "groups"

    def __init__(
        self,
        in_channels: int | None = None,
        out_channels: PerAxis | None = None,
        kernel_size: PerAxis | None = None,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = glorot_uniform,
    ):
        channels = check_count("in_channels", in_channels), check_count("out_channels", out_channels)
        self.groups = groups
        if any(n % self.groups for n in channels):
            raise ValueError(
                f"in_channels and out_channels must be multiples of groups={groups}, "
                f"got {in_channels} and {out_channels}"
            )
        self.stride, self.padding, self.dilation = stride, padding, dilation
        lengths = per_axis("kernel_size", kernel_size, self.n_axes)  # type: ignore[arg-type]  # never None: LazyBuild
        shape = (*lengths, *self._weight_channels(*channels))
        self.weight = Parameter(shape, init)
        self.bias = Parameter(channels[1:], zeros) if check_flag("bias", bias) else None

    def _weight_channels(self, in_channels: int, out_channels: int) -> Shape:
        """Last two axes of the weight."""
        return in_channels // self.groups, out_channels

    @property
    def in_channels(self) -> int:
        """Length of the last axis of x."""
        return self.weight.shape[-2] * self.groups

    @property
    def out_channels(self) -> int:
        """Length of the last axis of y."""
        return self.weight.shape[-1]

    @property
    def kernel_size(self) -> PerAxis:
        """Length of the kernel along each axis; one number if they are equal."""
        return compact(self.weight.shape[:-2])

    @property
    def init(self) -> Initializer:
        """Initializer of the weight."""
        return self.weight.init

    def window(self, input_shape: Shape) -> Window:
        """Return the window that slides over an input of some spatial shape."""
        return window_of(input_shape, self.weight.shape[:-2], self.stride, self.dilation, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        return (*self.window(tuple(shape[:-1])).output_shape, self.out_channels)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        w, groups = self.weight.data, self.groups
        self._check_shape(x.shape[1:])
        check_input(x, w)
        window = self.window(tuple(x.shape[1:-1]))
        y, gradients = kernels.conv_vjp(x, w, window, groups, None if self.bias is None else self.bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                gradients(dy, _gradient(self.weight), _gradient(self.bias), True)
            return kernels.conv_input_gradient(dy, w, window, groups) if need_dx else None

        return y, pullback

    def _check_shape(self, shape: Shape) -> None:
        if len(shape) != self.n_axes + 1 or shape[-1] != self.in_channels:
            channels = "C" if len(shape) == self.n_axes and shape[-1] == self.in_channels > 4 else str(self.in_channels)
            wanted = ", ".join(("N", *AXES[self.n_axes - 1], channels))
            raise ValueError(f"{self!r} needs x of shape ({wanted}), got {batch(shape)}{self._fix(shape)}")

    def _fix(self, shape: Shape) -> str:
        """Guess what is meant by inputs of a shape that does not fit."""
        if len(shape) == self.n_axes:
            if shape[-1] == self.in_channels <= 4:
                return ": x[None, ...] for a single example?"
            return ": give x[..., None], with one channel"
        if len(shape) == self.n_axes + 1 and shape[0] == self.in_channels:
            order = ", ".join(map(str, (0, *range(2, self.n_axes + 2), 1)))
            return f": channels come last, x.transpose({order})?"
        if len(shape) == self.n_axes + 1 and self.groups == 1:
            return f": {type(self).__name__}({shape[-1]}, {self.out_channels}, ...)?"
        return ""


def _gradient(parameter: Parameter | None) -> Array | None:
    """Return where the gradient of a parameter is added; None if there is none, or it is frozen."""
    return None if parameter is None or parameter.frozen else parameter.grad


class Conv1D(Conv):
    """
    Convolution of signals, (N, L, C); see :class:`Conv2D`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, init
        See :class:`Conv2D`.

    Examples
    --------
    >>> Conv1D(1, 32, 3)(np.zeros((5, 256, 1), dtype="float32")).shape
    (5, 254, 32)
    """

    n_axes = 1


class Conv2D(Conv):
    """
    Convolution of images: x (N, H, W, in_channels), y (N, H', W', out_channels).

    ``y[n, p, o] = b[o] + Σ_k Σ_c x[n, p stride + k dilation, c] W[k, c, o]``, a cross-correlation as in PyTorch and
    Keras. Gradients: ``dW[k, c, o] = Σ_n Σ_p x[n, p stride + k dilation, c] dy[n, p, o]``, ``db = Σ dy``, and dx sums
    ``dy Wᵀ`` of every window that covers a position.

    Parameters
    ----------
    in_channels, out_channels : int
        Lengths of the last axis of x and of y. ``Conv2D(out_channels, kernel_size)`` takes in_channels from the first
        data.
    kernel_size : int or tuple of int
        Length of the kernel along each axis.
    stride : int or tuple of int
        Distance between neighbouring windows.
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        Zeros around x: none; as many as give ``ceil(length / stride)`` outputs; a number for all sides, one for each
        axis, or a pair (before, after) for each axis.
    dilation : int or tuple of int
        Distance between neighbouring weights of the kernel.
    groups : int
        Divide the channels into groups that are convolved apart; ``groups=in_channels`` is depthwise.
    bias : bool
        Whether to add b.
    init : Initializer
        Initial W, of shape ``(*kernel_size, in_channels / groups, out_channels)``; b starts at zero.

    Notes
    -----
    On a CPU, outputs near an input that is a million times as large as the others lose digits: Winograd's algorithm
    computes several outputs together.

    Examples
    --------
    >>> layer = Conv2D(1, 32, 5, padding="same")
    >>> layer(np.zeros((5, 28, 28, 1), dtype="float32")).shape
    (5, 28, 28, 32)
    """

    n_axes = 2


class Conv3D(Conv):
    """
    Convolution of volumes, (N, D, H, W, C); see :class:`Conv2D`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, init
        See :class:`Conv2D`.

    Examples
    --------
    >>> Conv3D(1, 4, 3, stride=2)(np.zeros((2, 9, 9, 9, 1), dtype="float32")).shape
    (2, 4, 4, 4, 4)
    """

    n_axes = 3


class ConvTranspose(Conv):
    """
    Transposed convolution over ``n_axes`` axes; :class:`ConvTranspose2D` documents the parameters.

    The weight has shape (*kernel_size, in_channels, out_channels / groups).
    """

    output_padding = CheckedPerAxis(check_per_axis, at_least=0)

    def __init__(
        self,
        in_channels: int | None = None,
        out_channels: PerAxis | None = None,
        kernel_size: PerAxis | None = None,
        *,
        output_padding: PerAxis = 0,
        **options: Unpack[ConvOptions],
    ):
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.output_padding = output_padding
        self._check_together()

    def _check_together(self) -> None:
        extra = per_axis("output_padding", self.output_padding, self.n_axes, at_least=0)
        if any(more >= step for more, step in zip(extra, per_axis("stride", self.stride, self.n_axes), strict=True)):
            raise ValueError(f"output_padding must be smaller than stride={self.stride}, got {self.output_padding}")
        if self.padding == "same" and any(extra):
            raise ValueError(f"output_padding must be 0 with padding='same', got {self.output_padding}")

    def _weight_channels(self, in_channels: int, out_channels: int) -> Shape:
        return in_channels, out_channels // self.groups

    @property
    def in_channels(self) -> int:
        """Length of the last axis of x."""
        return self.weight.shape[-2]

    @property
    def out_channels(self) -> int:
        """Length of the last axis of y."""
        return self.weight.shape[-1] * self.groups

    def window(self, input_shape: Shape) -> Window:
        """Return the window on the output, which has one position for each position of the input."""
        n_axes = self.n_axes
        kernel = self.weight.shape[:-2]
        stride, dilation = per_axis("stride", self.stride, n_axes), per_axis("dilation", self.dilation, n_axes)
        extra, padding = per_axis("output_padding", self.output_padding, n_axes, at_least=0), self.padding
        if padding == "same":
            lengths = [n * s for n, s in zip(input_shape, stride, strict=True)]
        else:
            pads = pads_per_axis(padding, n_axes)
            pairs = ((0, 0),) * n_axes if isinstance(pads, str) else pads
            lengths = [
                (n - 1) * s + d * (k - 1) + 1 - low - high + more
                for n, s, d, k, (low, high), more in zip(
                    input_shape, stride, dilation, kernel, pairs, extra, strict=True
                )
            ]
        return window_of(tuple(lengths), kernel, self.stride, self.dilation, padding)

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        return (*self.window(tuple(shape[:-1])).input_shape, self.out_channels)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, groups = namespace(x), self.groups
        w = xp.matrix_transpose(self.weight.data)  # the weight of the convolution that this layer transposes
        self._check_shape(x.shape[1:])
        check_input(x, w)
        window = self.window(tuple(x.shape[1:-1]))
        y = kernels.conv_input_gradient(x, w, window, groups)
        if self.bias is not None:
            kernels.bias_add(y, self.bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                dw = kernels.conv_weight_gradient(dy, x, window, groups)
                self.weight.accumulate(xp.matrix_transpose(dw))
                if self.bias is not None:
                    self.bias.accumulate(kernels.bias_grad(dy))
            return kernels.conv(dy, w, window, groups) if need_dx else None

        return y, pullback


class ConvTranspose1D(ConvTranspose):
    """
    Transposed convolution of signals, (N, L, C); see :class:`ConvTranspose2D`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, bias, init
        See :class:`ConvTranspose2D`.

    Examples
    --------
    >>> ConvTranspose1D(32, 1, 3, stride=2)(np.zeros((5, 10, 32), dtype="float32")).shape
    (5, 21, 1)
    """

    n_axes = 1


class ConvTranspose2D(ConvTranspose):
    """
    Transposed convolution of images, for decoders [1]_: x (N, H, W, in_channels), y (N, H', W', out_channels).

    The output is the input gradient of the :class:`Conv2D` with the same arguments, plus b; dx is that convolution of
    dy, and dW its weight gradient with x and dy exchanged.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups, bias, init
        See :class:`Conv2D`; the weight has shape ``(*kernel_size, in_channels, out_channels / groups)``.
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        Rows cut off the output at both ends, (before, after): its lengths are
        ``(n - 1) stride + dilation (kernel_size - 1) + 1 - before - after + output_padding``, with "same" ``n stride``.
    output_padding : int or tuple of int
        Rows added after each axis, fewer than the stride. Several input lengths of a strided convolution give the same
        output length; this chooses among them.

    References
    ----------
    .. [1] V. Dumoulin, F. Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.

    Examples
    --------
    >>> ConvTranspose2D(8, 1, 3, stride=2, padding="same")(np.zeros((5, 14, 14, 8), dtype="float32")).shape
    (5, 28, 28, 1)
    """

    n_axes = 2


class ConvTranspose3D(ConvTranspose):
    """
    Transposed convolution of volumes, (N, D, H, W, C); see :class:`ConvTranspose2D`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, bias, init
        See :class:`ConvTranspose2D`.

    Examples
    --------
    >>> ConvTranspose3D(4, 1, 3, stride=2)(np.zeros((2, 4, 4, 4, 4), dtype="float32")).shape
    (2, 9, 9, 9, 1)
    """

    n_axes = 3
