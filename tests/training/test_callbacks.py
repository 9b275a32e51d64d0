from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import portanet as pn
from portanet import schedules
from portanet.backends import Backend
from portanet.training import progress
from portanet.training.callbacks import Training

X, Y = np.ones((8, 1)), np.ones((8, 1))


class Scripted(pn.Callback):
    """Puts given numbers into the history, and remembers the weights of each epoch."""

    def __init__(self, *values: float):
        self.values = values
        self.weights: list[np.ndarray] = []
        self.rates: list[float] = []

    def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
        logs["score"] = self.values[len(trainer.history.epochs) - 1]
        self.weights.append(trainer.net.get_weights()["weight"].copy())
        self.rates.append(trainer.optimizer.lr)


def fit(*callbacks: pn.Callback, epochs: int = 10, batch_size: int = 4) -> pn.Trainer:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.01))
    trainer.fit(X, Y, epochs=epochs, batch_size=batch_size, callbacks=callbacks, progress=False)
    return trainer


def test_early_stopping_goes_back_to_the_best_weights() -> None:
    script = Scripted(5, 3, 4, 3, 4, 4, 4, 4, 4, 4)
    trainer = fit(script, pn.EarlyStopping("score", patience=3, mode="min"))
    assert len(trainer.history.epochs) == 5  # the best was the second, and three have passed since
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], script.weights[1])


def test_early_stopping_finds_the_mode_from_the_name() -> None:
    script = Scripted(0.1, 0.9, 0.2, 0.3, 0.3, 0, 0, 0, 0, 0)
    trainer = fit(script, pn.EarlyStopping("score", patience=2))
    assert len(trainer.history.epochs) == 4
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], script.weights[1])
    assert pn.EarlyStopping("val_loss")._sign() == 1


@pytest.mark.parametrize("callback", [pn.EarlyStopping, pn.ReduceLROnPlateau])
def test_a_name_that_tells_no_mode_needs_one(callback: Any) -> None:
    with pytest.raises(ValueError, match="monitor 'val_gain' may be better low or high: give mode='min' or mode='max'"):
        callback("val_gain")
    assert callback("val_acc")._sign() == callback("val_auc")._sign() == -1


def test_an_improvement_below_min_delta_does_not_count() -> None:
    trainer = fit(
        Scripted(5, 4.95, 4.94, 4.93, 4, 4, 4, 4, 4, 4),
        pn.EarlyStopping("score", patience=2, min_delta=0.1, mode="min"),
    )
    assert len(trainer.history.epochs) == 3


@pytest.mark.parametrize(
    "callback",
    [
        pn.EarlyStopping("los_acc"),
        pn.ReduceLROnPlateau("los", mode="min"),
        pn.ModelCheckpoint("best", monitor="los_acc"),
        pn.ModelCheckpoint("{los:.2f}"),
    ],
)
def test_a_callback_that_reads_what_nothing_records_is_refused_before_training(callback: pn.Callback) -> None:
    trainer = pn.Trainer(pn.Linear(2, 1).initialize(), pn.MSELoss(), pn.SGD(0.1))
    x, before = np.ones((4, 2)), trainer.snapshot()
    with pytest.raises(ValueError, match=r"needs 'los.*', which is not recorded: there are loss"):
        trainer.fit(x, x[:, :1], callbacks=[callback], progress=False)
    np.testing.assert_array_equal(trainer.snapshot()[0], before[0])


def test_a_callback_may_read_what_a_callback_of_ones_own_records() -> None:
    assert fit(Scripted(3, 2), pn.EarlyStopping("score"), epochs=2).history["score"] == [3, 2]
    assert fit(pn.ReduceLROnPlateau("lr", mode="min"), epochs=2).history["lr"]


@pytest.mark.parametrize(("per", "rates"), [("step", [0.5, 0.125]), ("epoch", [1.0, 0.5])])
def test_a_schedule_is_followed(per: Literal["step", "epoch"], rates: list[float]) -> None:
    script = Scripted(0, 0)
    trainer = fit(script, pn.LearningRateScheduler(schedules.ExponentialDecay(1.0, factor=0.5), per=per), epochs=2)
    assert script.rates == rates
    assert trainer.history["lr"] == rates


def test_a_plateau_lowers_the_learning_rate_to_min_lr() -> None:
    script = Scripted(3, 3, 3, 3, 3, 3, 2, 2, 2, 2)
    plateau = pn.ReduceLROnPlateau("score", factor=0.1, patience=2, min_lr=2e-4, mode="min")
    trainer = fit(script, plateau)
    np.testing.assert_allclose(trainer.history["lr"], [0.01, 0.01, 0.01, 0.001, 0.001, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4])


def test_on_train_end_is_called_after_a_failure() -> None:
    class Failing(pn.Callback):
        ended = False

        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            raise RuntimeError("no more")

        def on_train_end(self, trainer: Training) -> None:
            self.ended = True

    failing = Failing()
    with pytest.raises(RuntimeError, match="no more"):
        fit(failing)
    assert failing.ended


