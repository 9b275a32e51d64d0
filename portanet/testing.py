"""Gradient checks for layers and losses of one's own."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.backends import Backend, get_backend, host_array
from portanet.checks import check_callable, check_flag, check_number, shown
from portanet.layers.base import Layer, one_or_several
from portanet.layers.embedding import Embedding
from portanet.layers.graph import first_layers
from portanet.losses import Loss
from portanet.parameters import Parameter
from portanet.tree import named_leaves, tree_leaves, tree_unflatten

__all__ = ["central_difference", "check_gradients"]


def central_difference(function: Callable[[np.ndarray], float], x: Any, *, eps: float = 1e-6) -> np.ndarray:
    """
    Return the gradient of a function of an array, ``(f(x + ε) - f(x - ε)) / 2ε`` for each number.

    Parameters
    ----------
    function : callable
        Takes an array of x's shape and returns a number.
    x : array_like
        Where to differentiate.
    eps : float
        ε.

    Returns
    -------
    array of float64, shape of x
        The gradient.

    Examples
    --------
    >>> central_difference(lambda x: float(np.sum(x**2)), np.asarray([1.0, 3.0])).round(6)
    array([2., 6.])
    """
    check_callable("function", function, example="lambda x: float(np.sum(x**2))")
    x, eps = host_array(x, "float64", name="x"), check_number("eps", eps, above=0)
    gradient: np.ndarray = np.zeros_like(x)
    moved = x.copy()
    for index in np.ndindex(x.shape):
        ends = []
        for side in (eps, -eps):
            moved[index] = x[index] + side
            ends.append(check_number("function(x)", function(moved)))
        moved[index] = x[index]
        gradient[index] = (ends[0] - ends[1]) / (2 * eps)
    return gradient


def check_gradients(
    module: Layer | Loss,
    x: Any,
    target: Any = None,
    *,
    train: bool = True,
    device: str | Backend | None = None,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-8,
) -> None:
    """
    Check the pullback of a layer or a loss against central differences, in float64.

    The gradients of ``sum(y * dy)`` for a random dy are compared, with respect to x and to every parameter. Buffers,
    such as random streams, have the same values in every call. The module itself is not changed.

    Parameters
    ----------
    module : Layer or Loss
        What to check.
    x : array_like, or dict or tuple of arrays
        Input of the layer, or prediction for the loss. Stay away from kinks, such as 0 for ReLU. Integers, as an
        Embedding takes them, have no gradient.
    target : array_like, or dict or tuple of arrays, optional
        For a loss.
    train : bool
        Which function of a layer; see :meth:`portanet.Layer.vjp`.
    device : str, optional
        Where to compute; by default the default device.
    eps, rtol, atol : float
        ε of the differences, and the tolerances.

    Raises
    ------
    AssertionError
        If a gradient is wrong; the message names it and shows the numbers.
    ValueError
        If an argument is unfit.

    Examples
    --------
    >>> check_gradients(portanet.Linear(3, 2), np.ones((4, 3)))
    >>> check_gradients(portanet.MSELoss(), np.ones((4, 3)), np.zeros((4, 3)))
    """
    if not isinstance(module, (Layer, Loss)):
        raise ValueError(f"module must be a layer or a loss, got {shown(module)}: write Linear(3, 2) for instance")
    if (target is None) == isinstance(module, Loss):
        needed = "an array for a loss" if target is None else "None for a layer"
        raise ValueError(f"target must be {needed}, got {shown(target)}")
    backend, train = get_backend(device), check_flag("train", train)
    several = module._accepts_several() if isinstance(module, Layer) else module.takes_several
    x, target = (one_or_several(name, value, several=several) for name, value in (("x", x), ("target", target)))
    inputs = {name: host_array(values, name=name) for name, values in named_leaves("x", x)}
    takers = first_layers(module, x) if isinstance(module, Layer) else []
    ids = {name for name, taker in zip(inputs, takers, strict=False) if isinstance(taker, Embedding)}
    inputs = {name: values if name in ids else host_array(values, "float64") for name, values in inputs.items()}
    for name, values in inputs.items():
        if not values.size:
            raise ValueError(f"{name} is empty, of shape {values.shape}: there is no gradient to check")
    rtol, atol = check_number("rtol", rtol, at_least=0), check_number("atol", atol, at_least=0)
    with backend.activate():
        parameters: dict[str, Parameter] = {}
        weights: dict[str, np.ndarray] = {}
        if isinstance(module, Layer):
            layer = copy.deepcopy(module).to(backend, dtype="float64")
            parameters, weights = dict(layer.named_parameters()), layer.get_weights()
            layer.zero_grad()

            def vjp(values: Any) -> tuple[Any, Callable[..., Any]]:
                for name, buffer in layer.named_buffers():
                    buffer.bind(backend, weights[name], "float64")
                return layer.vjp(values, train=train)
        else:
            goals = [backend.asarray(values, name=name) for name, values in named_leaves("target", target)]

            def vjp(values: Any) -> tuple[Any, Callable[..., Any]]:
                return module.vjp(values, tree_unflatten(target, goals))

        def outputs(inputs: dict[str, np.ndarray]) -> tuple[Any, Callable[..., Any]]:
            return vjp(tree_unflatten(x, [backend.asarray(values) for values in inputs.values()]))

        y, pullback = outputs(inputs)
        rng = np.random.default_rng(0)
        dy = [rng.normal(size=part.shape) for part in tree_leaves(y)]
        dx = dict(zip(inputs, tree_leaves(pullback(tree_unflatten(y, map(backend.asarray, dy)))), strict=True))
        gradients = {**dx, **{name: parameter.grad for name, parameter in parameters.items()}}

        def value(inputs: dict[str, np.ndarray]) -> float:
            return sum(
                float(np.sum(backend.to_numpy(p) * d)) for p, d in zip(tree_leaves(outputs(inputs)[0]), dy, strict=True)
            )

        def value_at(name: str) -> Callable[[np.ndarray], float]:
            def function(values: np.ndarray) -> float:
                if name in inputs:
                    return value({**inputs, name: values})
                parameters[name].data[...] = backend.asarray(values.copy())
                return value(inputs)

            return function

        for name in [name for name in gradients if name not in ids]:
            where = {**weights, **inputs}[name]
            expected = central_difference(value_at(name), where, eps=eps)
            np.testing.assert_allclose(
                backend.to_numpy(gradients[name]),
                expected,
                rtol=rtol,
                atol=atol,
                err_msg=f"gradient of {name} of {module!r}",
            )
            value_at(name)(where)  # back to where it was
