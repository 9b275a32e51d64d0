"""Which layer each module of PyTorch becomes."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from portanet import layers
from portanet.graph import Flow, Node, channels_first_axes, import_node, imports

ModuleImporter: TypeAlias = Callable[[Flow, Node, Any], None]
"""``importer(flow, node, module)`` appends the layers of a module of PyTorch."""


MODULES: set[str] = set()
"""Names of the classes that have an importer."""


def of_module(*names: str) -> Callable[[ModuleImporter], ModuleImporter]:
    """Add a function to the table of importers, for classes of ``torch.nn``."""

    def add(importer: ModuleImporter) -> ModuleImporter:
        MODULES.update(names)
        imports(*(f"torch.nn.{name}" for name in names))(lambda flow, node: _import(importer, flow, node))
        return importer

    return add


def _import(importer: ModuleImporter, flow: Flow, node: Node) -> None:
    """Append the layers of a module, and freeze parameters that require no gradient."""
    n, module = len(flow.layers), node.get("module")
    importer(flow, node, module)
    needs = {tensor.requires_grad for tensor in getattr(module, "parameters", tuple)()}
    if len(needs) > 1:
        raise node.error("some of its parameters require gradients and some do not")
    if needs == {False}:
        for parameter in (parameter for layer in flow.layers[n:] for parameter in layer.topology.parameter_list):
            parameter._frozen = True


def host(tensor: Any) -> np.ndarray:
    """Copy a tensor to the host."""
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _as_onnx(flow: Flow, node: Node, operator: str, *constants: np.ndarray | None, **attributes: Any) -> None:
    """Append the layers of a node of ONNX, whose first input is that of the module."""
    import_node(flow, Node(node.title, operator, node.inputs, node.outputs, attributes, [None, *constants]))


ELEMENTWISE: dict[str, Callable[[Any], layers.Layer]] = {
    "ReLU": lambda m: layers.ReLU(),
    "LeakyReLU": lambda m: layers.LeakyReLU(m.negative_slope),
    "ELU": lambda m: layers.ELU(m.alpha),
    "CELU": lambda m: layers.CELU(m.alpha),
    "SELU": lambda m: layers.SELU(),
    "GELU": lambda m: layers.GELU(approximate=m.approximate == "tanh"),
    "SiLU": lambda m: layers.SiLU(),
    "Mish": lambda m: layers.Mish(),
    "ReLU6": lambda m: layers.ReLU6(),
    "Hardtanh": lambda m: layers.Hardtanh(m.min_val, m.max_val),
    "Hardswish": lambda m: layers.Hardswish(),
    "Tanh": lambda m: layers.TanH(),
    "Sigmoid": lambda m: layers.Sigmoid(),
    "LogSigmoid": lambda m: layers.LogSigmoid(),
    "Dropout": lambda m: layers.Dropout(m.p),
}
"""The layer of each module that works on each number by itself."""

for _name, _make in ELEMENTWISE.items():
    of_module(_name)(lambda flow, node, module, make=_make: flow.add(make(module)))  # type: ignore[misc]


@of_module("Identity")
def import_identity(flow: Flow, node: Node, module: Any) -> None:
    """Leave the value as it is."""


@of_module("Softplus")
def import_softplus(flow: Flow, node: Node, module: Any) -> None:
    """Refuse another beta than 1."""
    if module.beta != 1 or module.threshold < 20:
        raise node.error(f"its beta is {module.beta}, not 1, or its threshold {module.threshold} is below 20")
    flow.add(layers.Softplus())


@of_module("Dropout1d", "Dropout2d", "Dropout3d")
def import_spatial_dropout(flow: Flow, node: Node, module: Any) -> None:
    """Drop whole channels."""
    flow.need_channels_first(node)
    flow.add(layers.SpatialDropout(module.p))


@of_module("PReLU")
def import_prelu(flow: Flow, node: Node, module: Any) -> None:
    """Take one slope, or one for each channel."""
    slope = host(module.weight)
    if slope.size > 1:
        flow.need_channels(node, 1)
        slope = flow.in_order(slope)
    flow.add(layers.PReLU(slope.size), weight=slope)


@of_module("Softmax", "LogSoftmax", "GLU")
def import_along_channels(flow: Flow, node: Node, module: Any) -> None:
    """Refuse another axis than that of the channels."""
    if module.dim is None and flow.ndim != 2:
        raise node.error("its dim is None, which is the batch here: give it")
    flow.need_channels(node, -1 if module.dim is None else module.dim)
    if type(module).__name__ == "GLU":
        flow.need_plain_features(node)
    kinds = {"Softmax": layers.Softmax, "LogSoftmax": layers.LogSoftmax, "GLU": layers.GLU}
    flow.add(kinds[type(module).__name__]())


@of_module("Linear")
def import_linear(flow: Flow, node: Node, module: Any) -> None:
    """Transpose the weight (out, in) to (in, out)."""
    _as_onnx(flow, node, "MatMul", host(module.weight).T)
    if module.bias is not None:
        _as_onnx(flow, node, "Add", host(module.bias))


@of_module("Conv1d", "Conv2d", "Conv3d")
def import_conv(flow: Flow, node: Node, module: Any) -> None:
    """Read the module as ONNX's Conv; only the padding has another form."""
    if module.padding_mode != "zeros":
        kind = {"reflect": "Reflection", "replicate": "Replication"}.get(module.padding_mode, "Circular")
        pad = f"nn.{kind}Pad{flow.ndim - 2}d"
        raise node.error(f"its padding_mode is {module.padding_mode!r}, not 'zeros': put {pad} before it")
    attributes = {"strides": module.stride, "dilations": module.dilation, "group": module.groups}
    if isinstance(module.padding, str):  # as TensorFlow's, since PyTorch has it for a stride of 1 only
        attributes["auto_pad"] = "SAME_UPPER" if module.padding == "same" else "VALID"
    else:
        attributes["pads"] = [*module.padding, *module.padding]
    bias = None if module.bias is None else host(module.bias)
    _as_onnx(flow, node, "Conv", host(module.weight), bias, **attributes)


