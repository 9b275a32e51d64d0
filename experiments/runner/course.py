"""Training by the names of a course, and the picture of its cost."""

from typing import Any

from experiments.runner.run import Run
from portanet import plots
from portanet.course import Optim


def descend(run: Run, optim: Optim, x: Any, y: Any, *, batch_size: int, n_iter: int, name: str = "") -> list[float]:
    """
    Train a network, and draw what all examples cost in each pass.

    Parameters
    ----------
    run : Run
        Of the experiment.
    optim : Optim
        Of the network and its loss.
    x, y, batch_size, n_iter
        See :meth:`portanet.course.Optim.sgd`.
    name : str
        Tells this network from others of the run.

    Returns
    -------
    list of float
        Cost of all examples in each pass.
    """
    with run.training(optim.net, name):
        costs = optim.sgd(x, y, batch_size=batch_size, n_iter=n_iter)
    title, panel = f"{run.id} {name}".strip(), {"cost of all examples": {"": costs}}
    figure = plots.curves(range(1, n_iter + 1), panel, xlabel="pass over the examples", title=title, log="y")
    run.picture(f"cost {name}".strip(), figure, f"{title}: what all examples cost in each pass")
    return costs
