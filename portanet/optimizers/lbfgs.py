"""L-BFGS."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Fixed, check_count
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """
    ``w ← w - lr H g`` with an approximation H of the inverse Hessian, for batches of all examples [1]_.

    H follows from the last moves of the weights, and from the changes of the gradient that they led to. Give
    ``fit(..., batch_size=len(x))``: smaller batches differ by chance, and H would mistake that for curvature.

    A step evaluates the gradient once, as ``LBFGS(max_iter=1)`` does in PyTorch. There is no line search, so there is
    no closure, and nothing is read back from the device; where the loss rises, take a smaller ``lr``. The absolute
    changes of the first step sum to ``lr`` at most. Parameters with settings of their own have an H of their own.

    Parameters
    ----------
    lr : float
        Fraction of the step to the minimum of the approximation.
    history_size : int
        Number of moves that H follows from; each takes two arrays of the size of the weights.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Mathematical
       Programming 45, 1989.

    Examples
    --------
    Linear regression, in a few steps:

    >>> trainer = portanet.Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.LBFGS())
    >>> x = np.asarray([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    >>> history = trainer.fit(x, x @ [[2.0], [-1.0]] + 0.5, epochs=15, batch_size=4, progress=False)
    >>> history["loss"][-1] < 1e-6
    True
    """

    full_batch = True
    history_size = Fixed(check_count)

    def __init__(self, lr: float = 1.0, *, history_size: int = 10, **options: Unpack[OptimizerOptions]):
        super().__init__(lr, **options)
        self.history_size = history_size

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        of_like = {"dtype": like.dtype, "device": like.device}
        pairs = (like.shape[0], self.history_size)
        return {
            "last_grad": xp.zeros_like(like),
            "last_move": xp.zeros_like(like),
            "moves": xp.zeros(pairs, **of_like),
            "changes": xp.zeros(pairs, **of_like),
            "step": xp.zeros((), **of_like),
        }

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        last_grad, last_move, moves, changes, step = state.values()
        kernels.lbfgs(data, grad, last_grad, last_move, moves, changes, step, lr)