@of_module("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
def import_conv_transpose(flow: Flow, node: Node, module: Any) -> None:
    """Read the module as ONNX's ConvTranspose."""
    attributes = {"strides": module.stride, "dilations": module.dilation, "group": module.groups}
    pads, extra = [*module.padding, *module.padding], module.output_padding
    bias = None if module.bias is None else host(module.bias)
    _as_onnx(flow, node, "ConvTranspose", host(module.weight), bias, pads=pads, output_padding=extra, **attributes)


def _tuple(value: Any, flow: Flow) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * (flow.ndim - 2)


@of_module("MaxPool1d", "MaxPool2d", "MaxPool3d")
def import_max_pool(flow: Flow, node: Node, module: Any) -> None:
    """Pool; positions of the maxima are refused."""
    if module.return_indices:
        raise node.error("it returns positions too")
    _import_pool(flow, node, module, "MaxPool", dilations=_tuple(module.dilation, flow))


@of_module("AvgPool1d", "AvgPool2d", "AvgPool3d")
def import_avg_pool(flow: Flow, node: Node, module: Any) -> None:
    """Pool; another divisor is refused."""
    if getattr(module, "divisor_override", None) is not None:
        raise node.error(f"its divisor_override is {module.divisor_override}, not None")
    _import_pool(flow, node, module, "AveragePool", count_include_pad=int(module.count_include_pad))


def _import_pool(flow: Flow, node: Node, module: Any, operator: str, **attributes: Any) -> None:
    flow.need_channels_first(node)
    size = _tuple(module.kernel_size, flow)
    stride = size if module.stride is None else _tuple(module.stride, flow)
    pads = _tuple(module.padding, flow) * 2
    if operator == "AveragePool" and not any(pads) and not module.ceil_mode:
        attributes["count_include_pad"] = 0  # it makes no difference
    attributes |= {"kernel_shape": size, "strides": stride, "pads": pads, "ceil_mode": int(module.ceil_mode)}
    _as_onnx(flow, node, operator, **attributes)


@of_module(*(f"Adaptive{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3)))
def import_adaptive_pool(flow: Flow, node: Node, module: Any) -> None:
    """Pool to a given size; one position that is flattened becomes a global pool."""
    flow.need_channels_first(node, n_axes=int(type(module).__name__[-2]))
    size = module.output_size
    size = size[0] if isinstance(size, tuple) and len(set(size)) == 1 else size
    flow.add(getattr(layers, f"{type(module).__name__[:-1]}D")(size))


@of_module("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
def import_batch_norm(flow: Flow, node: Node, module: Any) -> None:
    """Refuse a module without running statistics."""
    flow.need_channels_first(node)
    if module.running_mean is None:
        raise node.error("it has no running statistics")
    layer = layers.BatchNorm(module.num_features, momentum=module.momentum, eps=module.eps, affine=module.affine)
    arrays = {"running_mean": module.running_mean, "running_var": module.running_var, **_affine(module)}
    flow.add(layer, **{name: flow.in_order(host(tensor)) for name, tensor in arrays.items()})
    if layer.num_batches_tracked is not None:
        flow.arrays[layer.num_batches_tracked] = host(module.num_batches_tracked)


@of_module("GroupNorm")
def import_group_norm(flow: Flow, node: Node, module: Any) -> None:
    """Normalize groups of channels."""
    flow.need_channels_first(node)
    flow.need_plain_features(node)
    layer = layers.GroupNorm(module.num_groups, module.num_channels, eps=module.eps, affine=module.affine)
    flow.add(layer, **{name: host(tensor) for name, tensor in _affine(module).items()})


@of_module("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")
def import_instance_norm(flow: Flow, node: Node, module: Any) -> None:
    """Refuse a module with running statistics."""
    flow.need_channels_first(node)
    if module.track_running_stats:
        raise node.error("its track_running_stats is True: PortaNet's InstanceNorm has no running statistics")
    layer = layers.InstanceNorm(module.num_features, eps=module.eps, affine=module.affine)
    flow.add(layer, **{name: host(tensor) for name, tensor in _affine(module).items()})


@of_module("LayerNorm", "RMSNorm")
def import_last_axes_norm(flow: Flow, node: Node, module: Any) -> None:
    """Normalize over the last axes of (N, ..., C)."""
    flow.need_channels_last(node)
    kind = layers.LayerNorm if type(module).__name__ == "LayerNorm" else layers.RMSNorm
    shape = tuple(module.normalized_shape)
    arrays = {name: host(tensor) for name, tensor in _affine(module).items()}
    if kind is layers.LayerNorm and "weight" in arrays and "bias" not in arrays:
        arrays["bias"] = np.zeros_like(arrays["weight"])
    affine = module.elementwise_affine
    flow.add(kind(shape if len(shape) > 1 else shape[0], eps=module.eps, elementwise_affine=affine), **arrays)


def _affine(module: Any) -> dict[str, Any]:
    """Return the scale and the shift that a module has."""
    both = {"weight": module.weight, "bias": getattr(module, "bias", None)}
    return {name: tensor for name, tensor in both.items() if tensor is not None}


@of_module("ChannelsLast")
def import_channels_last(flow: Flow, node: Node, module: Any) -> None:
    """Read the module inside, which takes (N, ..., C)."""
    flow.need_channels_first(node)
    flow.axes = tuple(range(flow.ndim))
    inner = module.module
    kind = f"torch.nn.{type(inner).__name__}"
    import_node(flow, Node(node.title, kind, node.inputs, node.outputs, {"module": inner}, [None]))
    flow.axes = channels_first_axes(flow.ndim)


@of_module("ReshapeChannelsLast")
def import_reshape_channels_last(flow: Flow, node: Node, module: Any) -> None:
    """Reshape in PortaNet's order."""
    if flow.ndim >= module.min_ndim:
        flow.need_channels_first(node)
    else:
        flow.need_channels_last(node)
    flow.add(layers.Flatten() if len(module.shape) == 1 else layers.Reshape(*module.shape))
    flow.axes = channels_first_axes(len(module.shape) + 1)


@of_module("Rescale")
def import_rescale(flow: Flow, node: Node, module: Any) -> None:
    """Add ``scale x + offset``."""
    flow.add(layers.Rescale(module.scale, module.offset))


@of_module("Normalize")
def import_normalize(flow: Flow, node: Node, module: Any) -> None:
    """Add ``(x - mean) / std``."""
    flow.need_channels_first(node)
    flow.add(layers.Normalize(len(module.mean)), mean=host(module.mean), std=host(module.std))


@of_module("Flatten")
def import_flatten(flow: Flow, node: Node, module: Any) -> None:
    """Flatten all axes but that of the batch."""
    if module.start_dim != 1 or module.end_dim not in (-1, flow.ndim - 1):
        raise node.error(f"it flattens the axes {module.start_dim} to {module.end_dim}, not 1 to -1")
    _as_onnx(flow, node, "Flatten")


@of_module("Unflatten")
def import_unflatten(flow: Flow, node: Node, module: Any) -> None:
    """Refuse another input than a batch of rows."""
    if flow.ndim != 2 or module.dim not in (1, -1):
        raise node.error("its input is no batch of rows")
    _as_onnx(flow, node, "Reshape", np.asarray([-1, *module.unflattened_size]))


UPSAMPLE_MODES = {
    **dict.fromkeys(("nearest", "nearest-exact", "area"), "nearest"),  # equal for whole factors
    **dict.fromkeys(("linear", "bilinear", "trilinear"), "linear"),
}
"""ONNX's mode for each of PyTorch's."""


@of_module("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")
def import_upsample(flow: Flow, node: Node, module: Any) -> None:
    """Refuse factors that are no whole numbers."""
    flow.need_channels_first(node)
    if module.align_corners:
        raise node.error("its align_corners is True")
    mode = UPSAMPLE_MODES.get(module.mode)
    if mode is None:
        raise node.error(f"its mode is {module.mode!r}, which is none of Upsample: use {', '.join(UPSAMPLE_MODES)}")
    factors = [1.0, 1.0, *map(float, _factors(flow, module))]
    how = {"mode": mode, "coordinate_transformation_mode": "half_pixel" if mode == "linear" else "asymmetric"}
    _as_onnx(flow, node, "Resize", None, np.asarray(factors), nearest_mode="floor", **how)


def _factors(flow: Flow, module: Any) -> list[Any]:
    if module.size is None:
        return _tuple(module.scale_factor, flow)
    sizes = _tuple(module.size, flow)
    return [size / n for size, n in zip(sizes, flow.shape[:-1], strict=True)]


PAD_MODES = {"Zero": "constant", "Constant": "constant", "Reflection": "reflect", "Replication": "edge"}


@of_module(*(f"{kind}Pad{n}d" for kind in (*PAD_MODES, "Circular") for n in (1, 2, 3)))
def import_pad(flow: Flow, node: Node, module: Any) -> None:
    """Reverse the padding: PyTorch gives that of the last axis first."""
    pads = _tuple(module.padding, flow) if isinstance(module.padding, int) else list(module.padding)
    pads = pads if len(pads) == 2 * (flow.ndim - 2) else [n for n in pads for _ in range(2)]
    first, last = [0, 0, *pads[-2::-2]], [0, 0, *pads[::-2]]
    kind = type(module).__name__.removesuffix(type(module).__name__[-5:])
    mode = PAD_MODES.get(kind, "wrap")
    _as_onnx(flow, node, "Pad", np.asarray(first + last), np.asarray(float(getattr(module, "value", 0.0))), mode=mode)
