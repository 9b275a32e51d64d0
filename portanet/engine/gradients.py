"""
Where the gradients of one pullback go, other than being added to ``parameter.grad``.

Before the compiled kernels, a training step without :class:`FirstWrite` took 1.08 times as long (geometric mean of 14
networks). With them, no gain was seen on 000-toy, 003-mlp, 003-lenet and 004-cnn.
"""

from collections.abc import Sequence

from portanet.engine.chain import Runnable
from portanet.parameters import Parameter, collect_gradients
from portanet.typing import Array, Pullback


class FirstWrite:
    """
    The first gradient of each parameter overwrites what is there: nothing is set to zero first, nothing is added.

    Parameters
    ----------
    parameters : sequence of Parameter
        Those whose gradients are overwritten.
    """

    def __init__(self, parameters: Sequence[Parameter]):
        self._untouched = set(parameters)

    def claim(self, parameter: Parameter) -> Array | None:
        """Return the gradient array to the first caller, who must overwrite it; None to the others."""
        if parameter in self._untouched:
            self._untouched.discard(parameter)
            return parameter.grad
        return None

    def add(self, parameter: Parameter, grad: Array) -> None:
        """Write the first gradient, add the others."""
        out = self.claim(parameter)
        if out is None:
            parameter.grad += grad
        else:
            out[...] = grad

    def finish(self) -> None:
        """Set the gradients of parameters that got none to zero."""
        for parameter in self._untouched:
            parameter.grad[...] = 0.0


class Overwriting:
    """
    A chain whose pullback overwrites the gradients: ``zero_grad`` has nothing to do.

    Parameters
    ----------
    chain : layer or Chain
        Its segments may overwrite the gradients of further parameters themselves.
    overwritten : sequence of Parameter
        Their first gradients overwrite.
    zeroed : sequence of Parameter
        Their gradients are set to zero first: a layer may write them in ways of its own.
    """

    def __init__(self, chain: Runnable, overwritten: Sequence[Parameter], zeroed: Sequence[Parameter]):
        self.forward = chain.forward
        self._chain, self._overwritten, self._zeroed = chain, overwritten, zeroed

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        y, pull = self._chain.vjp(x, train=train)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if not need_grads:
                return pull(dy, need_dx=need_dx, need_grads=False)
            sink = FirstWrite(self._overwritten)
            for parameter in self._zeroed:
                parameter.grad[...] = 0.0
            try:
                with collect_gradients(sink):
                    return pull(dy, need_dx=need_dx)
            finally:
                sink.finish()

        return y, pullback
