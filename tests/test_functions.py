"""
Every public function refuses nonsense by one sentence that names the argument.

The functions are found by themselves. A new one is tested as soon as ``VALID`` has a value for each of its arguments.
"""

import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.initializers import Initializer
from portanet.schedules import Schedule
from tests.test_checks import NONSENSE, THINGS

X = np.asarray([[0.0, 1.0], [2.0, 0.0], [3.0, 5.0]])
LABELS = np.asarray([0, 1, 1])

VALID: dict[str, Any] = {
    "array": X,
    "arrays": X,
    "counts": np.asarray([[2, 0], [1, 3]]),
    "device": "cpu",
    "function": lambda x: float(np.sum(x)),
    "history": {"loss": [0.2, 0.1]},
    "ids": np.asarray([[0, 1]]),
    "images": np.ones((3, 4, 4)),
    "k": 1,
    "labels": LABELS,
    "max_new_tokens": 2,
    "module": pn.Linear(2, 2),
    "n_classes": 2,
    "n_clusters": 2,
    "name": "digits",
    "net": pn.Sequential(pn.Embedding(3, 3)).initialize(),
    "number": 1,
    "panels": {"left": (X, LABELS)},
    "path": "net.safetensors",
    "points": X,
    "precision": "float32",
    "prediction": X,
    "rng": np.random.default_rng(0),
    "score": lambda points: points[:, 0],
    "sample_weight": np.ones(3),
    "sequences": [[1, 2], [3], [4, 5]],
    "shape": (3, 2),
    "size": 2,
    "step": 1,
    "stratify": LABELS,
    "target": LABELS,
    "task": lambda communicator: communicator.rank,
    "x": X,
    "y_pred": LABELS,
    "y_score": X,
    "y_true": LABELS,
    "z": X[:, :1],
}
"""A value of each argument that has no default, and of arrays whose default is None."""

OWN: dict[str, dict[str, Any]] = {
    "top_k_accuracy": {"k": 1},
    "curves": {"x": np.arange(3.0), "panels": {"left": {"a": np.arange(3.0)}}},
    "mean_absolute_error": {"target": X},
    "mean_squared_error": {"target": X},
    "binary_accuracy": {"target": X},
    "psnr": {"target": X},
    "r2_score": {"y_pred": X, "y_true": X},
    "network": {"net": pn.Linear(2, 2), "input_shape": (2,)},
    "train_test_split": {"test_size": 2},
}
"""Arguments of a function that mean something else than elsewhere."""

TEXTS = {"title", "xlabel", "validation_label", "path"}
"""Arguments that take any string, or refuse it with FileNotFoundError."""

ANY_DTYPE = {"array", "arrays", "stratify"}
"""Arguments that take strings too."""


def public_functions() -> Iterator[Callable[..., Any]]:
    """
    Yield the functions in ``__all__`` of PortaNet and its modules, and methods of objects that are used as functions.

    Those of portanet.engine are left out: they run in every step, with networks and data that a Trainer has checked.
    """
    modules = [pn, *(part for part in map(vars(pn).get, pn.__all__) if isinstance(part, ModuleType))]
    named = {getattr(module, name) for module in modules if module is not pn.engine for name in module.__all__}
    yield from filter(inspect.isfunction, named)
    yield from (thing.__call__ for thing in THINGS if isinstance(thing, (Schedule, Initializer)))
    for estimator in (pn.KMeans(2).fit(X), pn.PCA(1).fit(X)):
        methods = dict(inspect.getmembers(estimator, inspect.ismethod))
        yield from (method for name, method in methods.items() if not name.startswith("_") and name != "arguments")


def title(function: Callable[..., Any]) -> str:
    owner = f"{type(function.__self__).__name__}." if inspect.ismethod(function) else ""
    return f"{function.__module__.removeprefix('portanet.')}.{owner}{function.__name__}"


FUNCTIONS = {title(function): function for function in sorted(public_functions(), key=title)}
ARGUMENTS = [
    pytest.param(function, name, id=f"{text}-{name}")
    for text, function in FUNCTIONS.items()
    for name in inspect.signature(function).parameters
    if name != "y"  # ignored by estimators
]


