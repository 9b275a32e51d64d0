"""Data in other containers than NumPy arrays: the same result, or one sentence that names the argument and the fix."""

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import portanet as pn

X = np.asarray([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
LABELS = np.asarray([0, 1, 1, 0])


def _pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas makes the container")


def _polars() -> Any:
    return pytest.importorskip("polars", reason="Polars makes the container")


def _torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch makes the container")


def _strict() -> Any:
    return pytest.importorskip("array_api_strict", reason="array-api-strict makes the container")


def _sparse() -> Any:
    return pytest.importorskip("scipy.sparse", reason="SciPy makes the container")


def _jax() -> Any:
    return pytest.importorskip("jax", reason="JAX makes the container")


def _frame(**columns: Any) -> Any:
    return _pandas().DataFrame({"a": X[:, 0], **columns})


def _read_only() -> np.ndarray:
    x = X.copy()
    x.flags.writeable = False
    return x


def _fit(loss: pn.Loss, *data: Any, **settings: Any) -> list[float]:
    trainer = pn.Trainer(pn.Linear(2, 2), loss, pn.SGD(0.1))
    return trainer.fit(*data, epochs=2, batch_size=2, progress=False, **settings)["loss"]


def _trainer() -> pn.Trainer:
    return pn.Trainer(pn.Linear(2, 2), pn.MSELoss(), pn.SGD(0.1))


Entry = tuple[str, Callable[[Any], Any]]

TAKES_INTEGERS: dict[str, Entry] = {
    "fit y": ("y", lambda x: _fit(pn.MSELoss(), X, x)),
    "evaluate y": ("y", lambda x: _trainer().evaluate(X, x)["loss"]),
    "KMeans.fit": ("x", lambda x: pn.KMeans(2).fit(x).cluster_centers_),
    "KMeans.predict": ("x", lambda x: pn.KMeans(2).fit(X).predict(x)),
    "KMeans.transform": ("x", lambda x: pn.KMeans(2).fit(X).transform(x)),
    "PCA.fit": ("x", lambda x: pn.PCA(1).fit(x).explained_variance_),
    "PCA.transform": ("x", lambda x: pn.PCA(1).fit(X).transform(x)),
    "PCA.inverse_transform": ("z", lambda x: pn.PCA(2).fit(X).inverse_transform(x)),
    "metric prediction": ("prediction", lambda x: pn.mean_squared_error(x, 1 - X)),
    "metric target": ("target", lambda x: pn.mean_absolute_error(1 - X, x)),
    "metric by name": ("y_true", lambda x: pn.confusion_matrix(y_true=x, y_pred=LABELS)),
    "metric of numbers by name": ("y_true", lambda x: pn.r2_score(y_true=x, y_pred=1 - X)),
    "neighbourhood_hit": ("x", lambda x: pn.neighbourhood_hit(x, LABELS, 1)),
    "loss target": ("target", lambda x: pn.MSELoss()(1 - X, x)),
}
TAKES_FLOATS: dict[str, Entry] = {
    "fit x": ("x", lambda x: _fit(pn.MSELoss(), x, X)),
    "fit x and split": ("x", lambda x: _fit(pn.MSELoss(), x, X, validation_split=0.5)),
    "evaluate x": ("x", lambda x: _trainer().evaluate(x, X)["loss"]),
    "predict": ("x", lambda x: pn.Linear(2, 2).initialize().predict(x)),
    "adapt": ("x", lambda x: pn.Normalize(2).adapt(x).mean.data),
    "loss prediction": ("prediction", lambda x: pn.MSELoss()(x, 1 - X)),
    "loss of probabilities": ("prediction", lambda x: pn.BCELoss()(x, X)),
}
TAKES_LABELS: dict[str, Entry] = {
    "fit y": ("y", lambda y: _fit(pn.CrossEntropyLoss(), X, y)),
    "metric": ("target", lambda y: pn.accuracy(X, y)),
    "metric by name": ("y_true", lambda y: pn.confusion_matrix(y_true=y, y_pred=X)),
    "clusters": ("labels", lambda y: pn.cluster_purity(y, LABELS)),
    "loss": ("target", lambda y: pn.CrossEntropyLoss()(X, y)),
    "one_hot": ("labels", lambda y: pn.one_hot(y, 2)),
}

FLOATS: dict[str, Callable[[], Any]] = {
    "list": X.tolist,
    "tuple of arrays": lambda: tuple(X),
    "read-only": _read_only,
    "reversed": lambda: X[::-1].copy()[::-1],
    "big-endian": lambda: X.astype(">f8"),
    "big-endian float32": lambda: X.astype(">f4"),
    "half": lambda: X.astype("float16"),
    "long double": lambda: X.astype("longdouble"),
    "masked without a mask": lambda: np.ma.masked_invalid(X),
    "PyTorch": lambda: _torch().tensor(X),
    "PyTorch float32": lambda: _torch().tensor(X, dtype=_torch().float32),
    "array-api-strict on the CPU": lambda: _strict().asarray(X),
    "pandas": lambda: _frame(b=X[:, 1]),
    "pandas with equal labels": lambda: _pandas().DataFrame(X, columns=["a", "a"]),
    "pandas with a column 'device'": lambda: _frame(device=X[:, 1]),
    "pandas, nullable": lambda: _frame(b=X[:, 1]).astype("Float64"),
    "pandas, numbers and booleans": lambda: _frame(b=X[:, 1].astype(bool)),
    "Polars": lambda: _polars().DataFrame(X),
    "Polars, numbers and booleans": lambda: _polars().DataFrame({"a": X[:, 0], "b": X[:, 1].astype(bool)}),
    "JAX": lambda: _jax().numpy.asarray(X),
    "sparse": lambda: _sparse().csr_array(X),
    "sparse matrix": lambda: _sparse().coo_matrix(X),
    "sparse float32": lambda: _sparse().csc_array(X.astype("float32")),
}
INTEGERS: dict[str, Callable[[], Any]] = {
    "list of integers": X.astype(int).tolist,
    "unsigned": lambda: X.astype("uint8"),
    "boolean": lambda: X.astype(bool),
    "big-endian integers": lambda: X.astype(">i4"),
    "PyTorch integers": lambda: _torch().tensor(X, dtype=_torch().int64),
    "pandas, nullable integers": lambda: _frame(b=X[:, 1]).astype("Int64"),
    "Polars integers": lambda: _polars().DataFrame(X.astype(int)),
}
LABEL_CONTAINERS: dict[str, Callable[[], Any]] = {
    "list": LABELS.tolist,
    "unsigned": lambda: LABELS.astype("uint8"),
    "big-endian": lambda: LABELS.astype(">i8"),
    "PyTorch": lambda: _torch().tensor(LABELS),
    "pandas": lambda: _pandas().Series(LABELS, index=[9, 8, 7, 6]),
    "pandas, nullable": lambda: _pandas().Series(LABELS, dtype="Int64"),
    "Polars": lambda: _polars().Series(LABELS),
}
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "is None: give an array or a list of numbers"),
    "string": (lambda: "0, 1", "is a str: give an array or a list of numbers"),
    "dict": (lambda: {"a": [0.0]}, "is a dict: give an array or a list of numbers"),
    "generator": (lambda: (row for row in X), r"is a generator: convert it with list\(\.\.\.\)"),
    "iterator": (lambda: iter(X.tolist()), r"is a list_iterator: convert it with list\(\.\.\.\)"),
    "set": (lambda: {0.0, 1.0}, r"is a set: convert it with list\(\.\.\.\)"),
    "unequal rows": (lambda: [[0.0, 1.0], [1.0]], "has rows of unequal length: pad or cut them to one length"),
    "unequal rows of objects": (
        lambda: np.asarray([[0.0, 1.0], [1.0]], dtype=object),
        r"has dtype object and holds \[0.0, 1.0\] at \[0\]: give numbers only",
    ),
    "missing number": (lambda: [[0.0, None]], r"has dtype object and holds None at \[0, 1\]: give numbers only"),
    "numbers as objects": (lambda: X.astype(object), "has dtype object: convert it to floats or integers"),
    "number without a dtype": (lambda: [[10**400]], "has dtype object: convert it to floats or integers"),
    "strings": (lambda: X.astype(str), "has dtype <U32: give numbers instead of strings"),
    "bytes": (lambda: X.astype(bytes), r"has dtype \|S32: give numbers instead of strings"),
    "dates": (lambda: [[date(2026, 1, 1)]], r"has dtype object and holds .*2026.* at \[0, 0\]: give numbers only"),
    "NumPy's dates": (lambda: X.astype("datetime64[D]"), r"has dtype datetime64\[D\]: give numbers instead of dates"),
    "durations": (lambda: X.astype("timedelta64[s]"), r"has dtype timedelta64\[s\]: give numbers instead of durations"),
    "complex": (lambda: X.astype(complex), "has dtype complex128: give real numbers"),
    "fields": (lambda: np.zeros(4, [("a", "f4")]), "has dtype .*f4.*: copy its fields into the columns of an array"),
    "masked": (lambda: np.ma.masked_equal(X, 1.0), r"is a masked array with 4 masked values: replace them with filled"),
    "list of masked rows": (
        lambda: list(np.ma.masked_equal(X, 1.0)),
        r"is a list with 4 masked values: replace them with filled",
    ),
    "sparse complex": (lambda: _sparse().csr_array(X * 1j), "has dtype complex128: give real numbers"),
    "PyTorch with gradients": (
        lambda: _torch().tensor(X, requires_grad=True),
        r"is a tensor that requires gradients: give its detach\(\)",
    ),
    "pandas with strings": (
        lambda: _frame(b=list("uvwx"), c=list("uvwx")),
        "has a column 'b' of dtype (str|object): convert it to numbers, or leave it out",
    ),
    "pandas with dates": (
        lambda: _frame(b=_pandas().date_range("2026", periods=4)),
        r"has a column 'b' of dtype datetime64\[.*\]: convert it to numbers, or leave it out",
    ),
    "pandas with categories": (
        lambda: _frame(b=_pandas().Categorical(list("uvwx"))),
        "has a column 'b' of dtype category: convert it to numbers, or leave it out",
    ),
    "pandas with missing booleans": (
        lambda: _frame(b=_pandas().array([True, False, True, None], dtype="boolean"), c=list("uvwx")),
        "has a column '[bc]' of dtype",
    ),
    "pandas series of strings": (
        lambda: _pandas().Series(list("uvwx")),
        "has dtype (str|object)(: convert it to numbers without gaps| and holds 'u')",
    ),
    "Polars with strings": (
        lambda: _polars().DataFrame({"a": X[:, 0], "b": list("uvwx")}),
        "has a column 'b' of dtype String: convert it to numbers, or leave it out",
    ),
    "Polars series with gaps": (
        lambda: _polars().Series([True, None]),
        "has dtype Boolean with missing values: convert it to numbers without gaps",
    ),
    "Polars, lazy": (lambda: _polars().DataFrame(X).lazy(), "is a LazyFrame: give an array or a list of numbers"),
}

