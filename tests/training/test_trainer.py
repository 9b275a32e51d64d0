import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend, get_backend
from portanet.training.callbacks import Training
from portanet.typing import Pullback

rng = np.random.default_rng(0)
X = rng.normal(size=(70, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype("int64") + (X[:, 2] > 1)


def a_trainer(
    device: Backend | str | None = None,
    *,
    seed: int = 0,
    dtype: str = "float32",
    optimizer: pn.Optimizer | None = None,
    loss: pn.Loss | None = None,
) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 16), pn.TanH(), pn.Dropout(0.1), pn.Linear(16, 3))
    net.initialize(seed, device=device, dtype=dtype)
    return pn.Trainer(net, loss or pn.CrossEntropyLoss(), optimizer or pn.Adam(0.01), metrics=[pn.accuracy], seed=seed)


def test_fit_learns_and_evaluate_agrees(backend: Backend) -> None:
    trainer = a_trainer(backend)
    history = trainer.fit(X, LABELS, epochs=30, batch_size=16, validation_data=(X, LABELS), progress=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    scores = trainer.evaluate(X, LABELS)
    assert scores == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}
    assert scores["accuracy"] == pytest.approx(np.mean(trainer.predict(X).argmax(axis=1) == LABELS))


def test_one_seed_trains_the_same_network_on_every_backend(backend: Backend) -> None:
    """Weights, order and dropout masks are equal, so that in float64 only the order of sums differs."""
    runs = []
    for device in (backend, get_backend("cpu")):
        trainer = a_trainer(device, dtype="float64")
        trainer.fit(X, LABELS, epochs=5, batch_size=16, progress=False)
        runs.append(trainer.net.get_weights())
    for name, values in runs[0].items():
        np.testing.assert_allclose(values, runs[1][name], rtol=1e-9, atol=1e-12)


def test_reruns_are_bit_equal(backend: Backend) -> None:
    def run() -> np.ndarray:
        trainer = a_trainer(backend)
        trainer.fit(X, LABELS, epochs=3, batch_size=16, progress=False)
        return np.array(backend.to_numpy(trainer.net.flat.data))

    np.testing.assert_array_equal(run(), run())


