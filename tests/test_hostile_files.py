"""
Thousands of damaged and hostile files of every kind: each is read, or refused by one error that names it.

The short form runs always. ``PORTANET_JOBS=1 pytest -m job tests/test_hostile_files.py`` tries more than 100,000.
"""

import gzip
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import portanet as pn
from bench import report as bench_report
from bench.command import CommandError
from experiments.runner import Experiment, Run, Study, results
from experiments.runner import report as experiments_report
from portanet import files
from portanet.datasets import fetch, idx, usps
from portanet.files import parse_json, read_tensors, write_tensors
from portanet.schema import first_mismatch
from portanet.training import loggers
from portanet.training.loggers import _read_log
from tests.bench.test_bench_command import PEERS, SUITE

SECONDS = 5.0
"""Most time of the processor for one file, in seconds."""

MEMORY = 8 * 2**20
"""Most memory for one file of a few kilobytes, in bytes."""

Read: TypeAlias = Callable[[Path], object]
Case: TypeAlias = tuple[Callable[[np.random.Generator], bytes], Read]


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write files without waiting for the disk."""
    for module in (files, results, loggers):
        monkeypatch.setattr(module, "write_atomically", lambda path, content: Path(path).write_bytes(content))


# How a file is changed.

BYTES = [
    b"\0",
    b"\xff",
    b"\x80",
    b"\n",
    b",",
    b'"',
    b"[",
    b"{",
    b"9" * 30,
    b"\xed\xa0\x80",
    bytes(8),
    b"\xff" * 8,
    b"NaN",
]


def changed_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip, insert, delete, repeat or replace some bytes."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(changed) + 1))
        end = min(len(changed), at + int(rng.integers(1, 9)))
        match int(rng.integers(6)):
            case 0 if at < len(changed):
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at:at] = BYTES[int(rng.integers(len(BYTES)))]
            case 2:
                del changed[at:end]
            case 3:
                del changed[at:]
            case 4:
                changed[at:end] = BYTES[int(rng.integers(len(BYTES)))]
            case _:
                changed[at:at] = changed[at : at + int(rng.integers(1, 200))]
    return bytes(changed)


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e308, 10**18, 2**63, 10**400, float("nan"), float("inf")),
    *("", "x", "loss", "0.weight", "../../x", "\x1b[2J", "\ud800", "a\nb", "portanet.Linear", "9" * 5000, "cuda"),
    *(
        [],
        {},
        [[]],
        [None],
        {"$array": "trainer/0"},
        {"$array": "trainer/999"},
        {"$array": []},
        {"ref": 0},
        {"ref": -1},
    ),
    *({"type": "portanet.ReLU"}, {"type": "portanet.Adam"}, {"type": "os.system"}, {"loss": 1.0}, list(range(50))),
]


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in nodes(item, (*path, key)))]


def changed_json(rng: np.random.Generator, value: Any) -> Any:
    """Replace, delete, add, swap or nest some values."""
    value = deepcopy(value)
    for _ in range(int(rng.integers(1, 3))):
        paths = nodes(value)
        *parents, last = paths[int(rng.integers(len(paths)))] or (None,)
        if last is None:
            if rng.random() < 0.1:
                value = ODD[int(rng.integers(len(ODD)))]
            continue
        parent = value
        for key in parents:
            parent = parent[key]
        odd = deepcopy(ODD[int(rng.integers(len(ODD)))])
        match int(rng.integers(6)):
            case 0:
                del parent[last]
            case 1 if isinstance(parent, dict):
                parent[odd if isinstance(odd, str) else "extra"] = parent[last]
            case 1:
                parent.append(parent[last])
            case 2:
                parent[last] = [parent[last]]
            case 3:
                other: Any = value
                for key in paths[int(rng.integers(len(paths)))]:
                    other = other[key] if isinstance(other, (dict, list)) and _has(other, key) else other
                parent[last] = deepcopy(other)
            case _:
                parent[last] = odd
    return value


def _has(value: Any, key: Any) -> bool:
    return key in value if isinstance(value, dict) else isinstance(key, int) and key < len(value)


def changed_arrays(rng: np.random.Generator, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drop, add, rename, reshape or convert an array, or put extreme values into it."""
    arrays = dict(arrays)
    name = list(arrays)[int(rng.integers(len(arrays)))]
    match int(rng.integers(6)):
        case 0:
            del arrays[name]
        case 1:
            arrays[f"{name}x"] = arrays[name]
        case 2:
            arrays[f"{name}x"] = arrays.pop(name)
        case 3:
            arrays[name] = arrays[name][None]
        case 4:
            arrays[name] = arrays[name].astype(["float16", "float64", "int64", "uint8", "bool"][int(rng.integers(5))])
        case _:
            values = [0.0, -1.0, np.nan, np.inf, 1e30] if arrays[name].dtype.kind == "f" else [0, 1, 100]
            arrays[name] = np.full_like(arrays[name], values[int(rng.integers(len(values)))])
    return arrays