ENTRIES = {**TAKES_INTEGERS, **TAKES_FLOATS}


def _values(result: Any) -> np.ndarray:
    return np.asarray(result, dtype="float64")


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("container", FLOATS.values(), ids=FLOATS)
def test_floats_in_any_container_are_those_of_a_numpy_array(entry: Entry, container: Callable[[], Any]) -> None:
    _, call = entry
    np.testing.assert_allclose(_values(call(container())), _values(call(X)), rtol=1e-6)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("container", INTEGERS.values(), ids=INTEGERS)
def test_integers_are_taken_as_targets_and_by_estimators_and_refused_by_layers(
    entry: Entry, container: Callable[[], Any]
) -> None:
    name, call = entry
    takes_integers = entry is TAKES_FLOATS["adapt"] and container is not INTEGERS["boolean"]
    if entry in TAKES_FLOATS.values() and not takes_integers:
        with pytest.raises(ValueError, match=rf"{name} (has|of) dtype \S*(int|bool)"):
            call(container())
    else:
        np.testing.assert_allclose(_values(call(container())), _values(call(X)), rtol=1e-6)


@pytest.mark.parametrize("entry", TAKES_LABELS.values(), ids=TAKES_LABELS)
@pytest.mark.parametrize("container", LABEL_CONTAINERS.values(), ids=LABEL_CONTAINERS)
def test_labels_in_any_container_are_those_of_a_numpy_array(entry: Entry, container: Callable[[], Any]) -> None:
    _, call = entry
    np.testing.assert_allclose(_values(call(container())), _values(call(LABELS)), rtol=1e-6)


