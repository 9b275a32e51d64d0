"""What training changes: weights, buffers of layers, and the state of the optimizer."""

from typing import Any

from portanet.backends import Backend
from portanet.checks import isdtype, shown
from portanet.config import from_json, to_json
from portanet.layers.base import Layer
from portanet.optimizers import Optimizer
from portanet.typing import Array


class TrainingState:
    """
    The arrays that training changes, and whether they are still those of the network.

    Parameters
    ----------
    net : Layer
    optimizer : Optimizer
        Bound to the network.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(2, 1), portanet.BatchNorm(1))
    >>> state = TrainingState(net, portanet.SGD(momentum=0.9).bind(net))
    >>> list(state.arrays)
    ['a weight', '1.running_mean', '1.running_var', "the optimizer's velocity"]
    """

    def __init__(self, net: Layer, optimizer: Optimizer):
        self.net, self.optimizer, self.flat = net, optimizer, net.flat

    @property
    def backend(self) -> Backend:
        """The array library and device of the arrays."""
        return self.flat.backend

    @property
    def arrays(self) -> dict[str, Array]:
        """All of them, under what a message calls them."""
        return {
            "a weight": self.flat.data,
            **{name: buffer.data for name, buffer in self.net.topology.buffers.items()},
            **{f"the optimizer's {name}": array for name, array in self.optimizer.state.items()},
        }

    def snapshot(self) -> list[Array]:
        """Copy all arrays."""
        return [self.flat.xp.asarray(array, copy=True) for array in self.arrays.values()]

    def restore(self, snapshot: list[Array]) -> None:
        """Go back to a snapshot; see :meth:`portanet.Trainer.restore`."""
        if not isinstance(snapshot, list):
            raise TypeError(f"snapshot must be what snapshot() returned, got {shown(snapshot)}")
        arrays = list(self.arrays.values())
        if len(arrays) != len(snapshot):
            raise RuntimeError(
                f"the snapshot holds {len(snapshot)} arrays, but {len(arrays)} change now: "
                "an optimizer must make its state in new_state(), and not in a step"
            )
        if [a.shape for a in arrays] != [a.shape for a in snapshot]:
            raise ValueError("the snapshot is that of another network: its arrays have other shapes")
        for array, values in zip(arrays, snapshot, strict=True):
            array[...] = values

    def not_finite(self) -> list[str]:
        """Name the arrays that hold NaN or infinity; it reads values back."""
        xp = self.flat.xp
        return [
            name
            for name, array in self.arrays.items()
            if isdtype(xp, array.dtype, "real floating")
            # A finite sum needs half the time, and says enough; it may overflow where all numbers are finite.
            and not bool(xp.isfinite(xp.sum(array)))
            and not bool(xp.all(xp.isfinite(array)))
        ]

    def check_current(self) -> None:
        """Refuse to train what is no longer the network; cheap enough for every step."""
        if self.optimizer.flat is not self.flat:
            raise RuntimeError(
                f"{self.optimizer!r} was bound to another network since: give each Trainer one of its own"
            )
        if not self.flat.current:
            raise RuntimeError(
                "the network's weights have moved since this Trainer was made (by to, initialize, append, or another "
                "network with the same layers): make a new Trainer"
            )

    def check_topology(self) -> None:
        """Refuse to train a network with other layers than before."""
        self.check_current()
        if self.net.topology.parameter_list != self.flat.parameters:
            raise RuntimeError("layers were appended or popped since this Trainer was made: make a new Trainer")

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the arrays of the optimizer; the network's are with the network."""
        return {"optimizer": to_json(self.optimizer), "arrays": dict(self.optimizer.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Take over settings and arrays that :meth:`state_dict` returned, all or none.

        Raises
        ------
        ValueError
            If they are those of another optimizer.
        """
        saved, arrays = from_json(state["optimizer"]), state["arrays"]
        ours = {name: (array.shape, array.dtype) for name, array in self.optimizer.state.items()}
        if type(saved) is not type(self.optimizer) or ours != {k: (a.shape, a.dtype) for k, a in arrays.items()}:
            raise ValueError(
                f"it holds the state of {saved!r}, but the Trainer has {self.optimizer!r}: give it the same"
            )
        expected = saved.new_state(self.flat.xp, self.flat.data[:0])  # its settings may ask for other arrays
        # Their first axis, if they have one, is that of the parameters.
        shapes, found = ({k: (a.ndim, a.shape[1:]) for k, a in state.items()} for state in (expected, arrays))
        if shapes != found:
            raise ValueError(f"the arrays {', '.join(arrays)} are not the state of {saved!r}")
        saved.check_groups(self.net.topology)
        if any(array.ndim == 0 and not float(array) >= 0 for array in arrays.values()):
            raise ValueError(f"the state of {saved!r} counts less than 0 steps")
        kept = vars(saved)
        for name, value in saved.arguments().items():
            if name in kept:  # the constructor has checked them together; one by one, they may not fit the old ones
                vars(self.optimizer)[name] = kept[name]
            else:
                setattr(self.optimizer, name, value)
        for name, array in self.optimizer.state.items():
            array[...] = arrays[name]
