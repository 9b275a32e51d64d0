"""
A network made ready for its executor: layers rewritten, grouped and looked up once, not in every step.

Before dense layers were one kernel, a training step without the engine took 1.6 times as long on 000-toy, 1.3 times on
003-mlp and 003-lenet, and 1.14 times on 004-cnn (``python -m bench mechanisms --mechanisms engine``, two threads); it
was not measured since.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from portanet.backends.disabled import enabled
from portanet.engine.chain import Chain, Runnable
from portanet.engine.conv import conv_segments
from portanet.engine.dense import dense_segments
from portanet.engine.rewrite import rewrite, unfold
from portanet.engine.segment import Segment
from portanet.layers.base import Layer
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback


class Program:
    """
    What executors run in place of a network.

    Its ``vjp`` is that of the network, except that the pullback of a segment overwrites its gradients: ``zero_grad``
    sets only the others to zero.

    Parameters
    ----------
    net : Layer
        The network; its weights are drawn from seed 0 if needed.

    Examples
    --------
    >>> Program(portanet.ReLU()).forward(np.asarray([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    def __init__(self, net: Layer):
        self.topology, self.backend = net.topology, net.backend
        self.flats = {parameter.flat for parameter in self.topology.parameter_list if parameter.flat is not None}
        parts: Sequence[Any] = rewrite([net]) if enabled("rewrite") else list(unfold([net]))
        parameters, shared = self.topology.parameters, self.topology.shared
        several_use = {*shared, *shared.values()}
        owned = {p for name, p in parameters.items() if name not in several_use and not p.frozen}
        parts = conv_segments(parts, owned)
        if enabled("dense"):
            parts = dense_segments(parts, owned)
        self.layers: Sequence[Runnable] = parts
        self.runnable = parts[0] if len(parts) == 1 and isinstance(parts[0], Segment) else Chain(parts)
        overwritten = {parameter for part in parts if isinstance(part, Segment) for parameter in part.parameters}
        self._added = [parameter for parameter in parameters.values() if parameter not in overwritten]
        self._grads: list[Array] | None = None  # of these parameters

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        return self.runnable.forward(x)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        return self.runnable.vjp(x, train=train)

    def moved(self, net: Layer) -> bool:
        """Whether the network's arrays have moved since, to another device for instance."""
        for flat in self.flats:
            if flat.detached:
                return True
        return not self.flats and self.backend is not net.backend

    def zero_grad(self) -> None:
        """Set to zero the gradients that no segment overwrites."""
        if self._grads is None:
            self._grads = gradients(self._added)
        for grad in self._grads:
            grad[...] = 0.0


def gradients(parameters: Iterable[Parameter]) -> list[Array]:
    """
    Return the gradients of parameters, with neighbours in the flat array as one array.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.Linear(2, 1)).initialize()
    >>> first, _, *others = net.flat.parameters
    >>> [grad.shape for grad in gradients([first, *others])]
    [(3, 2), (3,)]
    """
    runs: list[list[Parameter]] = []
    for parameter in parameters:
        before = runs[-1][-1] if runs else None
        if before is not None and before.flat is parameter.flat and before.offset + before.size == parameter.offset:
            runs[-1].append(parameter)
        else:
            runs.append([parameter])
    return [run[0].grad if len(run) == 1 else _flat_gradient(run[0], run[-1]) for run in runs]


def _flat_gradient(first: Parameter, last: Parameter) -> Array:
    assert first.flat is not None
    return first.flat.grad[first.offset : last.offset + last.size]


def compiled(net: Layer) -> Program:
    """
    Return the program of a network; it is kept until layers or the device change.

    Parameters
    ----------
    net : Layer
        The network.

    Returns
    -------
    Program
        The same object at every call.

    Examples
    --------
    >>> net = portanet.Linear(2, 1).initialize()
    >>> compiled(net) is compiled(net)
    True
    """
    topology = net.topology
    program: Program | None = topology.program
    if program is None or program.moved(net):
        program = topology.program = Program(net)
    return program


def infer(net: Layer, x: Array) -> Array:
    """
    Return the output of inference.

    Parameters
    ----------
    net : Layer
        The network.
    x : array, shape (N, ...)
        Examples, on its device.

    Returns
    -------
    array, shape (N, ...)
        The output, on the device.

    Examples
    --------
    >>> infer(portanet.ReLU(), np.asarray([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    program = compiled(net)
    with program.backend.activate():
        return program.runnable.forward(x)
