"""Checks of PyTorch modules: what a traced graph does not show, such as hooks and tied weights, is refused."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

VIEWS = {"view", "reshape", "flatten", "dropout", "Flatten", "Unflatten", "Identity", "Dropout"}
"""Functions and modules whose output may share the memory of their input."""

WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    **dict.fromkeys(("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"), "module"),
}
"""Attribute that holds the inner module, by the class of the module around it."""


def check_module(module: Any) -> None:
    """
    Refuse a module that cannot be read as layers.

    Raises
    ------
    TypeError
        If it is no module.
    ValueError
        If it is compiled or wrapped, has hooks or tied weights, or has tensors without values.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(f"module is a {type(module).__name__} of torch.jit: give the module that it was made of")
    for name, inner in module.named_modules():
        title = f"module {name!r} ({type(inner).__name__})" if name else f"module ({type(inner).__name__})"
        if (attribute := WRAPPERS.get(type(inner).__name__)) is not None and hasattr(inner, attribute):
            raise ValueError(f"{title} runs another module: give its attribute {attribute!r}")
        of_tensors = any(tensor._backward_hooks for tensor in inner.parameters(recurse=False))
        backward = inner._backward_hooks or inner._backward_pre_hooks or of_tensors
        if inner._forward_hooks or inner._forward_pre_hooks or backward:
            raise ValueError(f"{title} has hooks, which may change its output or gradients: remove them")
    _check_tensors(module)


def dtype_of(module: Any) -> str:
    """
    Return the dtype of the parameters and buffers of a module.

    Raises
    ------
    ValueError
        If it is neither float32 nor float64, or they have several.
    """
    tensors = [*module.parameters(), *module.buffers()]
    floats = [tensor.dtype for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]
    dtypes = sorted({str(dtype).removeprefix("torch.") for dtype in floats}) or ["float32"]
    if dtypes not in (["float32"], ["float64"]):
        raise ValueError(f"module must be of float32 or float64, got {', '.join(dtypes)}: use module.float()")
    return dtypes[0]


def _check_tensors(module: Any) -> None:
    """Refuse tied weights, and tensors on the device "meta"."""
    owners: dict[int, str] = {}
    for prefix, inner in module.named_modules():
        for name, tensor in (*inner._parameters.items(), *inner._buffers.items()):
            if tensor is None:
                continue
            path = f"{prefix}.{name}" if prefix else name
            if tensor.is_meta:
                raise ValueError(f"module has no values for {path!r}, which is on the device 'meta': load its weights")
            if (owner := owners.setdefault(id(tensor), path)) != path:
                raise ValueError(
                    f"module uses one tensor as {owner!r} and {path!r}: make a copy, since layers share none"
                )


def check_in_place(graph: Any, modules: dict[str, Any]) -> None:
    """
    Refuse an operation that overwrites a value with another user.

    Raises
    ------
    ValueError
        If there is one; the message names it.
    """
    for node in graph.nodes:
        if not _is_in_place(node, modules):
            continue
        value = node
        while value.all_input_nodes and (
            value is node or _kind(value, modules) in VIEWS or _is_in_place(value, modules)
        ):
            value = value.all_input_nodes[0]
            if len(value.users) > 1:
                raise ValueError(
                    f"{node.name!r} ({_kind(node, modules)}) overwrites {value.name!r}, which is used again: "
                    "make it without inplace=True or +="
                )


def _is_in_place(node: Any, modules: dict[str, Any]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[node.target], "inplace", False))
    is_sum = node.target is operator.iadd
    return node.op == "call_function" and (is_sum or bool(node.kwargs.get("inplace", False)))


def _kind(node: Any, modules: dict[str, Any]) -> str:
    """Return the name of the function, or of the class of the module."""
    if node.op == "call_module":
        return type(modules[node.target]).__name__
    return node.target if isinstance(node.target, str) else str(node.target.__name__)


def check_dropout(graph: Any, module: Any, trace: Callable[[Any], Any]) -> None:
    """
    Refuse a function ``dropout`` that is active in both modes, or in none: a layer is active in training only.

    Raises
    ------
    ValueError
        If there is one; the message names it.
    """
    if not (found := _dropouts(graph)):
        return
    with _other_mode(module):
        other = _dropouts(trace(module))
    for name, training in found.items():
        if other.get(name) is training:
            raise ValueError(f"{name!r} (dropout) has training={training} in both modes: give training=self.training")


def _dropouts(graph: Any) -> dict[str, bool]:
    """Return whether each call of the function is active, by the name of its node."""
    functions = [node for node in graph.nodes if getattr(node.target, "__name__", "") == "dropout"]
    return {node.name: bool(node.kwargs.get("training", True)) for node in functions}


@contextmanager
def _other_mode(module: Any) -> Iterator[None]:
    """Switch all modules inside from training to evaluation or back."""
    modes = {inner: inner.training for inner in module.modules()}
    try:
        for inner, mode in modes.items():
            inner.training = not mode
        yield
    finally:
        for inner, mode in modes.items():
            inner.training = mode