@pytest.mark.parametrize(
    "build",
    [
        lambda: pn.EarlyStopping(mode="up"),  # type: ignore[arg-type]
        lambda: pn.LearningRateScheduler(schedules.ConstantRate(1.0), per="batch"),  # type: ignore[arg-type]
        lambda: pn.ReduceLROnPlateau(factor=1.5),
    ],
)
def test_settings_are_checked(build: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()


@pytest.mark.parametrize("callback", [pn.EarlyStopping("val_loss"), pn.ReduceLROnPlateau("val_loss")])
def test_monitoring_missing_validation_data_is_refused_before_training(callback: pn.Callback) -> None:
    trainer = pn.Trainer(pn.Linear(2, 1).initialize(), pn.MSELoss(), pn.SGD(0.1))
    before = trainer.net.get_weights()["weight"]
    x = np.ones((4, 2))
    with pytest.raises(
        ValueError, match="needs 'val_loss', which is not recorded: there are loss; give fit validation_data="
    ):
        trainer.fit(x, x[:, :1], callbacks=[callback], progress=False)
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], before)


class Bar:
    """The part of tqdm that the progress bar uses."""

    def __init__(self, total: int, initial: int, unit: str):
        self.total, self.n = total, initial

    def update(self, steps: int) -> None:
        assert steps >= 0
        self.n += steps

    def write(self, text: str, file: Any) -> None:
        pass


def test_the_progress_bar_counts_steps_that_ran_at_once() -> None:
    trainer, call = pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), pn.SGD(0.1)), progress._Bar(Bar, epochs=1, steps=18)
    trainer.steps = 5
    call.on_train_begin(trainer)
    for steps in (6, 22, 23):
        trainer.steps = steps
        call.on_train_batch_end(trainer)
        assert call.bar.n == steps - 5


def test_the_progress_bar_of_a_resumed_run_begins_at_the_checkpoint_and_reaches_its_end() -> None:
    trainer, call = pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), pn.SGD(0.1)), progress._Bar(Bar, epochs=3, steps=10)
    trainer.steps = 5 + 10 + 4  # of an earlier fit, of a whole epoch, and of one that goes on
    trainer.history.append({"loss": 1.0})
    call.on_train_begin(trainer)
    assert (call.bar.n, call.bar.total) == (10, 30)
    for epoch in (2, 3):
        while trainer.steps < 5 + 10 * epoch:
            trainer.steps += 1
            call.on_train_batch_end(trainer)
        trainer.history.append({"loss": 1.0})
        call.on_epoch_end(trainer, {"loss": 1.0})
        assert call.bar.n == 10 * epoch


def test_what_another_callback_records_is_monitored() -> None:
    class Scores(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            logs["val_auc"] = 1.0

    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1))
    stop = pn.EarlyStopping("val_auc", mode="max", patience=2)
    assert len(trainer.fit(X, Y, epochs=9, callbacks=[Scores(), stop], progress=False)["val_auc"]) == 3


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_a_schedule_leaves_the_rate_of_before(per: Any) -> None:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.5))
    schedule = pn.LearningRateScheduler(pn.schedules.CosineDecay(0.1, steps=1), per=per)
    history = trainer.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=3, callbacks=schedule, progress=False)
    assert history["lr"][-1] == 0
    assert trainer.optimizer.lr == 0.5


def test_a_mode_that_is_changed_holds() -> None:
    stopping = pn.EarlyStopping("score", mode="min")
    stopping.mode = "max"
    script = Scripted(1, 3, 2)
    trainer = fit(script, stopping, epochs=3)
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], script.weights[1])


class Adds(pn.Callback):
    def __init__(self, name: Any, value: Any):
        self.name, self.value = name, value

    def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
        logs[self.name] = self.value


@pytest.mark.parametrize("value", ["0.5", None, [0.5], np.ones(2), 1j, True], ids=str)
def test_what_a_callback_logs_is_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"logs\['auc'\] must be a number, got "):
        fit(Adds("auc", value))


def test_what_a_callback_logs_has_a_name() -> None:
    with pytest.raises(ValueError, match=r"logs\[3\] must be under a string, got 0.5"):
        fit(Adds(3, 0.5))


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.asarray(0.5)], ids=repr)
def test_a_logged_number_of_another_library_becomes_a_python_number(value: Any) -> None:
    assert [type(number) for number in fit(Adds("auc", value), epochs=2).history["auc"]] == [float, float]


def test_two_callbacks_that_set_the_learning_rate_are_refused() -> None:
    rates = [pn.LearningRateScheduler(schedules.ConstantRate(0.1)), pn.ReduceLROnPlateau("loss")]
    with pytest.raises(ValueError, match="got LearningRateScheduler and ReduceLROnPlateau: give one of them"):
        fit(*rates)