def test_float32_stays_near_float64() -> None:
    single, double = (
        a_trainer(dtype=dtype).fit(X, LABELS, epochs=10, progress=False)["loss"] for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_the_epoch_is_averaged_over_examples_not_over_batches() -> None:
    trainer = a_trainer(loss=pn.CrossEntropyLoss(), optimizer=pn.SGD(1e-12))
    assert isinstance(trainer.net, pn.Sequential)
    trainer.net.layers.pop(2)  # no dropout: the loss of training is the loss of inference
    trainer = pn.Trainer(trainer.net, trainer.loss, trainer.optimizer, metrics={"right": pn.accuracy})
    whole = trainer.evaluate(X, LABELS)
    row = trainer.fit(X, LABELS, batch_size=32, progress=False).epochs[0]
    assert row == pytest.approx(whole, rel=1e-5)
    trainer = pn.Trainer(trainer.net, pn.CrossEntropyLoss(reduction="sum"), pn.SGD(1e-12))
    assert trainer.fit(X, LABELS, batch_size=32, progress=False)["loss"] == [
        pytest.approx(70 * whole["loss"], rel=1e-5)
    ]


def test_each_epoch_uses_every_example_once_in_an_order_of_the_seed() -> None:
    class Watching(pn.Linear):
        def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
            seen.append(x[:, 0].copy())
            return super().vjp(x, train=train)

    def orders(seed: int, shuffle: bool = True) -> list[np.ndarray]:
        seen.clear()
        trainer = pn.Trainer(Watching(1, 1), pn.MSELoss(), pn.SGD(1e-9), seed=seed)
        numbers = np.arange(10.0).reshape(10, 1)
        trainer.fit(numbers, numbers, epochs=2, batch_size=3, shuffle=shuffle, progress=False)
        assert [len(batch) for batch in seen] == [3, 3, 3, 1] * 2
        return [np.concatenate(seen[:4]), np.concatenate(seen[4:])]

    seen: list[np.ndarray] = []
    first, second = orders(seed=0)
    assert sorted(first) == sorted(second) == list(range(10))
    assert (first != second).any()
    np.testing.assert_array_equal(orders(seed=0)[0], first)
    assert (orders(seed=1)[0] != first).any()
    np.testing.assert_array_equal(orders(seed=0, shuffle=False)[1], np.arange(10))


def test_a_step_reads_nothing_back(no_host_reads: Backend) -> None:
    trainer = a_trainer("strict")
    x, labels = trainer.net.asarray(X), trainer.net.asarray(LABELS)
    for _ in range(3):
        trainer.step(x, labels)


def test_restore_brings_back_all_that_training_changed(backend: Backend) -> None:
    trainer = a_trainer(backend)
    x, labels = trainer.net.asarray(X), trainer.net.asarray(LABELS)
    trainer.step(x, labels)
    before = trainer.snapshot()
    first = [float(trainer.step(x, labels)) for _ in range(3)]
    trainer.restore(before)
    assert [float(trainer.step(x, labels)) for _ in range(3)] == first


BAD = {
    "too few columns": (X[:, :3], LABELS, r"Linear\(4, 16\) needs x of shape \(N, \.\.\., 4\), got \(N, 3\)"),
    "one axis": (X[:, 0], LABELS, r"needs x of shape \(N, \.\.\., 4\)"),
    "integers": (
        X.astype("uint8"),
        LABELS,
        r"x has dtype .*uint8: begin the network with Rescale\(\)",
    ),
    "strings": (np.full((70, 4), "a"), LABELS, "x has dtype <U1: give numbers"),
    "ragged": (np.asarray([[1.0], [1.0, 2.0]], dtype=object), LABELS, "x has dtype object"),
    "a number": (3.0, LABELS, "x is a single number"),
    "NaN": (np.where(X > 2, np.nan, X), LABELS, "x holds NaN or infinity"),
    "infinity": (np.where(X > 2, np.inf, X), LABELS, "x holds NaN or infinity"),
    "empty": (X[:0], LABELS[:0], "x holds no examples"),
    "unequal": (X, LABELS[:-1], r"(validation )?y holds 69 examples and (validation )?x 70: give as many"),
    "label too large": (X, LABELS + 1, r"class indices must be in \[0, 3\); the target reaches from 1 to 3"),
    "label negative": (X, LABELS - 1, r"class indices must be in \[0, 3\)"),
    "float labels": (X, LABELS.astype("float32"), "class indices must be integers"),
    "wide target": (X, np.zeros((70, 2)), r"target must have shape \(70,\) or \(70, 3\)"),
    "NaN target": (X, np.full((70, 3), np.nan), "y holds NaN or infinity"),
    "no probabilities": (X, np.full((70, 3), 2.0), r"class probabilities must be in \[0, 1\]"),
}


@pytest.mark.parametrize(("x", "target", "message"), BAD.values(), ids=BAD)
def test_bad_data_get_one_clear_error_and_change_nothing(backend: Backend, x: Any, target: Any, message: str) -> None:
    trainer = a_trainer(backend)
    before = trainer.net.get_weights()
    for call in (
        lambda: trainer.fit(x, target, progress=False),
        lambda: trainer.evaluate(x, target),
        lambda: trainer.fit(X, LABELS, validation_data=(x, target), progress=False),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("setting", [{"batch_size": 0}, {"batch_size": 2.5}, {"epochs": 0}, {"epochs": -1}], ids=str)
def test_counts_must_be_whole_and_positive(setting: dict[str, Any]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value}"):
        a_trainer().fit(X, LABELS, **setting)


def test_data_of_another_device_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x is on .*device1.* but is needed on cpu"):
        a_trainer("cpu").fit(get_backend("strict").asarray(X), LABELS)


def test_a_failed_step_changes_no_weights() -> None:
    trainer = a_trainer()
    before = trainer.net.flat.data.copy()
    with pytest.raises(ValueError, match="target must have shape"):
        trainer.step(X.astype("float32"), LABELS[:3])
    np.testing.assert_array_equal(trainer.net.flat.data, before)


def test_a_loss_that_does_not_reduce_is_refused() -> None:
    with pytest.raises(ValueError, match="loss must reduce to one number"):
        pn.Trainer(pn.Linear(1, 1), pn.MSELoss(reduction="none"), pn.SGD())


def test_divergence_stops_at_the_step_and_keeps_the_last_finite_epoch(backend: Backend) -> None:
    class Exploding(pn.Callback):
        """Finite for two epochs, then far too fast."""

        def on_train_batch_begin(self, trainer: Training) -> None:
            if trainer.steps == 2 * 5 + 3:
                trainer.optimizer.lr = 1e38

        def on_epoch_end(self, trainer: Training, row: dict[str, float]) -> None:
            self.weights = trainer.net.get_weights()

    trainer, exploding = a_trainer(backend, loss=pn.MSELoss(), optimizer=pn.SGD(0.01)), Exploding()
    with pytest.raises(
        pn.Diverged, match=r"loss became (nan|inf) at step 5 of epoch 3.*smaller learning rate"
    ) as caught:
        trainer.fit(X, np.eye(3)[LABELS], epochs=9, batch_size=16, callbacks=[exploding], progress=False)
    assert len(caught.value.history.epochs) == len(trainer.history.epochs) == 2
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, exploding.weights[name])


def test_weights_that_become_infinite_in_the_last_step_count_as_divergence() -> None:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(1e38))
    before = trainer.net.get_weights()
    with pytest.raises(pn.Diverged, match="a weight was no longer finite after step 1, the last of epoch 1"):
        trainer.fit(np.full((4, 1), 1e3), np.zeros((4, 1)), batch_size=4, progress=False)
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], before["weight"])


