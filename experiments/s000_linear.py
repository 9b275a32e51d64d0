"""Linear networks that recover the linear maps of their data, with the course interface of source 000."""

from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from experiments.runner import Figures, Reported, Run, at_most, experiment, train_with_optim
from portanet import plots
from portanet.course import Linear, MSELoss, Optim, Sequential

SIZES = (1, 2, 5, 10, 20, 50)
WEIGHTS = [[100], [2], [15], [16], [19]]
PRINTED = at_most(5e-9)
"""The source prints numbers such as ``280.``, NumPy's output for numbers that are whole to eight decimals."""


@experiment(
    "000-linear-1",
    source="000, section 6.2.2",
    data="100 examples with 5 normal inputs, y = 100 x1 + 2 x2 + 15 x3 + 16 x4 + 19 x5",
    what="Linear(5, 1) without bias; MSE",
    choices=(
        "The source gives neither data nor training settings: full batch of 100 examples, 200 passes, eps 2e-3. It "
        "plots the cost against the number of inputs; ours is the cost after 20 passes, with the five weights repeated "
        "or truncated."
    ),
    reported={**{f"weight {i}": Reported(w) for i, (w,) in enumerate(WEIGHTS, start=1)}, "largest error": PRINTED},
)
def one(run: Run) -> Figures:
    figures, _ = fit_layers(run, [WEIGHTS], eps=2e-3, n_iter=20 if run.quick else 200)
    weights = {f"input size {size}": np.resize(WEIGHTS, (size, 1)) for size in SIZES}
    undrawn = replace(run, draw=False)
    costs = [fit_layers(undrawn, [each], eps=2e-3, n_iter=20, name=name)[1][-1] for name, each in weights.items()]
    panel = {"cost of all examples": {"": costs}}
    run.picture(
        "cost by size",
        plots.curves(SIZES, panel, xlabel="number of inputs", title=run.id, log="xy"),
        f"{run.id}: cost of all examples after 20 passes, by the number of inputs",
    )
    return {**figures, **{f"cost, {name}": cost for name, cost in zip(weights, costs, strict=True)}}


@experiment(
    "000-linear-2",
    source="000, section 6.2.3",
    data="1000 examples with 2 normal inputs, y = -99 x1 + 195 x2 plus noise",
    what="Linear(2, 2), Linear(2, 1) without bias; MSE",
    choices=(
        "The source prints the first map, [[1, 10], [-5, -20]], and the product of both, so the second is [[1], "
        "[-10]]. It gives neither data, noise nor training settings: noise of standard deviation 0.1, full batch, 2000 "
        "passes, eps 1e-6. The remaining error comes from the noise: the least-squares solution has the same error."
    ),
    reported={
        "weight 1": Reported(-98.99319498),
        "weight 2": Reported(194.97790237),
        "largest error": at_most(0.02209763),
    },
)
def two(run: Run) -> Figures:
    maps = [[[1, 10], [-5, -20]], [[1], [-10]]]
    return fit_layers(run, maps, examples=1000, noise=0.1, eps=1e-6, n_iter=200 if run.quick else 2000)[0]


@experiment(
    "000-linear-n",
    source="000, section 6.2.4",
    data="100 examples with 2 normal inputs of standard deviation 0.1, y = 280 x1 - 968 x2",
    what="Linear(2, 3), Linear(3, 2), Linear(2, 1) without bias; MSE, batch 100, eps 1e-5, 5000 iterations",
    choices=(
        "The source gives no data. Its eps diverges on inputs of standard deviation 1; we use its parameter "
        "Nan_eviter=1e-1 as their standard deviation. An iteration is a pass over all examples."
    ),
    reported={"weight 1": Reported(280.0), "weight 2": Reported(-968.0), "largest error": PRINTED},
)
def many(run: Run) -> Figures:
    maps = [[[1, 2, 10], [-5, 2, -20]], [[1, -10], [2, 5], [3, 0]], [[8], [-8]]]
    return fit_layers(run, maps, scale=0.1, eps=1e-5, n_iter=500 if run.quick else 5000)[0]


def fit_layers(
    run: Run,
    maps: list[Any],
    *,
    eps: float,
    n_iter: int,
    examples: int = 100,
    scale: float = 1.0,
    noise: float = 0.0,
    name: str = "",
) -> tuple[dict[str, float], list[float]]:
    """Train one layer per map on random inputs and the outputs of all maps; return weights and errors, and costs."""
    rng, product = np.random.default_rng(run.seed), reduce(np.matmul, maps)
    x = scale * rng.normal(size=(examples, len(product)))
    y = np.matmul(x, product) + noise * rng.normal(size=(examples, 1))
    net = Sequential(*(Linear(*np.shape(each), bias=False) for each in maps)).to(run.backend, seed=run.seed)
    optim = Optim(net, MSELoss(), eps)
    costs = train_with_optim(run, optim, x, y, batch_size=examples, n_iter=n_iter, name=name)
    weights = run.backend.to_numpy(net.forward(np.eye(len(product))))
    figures = {f"weight {i}": weight for i, weight in enumerate(weights[:, 0], start=1)}
    figures["largest error"] = np.abs(weights - product).max()
    figures["distance from least squares"] = np.abs(weights - np.linalg.lstsq(x, y)[0]).max()
    return figures, costs