class Weights(pn.Callback):
    """Remembers the weights after each step, and those of the ends of epochs."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.epochs: list[np.ndarray] = []

    def on_train_batch_begin(self, trainer: Training) -> None:
        pass

    def on_train_batch_end(self, trainer: Training) -> None:
        self.steps.append(self.values(trainer))

    def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
        self.epochs.append(self.values(trainer))

    def values(self, trainer: Training) -> np.ndarray:
        return np.concatenate([values.ravel() for values in trainer.net.get_weights().values()])


def averaged(averaging: pn.WeightAveraging, backend: Backend, epochs: int = 4) -> tuple[Weights, np.ndarray]:
    """The weights on the way, and those at the end of four epochs of three steps."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    net = pn.Sequential(pn.Linear(3, 4), pn.BatchNorm(4), pn.Linear(4, 2)).initialize(device=backend, dtype="float64")
    trainer, weights = pn.Trainer(net, pn.MSELoss(), pn.Adam(0.05)), Weights()
    trainer.fit(x, y, epochs=epochs, batch_size=4, callbacks=[weights, averaging], progress=False)
    return weights, weights.values(trainer)


@pytest.mark.parametrize("start_epoch", [0, 2])
def test_the_weights_at_the_end_are_the_mean_of_the_last_epochs(backend: Backend, start_epoch: int) -> None:
    weights, end = averaged(pn.WeightAveraging(start_epoch=start_epoch), backend)
    np.testing.assert_allclose(end, np.mean(weights.epochs[start_epoch:], axis=0), rtol=1e-12)


@pytest.mark.parametrize("start_epoch", [0, 2])
def test_the_weights_at_the_end_are_the_moving_average_over_steps(backend: Backend, start_epoch: int) -> None:
    weights, end = averaged(pn.WeightAveraging(0.75, start_epoch=start_epoch), backend)
    first, *others = weights.steps[3 * start_epoch :]
    assert len(others) == 11 - 3 * start_epoch
    expected = first
    for values in others:
        expected = 0.75 * expected + 0.25 * values
    np.testing.assert_allclose(end, expected, rtol=1e-12)


def test_a_decay_of_0_keeps_the_last_weights(backend: Backend) -> None:
    weights, end = averaged(pn.WeightAveraging(0.0), backend)
    np.testing.assert_allclose(end, weights.epochs[-1], rtol=1e-12)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_weights_stay_where_no_epoch_counts(backend: Backend, decay: float | None) -> None:
    weights, end = averaged(pn.WeightAveraging(decay, start_epoch=4), backend)
    np.testing.assert_array_equal(end, weights.epochs[-1])


@pytest.mark.parametrize("decay", [None, 0.9])
def test_weights_stay_where_training_fails_within_an_epoch(decay: float | None) -> None:
    class Failing(pn.Callback):
        def on_train_batch_begin(self, trainer: Training) -> None:
            if trainer.steps == 4:  # before the first step of the third epoch
                self.weights = trainer.net.get_weights()["weight"]
                raise RuntimeError("no more")

    failing, trainer = Failing(), pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.01))
    with pytest.raises(RuntimeError, match="no more"):
        trainer.fit(X, Y, epochs=9, batch_size=4, callbacks=[pn.WeightAveraging(decay), failing], progress=False)
    np.testing.assert_array_equal(trainer.net.get_weights()["weight"], failing.weights)


def test_training_that_diverges_leaves_the_last_finite_weights() -> None:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(1e20))
    before = trainer.net.get_weights()
    with pytest.raises(pn.Diverged):
        trainer.fit(X, 2 * Y, epochs=9, batch_size=4, callbacks=[pn.WeightAveraging(0.9)], progress=False)
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("other", [pn.EarlyStopping("loss"), pn.WeightAveraging(0.9)], ids=["stopping", "averaging"])
def test_two_callbacks_that_set_the_weights_at_the_end_are_refused(other: pn.Callback) -> None:
    with pytest.raises(ValueError, match=r"one that sets the weights at the end, got WeightAveraging and .*: give one"):
        fit(pn.WeightAveraging(), other)
    fit(pn.WeightAveraging(), pn.EarlyStopping("loss", restore_best_weights=False))
    fit(pn.EarlyStopping("loss"), pn.EarlyStopping("loss"))


def test_a_callback_that_refuses_to_begin_ends_those_that_have_begun() -> None:
    seen: list[str] = []

    class Records(pn.Callback):
        def on_train_begin(self, trainer: Any) -> None:
            seen.append("begin")

        def on_train_end(self, trainer: Any) -> None:
            seen.append("end")

    class Refuses(pn.Callback):
        def on_train_begin(self, trainer: Any) -> None:
            raise ValueError("no")

    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1))
    with pytest.raises(ValueError, match="no"):
        trainer.fit(np.ones((4, 1)), np.ones((4, 1)), callbacks=[Records(), Refuses(), Records()], progress=False)
    assert seen == ["begin", "end"]