def values_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a valid value of each argument, so far as there are any."""
    known = VALID | OWN.get(function.__name__, {})
    return {name: known[name] for name in inspect.signature(function).parameters if name in known}


def valid_arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments without a default, and those that OWN names."""
    values, own = values_of(function), OWN.get(function.__name__, {})
    needed = {name for name, p in inspect.signature(function).parameters.items() if p.default is p.empty}
    assert needed <= values.keys(), f"VALID needs a value of {needed - values.keys()}, for {title(function)}"
    return {name: value for name, value in values.items() if name in needed | own.keys()}


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if "title" in inspect.signature(function).parameters:
        pytest.importorskip("matplotlib", reason="plots need matplotlib")
    starred = [arguments.pop("arrays")] if "arrays" in arguments else []
    return function(*starred, **arguments)


def error_of(function: Callable[..., Any], arguments: dict[str, Any]) -> ValueError | TypeError | None:
    try:
        call(function, arguments)
    except (ValueError, TypeError) as error:
        return error
    return None


def check_message(error: ValueError | TypeError, *names: str) -> None:
    """Check that an error is PortaNet's own, and one short sentence that holds one of the names."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    assert frame.f_globals["__name__"].startswith("portanet."), error
    assert re.search(rf"\b({'|'.join(names)})\b", str(error)), error
    assert len(str(error)) < 300, error
    assert "\n" not in str(error), error


@pytest.fixture(autouse=True)
def _folder_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Save a network in a folder that is deleted later, and undo what functions such as set_device do."""
    monkeypatch.chdir(tmp_path)
    pn.Linear(2, 2).initialize().save(VALID["path"])
    number = pn.get_num_threads()
    yield
    pn.set_num_threads(number)
    pn.set_device(None)


def test_functions_are_found() -> None:
    assert {"plots.planes.scatter", "metrics.classification.accuracy", "schedules.WarmUp.__call__"} <= set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_valid_arguments_are_taken(function: Callable[..., Any]) -> None:
    call(function, valid_arguments(function))


def is_fine(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Whether this nonsense is a value after all."""
    if name == "array":
        return isinstance(value, (np.ndarray, np.str_))
    if isinstance(value, str):
        return name in TEXTS or (name, function.__name__) == ("classes", "scatter")
    if isinstance(value, (np.ndarray, list)) and np.ndim(value):
        return name in ("arrays", "images", "sequences") or (name == "x" and function.__module__ == "portanet.testing")
    minus_7 = isinstance(value, int) and value == -7
    return minus_7 and (
        name in ("level", "threshold", "ignore_index", "padding_value") or function.__name__ == "central_difference"
    )


@pytest.mark.parametrize(("function", "name"), ARGUMENTS)
def test_nonsense_is_refused(function: Callable[..., Any], name: str) -> None:
    refused = 0
    for value in NONSENSE:
        if is_fine(function, name, value):
            continue
        error = error_of(function, {**valid_arguments(function), name: value})
        assert error is not None, value
        check_message(error, name)
        refused += 1
    assert refused > 3


ARRAYS = [
    pytest.param(function, name, values, id=f"{text}-{name}")
    for text, function in FUNCTIONS.items()
    for name, values in values_of(function).items()
    if isinstance(values, np.ndarray) and name != "array"
]


@pytest.mark.parametrize(("function", "name", "values"), ARRAYS)
def test_what_is_no_array_of_numbers_is_refused(function: Callable[..., Any], name: str, values: np.ndarray) -> None:
    masked = np.ma.array(values, mask=np.arange(values.size).reshape(values.shape) == 0)
    rows = values.tolist()
    no_arrays = [masked, list(masked), [*rows, [[[1.0]]]], iter(rows), set("ab"), None]
    no_numbers = [
        values.astype(str),
        values + 1j,
        values.astype("datetime64[s]"),
        np.asarray([None, *rows], dtype=object),
    ]
    for value in no_arrays if name in ANY_DTYPE else no_arrays + no_numbers:
        if value is None and inspect.signature(function).parameters[name].default is None:
            continue
        error = error_of(function, {**valid_arguments(function), name: value})
        assert error is not None, value
        check_message(error, name)


@pytest.mark.parametrize(("function", "name", "values"), ARRAYS)
def test_arrays_of_unfit_shapes_and_numbers_give_no_other_error(
    function: Callable[..., Any], name: str, values: np.ndarray
) -> None:
    for value in (
        values[:0],
        values[:1],
        values[:-1],
        values[..., :0],
        values[..., np.newaxis],
        values[0],
        values[0, ...] * 0,
        values * np.nan,
        values + 0.5,
        -1 - values,
        values + 100,
        values > 0,
        values.astype("float32"),
        values.astype("uint8"),
        values.astype("float16"),
    ):
        if (error := error_of(function, {**valid_arguments(function), name: value})) is not None:
            check_message(error, *inspect.signature(function).parameters)
