"""The reference training step: what every executor computes, and a student reads first."""

from typing import Protocol

from portanet.losses import Loss
from portanet.typing import Array, Pullback


class Trainable(Protocol):
    """A network, or a :class:`portanet.engine.Program` of one."""

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]: ...
    def zero_grad(self) -> None: ...


class Steppable(Protocol):
    """An optimizer."""

    def step(self) -> None: ...


def train_step(
    net: Trainable, loss: Loss, optimizer: Steppable, x: Array, y: Array, *, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """
    Change the weights once by gradient descent: forward, loss, backward, update.

    Parameters
    ----------
    net : Layer or Program
        The network.
    loss : Loss
        Compares its output with y.
    optimizer : Optimizer
        Bound to the network.
    x, y : array, shape (N, ...)
        A batch and its targets.
    sample_weight : array, shape (N,), optional
        Weight of each example.

    Returns
    -------
    value : array, shape ()
        The loss before the change, on the device.
    prediction : array, shape (N, ...)

    Examples
    --------
    >>> net = portanet.Linear(2, 1).initialize(seed=0, dtype="float64")
    >>> optimizer = portanet.SGD(lr=0.1).bind(net)
    >>> x, y = np.ones((4, 2)), np.ones((4, 1))
    >>> first, _ = train_step(net, portanet.MSELoss(), optimizer, x, y)
    >>> second, _ = train_step(net, portanet.MSELoss(), optimizer, x, y)
    >>> bool(second < first)
    True
    """
    prediction, pullback = net.vjp(x)
    value, loss_pullback = loss.vjp(prediction, y, sample_weight)
    net.zero_grad()
    pullback(loss_pullback(), need_dx=False)
    optimizer.step()
    return value, prediction