def test_targets_outside_of_the_range_of_the_loss_are_refused() -> None:
    net = pn.Sequential(pn.Linear(4, 4), pn.Sigmoid())
    trainer = pn.Trainer(net, pn.BCELoss(), pn.SGD())
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\].*reaches from"):
        trainer.fit(X, X)


def test_without_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    a_trainer().fit(X, LABELS, epochs=2, batch_size=16)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "loss" in lines[0]


def test_on_a_terminal_progress_is_a_bar(tmp_path: Path) -> None:
    why = "terminals are tested where there are pseudo-terminals"
    pty, termios = (pytest.importorskip(name, reason=why) for name in ("pty", "termios"))
    code = (
        "import numpy as np, portanet as pn;"
        "pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1)).fit(np.ones((8, 1)), np.ones((8, 1)), epochs=3)"
    )
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 80))
    subprocess.run([sys.executable, "-c", code], stderr=follower, check=True, cwd=tmp_path)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    assert "3/3" in shown
    assert "epoch 3/3" in shown
    assert "step/s" in shown


@pytest.mark.parametrize(
    "metrics",
    [{"loss": pn.accuracy}, [pn.accuracy, pn.accuracy], [lambda p, t: p]],
    ids=["loss", "twice", "lambda"],
)
def test_a_metric_needs_a_name_of_its_own(metrics: dict[str, Any] | list[Callable[..., Any]]) -> None:
    with pytest.raises(ValueError, match=r"needs a name of its own.*give a mapping"):
        pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(), metrics=metrics)


def test_a_metric_that_does_not_fit_fails_before_training() -> None:
    net = pn.Linear(4, 1).initialize()
    trainer = pn.Trainer(net, pn.MSELoss(), pn.SGD(), metrics=[pn.accuracy])
    before = net.get_weights()["weight"]
    with pytest.raises(ValueError, match="use binary_accuracy for single outputs"):
        trainer.fit(X, X[:, :1], progress=False)
    np.testing.assert_array_equal(net.get_weights()["weight"], before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((pn.Linear, pn.MSELoss(), pn.SGD()), "net must be a layer, got"),
        ((pn.Linear(1, 1), pn.MSELoss, pn.SGD()), "loss must be a Loss object"),
        ((pn.Linear(1, 1), pn.MSELoss(), "adam"), "optimizer must be an Optimizer object, got 'adam'"),
    ],
)
def test_classes_and_names_are_refused_in_place_of_objects(arguments: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pn.Trainer(*arguments)


@pytest.mark.parametrize("n", [33, 65])
def test_a_single_example_that_is_left_over_does_not_stop_batch_norm(n: int) -> None:
    trainer = pn.Trainer(pn.Sequential(pn.Linear(4, 3), pn.BatchNorm(3)), pn.CrossEntropyLoss(), pn.SGD(0.1))
    history = trainer.fit(X[:n], LABELS[:n], batch_size=32, epochs=2, progress=False)
    assert len(history.epochs) == 2


def test_state_that_an_optimizer_makes_in_a_step_is_refused() -> None:
    class Late(pn.SGD):
        def update(self, xp: Any, data: Any, grad: Any, state: dict[str, Any], lr: Any) -> None:
            data -= lr * self.state.setdefault("late", grad * 1.0)

    trainer = pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), Late(0.1))
    before = trainer.snapshot()
    trainer.step(np.ones((3, 2), "float32"), np.ones((3, 1), "float32"))
    with pytest.raises(RuntimeError, match=r"an optimizer must make its state in new_state\(\)"):
        trainer.restore(before)