def safetensors(rng: np.random.Generator, content: bytes, folder: Path) -> bytes:
    """Change the bytes of a file; or its texts or arrays, with a hash that fits, as a hostile writer would."""
    if rng.random() < 0.1:
        return changed_bytes(rng, content)
    path = folder / "signed"
    path.write_bytes(content)
    arrays, metadata = read_tensors(path)
    if rng.random() < 0.15:
        arrays = changed_arrays(rng, arrays)
    else:
        key = list(metadata)[int(rng.integers(len(metadata)))] if rng.random() < 0.5 else "architecture"
        if (own := {"trainer", "table"} & metadata.keys()) and rng.random() < 0.7:
            (key,) = own
        if rng.random() < 0.03:
            metadata[key] = ["[" * 3000, '{"a":' * 3000, "", "null", "[" * 3000 + "]" * 3000][int(rng.integers(5))]
        elif key in ("format", "dtype"):
            metadata[key] = str(ODD[int(rng.integers(len(ODD)))])
        else:
            metadata[key] = json.dumps(changed_json(rng, json.loads(metadata[key])))
        metadata = {name: text.encode("utf-8", "replace").decode() for name, text in metadata.items()}
    write_tensors(path, arrays, metadata)
    return path.read_bytes()


# What reads the files. Each returns if the file is read, and raises if it is refused.


def a_net() -> pn.Layer:
    relu = pn.ReLU()
    return pn.Sequential(
        pn.Linear(4, 5), pn.BatchNorm(5), relu, pn.Dropout(0.3), pn.Linear(5, 5), relu, pn.Linear(5, 3)
    )


X = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
Y = np.arange(9) % 3


def spread(prediction: Any, target: Any) -> float:
    """Return a metric that needs the predictions of all batches."""
    return float(np.std(prediction))


spread.needs_all = True  # type: ignore[attr-defined]


def a_trainer() -> pn.Trainer:
    net = a_net().initialize(seed=2)
    net[4].freeze()  # type: ignore[index]
    optimizer = pn.Adam(0.02, weight_decay=0.1)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), optimizer, metrics=["accuracy", spread], seed=5)
    trainer.fit(X, Y, epochs=1, progress=False)
    return trainer


def the_callbacks(folder: Path) -> list[pn.Callback]:
    return [
        pn.LearningRateScheduler(pn.schedules.CosineDecay(0.02, 9)),
        pn.EarlyStopping("loss", patience=2),
        pn.CSVLogger(folder / "log.csv"),
    ]


class Stop(BaseException):
    """Ends a run."""


class SavesAndStops(pn.Callback):
    run_last = True

    def __init__(self, path: Path):
        self.path = path

    def on_train_batch_end(self, trainer: Any) -> None:
        if trainer.steps == 4:  # within the second epoch; the first step is that of a_trainer
            trainer.save(self.path)
            raise Stop


def bits(trainer: pn.Trainer) -> dict[str, Any]:
    """Return all that a refused file must not change."""
    arrays = {**trainer.net.get_weights(), **trainer.optimizer.state}
    return {
        "arrays": {name: values.tobytes() for name, values in arrays.items()},
        "optimizer": repr(trainer.optimizer),
        "lr": (trainer.optimizer.lr, float(trainer.optimizer.lr_array)),
        "steps": trainer.steps,
        "history": repr(trainer.history.epochs),
        "frozen": trainer.net.topology.frozen,
        "shuffle": repr(trainer._shuffle.bit_generator.state),
    }


