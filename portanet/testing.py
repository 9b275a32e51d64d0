"""Gradient checks for layers and losses of one's own."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.backends import Backend, get_backend
from portanet.layers.base import Layer
from portanet.losses import Loss
from portanet.parameters import Parameter
from portanet.typing import Array


def central_difference(function: Callable[[np.ndarray], float], x: np.ndarray, *, eps: float = 1e-6) -> np.ndarray:
    """
    Return the gradient of a function of an array, ``(f(x + ε) - f(x - ε)) / 2ε`` for each number.

    Parameters
    ----------
    function : callable
        Takes an array of x's shape and returns a number.
    x : array of float64
        Where to differentiate.
    eps : float
        ε.

    Examples
    --------
    >>> central_difference(lambda x: float(np.sum(x**2)), np.asarray([1.0, 3.0])).round(6)
    array([2., 6.])
    """
    gradient, moved = np.zeros_like(x), x.copy()
    for index in np.ndindex(x.shape):
        ends = []
        for side in (eps, -eps):
            moved[index] = x[index] + side
            ends.append(function(moved))
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
        Input of the layer, or prediction for the loss. Stay away from kinks, such as 0 for ReLU.
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

    Examples
    --------
    >>> check_gradients(portanet.Linear(3, 2), np.ones((4, 3)))
    >>> check_gradients(portanet.MSELoss(), np.ones((4, 3)), np.zeros((4, 3)))
    """
    backend, x = get_backend(device), np.asarray(x, dtype="float64")
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
            goal = backend.asarray(target)

            def vjp(values: np.ndarray) -> tuple[Array, Callable[..., Array]]:
                return module.vjp(backend.asarray(values), goal)

        y, pullback = vjp(x)
        dy = np.random.default_rng(0).normal(size=y.shape)
        gradients = {"x": pullback(backend.asarray(dy)), **{name: p.grad for name, p in parameters.items()}}

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
