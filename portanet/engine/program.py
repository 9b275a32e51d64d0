"""
A network made ready for its executor: layers rewritten, grouped and looked up once, not in every step.

Without the engine, a training step takes 1.20 times as long (``python -m bench mechanisms``: geometric mean of 14
networks, two threads), and twice as long on 003-lenet.
"""

from collections.abc import Sequence

from portanet.backends.base import Threads
from portanet.backends.disabled import enabled
from portanet.engine import threaded
from portanet.engine.chain import Chain, Runnable
from portanet.engine.gradients import FirstWrite
from portanet.engine.rewrite import rewrite, unfold
from portanet.engine.traits import is_known
from portanet.layers.base import Layer
from portanet.layers.topology import Topology
from portanet.parameters import collect_gradients
from portanet.typing import Array, Pullback


class Program:
    """
    What executors run in place of a network.

    Its ``vjp`` is that of the network, except that the pullback overwrites the gradients: ``zero_grad`` has nothing to
    do.

    Parameters
    ----------
    net : Layer
        The network; its weights are drawn from seed 0 if needed.
    """

    def __init__(self, net: Layer):
        self.topology, self.backend = net.topology, net.backend
        layers = rewrite([net]) if enabled("rewrite") else list(unfold([net]))
        threads = self.backend.threads if enabled("threaded") else None
        parameters = self.topology.parameters
        known = _parameters_of_known_layers(self.topology) if enabled("first_write") else set()
        self._overwritten = [p for name, p in parameters.items() if name in known]
        self._zeroed = [p for name, p in parameters.items() if name not in known]
        self._chains = {train: _chain(layers, threads, train) for train in (True, False)}

    @property
    def layers(self) -> Sequence[Runnable]:
        """What a training step runs, in order."""
        return self._chains[True].layers

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        return self._chains[False].forward(x)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        y, pull = self._chains[train].vjp(x, train=train)

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

    def zero_grad(self) -> None:
        """Do nothing: the next pullback overwrites the gradients."""


def compiled(net: Layer) -> Program:
    """Return the program of a network; it is kept until layers or the device change."""
    topology = net.topology
    program: Program | None = topology.program
    if program is None or program.backend is not net.backend:
        program = topology.program = Program(net)
    return program


def infer(net: Layer, x: Array) -> Array:
    """Return the output of inference."""
    return compiled(net).forward(x)


def _parameters_of_known_layers(topology: Topology) -> set[str]:
    """Names of the parameters that no unknown layer has a part in: such a layer may write into ``parameter.grad``."""
    unknown = tuple(f"{name}." if name else "" for name, layer in topology.layers.items() if not is_known(layer))
    further = {first for name, first in topology.shared.items() if name.startswith(unknown)}
    return {name for name in topology.parameters if not name.startswith(unknown)} - further


def _chain(layers: Sequence[Layer], threads: Threads | None, train: bool) -> Chain:
    return Chain(threaded.segments(layers, threads, train) if threads else layers)