@pytest.mark.parametrize("container", [LABELS.tolist, *list(LABEL_CONTAINERS.values())[3:]])
def test_weights_of_examples_in_any_container(container: Callable[[], Any]) -> None:
    expected = _fit(pn.MSELoss(), X, X, sample_weight=LABELS)
    assert _fit(pn.MSELoss(), X, X, sample_weight=container()) == expected


@pytest.mark.parametrize("entry", [*ENTRIES.values(), *TAKES_LABELS.values()], ids=[*ENTRIES, *TAKES_LABELS])
@pytest.mark.parametrize(("container", "message"), WRONG.values(), ids=WRONG)
def test_no_numbers_are_refused_in_one_sentence(entry: Entry, container: Callable[[], Any], message: str) -> None:
    name, call = entry
    values = container()
    with pytest.raises(ValueError, match=rf"^{name} {message}") as error:
        call(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.asarray(0.5), 0.5, np.float32(0.5)], ids=repr)
def test_no_examples_and_a_single_number_are_refused(entry: Entry, values: Any) -> None:
    name, call = entry
    if entry is ENTRIES["predict"] and np.ndim(values):
        assert call(values).shape == (0, 2)
        return
    with pytest.raises(ValueError, match=rf"\b{name}\b|of 0 examples"):
        call(values)