@pytest.mark.parametrize("value", [lambda p, t: p, lambda p, t: None])
def test_a_metric_that_gives_no_single_number_is_refused_before_training(value: Callable[..., Any]) -> None:
    trainer = pn.Trainer(pn.Linear(4, 3).initialize(), pn.CrossEntropyLoss(), pn.SGD(0.1), metrics={"m": value})
    before = trainer.net.get_weights()
    with pytest.raises(TypeError, match=r"metric 'm' must return a number or an array of shape \(\), got"):
        trainer.fit(X, LABELS, progress=False)
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_errors_can_be_pickled() -> None:
    diverged = pickle.loads(pickle.dumps(pn.Diverged("the loss became inf", pn.History())))
    assert str(diverged) == "the loss became inf"
    assert len(diverged.history) == 0
    memory = pn.OutOfMemory("cuda:0", 2**31, 2**30, "batch_size=10 fits")
    assert str(pickle.loads(pickle.dumps(memory))) == str(memory)


def test_the_step_of_an_optimizer_subclass_is_called() -> None:
    class Counting(pn.SGD):
        steps = 0

        def step(self) -> None:
            self.steps += 1
            super().step()

    optimizer = Counting(0.1)
    trainer = pn.Trainer(pn.Linear(4, 3), pn.CrossEntropyLoss(), optimizer)
    trainer.fit(X[:6], LABELS[:6], batch_size=2, progress=False)
    trainer.step(trainer.net.asarray(X[:2]), trainer.net.asarray(LABELS[:2]))
    assert optimizer.steps == 4


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        (np.ones(3, "int64"), None, "target must have shape"),
        (np.ones((4, 3), "float32"), None, "target must have shape"),
        (np.ones(4, "float32"), None, "class indices must be integers"),
        (np.ones(4, "int64"), np.ones(3, "float32"), "sample_weight must have shape"),
        ([[1.0]] * 3, None, "target must have shape"),
    ],
)
def test_a_step_that_is_refused_changes_nothing(y: Any, weights: Any, message: str) -> None:
    net = pn.Sequential(pn.Linear(2, 3), pn.BatchNorm(3), pn.Dropout(0.5), pn.Linear(3, 2)).initialize()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    before = net.get_weights()
    with pytest.raises(ValueError, match=message):
        trainer.step(np.ones((4, 2), "float32"), y, weights)
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_step_with_another_loss_is_refused_and_changes_nothing() -> None:
    net = pn.Sequential(pn.Linear(2, 3), pn.BatchNorm(3)).initialize()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    batch = np.ones((4, 2), "float32"), np.ones(4, "int64")
    trainer.step(*batch)
    trainer.loss, before = pn.MSELoss(), net.get_weights()
    with pytest.raises(ValueError, match="target must have shape"):
        trainer.step(*batch)
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_snapshot_of_another_network_is_refused() -> None:
    one, other = (pn.Trainer(pn.Linear(n, 1), pn.MSELoss(), pn.SGD(0.1)) for n in (2, 3))
    before = one.net.get_weights()
    with pytest.raises(ValueError, match="the snapshot is that of another network"):
        one.restore(other.snapshot())
    np.testing.assert_array_equal(one.net.get_weights()["weight"], before["weight"])


def test_a_reduction_that_was_changed_is_refused() -> None:
    loss = pn.MSELoss()
    trainer = pn.Trainer(pn.Linear(1, 1), loss, pn.SGD(0.1))
    loss.reduction = "none"
    with pytest.raises(ValueError, match="loss must reduce to one number"):
        trainer.fit(np.ones((2, 1)), np.ones((2, 1)), progress=False)


def test_an_optimizer_whose_state_overflows_diverged() -> None:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.Adam(0.1))
    with pytest.raises(pn.Diverged, match="the optimizer's square_sum was no longer finite"):
        trainer.fit(np.full((8, 1), 1e15, "float32"), np.ones((8, 1)), progress=False)


def test_load_is_a_method_of_a_trainer() -> None:
    with pytest.raises(TypeError, match=r"load needs a Trainer: write Trainer\(net, loss, optimizer\).load\('run'\)"):
        pn.Trainer.load("run")  # type: ignore[call-arg, arg-type]
