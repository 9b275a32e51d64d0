"""
``python -m bench estimators``: our networks for scikit-learn beside scikit-learn's own, all at their defaults.

Ours standardize their inputs, scikit-learn's do not. So scikit-learn's take part twice: alone, and after a
``StandardScaler``. All are fitted to the same folds of each data set, fold by fold in turn, each in its own process.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import numpy as np
from numpy.random import default_rng

from bench import files, machine, results
from bench.command import check_known, print_lines, print_progress
from bench.text import columns, duration

OURS, THEIRS, SCALED = "portanet", "scikit-learn", "scikit-learn, standardized"
SIDES = OURS, THEIRS, SCALED
FOLDS, SEED = 5, 0


def mixed_table() -> tuple[Any, np.ndarray]:
    """
    Return a table of numbers and categories, some cells of which are empty, and labels with noise.

    Each of the 900 rows is a passenger of a ship: the chance to survive falls with age, and from first to third class.
    It is higher for women and for children, and lower with more than two relatives.
    """
    import pandas as pd

    rng, n = default_rng(SEED), 900
    sex = rng.choice(["female", "male"], n, p=[0.36, 0.64])
    grade = rng.choice([1, 2, 3], n, p=[0.24, 0.21, 0.55])
    age = np.clip(rng.normal(40 - 5 * grade, 14, n), 0.5, 80).round(1)
    relatives = rng.poisson(0.9, n)
    fare = np.exp(rng.normal(4.4 - 0.75 * grade, 0.5, n)).round(2)
    port = rng.choice(["Cherbourg", "Queenstown", "Southampton"], n, p=[0.19, 0.09, 0.72])
    logit = 1.1 - 0.9 * (grade - 1) + 2.4 * (sex == "female") + 1.5 * (age < 12) - 0.02 * age - 0.25 * (relatives > 2)
    survived = rng.random(n) < 1 / (1 + np.exp(1.3 - logit))
    age[rng.random(n) < 0.2] = np.nan
    table = pd.DataFrame({"class": grade, "sex": sex, "age": age, "relatives": relatives, "fare": fare, "port": port})
    return table, np.where(survived, "yes", "no")


def _load(name: str) -> tuple[Any, np.ndarray]:
    from sklearn import datasets

    return mixed_table() if name == "mixed" else getattr(datasets, f"load_{name}")(return_X_y=True)


DATASETS: dict[str, bool] = {"digits": True, "breast_cancer": True, "wine": True, "diabetes": False, "mixed": True}
"""Data sets by name, and whether they have classes."""


def model(side: str, *, classes: bool, seed: int) -> Any:
    """Return an estimator at its defaults."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from portanet.sklearn import NetClassifier, NetRegressor

    regressor, classifier = (NetRegressor, NetClassifier) if side == OURS else (MLPRegressor, MLPClassifier)
    net = (classifier if classes else regressor)(random_state=seed)
    return make_pipeline(StandardScaler(), net) if side == SCALED else net


def fit_fold(name: str, side: str, fold: int) -> tuple[float, float]:
    """Fit the estimator of one side to one fold; return the seconds of the fit, and the score of the held-out part."""
    import warnings

    from sklearn.compose import make_column_transformer
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = _load(name)
    classes = DATASETS[name]
    folds = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=SEED)
    train, test = [*folds.split(x, y)][fold]
    parts = [x.iloc[rows] if hasattr(x, "iloc") else x[rows] for rows in (train, test)]
    if name == "mixed":
        encode = make_column_transformer(
            (OneHotEncoder(), ["class", "sex", "port"]),
            (make_pipeline(SimpleImputer()), ["age", "relatives", "fare"]),
        )
        parts = [encode.fit_transform(parts[0]), encode.transform(parts[1])]
    estimator = model(side, classes=classes, seed=fold)
    begin = perf_counter()
    estimator.fit(parts[0], y[train])
    return perf_counter() - begin, float(estimator.score(parts[1], y[test]))


def alternate(fit: Callable[[str, int], tuple[float, float]]) -> dict[str, Any]:
    """Fit all sides to all folds in turn, after a fit of each that does not count."""
    for side in SIDES:
        fit(side, 0)
    folds = [{side: fit(side, fold) for side in SIDES} for fold in range(FOLDS)]
    return {
        side: {"seconds": [fold[side][0] for fold in folds], "scores": [fold[side][1] for fold in folds]}
        for side in SIDES
    }


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "estimators",
        help="compare the estimators with those of scikit-learn",
        description="Fit our networks for scikit-learn and scikit-learn's own, the latter also after a StandardScaler, "
        "all at their defaults, to the same five folds of small data sets, and compare scores and times.",
        epilog="A complete run takes a minute. It is written to bench/results; a selection is only printed, unless "
        "--out names a file.",
    )
    parser.add_argument("--datasets", nargs="+", default=[], metavar="NAME", help=f"choose from: {', '.join(DATASETS)}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compare the estimators, and print a table."""
    check_known("data set", options.datasets, DATASETS)
    names = list(dict.fromkeys(options.datasets)) or list(DATASETS)
    info = machine.measurement_info(["cpu"], machine.threads())
    out = options.out or (None if options.datasets else results.FOLDER / machine.file_name("estimators", info))
    if out:
        files.check_writable(out)
    found, context = {}, multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {side: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for side in SIDES}

        def fit(name: str, side: str, fold: int) -> tuple[float, float]:
            return pools[side].submit(fit_fold, name, side, fold).result()

        for name in names:
            print_progress(name, milestone=True)
            found[name] = alternate(partial(fit, name))
    print_lines(columns([HEADER, *table_rows(found)]))
    if out:
        results.write(out, {"kind": "estimators", **info, "datasets": found})


HEADER = ("data set", "beside", "their score", "our score", "verdict", "their fit", "our fit", "our fit / theirs")

QUANTILE = 2.776
"""Standard errors on each side of a mean of five numbers in its 95 % interval: Student's t, 4 degrees of freedom."""


def table_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return two rows of a table for each data set: beside scikit-learn's network alone, and standardized."""
    table = []
    for name, sides in found.items():
        ours = sides[OURS]
        for other in (THEIRS, SCALED):
            theirs = sides[other]
            ratio = median(a / b for a, b in zip(ours["seconds"], theirs["seconds"], strict=True))
            table.append(
                (
                    name,
                    other,
                    *(f"{mean(side['scores']):.4f}" for side in (theirs, ours)),
                    verdict(ours["scores"], theirs["scores"]),
                    *(duration(median(side["seconds"])) for side in (theirs, ours)),
                    f"{ratio:.2f}",
                )
            )
    return table


def verdict(ours: list[float], theirs: list[float]) -> str:
    """
    Return "better", "equal" or "worse" for our scores: equal if 0 is in the 95 % interval of the mean difference.

    Examples
    --------
    >>> verdict([0.9, 0.89, 0.9], [0.8, 0.8, 0.8]), verdict([0.8, 0.8, 0.81], [0.9, 0.9, 0.9])
    ('better', 'worse')
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = stdev(differences) / len(differences) ** 0.5
    return "equal" if abs(mean(differences)) <= QUANTILE * error else "better" if mean(differences) > 0 else "worse"
