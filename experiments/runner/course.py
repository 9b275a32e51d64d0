"""Training with the course interface."""

from typing import Any

from experiments.runner.run import Run
from portanet import plots
from portanet.course import Optim


def train_with_optim(
    run: Run, optim: Optim, x: Any, y: Any, *, batch_size: int, n_iter: int, name: str = ""
) -> list[float]:
    """
    Train a network with :meth:`portanet.course.Optim.sgd`, and draw the cost of all examples in each pass.

    Parameters
    ----------
    run : Run
        The run.
    optim : Optim
        Network, loss and step size.
    x, y, batch_size, n_iter
        See :meth:`portanet.course.Optim.sgd`.
    name : str
        Identifies this network in the names of pictures.

    Returns
    -------
    list of float
        Cost of all examples in each pass.
    """
    with run.training(optim.net, name):
        costs = optim.sgd(x, y, batch_size=batch_size, n_iter=n_iter)
    title, panel = f"{run.id} {name}".strip(), {"cost of all examples": {"": costs}}
    figure = plots.curves(range(1, n_iter + 1), panel, xlabel="pass over the examples", title=title, log="y")
    run.picture(f"cost {name}".strip(), figure, f"{title}: cost of all examples in each pass")
    return costs