def network(folder: Path) -> Case:
    a_net().initialize(seed=1).save(folder / "net")
    content = (folder / "net").read_bytes()

    def load(path: Path) -> None:
        pn.load(path)

    return lambda rng: safetensors(rng, content, folder), load


def onnx_model(folder: Path) -> Case:
    onnx = pytest.importorskip("onnx", reason="onnx reads the file")
    from tests.onnx.hostile import a_graph, a_model, changed_model

    models = a_model(), a_graph()
    contents = [model.SerializeToString() for model in models]

    def make(rng: np.random.Generator) -> bytes:
        i = int(rng.integers(2))
        model, content = models[i], contents[i]
        if rng.random() < 0.3:
            return changed_bytes(rng, content)
        return changed_model(rng, model).SerializeToString()

    def load(path: Path) -> None:
        pn.onnx.load(path)

    assert onnx
    return make, load


def table_network(folder: Path) -> Case:
    pd = pytest.importorskip("pandas", reason="pandas makes the table")
    pytest.importorskip("sklearn", reason="scikit-learn encodes the table")
    from portanet.table.columns import fit_column
    from portanet.table.model import TableNet
    from portanet.table.targets import ClassTarget

    table = pd.DataFrame({"age": ["1", None, "3"], "port": ["a", "b", "c"], "day": ["2024-01-01"] * 2 + ["2024-01-03"]})
    columns = [fit_column(table[name]) for name in table]
    scores = {"accuracy": 0.5, "f1_macro": 0.5}
    training = {
        **{"data": "x.csv", "epochs": 3, "best_epoch": 2, "seed": 0, "versions": {"portanet": "1"}},
        **{"rows": dict.fromkeys(["training", "validation", "test", "without_target"], 3)},
        **{"scores": scores, "baseline": scores},
    }
    net = pn.Linear(6, 3).initialize()
    content = TableNet(net, columns, ClassTarget("y", ["u", "v", 3]), training).to_bytes()

    def read(path: Path) -> None:
        model = TableNet.load(path)
        lines = [
            model.summary(),
            model.origin(),
            model.verdict(),
            *map(str, model.score_rows()),
            model.target.describe(),
        ]
        "".join([*lines, *(column.describe() for column in model.columns)]).encode()
        if {column.name for column in model.encoder.columns} <= {*table}:
            with suppress(ValueError):  # the cells may not fit columns of other kinds
                model.target.frame(model.predict(table))

    return lambda rng: safetensors(rng, content, folder), read


def checkpoint(folder: Path, resumes: bool) -> Case:
    path = folder / "run"
    calls = [*the_callbacks(folder), SavesAndStops(path)]
    with pytest.raises(Stop):
        a_trainer().fit(X, Y, epochs=3, batch_size=4, callbacks=calls, progress=False)
    content, trainer, logged = path.read_bytes(), a_trainer(), b"epoch,loss\r\n1,0.5\r\n"
    before = bits(trainer)

    def read(path: Path) -> None:
        nonlocal trainer
        unchanged = False
        (folder / "log.csv").write_bytes(logged)
        try:
            if resumes:
                trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=the_callbacks(folder), resume=path, progress=False)
            else:
                trainer.load(path)
                trainer.fit(X, Y, epochs=1, progress=False)
        except pn.Diverged:  # by settings that the file is free to choose
            pass
        except pn.FileFormatError:
            assert bits(trainer) == before
            assert (folder / "log.csv").read_bytes() == logged
            unchanged = True
            raise
        finally:
            trainer = trainer if unchanged else a_trainer()

    return lambda rng: safetensors(rng, content, folder), read


def idx_file(folder: Path) -> Case:
    values = np.arange(60, dtype="uint8").reshape(5, 4, 3)
    content = struct.pack(">4I", 2051, 5, 4, 3) + values.tobytes()
    return dataset(content, values, idx.decode, len(content))