@pytest.mark.parametrize("name", ["missing numbers", "missing integers"])
@pytest.mark.parametrize("entry", ["fit x", "fit y", "evaluate x", "KMeans.fit", "PCA.fit", "adapt"])
def test_missing_numbers_are_nan(entry: str, name: str) -> None:
    frame = _frame(b=X[:, 1]).astype("Float64" if name == "missing numbers" else "Int64")
    argument, call = ENTRIES[entry]
    with pytest.raises(ValueError, match=rf"^{argument} (holds|must hold examples without) NaN|of dtype Int64 with"):
        call(frame.mask(frame == 1))


def test_prediction_and_target_of_two_libraries() -> None:
    tensor = _torch().tensor(X)
    assert float(pn.mean_squared_error(tensor, 1 - X)) == 1.0
    assert float(pn.MSELoss()(1 - X, tensor)) == 1.0


RESULTS: dict[str, Callable[[Any], Any]] = {
    "call": pn.Linear(2, 2).initialize(dtype="float64"),
    "predict": lambda x: pn.Linear(2, 2).initialize(dtype="float64").predict(x),
    "predict of several batches": lambda x: pn.Linear(2, 2).initialize(dtype="float64").predict(x, batch_size=2),
    "Trainer.predict": lambda x: _trainer().predict(x),
    "KMeans.fit": lambda x: pn.KMeans(2).fit(x).labels_,
    "KMeans.predict": lambda x: pn.KMeans(2).fit(X).predict(x),
    "KMeans.transform": lambda x: pn.KMeans(2).fit(X).transform(x),
    "PCA.transform": lambda x: pn.PCA(1).fit(X).transform(x),
    "PCA.inverse_transform": lambda x: pn.PCA(2).fit(X).inverse_transform(x),
}
"""Functions whose results are of the library of their input."""


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("library", [_torch, lambda: _jax().numpy], ids=["PyTorch", "JAX"])
def test_results_are_arrays_of_the_library_of_the_input(
    result: Callable[[Any], Any], library: Callable[[], Any]
) -> None:
    x = library().asarray(X)
    values = result(x)
    assert type(values) is type(x)
    np.testing.assert_allclose(np.asarray(values), result(X), rtol=1e-5)


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("container", ["list", "pandas", "Polars", "sparse"])
def test_results_are_numpy_arrays_for_data_that_are_no_array(result: Callable[[Any], Any], container: str) -> None:
    values = result(FLOATS[container]())
    assert type(values) is np.ndarray
    np.testing.assert_allclose(values, result(X), rtol=1e-6)


