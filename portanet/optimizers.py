"""
Optimizers: how a gradient becomes a step.

An optimizer is bound to a network's flat buffer; its state is arrays of the same shape, and a step is a handful of
operations on whole arrays. Everything that changes stays on the device: the learning rate is a 0-d array, and powers
such as β₁ᵗ are kept as arrays, so that a recorded step sees new values.
"""

import math
from typing import Any, Self

import numpy as np

from portanet import kernels
from portanet.config import Configured
from portanet.layers.base import Layer
from portanet.parameters import FlatParameters
from portanet.typing import Array

TINY = 1e-30
"""What a gradient is at least taken to be where it is divided by."""


class Optimizer(Configured):
    """
    Base of optimizers.

    Parameters
    ----------
    lr : float
        Learning rate; a schedule sets it anew.
    weight_decay : float
        Adds ``weight_decay w`` to the gradient.
    clip_norm : float, optional
        Scale the gradient down to this Euclidean norm where it is longer [1]_.

    References
    ----------
    .. [1] R. Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.

    Examples
    --------
    A loop of one's own:

    >>> net, loss = portanet.Linear(3, 1).initialize(seed=0), portanet.MSELoss()
    >>> optimizer = portanet.SGD(lr=0.1).bind(net)
    >>> x, target = net.asarray(np.ones((4, 3))), net.asarray(np.zeros((4, 1)))
    >>> for _ in range(100):
    ...     y, pullback = net.vjp(x)
    ...     value, dloss = loss.vjp(y, target)
    ...     net.zero_grad()
    ...     _ = pullback(dloss(), need_dx=False)
    ...     optimizer.step()
    >>> float(value) < 1e-9
    True
    """

    flat: FlatParameters | None = None
    rate: Array
    """The learning rate on the device, of shape (), once it is bound."""

    def __init__(self, lr: float, *, weight_decay: float = 0.0, clip_norm: float | None = None):
        if not 0 < lr < math.inf:
            raise ValueError(f"lr must be positive, got {lr}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        self._lr, self.weight_decay, self.clip_norm = lr, weight_decay, clip_norm
        self.state: dict[str, Array] = {}

    def bind(self, net: Layer) -> Self:
        """Take charge of a network's parameters, with a fresh state."""
        self.flat = net.flat
        with self.flat.backend.activate():
            self.rate = self._scalar(self.flat, self.lr)
            self.state = self.new_state(self.flat.xp, self.flat.data)
        return self

    @property
    def lr(self) -> float:
        """The learning rate; setting it changes an array on the device, from the next step on."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        if not 0 <= lr < math.inf:
            raise ValueError(f"lr must not be negative, got {lr}")
        if lr != self._lr and self.flat is not None:
            with self.flat.backend.activate():
                self.rate[...] = lr
        self._lr = lr

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        """Return the state before the first step: arrays that :meth:`update` changes in place."""
        return {}

    def update(self, xp: Any, data: Array, grad: Array, lr: Array) -> None:
        """Change ``data`` in place, and what :meth:`new_state` returned, which is in ``self.state``."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method update(self, xp, data, grad, lr): see portanet.Optimizer"
        )

    def step(self) -> None:
        """
        Change the parameters by their gradients.

        Raises
        ------
        RuntimeError
            If the optimizer is not bound, or the network's weights have moved since.
        """
        buffer = self.flat
        if buffer is None or not buffer.current:
            raise RuntimeError(
                "the optimizer has no weights, or they have moved (by to, initialize, append ...): bind(net)"
            )
        with buffer.backend.activate():
            xp, data, grad, lr = buffer.xp, buffer.data, buffer.grad, self.rate
            if self.clip_norm is not None:
                largest = xp.maximum(xp.max(xp.abs(grad)), TINY)  # first, so that no square overflows
                norm = largest * xp.sqrt(xp.sum((grad / largest) ** 2))
                grad = grad * (self.clip_norm / xp.maximum(norm, self.clip_norm))
            if self.weight_decay:
                grad = self.decay(data, grad, lr)
            self.update(xp, data, grad, lr)

    def decay(self, data: Array, grad: Array, lr: Array) -> Array:
        """Return the gradient with the weight decay in it."""
        return grad + self.weight_decay * data

    @staticmethod
    def _scalar(buffer: FlatParameters, value: float) -> Array:
        """A number on the device, of the buffer's dtype: 0-d arrays promote."""
        return buffer.xp.full((), value, dtype=buffer.data.dtype, device=buffer.data.device)