def usps_file(folder: Path) -> Case:
    table = np.round(np.random.default_rng(0).uniform(-1, 1, (5, 9)), 3)
    table[:, 0] = range(5)
    content = "".join(" ".join(f"{value:.4f}" for value in row) + " \n" for row in table).encode()
    return dataset(content, np.rint(1000 * table).astype("<i2"), usps.decode, 16 * 45)


def dataset(content: bytes, values: np.ndarray, decode: fetch.Decoder, max_bytes: int) -> Case:
    file = fetch.File("x.gz", values.shape, hashlib.sha256(values.tobytes()).hexdigest())
    source = fetch.Source("x", idx.read_idx, tuple("0123456789"))

    def make(rng: np.random.Generator) -> bytes:
        match int(rng.integers(4)):
            case 0:
                return changed_bytes(rng, content)
            case 1:
                return changed_bytes(rng, gzip.compress(content))
            case 2:
                return gzip.compress(changed_bytes(rng, content))
            case _:
                return gzip.compress(content + bytes(int(rng.integers(10**5))))

    def read(path: Path) -> None:
        named = path.with_suffix(".gz" if path.read_bytes()[:2] == b"\x1f\x8b" else ".txt")
        path.replace(named)
        try:
            array = fetch._verified(named, source, file, decode, max_bytes)
        except pn.FileFormatError as error:
            raise pn.FileFormatError(path, error.fault) from error
        assert hashlib.sha256(array.tobytes()).hexdigest() == file.sha256

    return make, read


def log(folder: Path) -> Case:
    content = b"epoch,loss,accuracy,lr\r\n1,0.5,0.25,0.1\r\n2,0.4,,0.1\r\n3,nan,1e-3,\r\n"
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1))
    one, accepted = np.ones((1, 1), "float32"), count()

    def read(path: Path) -> None:
        if _read_log(path) and next(accepted) % 8 == 0:  # what is read can be written
            trainer.fit(one, one, callbacks=pn.CSVLogger(path, append=True), progress=False)

    return lambda rng: changed_bytes(rng, content), read


def figures(run: Run) -> dict[str, float]:
    return {"share": 0.5, "loss": 0.1}


class Studied(Experiment):
    def code(self) -> str:  # of a file of this length, it takes long
        return "code"


STUDIED = Studied("claim", "nobody", "nothing", "what", "none", {}, figures)


def record(folder: Path) -> Case:
    study = Study(STUDIED, "cpu", folder / "claim")
    study.measure(0)
    content = json.loads((folder / "claim" / "seed-0.json").read_bytes())

    def read(path: Path) -> None:
        path.replace(study.folder / "seed-1.json")
        faults = study.faults()
        study.finished(), study.changed(), study.occupied(), study.summarise()
        if faults:
            raise pn.FileFormatError(path, faults[0])

    return json_file(content | {"seed": 1}), read


def result(folder: Path) -> Case:
    study = Study(STUDIED, "cpu", folder / "claim")
    study.measure(0)
    study.summarise()
    content = json.loads((folder / "claim" / "result.json").read_bytes())

    def read(path: Path) -> None:
        path.replace(folder / "claim" / "result.json")
        pairs, faults = experiments_report.read([STUDIED], folder)
        if pairs:
            experiments_report.write([STUDIED], pairs, "results").encode()
        if faults:
            raise pn.FileFormatError(path, faults[0])

    return json_file(content), read


def bench_file(content: dict[str, Any]) -> Callable[[Path], Case]:
    def case(folder: Path) -> Case:
        def read(path: Path) -> None:
            path.replace(folder / f"{content['kind']}-x.json")
            try:
                bench_report.report(folder, folder / "RESULTS.md").encode()
            except CommandError as error:
                raise pn.FileFormatError(path, str(error)) from error
            except pn.FileFormatError as error:
                raise pn.FileFormatError(path, error.fault) from error

        return json_file(content), read

    return case


def json_file(content: dict[str, Any]) -> Callable[[np.random.Generator], bytes]:
    def make(rng: np.random.Generator) -> bytes:
        if rng.random() < 0.3:
            return changed_bytes(rng, json.dumps(content).encode())
        return json.dumps(changed_json(rng, content)).encode()

    return make


