"""Which PyTorch module each layer becomes."""

from collections.abc import Callable, Sequence
from typing import Any

from portanet import layers
from portanet.interop.table import Binding, Context, build, builds
from portanet.kernels.windows import CheckedPadding, pads_per_axis, per_axis
from portanet.layers.adaptive import AdaptivePool
from portanet.layers.base import Layer
from portanet.layers.conv import Conv
from portanet.layers.pooling import Pool
from portanet.typing import Shape

__all__ = ["build"]

SIMPLE: dict[type[Layer], Callable[[Any, Any], Any]] = {
    layers.ReLU: lambda nn, layer: nn.ReLU(),
    layers.LeakyReLU: lambda nn, layer: nn.LeakyReLU(layer.negative_slope),
    layers.ELU: lambda nn, layer: nn.ELU(layer.alpha),
    layers.CELU: lambda nn, layer: nn.CELU(layer.alpha),
    layers.SELU: lambda nn, layer: nn.SELU(),
    layers.GELU: lambda nn, layer: nn.GELU(approximate="tanh" if layer.approximate else "none"),
    layers.SiLU: lambda nn, layer: nn.SiLU(),
    layers.Mish: lambda nn, layer: nn.Mish(),
    layers.Softplus: lambda nn, layer: nn.Softplus(),
    layers.ReLU6: lambda nn, layer: nn.ReLU6(),
    layers.Hardtanh: lambda nn, layer: nn.Hardtanh(layer.min_val, layer.max_val),
    layers.Hardswish: lambda nn, layer: nn.Hardswish(),
    layers.TanH: lambda nn, layer: nn.Tanh(),
    layers.Sigmoid: lambda nn, layer: nn.Sigmoid(),
    layers.LogSigmoid: lambda nn, layer: nn.LogSigmoid(),
    layers.Dropout: lambda nn, layer: nn.Dropout(layer.p),
}
"""The module of each layer that works on each number by itself."""

for _kind, _make in SIMPLE.items():
    builds(_kind)(lambda context, layer, make=_make: make(context.nn, layer))  # type: ignore[misc]


@builds(layers.Softmax, layers.LogSoftmax)
def build_softmax(context: Context, layer: Layer) -> Any:
    """Return a module along the channels, axis 1."""
    return context.nn.Softmax(dim=1) if isinstance(layer, layers.Softmax) else context.nn.LogSoftmax(dim=1)


@builds(layers.GLU)
def build_glu(context: Context, layer: layers.GLU) -> Any:
    """Return a module along the channels, axis 1."""
    context.channels = None if context.channels is None else context.channels // 2
    return context.nn.GLU(dim=1)


@builds(layers.PReLU)
def build_prelu(context: Context, layer: layers.PReLU) -> Any:
    """Return a module with one slope, or one for each channel."""
    module = context.nn.PReLU(layer.num_parameters)
    context.bind(layer, module)
    return module


@builds(layers.SpatialDropout)
def build_spatial_dropout(context: Context, layer: layers.SpatialDropout) -> Any:
    """Return the module that drops whole channels."""
    return context.of_axes("Dropout", context.ndim_at(layer))(layer.p)


