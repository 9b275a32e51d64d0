"""
Convolutions, channels-last: (N, L, C), (N, H, W, C), (N, D, H, W, C).

One implementation serves any number of axes; the classes for 1, 2 and 3 are faces of it.
"""

from typing import ClassVar

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import check_count
from portanet.initializers import Initializer, glorot_uniform, zeros
from portanet.kernels.conv import grouped
from portanet.kernels.windows import Padding, Window, check_padding, per_axis
from portanet.layers.base import Layer, batch, check_input
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shape

AXES = ("L", "HW", "DHW")


class Conv(Layer):
    """
    Convolution over ``n_axes`` axes; :class:`Conv2D` says what the parameters are.

    The weight has shape (*kernel_size, in_channels / groups, out_channels).
    """

    n_axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: Padding = "valid",
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = glorot_uniform,
    ):
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"in_channels and out_channels must be positive multiples of groups={groups}, "
                f"got {in_channels} and {out_channels}"
            )
        self.in_channels = check_count("in_channels", in_channels)
        self.out_channels = out_channels = check_count("out_channels", out_channels)
        self.groups = check_count("groups", groups)
        self.size = per_axis("kernel_size", kernel_size, self.n_axes)
        self.stride = per_axis("stride", stride, self.n_axes)
        self.dilation = per_axis("dilation", dilation, self.n_axes)
        self.padding = check_padding(padding, self.n_axes)
        self.weight = Parameter((*self.size, *self.weight_channels()), init)
        self.bias = Parameter((out_channels,), zeros) if bias else None

    def weight_channels(self) -> Shape:
        """Last two axes of the weight."""
        return self.in_channels // self.groups, self.out_channels

    def window(self, space: Shape) -> Window:
        """Where the kernel goes on an input of a size."""
        return Window.fit(space, self.size, stride=self.stride, dilation=self.dilation, padding=self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        return (*self.window(shape[:-1]).output_shape, self.out_channels)

    def _check_shape(self, shape: Shape) -> None:
        if len(shape) != self.n_axes + 1 or shape[-1] != self.in_channels:
            wanted = ", ".join(("N", *AXES[self.n_axes - 1], str(self.in_channels)))
            raise ValueError(f"{self!r} needs x of shape ({wanted}), got {batch(shape)}{self._fix(shape)}")

    def _fix(self, shape: Shape) -> str:
        """What is probably meant by inputs of a shape that does not fit."""
        if len(shape) == self.n_axes:
            if shape[-1] == self.in_channels > 1:
                return ": x[None, ...] for a single example?"
            return f": Reshape({', '.join(map(str, shape))}, 1) first?"
        if len(shape) == self.n_axes + 1 and shape[0] == self.in_channels:
            order = ", ".join(map(str, (0, *range(2, self.n_axes + 2), 1)))
            return f": channels come last, x.transpose({order})?"
        if len(shape) == self.n_axes + 1 and self.groups == 1:
            return f": {type(self).__name__}({shape[-1]}, {self.out_channels}, ...)?"
        return ""

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        w, groups = self.weight.data, self.groups
        self._check_shape(x.shape[1:])
        check_input(x, w)
        window = self.window(tuple(x.shape[1:-1]))
        y = grouped(kernels.conv, x, w, window, groups)
        if self.bias is not None:
            kernels.bias_add(y, self.bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                self.weight.accumulate(grouped(kernels.conv_weight_gradient, x, dy, window, groups))
                if self.bias is not None:
                    self.bias.accumulate_channel_sum(dy)
            return grouped(kernels.conv_input_gradient, dy, w, window, groups) if need_dx else None

        return y, pullback


class Conv1D(Conv):
    """
    Convolution of signals, (N, L, C); see :class:`Conv2D`.

    Examples
    --------
    >>> Conv1D(1, 32, 3)(np.zeros((5, 256, 1), dtype="float32")).shape
    (5, 254, 32)
    """

    n_axes = 1


class Conv2D(Conv):
    """
    Convolution of images, (N, H, W, C): a kernel that slides over them, the same at every place.

    Parameters
    ----------
    in_channels, out_channels : int
        Lengths of the last axis of x and of y.
    kernel_size : int or tuple of int
        Cells of the kernel along each axis.
    stride : int or tuple of int
        Steps between its places.
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        Zeros around x: none; as many as give ``ceil(length / stride)`` places; a number for all sides, for each axis,
        or a pair (before, after) for each axis.
    dilation : int or tuple of int
        Steps between the cells of the kernel.
    groups : int
        Deal the channels out to so many convolutions side by side.
    bias : bool
        Whether to add a number to each output channel.
    init : Initializer
        Initial weight, of shape (*kernel_size, in_channels / groups, out_channels); the bias starts at zero.

    Notes
    -----
    On a CPU, a NaN or an infinity may reach a few places beyond those whose kernel covers it: several are computed
    together.

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

    Examples
    --------
    >>> Conv3D(1, 4, 3, stride=2)(np.zeros((2, 9, 9, 9, 1), dtype="float32")).shape
    (2, 4, 4, 4, 4)
    """

    n_axes = 3


class ConvTranspose(Conv):
    """
    The convolution turned round: its output is what a convolution's input gradient is, and it enlarges with a stride.

    The weight has shape (*kernel_size, in_channels, out_channels / groups); :class:`ConvTranspose2D` says the rest.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: Padding = "valid",
        output_padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = glorot_uniform,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            init=init,
        )
        self.output_padding = per_axis("output_padding", output_padding, self.n_axes, least=0)
        if any(extra >= step for extra, step in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(f"output_padding must be smaller than stride={stride}, got {output_padding}")
        if self.padding == "same" and any(self.output_padding):
            raise ValueError(f"output_padding must be 0 with padding='same', got {output_padding}")

    def weight_channels(self) -> Shape:
        return self.in_channels, self.out_channels // self.groups

    def window(self, space: Shape) -> Window:
        """Where the kernel goes on the output, so that it has a place for each cell of the input."""
        reach = [d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True)]
        if self.padding == "same":
            output = [n * s for n, s in zip(space, self.stride, strict=True)]
        else:
            pads = ((0, 0),) * self.n_axes if self.padding == "valid" else self.padding
            output = [
                (n - 1) * s + r - low - high + extra
                for n, s, r, (low, high), extra in zip(
                    space, self.stride, reach, pads, self.output_padding, strict=True
                )
            ]
        return Window.fit(tuple(output), self.size, stride=self.stride, dilation=self.dilation, padding=self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        return (*self.window(shape[:-1]).input_shape, self.out_channels)

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, groups = namespace(x), self.groups
        w = xp.matrix_transpose(self.weight.data)  # of the convolution that this one turns round
        self._check_shape(x.shape[1:])
        check_input(x, w)
        window = self.window(tuple(x.shape[1:-1]))
        y = grouped(kernels.conv_input_gradient, x, w, window, groups)
        if self.bias is not None:
            kernels.bias_add(y, self.bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                self.weight.accumulate(
                    xp.matrix_transpose(grouped(kernels.conv_weight_gradient, dy, x, window, groups))
                )
                if self.bias is not None:
                    self.bias.accumulate_channel_sum(dy)
            return grouped(kernels.conv, dy, w, window, groups) if need_dx else None

        return y, pullback


class ConvTranspose1D(ConvTranspose):
    """
    Transposed convolution of signals, (N, L, C); see :class:`ConvTranspose2D`.

    Examples
    --------
    >>> ConvTranspose1D(32, 1, 3, stride=2)(np.zeros((5, 10, 32), dtype="float32")).shape
    (5, 21, 1)
    """

    n_axes = 1


class ConvTranspose2D(ConvTranspose):
    """
    Transposed convolution of images, (N, H, W, C), for decoders [1]_.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups, bias, init
        See :class:`Conv2D`; the weight has shape (*kernel_size, in_channels, out_channels / groups).
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        What the convolution that this one turns round would pad, so that it is cut off here: lengths become
        ``(n - 1) stride + reach - padding``, with "same" ``n stride``.
    output_padding : int or tuple of int
        Cells to add after each axis, fewer than the stride: which of the lengths that a convolution would have made the
        same is meant.

    References
    ----------
    .. [1] V. Dumoulin, F. Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.

    Examples
    --------
    >>> ConvTranspose2D(8, 1, 3, stride=2, padding="same")(np.zeros((5, 14, 14, 8), dtype="float32")).shape
    (5, 28, 28, 1)
    """

    n_axes = 2