KINDS: dict[str, tuple[Callable[[Path], Case], int, int]] = {
    "network": (network, 300, 15_000),
    "onnx": (onnx_model, 300, 15_000),
    "table": (table_network, 300, 10_000),
    "checkpoint loaded": (lambda folder: checkpoint(folder, False), 120, 10_000),
    "checkpoint resumed": (lambda folder: checkpoint(folder, True), 120, 10_000),
    "idx": (idx_file, 1000, 15_000),
    "usps": (usps_file, 1000, 15_000),
    "log": (log, 1000, 15_000),
    "record": (record, 150, 10_000),
    "result": (result, 300, 10_000),
    "peers": (bench_file(PEERS), 300, 5_000),
    "suite": (bench_file(SUITE), 300, 5_000),
}
"""Each kind of file with the number of cases of the short form and of the job."""


def fault_of(read: Read, path: Path) -> str:
    """Read a file; return the message of the error that refuses it, or nothing."""
    try:
        read(path)
    except (pn.FileFormatError, OSError) as error:
        return str(error)
    return ""


def try_cases(folder: Path, kind: str, n: int, seed: int) -> tuple[int, int]:
    """Read ``n`` changed files; return how many were read, and how many refused."""
    rng, refused, path = np.random.default_rng(seed), 0, folder / "hostile"
    make, read = KINDS[kind][0](folder)
    for i in range(n):
        content, which = make(rng), f"case {i} of {kind}, seed {seed}"
        path.write_bytes(content)
        if i % 4 == 0:
            tracemalloc.start()
        begin = process_time()
        try:
            fault = fault_of(read, path)
        except Exception as error:
            raise AssertionError(f"{which}: {type(error).__name__}: {error!s:.300}") from error
        assert process_time() - begin < SECONDS, which
        if i % 4 == 0:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MEMORY + 50 * len(content), which
        assert not fault or (str(path) in fault and "\n" not in fault and len(fault) < 1500), f"{which}: {fault}"
        refused += bool(fault)
    return n - refused, refused


@pytest.mark.filterwarnings("ignore")  # of networks and settings that a file is free to choose
@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_are_read_or_named(tmp_path: Path, kind: str) -> None:
    read, refused = try_cases(tmp_path, kind, KINDS[kind][1], seed=0)
    assert read + refused == KINDS[kind][1]
    assert refused > read / 20


@pytest.mark.job
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_many_changed_files_are_read_or_named(tmp_path: Path, kind: str) -> None:
    read, refused = try_cases(tmp_path, kind, KINDS[kind][2], seed=1)
    print(f"\n{kind}: {read} read, {refused} refused")
    assert read + refused == KINDS[kind][2]


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@SETTINGS
@given(VALUES)
def test_any_json_is_compared_with_a_schema(value: Any) -> None:
    schema: Any = {"a": int | float, ...: [{"b": str, ...: bool | None}]}
    assert "\n" not in first_mismatch(parse_json(json.dumps(value)), schema)
    assert "\n" not in first_mismatch({"a": 1, "c": [{"b": "", "d": value}, value]}, schema)


@SETTINGS
@given(st.binary(max_size=200) | st.text('epoch,loss\r\n0123456789."\0', max_size=200).map(str.encode))
def test_any_bytes_are_a_log_or_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    assert str(path) in (fault_of(_read_log, path) or str(path))


@SETTINGS
@given(st.binary(max_size=200) | st.text("0123456789.- \r\n\teENanif", max_size=200).map(str.encode))
def test_any_bytes_are_a_data_set_or_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    source = fetch.Source("x", idx.read_idx, tuple("0123456789"))
    for decode, shape in ((idx.decode, (2, 3)), (usps.decode, (2, 3)), (idx.decode, (3,))):
        file = fetch.File("x", shape, "0" * 64)
        assert str(path) in fault_of(lambda path: fetch._verified(path, source, file, decode, 100), path)  # noqa: B023


@SETTINGS
@given(VALUES)
def test_any_json_is_a_record_or_none(tmp_path: Path, value: Any) -> None:
    study = Study(STUDIED, "cpu", tmp_path / "claim")
    study.folder.mkdir(exist_ok=True)
    (study.folder / "seed-1.json").write_text(json.dumps(value))
    assert len(study.faults()) == 1
    assert study.summarise() is None