@builds(layers.Linear)
def build_linear(context: Context, layer: layers.Linear) -> Any:
    """Transpose the weight (in, out) to (out, in); the features of flattened rows get PyTorch's order, (C, ...)."""
    n_in, n_out = layer.weight.shape
    module = context.nn.Linear(n_in, n_out, bias=layer.bias is not None)
    context.bind(layer, module, weight=(1, 0))
    if context.flattened is not None:
        weight = next(binding for binding in context.bindings if binding.array is layer.weight)
        split = (n_in // context.flattened, context.flattened, n_out)
        context.bindings[context.bindings.index(weight)] = Binding(layer.weight, module, "weight", split, (2, 1, 0))
    context.channels, context.flattened = n_out, None
    return context.around(module)


@builds(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def build_conv(context: Context, layer: Any) -> Any:
    """Transpose the weight (*size, C / groups, O) to (O, C / groups, *size)."""
    n, padding = layer.n_axes, layer.padding
    if padding == "same" and set(per_axis("stride", layer.stride, n)) != {1}:
        raise ValueError(f"{layer!r} has no counterpart in PyTorch: give its padding as a number")
    padding = padding if padding == "same" else _symmetric(layer)
    module = context.of_axes("Conv", n + 2)(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    context.bind(layer, module, weight=(n + 1, n, *range(n)))
    context.ndim, context.channels = n + 2, layer.out_channels
    return module


@builds(layers.ConvTranspose1D, layers.ConvTranspose2D, layers.ConvTranspose3D)
def build_conv_transpose(context: Context, layer: Any) -> Any:
    """Transpose the weight (*size, C, O / groups) to (C, O / groups, *size)."""
    n = layer.n_axes
    module = context.of_axes("ConvTranspose", n + 2)(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=_symmetric(layer),
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    context.bind(layer, module, weight=(n, n + 1, *range(n)))
    context.ndim, context.channels = n + 2, layer.out_channels
    return module


def _symmetric(layer: Any) -> Shape:
    """Return the padding of each axis; PyTorch has the same number before and after."""
    pads: CheckedPadding = pads_per_axis(layer.padding, layer.n_axes)
    if pads == "valid":
        return (0,) * int(layer.n_axes)
    if isinstance(pads, str) or any(low != high for low, high in pads):
        raise ValueError(f"{layer!r} has no counterpart in PyTorch: its padding must be one number for each axis")
    return tuple(low for low, _ in pads)


@builds(layers.MaxPool1D, layers.MaxPool2D, layers.MaxPool3D)
def build_max_pool(context: Context, layer: Any) -> Any:
    """Return the module that takes maxima of windows."""
    context.ndim = layer.n_axes + 2
    kind, options = context.of_axes("MaxPool", layer.n_axes + 2), {"dilation": layer.dilation}
    return kind(layer.kernel_size, layer.stride, padding=_symmetric(layer), ceil_mode=layer.ceil_mode, **options)


@builds(layers.AvgPool1D, layers.AvgPool2D, layers.AvgPool3D)
def build_avg_pool(context: Context, layer: Any) -> Any:
    """Return the module that takes means of windows."""
    context.ndim = layer.n_axes + 2
    kind, options = context.of_axes("AvgPool", layer.n_axes + 2), {"count_include_pad": layer.count_include_pad}
    return kind(layer.kernel_size, layer.stride, padding=_symmetric(layer), ceil_mode=layer.ceil_mode, **options)


@builds(
    *(layers.AdaptiveAvgPool1D, layers.AdaptiveAvgPool2D, layers.AdaptiveAvgPool3D),
    *(layers.AdaptiveMaxPool1D, layers.AdaptiveMaxPool2D, layers.AdaptiveMaxPool3D),
)
def build_adaptive_pool(context: Context, layer: Any) -> Any:
    """Return the module that pools to an output of a given size."""
    context.ndim = layer.n_axes + 2
    if layer.output_size is None:
        return context.nn.Identity()
    return getattr(context.nn, f"{type(layer).__name__[:-1]}d")(layer.output_size)


@builds(layers.GlobalAvgPool, layers.GlobalMaxPool)
def build_global_pool(context: Context, layer: Layer) -> Any:
    """Pool to one position, then flatten."""
    name = "AdaptiveAvgPool" if isinstance(layer, layers.GlobalAvgPool) else "AdaptiveMaxPool"
    module = context.nn.Sequential(context.of_axes(name, context.ndim_at(layer))(1), context.nn.Flatten())
    context.ndim = 2
    return module


@builds(layers.Upsample)
def build_upsample(context: Context, layer: layers.Upsample) -> Any:
    """Return the module that repeats or interpolates positions."""
    factor = layer.scale_factor
    given = tuple(map(float, factor)) if isinstance(factor, tuple) else float(factor)
    return context.nn.Upsample(scale_factor=given, mode=layer.mode)


@builds(layers.Pad)
def build_pad(context: Context, layer: layers.Pad) -> Any:
    """Give the padding of the last axis first, as PyTorch does."""
    ndim = context.ndim_at(layer)
    pads = pads_per_axis(layer.padding, ndim - 2)
    numbers = tuple(n for pair in reversed(pads) for n in pair)
    names = {"constant": "ConstantPad", "reflect": "ReflectionPad", "replicate": "ReplicationPad"}
    value = {"value": layer.value} if layer.mode == "constant" else {}
    return context.of_axes(names.get(layer.mode, "CircularPad"), ndim)(numbers, **value)


@builds(layers.BatchNorm)
def build_batch_norm(context: Context, layer: layers.BatchNorm) -> Any:
    """Return the module that normalizes channels over the batch."""
    kind = context.of_axes("BatchNorm", context.ndim or 2)
    module = kind(layer.num_features, eps=layer.eps, momentum=layer.momentum, affine=layer.affine)
    context.bind(layer, module)
    context.channels = layer.num_features
    return module


@builds(layers.GroupNorm)
def build_group_norm(context: Context, layer: layers.GroupNorm) -> Any:
    """Return the module that normalizes groups of channels."""
    module = context.nn.GroupNorm(layer.num_groups, layer.num_channels, eps=layer.eps, affine=layer.affine)
    context.bind(layer, module)
    context.channels = layer.num_channels
    return module


@builds(layers.InstanceNorm)
def build_instance_norm(context: Context, layer: layers.InstanceNorm) -> Any:
    """Return the module that normalizes each channel of each example."""
    kind = context.of_axes("InstanceNorm", context.ndim or 4)
    module = kind(layer.num_features, eps=layer.eps, affine=layer.affine)
    context.bind(layer, module)
    context.channels = layer.num_features
    return module


@builds(layers.LayerNorm, layers.RMSNorm)
def build_last_axes_norm(context: Context, layer: Any) -> Any:
    """Return the module that normalizes over the last axes of (N, ..., C)."""
    kind = context.nn.LayerNorm if isinstance(layer, layers.LayerNorm) else context.nn.RMSNorm
    module = kind(layer.normalized_shape, eps=layer.eps, elementwise_affine=layer.elementwise_affine)
    context.bind(layer, module)
    return context.around(module)


@builds(layers.Rescale)
def build_rescale(context: Context, layer: layers.Rescale) -> Any:
    """Return a module of PortaNet's: PyTorch has none."""
    return context.torch_modules.Rescale(layer.scale, layer.offset)


@builds(layers.Normalize)
def build_normalize(context: Context, layer: layers.Normalize) -> Any:
    """Return a module of PortaNet's: PyTorch has none."""
    module = context.torch_modules.Normalize(layer.num_features)
    context.bind(layer, module)
    return module


@builds(layers.Flatten)
def build_flatten(context: Context, layer: layers.Flatten) -> Any:
    """Flatten in PortaNet's order; :func:`build_sequential` flattens in PyTorch's before a Linear."""
    min_ndim = 4 if context.is_input else 3
    context.ndim, context.channels, context.is_input = 2, None, False
    return context.torch_modules.ReshapeChannelsLast(-1, min_ndim=min_ndim)


@builds(layers.Reshape)
def build_reshape(context: Context, layer: layers.Reshape) -> Any:
    """Reshape in PortaNet's order; :func:`build_sequential` reshapes in PyTorch's after a Linear."""
    min_ndim = 4 if context.is_input else 3
    context.ndim, context.channels = len(layer.shape) + 1, None if layer.shape[-1] == -1 else layer.shape[-1]
    context.is_input = False
    return context.torch_modules.ReshapeChannelsLast(*layer.shape, min_ndim=min_ndim)


TAKE_CHANNELS = (
    *(Conv, Pool, AdaptivePool, layers.GlobalAvgPool, layers.GlobalMaxPool, layers.Upsample, layers.Pad),
    *(layers.BatchNorm, layers.GroupNorm, layers.InstanceNorm, layers.SpatialDropout),
)
"""Layers that tell channels from positions."""


@builds(layers.Sequential)
def build_sequential(context: Context, layer: layers.Sequential) -> Any:
    """
    Return one module after the other.

    A Flatten before a Linear, and a Reshape from a Linear to channels, are PyTorch's, and the Linear gets its order.
    """
    modules = []
    for i, inner in enumerate(layer):
        after = next((other for other in layer.layers[i + 1 :] if type(other) not in SIMPLE), None)
        has_channels = context.channels is not None and not (context.is_input and context.ndim == 3)
        if type(inner) is layers.Flatten and type(after) is layers.Linear and has_channels:
            modules.append(context.nn.Flatten())
            context.flatten()
        elif type(inner) is layers.Flatten and type(after) is layers.Linear and context.has_unknown_order:
            raise ValueError(f"the number of channels at {inner!r} is not known: give input_shape")
        elif type(inner) is layers.Reshape and isinstance(after, TAKE_CHANNELS):
            modules.append(_unflatten(context, inner, layer.layers[:i]) or build(context, inner))
        else:
            modules.append(build(context, inner))
    return context.nn.Sequential(*modules)


def _unflatten(context: Context, layer: layers.Reshape, before: Sequence[Layer]) -> Any:
    """
    Return PyTorch's Unflatten, and put the outputs of the Linear before it in PyTorch's order.

    Return None if no Linear of its own gives the features.
    """
    features = [each for each in before if type(each) not in SIMPLE]
    while features and type(features[-1]) is layers.BatchNorm:
        features.pop()
    if not features or type(features[-1]) is not layers.Linear or context.ndim not in (2, None):
        return None
    shape = layer.output_shape((features[-1].out_features,))
    own = before[before.index(features[-1]) :]
    arrays = {array for each in own for array in each._named_arrays().values()}
    if len(shape) == 1 or arrays & context.shared:
        return None
    context.reorder_outputs(arrays, shape)
    context.ndim, context.channels, context.is_input = len(shape) + 1, shape[-1], False
    return context.nn.Unflatten(1, (shape[-1], *shape[:-1]))


@builds(layers.AutoEncoder)
def build_autoencoder(context: Context, layer: layers.AutoEncoder) -> Any:
    """Return the encoder, then the decoder."""
    encoder = build(context, layer.encoder)
    return context.torch_modules.AutoEncoder(encoder, build(context, layer.decoder))


@builds(layers.Residual)
def build_residual(context: Context, layer: layers.Residual) -> Any:
    """Return a module that adds both branches."""
    ndim, channels = context.ndim, context.channels
    branch = build(context, layer.branch)
    after = context.ndim, context.channels
    context.ndim, context.channels = ndim, channels
    projection = None if layer.projection is None else build(context, layer.projection)
    context.ndim, context.channels = after
    return context.torch_modules.Residual(branch, projection)


@builds(layers.Parallel)
def build_parallel(context: Context, layer: layers.Parallel) -> Any:
    """Return a module that joins several branches."""
    ndim, channels, branches, outputs = context.ndim, context.channels, [], []
    for branch in layer.branches:
        context.ndim, context.channels = ndim, channels
        branches.append(build(context, branch))
        outputs.append(context.channels)
    known = [n for n in outputs if n is not None]
    context.channels = sum(known) if len(known) == len(outputs) else None
    return context.torch_modules.Parallel(*branches)