class SGD(Optimizer):
    """
    Stochastic gradient descent: ``v ← momentum v + g``, ``w ← w - lr v``.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        Share of the last step's direction that is kept.
    nesterov : bool
        Look ahead along the momentum: ``w ← w - lr (g + momentum v)`` [1]_.
    weight_decay, clip_norm : float
        See :class:`Optimizer`.

    References
    ----------
    .. [1] I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> SGD(lr=0.1, momentum=0.9, nesterov=True)
    SGD(lr=0.1, momentum=0.9, nesterov=True)
    """

    def __init__(
        self,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a momentum, got momentum=0: give momentum=0.9 for instance")
        self.momentum, self.nesterov = momentum, nesterov

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"velocity": xp.zeros_like(like)} if self.momentum else {}

    def update(self, xp: Any, data: Array, grad: Array, lr: Array) -> None:
        kernels.sgd(data, grad, self.state.get("velocity"), lr, self.momentum, self.nesterov)


class RMSprop(Optimizer):
    """
    Divide the gradient by a running root mean square of itself [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    rho : float
        Share of the running mean that is kept each step. The defaults are those of Keras.
    momentum : float
        Of the divided gradient.
    centered : bool
        Divide by the standard deviation instead: subtract the squared running mean of the gradient [2]_.
    eps : float
        Added to the root, as in PyTorch.
    weight_decay, clip_norm : float
        See :class:`Optimizer`.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850.

    Examples
    --------
    >>> RMSprop(rho=0.99)
    RMSprop(rho=0.99)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        rho: float = 0.9,
        momentum: float = 0.0,
        centered: bool = False,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm)
        if not (0 <= rho < 1 and 0 <= momentum < 1):
            raise ValueError(f"rho and momentum must be in [0, 1), got {rho} and {momentum}")
        self.rho, self.momentum, self.centered, self.eps = rho, momentum, centered, _check_eps(eps)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        names = ["square"] + ["velocity"] * bool(self.momentum) + ["mean"] * self.centered
        return {name: xp.zeros_like(like) for name in names}

    def update(self, xp: Any, data: Array, grad: Array, lr: Array) -> None:
        square, mean, velocity = (self.state.get(name) for name in ("square", "mean", "velocity"))
        kernels.rmsprop(data, grad, square, mean, velocity, lr, self.rho, self.momentum, self.eps)


class Adam(Optimizer):
    """
    Running means of the gradient and its square, both corrected for their start at zero [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : tuple of two floats
        Shares of the running means that are kept each step.
    eps : float
        Added to the root of the mean square.
    weight_decay, clip_norm : float
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Examples
    --------
    >>> Adam(lr=3e-4)
    Adam(lr=0.0003)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm)
        if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {betas}")
        self.betas, self.eps = betas, _check_eps(eps)

    def bind(self, net: Layer) -> Self:
        # As the sums fade in their dtype, so must their corrections: 1 - 0.9999 is 1e-4 off where 0.9999 is float32's.
        b1, b2 = (float(np.asarray(b, dtype=net.flat.dtype)) for b in self.betas)
        if max(b1, b2) == 1:
            raise ValueError(
                f"betas {self.betas} round to 1 in {net.flat.dtype}: take smaller ones, or net.to(dtype='float64')"
            )
        self._kept = b1, b2
        return super().bind(net)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {
            "gradients": xp.zeros_like(like),
            "squares": xp.zeros_like(like),
            "step": xp.zeros((), dtype=like.dtype, device=like.device),
        }

    def update(self, xp: Any, data: Array, grad: Array, lr: Array) -> None:
        state = self.state
        kernels.adam(data, grad, state["gradients"], state["squares"], state["step"], lr, self._kept, self.eps)


class AdamW(Adam):
    """
    Adam with the weight decay taken out of the gradient: ``w ← w - lr weight_decay w`` [1]_.

    Parameters
    ----------
    lr, betas, eps, clip_norm
        See :class:`Adam`.
    weight_decay : float
        Share of the weights that is taken off, times the learning rate.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> AdamW(weight_decay=0.05)
    AdamW(weight_decay=0.05)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
    ):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm)

    def decay(self, data: Array, grad: Array, lr: Array) -> Array:
        data -= (lr * self.weight_decay) * data
        return grad


class Adagrad(Optimizer):
    """
    Divide the gradient by the root of the sum of all its squares so far [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Added to the root.
    weight_decay, clip_norm : float
        See :class:`Optimizer`.

    References
    ----------
    .. [1] J. Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12, 2011.

    Examples
    --------
    >>> Adagrad(lr=0.05)
    Adagrad(lr=0.05)
    """

    def __init__(
        self, lr: float = 0.01, *, eps: float = 1e-10, weight_decay: float = 0.0, clip_norm: float | None = None
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.eps = _check_eps(eps)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"square": xp.zeros_like(like)}

    def update(self, xp: Any, data: Array, grad: Array, lr: Array) -> None:
        square = self.state["square"]
        square += grad * grad
        data -= lr * grad / (xp.sqrt(square) + self.eps)


def _check_eps(eps: float) -> float:
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must not be negative, got {eps}")
    return eps
