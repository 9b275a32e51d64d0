"""Gradient checks for layers and losses of one's own."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.backends import Backend, get_backend, host_array
from portanet.checks import check_callable, check_flag, check_number, shown
from portanet.layers.base import Layer
from portanet.layers.embedding import Embedding
from portanet.layers.sequential import first_layer
from portanet.losses import Loss
from portanet.parameters import Parameter
from portanet.typing import Array

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
    x : array_like
        Input of the layer, or prediction for the loss. Stay away from kinks, such as 0 for ReLU. Integers, as an
        Embedding takes them, have no gradient.
    target : array_like, optional
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
    backend, train, x = get_backend(device), check_flag("train", train), host_array(x, name="x")
    integers = isinstance(module, Layer) and isinstance(first_layer(module), Embedding)
    x = x if integers else host_array(x, "float64", name="x")
    if not x.size:
        raise ValueError(f"x is empty, of shape {x.shape}: there is no gradient to check")
    rtol, atol = check_number("rtol", rtol, at_least=0), check_number("atol", atol, at_least=0)
    with backend.activate():
        parameters: dict[str, Parameter] = {}
        if isinstance(module, Layer):
            layer = copy.deepcopy(module).to(backend, dtype="float64")
            parameters, weights = dict(layer.named_parameters()), layer.get_weights()
            layer.zero_grad()

            def vjp(values: np.ndarray) -> tuple[Array, Callable[..., Array]]:
                for name, buffer in layer.named_buffers():
                    buffer.bind(backend, weights[name], "float64")
                return layer.vjp(backend.asarray(values), train=train)
        else:
            goal = backend.asarray(target, name="target")

            def vjp(values: np.ndarray) -> tuple[Array, Callable[..., Array]]:
                return module.vjp(backend.asarray(values), goal)

        y, pullback = vjp(x)
        dy = np.random.default_rng(0).normal(size=y.shape)
        dx = pullback(backend.asarray(dy))
        gradients = {**({} if integers else {"x": dx}), **{name: p.grad for name, p in parameters.items()}}

        def value(values: np.ndarray) -> float:
            return float(np.sum(backend.to_numpy(vjp(values)[0]) * dy))

        def value_with(parameter: Parameter) -> Callable[[np.ndarray], float]:
            def function(values: np.ndarray) -> float:
                parameter.data[...] = backend.asarray(values.copy())
                return value(x)

            return function

        for name, gradient in gradients.items():
            function = value if name == "x" else value_with(parameters[name])
            where = x if name == "x" else weights[name]
            expected = central_difference(function, where, eps=eps)
            np.testing.assert_allclose(
                backend.to_numpy(gradient), expected, rtol=rtol, atol=atol, err_msg=f"gradient of {name} of {module!r}"
            )
            if name != "x":
                function(where)  # back to where it was