@pytest.mark.parametrize(
    "use",
    [
        lambda trainer, x, y: trainer.fit(x, y, sample_weight=np.ones(len(y)), progress=False),
        lambda trainer, x, y: trainer.fit(x, y, validation_split=0.5, progress=False),
        lambda trainer, x, y: trainer.evaluate(x, y, batch_size=32),
        lambda trainer, x, _: trainer.predict(x, batch_size=32),
        lambda trainer, x, _: trainer.net[0].adapt(x),
    ],
    ids=["fit", "fit and validate", "evaluate", "predict", "adapt"],
)
def test_a_sparse_matrix_is_never_dense_as_a_whole(use: Callable[..., Any]) -> None:
    n, width = 4000, 20_000
    x = _sparse().random_array((n, width), density=1e-4, rng=np.random.default_rng(0), dtype="float32")
    net = pn.Sequential(pn.Normalize(width), pn.Linear(width, 2))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    tracemalloc.start()
    use(trainer, x, np.arange(n) % 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * width * 4  # validation takes 1000 examples at a time, and copies them once


class _OtherLibrary:
    """An array that NumPy cannot read, in the memory of a device."""

    device = "cuda:0"

    def __init__(self, ordinal: int, *, requires_grad: bool = False):
        self.ordinal, self.requires_grad = ordinal, requires_grad

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.ordinal


def test_an_array_of_another_library_on_the_same_device_is_taken_through_dlpack() -> None:
    library = SimpleNamespace(empty=lambda n, device: _OtherLibrary(device), from_dlpack=lambda array: ("taken", array))
    backend = replace(pn.get_backend("cpu"), xp=library, device=0, array_type=str)
    given = _OtherLibrary(0)
    assert backend.check_array(given) == ("taken", given)
    with pytest.raises(ValueError, match="array is on cuda:0"):
        backend.check_array(_OtherLibrary(1))
    with pytest.raises(ValueError, match="requires gradients"):
        backend.check_array(_OtherLibrary(0, requires_grad=True))


@pytest.mark.strict
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_array_on_another_device_is_refused(entry: Entry) -> None:
    name, call = entry
    array = _strict().asarray(X, device=_strict().Device("device1"))
    if call in (TAKES_INTEGERS["KMeans.fit"][1], TAKES_INTEGERS["PCA.fit"][1]):
        pytest.skip("estimators compute where the data are")
    with pytest.raises(ValueError, match=rf"\b{name} is on .*device1|but {name} is on .*device1"):
        call(array)


def test_a_memory_map(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", dtype="float64", mode="w+", shape=X.shape)
    x[...] = X
    for _, call in ENTRIES.values():
        np.testing.assert_allclose(_values(call(x)), _values(call(X)), rtol=1e-6)


def test_a_call_of_a_network_names_its_argument() -> None:
    net = pn.Linear(2, 2).initialize(dtype="float64")
    np.testing.assert_array_equal(net(X.tolist()), net(X))
    for container, message in WRONG.values():
        values = container()
        with pytest.raises(ValueError, match=rf"^x {message}"):
            net(values)


def test_weights_of_a_network_in_any_container() -> None:
    net = pn.Linear(2, 2).initialize()
    weights = net.get_weights()
    net.set_weights({name: values.tolist() for name, values in weights.items()})
    np.testing.assert_array_equal(net.get_weights()["weight"], weights["weight"])
    with pytest.raises(ValueError, match=re.escape("weights['bias'] has dtype <U1: give numbers")):
        net.set_weights({**weights, "bias": ["a", "b"]})
