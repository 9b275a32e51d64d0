"""Training with several inputs and outputs: dicts and tuples wherever one array may stand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.distributed import Communicator, run_threads

RNG = np.random.default_rng(0)
N = 30
USER, ITEM, IDS = RNG.normal(size=(N, 6)), RNG.normal(size=(N, 5)), RNG.integers(0, 4, N)
LABEL = RNG.integers(0, 3, N)
X, Y = {"user": USER, "item": ITEM, "id": IDS}, {"copy": USER, "label": LABEL}
METRICS = {"label": ["accuracy", "loss"], "copy": {"psnr": pn.psnr, "all": lambda p, t: np.abs(p - t).max()}}


def net() -> pn.Graph:
    return pn.Graph(
        (pn.Linear(6, 4), "user", "u"),
        (pn.Linear(5, 4), "item", "v"),
        (pn.Embedding(4, 4), "id", "w"),
        (pn.Add(), ("u", "v", "w"), "sum"),
        (pn.Sequential(pn.TanH(), pn.Linear(4, 6)), "sum", "copy"),
        (pn.Sequential(pn.Dropout(0.2), pn.Linear(4, 3)), "sum", "label"),
    )


def loss() -> pn.MultiOutputLoss:
    return pn.MultiOutputLoss({"copy": pn.MSELoss(), "label": pn.CrossEntropyLoss()}, weights={"label": 0.5})


def trainer(device: Any = None, communicator: Communicator | None = None, metrics: Any = METRICS) -> pn.Trainer:
    made = net().initialize(device=device, dtype="float64")
    return pn.Trainer(made, loss(), pn.Adam(), metrics=metrics, communicator=communicator)


def weights(of: pn.Trainer) -> np.ndarray:
    return np.array(of.backend.to_numpy(of.net.flat.data))


def fit(of: pn.Trainer, x: Any = X, y: Any = Y, **options: Any) -> pn.History:
    return of.fit(x, y, **{"epochs": 2, "batch_size": 8, "progress": False} | options)


def test_each_output_is_trained_and_reported(backend: Backend) -> None:
    run = trainer(backend, metrics={"label": ["accuracy", "loss"], "copy": "loss"})
    run.optimizer.lr = 0.03
    history = fit(run, epochs=60, validation_split=0.2, sample_weight=np.ones(N))
    names = "loss", "label_loss", "label_accuracy", "copy_loss"
    assert [*history] == [*names, *(f"val_{name}" for name in names)]
    assert history["label_accuracy"][-1] > 0.7
    assert history["copy_loss"][-1] < 0.7 * history["copy_loss"][0]
    scores = run.evaluate(X, Y, batch_size=7)
    np.testing.assert_allclose(scores["loss"], scores["copy_loss"] + 0.5 * scores["label_loss"], rtol=1e-12)
    assert {name: y.shape for name, y in run.predict(X).items()} == {"copy": (N, 6), "label": (N, 3)}


def test_dicts_tuples_iterables_and_data_on_the_host_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = trainer()
    fit(arrays, shuffle=False)
    tuples = trainer()
    fit(tuples, (USER, ITEM, IDS), shuffle=False)
    batches = [
        ({k: a[i : i + 8] for k, a in X.items()}, {k: a[i : i + 8] for k, a in Y.items()}) for i in range(0, N, 8)
    ]
    stream = trainer()
    fit(stream, batches, None)
    monkeypatch.setattr(Backend, "fits", lambda self, n_bytes: False)
    streamed = trainer()
    fit(streamed, shuffle=False)
    for other in (tuples, stream, streamed):
        np.testing.assert_array_equal(weights(other), weights(arrays))


def test_the_weights_are_the_same_on_every_backend(backend: Backend) -> None:
    here, there = trainer(backend, metrics={}), trainer("cpu", metrics={})
    for run in (here, there):
        fit(run)
    np.testing.assert_allclose(weights(here), weights(there), rtol=1e-9, atol=1e-12)


def test_a_checkpoint_within_an_epoch_goes_on_bit_by_bit(tmp_path: Path) -> None:
    class Saves(pn.Callback):
        def on_train_batch_end(self, training: Any) -> None:
            if training.steps == 6:
                training.save(tmp_path / "at-6.safetensors")

    whole = trainer()
    history = fit(whole, epochs=3, callbacks=[Saves()])
    resumed = trainer()
    assert fit(resumed, epochs=3, resume=tmp_path / "at-6.safetensors") == history
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_ranks_give_the_weights_of_one() -> None:
    one = trainer()
    history = fit(one, batch_size=9)

    def run(communicator: Communicator) -> tuple[np.ndarray, Any]:
        mine = trainer(communicator=communicator)
        return weights_of(mine, fit(mine, batch_size=3))

    def weights_of(of: pn.Trainer, history: pn.History) -> tuple[np.ndarray, Any]:
        return weights(of), history.epochs

    for values, epochs in run_threads(run, 3):
        np.testing.assert_allclose(values, weights(one), rtol=1e-9, atol=1e-12)
        for ours, theirs in zip(epochs, history.epochs, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-7)


def test_ranks_refuse_losses_that_weigh_their_terms() -> None:
    weighted = pn.MultiOutputLoss({"copy": pn.MSELoss(), "label": pn.CrossEntropyLoss(weight=(1, 2, 3))})

    def run(communicator: Communicator) -> None:
        made = net().initialize(dtype="float64")
        fit(pn.Trainer(made, weighted, pn.Adam(), communicator=communicator))

    with pytest.raises(ValueError, match="several ranks"):
        run_threads(run, 2)
    fit(pn.Trainer(net().initialize(dtype="float64"), weighted, pn.Adam()))


def test_a_step_takes_trees_and_refuses_other_shapes() -> None:
    run = trainer(metrics={})
    x, y = run.net.asarray(X), run.net.asarray(Y)
    first = float(run.step(x, y))
    assert [float(run.step(x, y)) for _ in range(20)][-1] < first
    before = weights(run)
    for bad_x, bad_y in (({**x, "user": x["item"]}, y), (x, {"copy": y["copy"]}), (x, {**y, "label": y["copy"]})):
        with pytest.raises(ValueError, match=r"needs x|must be a dict|must have shape"):
            run.step(bad_x, bad_y)
    np.testing.assert_array_equal(weights(run), before)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ({**X, "id": IDS + 2}, Y, {}, "ids in"),
        ({**X, "id": USER}, Y, {}, r"x\['id'\] has dtype float64, but Embedding"),
        ({**X, "user": IDS[:, None].repeat(6, 1)}, Y, {}, r"x\['user'\] has dtype int64"),
        ({**X, "item": np.full_like(ITEM, np.nan)}, Y, {}, r"x\['item'\] holds NaN"),
        ({**X, "item": ITEM[:3]}, Y, {}, "the arrays of x hold"),
        ({"user": USER}, Y, {}, "x must have the arrays user, item, id, got user"),
        (X, USER, {}, "must be a dict with the keys copy, label"),
        (X, {**Y, "copy": USER[:3]}, {}, r"y\['copy'\] holds 3 examples and x 30"),
        (X, {**Y, "label": LABEL + 1}, {}, "data do not fit"),
        (X, Y, {"class_weight": [1, 2, 3]}, "class_weight needs one target"),
        ({k: a[:0] for k, a in X.items()}, {k: a[:0] for k, a in Y.items()}, {}, "holds no examples"),
    ],
)
def test_unfit_data_are_refused_and_change_nothing(x: Any, y: Any, options: Any, message: str) -> None:
    run = trainer()
    before = weights(run)
    with pytest.raises(ValueError, match=message):
        fit(run, x, y, **options)
    np.testing.assert_array_equal(weights(run), before)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("accuracy", "metrics must be a dict with the names of outputs"),
        ({"other": "accuracy"}, "metrics names 'other', which is no output of the loss: choose among copy, label"),
        ({"label": "unknown"}, "metric 'unknown' is unknown"),
        ({"copy": "accuracy"}, "'accuracy' does not fit"),
    ],
)
def test_metrics_must_fit_the_outputs(metrics: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(metrics=metrics)


def test_a_tuple_of_outputs(backend: Backend) -> None:
    class Twice(pn.Layer):
        def __init__(self) -> None:
            self.first, self.second = pn.Linear(6, 2), pn.Linear(6, 3)

        def output_shape(self, shape: Any) -> Any:
            return self.first.output_shape(shape), self.second.output_shape(shape)

        def vjp(self, x: Any, *, train: bool = True) -> Any:
            (a, pull_a), (b, pull_b) = self.first.vjp(x, train=train), self.second.vjp(x, train=train)

            def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
                options = {"need_dx": need_dx, "need_grads": need_grads}
                da, db = pull_a(dy[0], **options), pull_b(dy[1], **options)
                return da + db if need_dx else None

            return (a, b), pullback

    pn.testing.check_gradients(Twice(), USER, device=backend)
    both = pn.MultiOutputLoss([pn.MSELoss(), pn.CrossEntropyLoss()])
    run = pn.Trainer(Twice().initialize(device=backend), both, pn.SGD(0.1), metrics={1: "accuracy"})
    history = fit(run, USER, (USER[:, :2], LABEL))
    assert [*history] == ["loss", "output1_accuracy"]
    assert [y.shape for y in run.predict(USER)] == [(N, 2), (N, 3)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_scores_do_not_depend_on_the_size_of_a_batch(reduction: Any) -> None:
    losses = {
        "copy": pn.MSELoss(reduction=reduction),
        "label": pn.CrossEntropyLoss(ignore_index=0, weight=(1, 2, 3), reduction=reduction),
    }
    metrics = {"copy": "loss", "label": ["loss", "accuracy"]}
    both = pn.MultiOutputLoss(losses, weights={"copy": 0.5})
    run = pn.Trainer(net().initialize(dtype="float64"), both, pn.Adam(), metrics=metrics, communicator=None)
    whole = run.evaluate(X, Y, batch_size=N)
    assert run.evaluate(X, Y, batch_size=7) == pytest.approx(whole, rel=1e-6)
    assert whole["loss"] == pytest.approx(0.5 * whole["copy_loss"] + whole["label_loss"])
    history = fit(run, epochs=1, batch_size=7)
    assert history["loss"][0] == pytest.approx(0.5 * history["copy_loss"][0] + history["label_loss"][0])


def test_batches_may_name_their_arrays_in_any_order_but_no_other_arrays() -> None:
    one, other = trainer(), trainer()
    parts = [slice(0, 15), slice(15, N)]
    fit(one, [({k: a[r] for k, a in X.items()}, {k: a[r] for k, a in Y.items()}) for r in parts], None)
    swapped = [
        ({k: X[k][r] for k in order}, {k: a[r] for k, a in Y.items()})
        for r, order in zip(parts, (X, [*X][::-1]), strict=True)
    ]
    fit(other, swapped, None)
    np.testing.assert_array_equal(weights(one), weights(other))
    with pytest.raises(ValueError, match="but the first batch"):
        fit(trainer(), [(X, Y), (X, Y, np.ones(N))], None)


def test_shuffled_batches_of_dicts() -> None:
    batches = pn.datasets.batches(X, Y, batch_size=8)
    first, second = next(iter(batches))
    assert {name: len(a) for name, a in {**first, **second}.items()} == dict.fromkeys([*X, *Y], 8)
    fit(trainer(), batches, None)


def test_a_tuple_of_targets_has_the_order_of_the_losses() -> None:
    by_name, by_order = trainer(), trainer()
    fit(by_name)
    fit(by_order, y=(Y["copy"], Y["label"]), epochs=2)
    np.testing.assert_array_equal(weights(by_name), weights(by_order))


def test_last_layers_that_do_not_fit_are_warned_of() -> None:
    made = pn.Graph(
        (pn.Linear(6, 3), "x", "h"), (pn.Softmax(), "h", "p"), (pn.Linear(6, 3), "x", "q"), outputs=("p", "q")
    )
    both = pn.MultiOutputLoss({"p": pn.CrossEntropyLoss(), "q": pn.CrossEntropyLoss()})
    with pytest.warns(UserWarning, match="leave out the last Softmax"):
        pn.Trainer(made, both, pn.SGD(0.1)).fit(USER, {"p": LABEL, "q": LABEL}, progress=False)


@pytest.mark.parametrize("outputs", ["p", ("p", "h")])
def test_one_loss_needs_one_output(outputs: Any) -> None:
    made = pn.Graph((pn.Linear(6, 3), "x", "h"), (pn.TanH(), "h", "p"), outputs=outputs)
    run = pn.Trainer(made, pn.MSELoss(), pn.SGD(0.1))
    if outputs == "p":
        run.fit(USER, np.ones((N, 3)), progress=False)
        return
    with pytest.raises(ValueError, match=r"use portanet\.MultiOutputLoss"):
        run.fit(USER, np.ones((N, 3)), progress=False)
    with pytest.raises(ValueError, match=r"y is a dict.*MultiOutputLoss takes several"):
        run.fit(USER, {"p": LABEL}, progress=False)


def test_names_of_metrics_are_not_taken_twice() -> None:
    made = pn.Graph((pn.Linear(6, 3), "x", "val"), (pn.Linear(6, 3), "x", "q"))
    both = pn.MultiOutputLoss({"val": pn.MSELoss(), "q": pn.MSELoss()})
    with pytest.raises(ValueError, match="which is taken"):
        pn.Trainer(made, both, pn.SGD(0.1), metrics={"val": "loss"})
    with pytest.raises(TypeError, match="must be names or functions"):
        pn.Trainer(made, both, pn.SGD(0.1), metrics={"q": 5})


def test_nets_of_several_inputs_that_cannot_lead_to_parameters_train() -> None:
    states = pn.Graph((pn.GRU(3, 4), ("x", "h"), "y"))
    x = {"x": RNG.normal(size=(N, 5, 3)), "h": RNG.normal(size=(N, 4))}
    run = pn.Trainer(states.initialize(dtype="float64"), pn.MSELoss(), pn.SGD(0.1))
    history = run.fit(x, np.zeros((N, 4)), epochs=3, progress=False)
    assert history["loss"][-1] < history["loss"][0]
