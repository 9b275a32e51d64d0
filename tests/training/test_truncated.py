"""Truncated back-propagation through time: long sequences part by part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.distributed import run_threads

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 10, 3)), RNG.normal(size=(6, 10, 2))
KINDS = [pn.RNN, pn.GRU, pn.LSTM]


def net(kind: Any = pn.LSTM) -> pn.Sequential:
    recurrent = (kind(n, 5, return_sequences=True) for n in (3, 5))
    return pn.Sequential(*recurrent, pn.Linear(5, 2))


def trainer(layer: pn.Layer | None = None, device: Any = None, **options: Any) -> pn.Trainer:
    made = (net() if layer is None else layer).initialize(seed=1, device=device, dtype="float64")
    return pn.Trainer(made, pn.MSELoss(), pn.SGD(0.1, momentum=0.9), communicator=None, **options)


def weights(of: pn.Trainer) -> np.ndarray:
    return np.array(of.backend.to_numpy(of.net.flat.data))


def fit(of: pn.Trainer, **options: Any) -> pn.History:
    return of.fit(X, Y, **{"epochs": 2, "batch_size": 4, "progress": False, "truncated_bptt_steps": 4} | options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_goes_on_with_the_state_of_the_one_before(backend: Backend, kind: Any) -> None:
    """The same by hand: layers that take and return states, whose gradients are dropped between the parts."""
    run = trainer(net(kind), backend)
    history = fit(run, epochs=1, batch_size=6, shuffle=False)
    hand = pn.Sequential(*(kind(n, 5, return_sequences=True, return_state=True) for n in (3, 5)), pn.Linear(5, 2))
    hand.initialize(seed=1, device=backend, dtype="float64")
    one, two, last = hand
    optimizer = pn.SGD(0.1, momentum=0.9).bind(hand)
    states = [[backend.asarray(np.zeros((6, 5)))] * kind.n_states for _ in range(2)]
    losses = []
    for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
        x, y = backend.asarray(X[:, part]), backend.asarray(Y[:, part])
        (h, *states[0]), pull_one = one.vjp((x, *states[0]))
        (h, *states[1]), pull_two = two.vjp((h, *states[1]))
        prediction, pull_last = last.vjp(h)
        value, pull_loss = pn.MSELoss().vjp(prediction, y)
        losses.append(float(value))
        hand.zero_grad()
        nothing = [0 * state for state in states[0]]
        dh, *_ = pull_two((pull_last(pull_loss()), *nothing))
        pull_one((dh, *nothing))
        optimizer.step()
    np.testing.assert_allclose(weights(run), backend.to_numpy(hand.flat.data), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(history["loss"], np.average(losses, weights=[4, 4, 2]), rtol=1e-12)
    assert run.steps == 3


def test_one_part_is_the_whole_sequence() -> None:
    whole, part = trainer(), trainer()
    assert fit(whole, truncated_bptt_steps=None)["loss"] == pytest.approx(fit(part, truncated_bptt_steps=10)["loss"])
    np.testing.assert_allclose(weights(whole), weights(part), rtol=1e-12)
    longer = trainer()
    fit(longer, truncated_bptt_steps=99)
    np.testing.assert_array_equal(weights(longer), weights(part))


def test_sample_weights_count_for_each_part() -> None:
    weighted, without = trainer(), trainer()
    given = np.asarray([1.0, 1, 1, 1, 0, 0])
    fit(weighted, sample_weight=given, batch_size=6, shuffle=False)
    without.fit(*(X[:4], Y[:4]), epochs=2, batch_size=4, shuffle=False, truncated_bptt_steps=4, progress=False)
    np.testing.assert_allclose(weights(weighted), weights(without), rtol=1e-9)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_checkpoint_between_two_parts_goes_on_bit_by_bit(tmp_path: Path, step: int) -> None:
    class Saves(pn.Callback):
        def on_train_batch_end(self, training: Any) -> None:
            if training.steps == step:
                training.save(tmp_path / "between.safetensors")

    whole, resumed = trainer(), trainer()
    history = fit(whole, callbacks=[Saves()])
    assert fit(resumed, resume=tmp_path / "between.safetensors") == history
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_tokens_and_metrics() -> None:
    ids = RNG.integers(0, 7, (6, 11))
    model = pn.Sequential(pn.Embedding(7, 8), pn.GRU(8, 8, return_sequences=True), pn.Linear(8, 7))
    run = pn.Trainer(model, pn.CrossEntropyLoss(), pn.Adam(0.01), metrics="accuracy", communicator=None)
    history = run.fit(
        *(ids[:, :-1], ids[:, 1:]),
        epochs=150,
        batch_size=6,
        truncated_bptt_steps=5,
        progress=False,
        validation_data=(ids[:, :-1], ids[:, 1:]),
    )
    assert history["accuracy"][-1] > 0.9
    assert history["val_accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (net(), {"y": Y[:, :9]}, r"needs x \(N, T, ...\) and y \(N, T, ...\), got|do not fit"),
        (pn.Sequential(pn.GRU(3, 2)), {"y": Y[:, 0]}, r"needs x \(N, T, ...\) and y \(N, T, ...\), got"),
        (pn.Bidirectional(pn.GRU(3, 1, return_sequences=True)), {}, "layer '1' needs the whole"),
        (pn.Sequential(pn.Conv1D(3, 2, 3, padding="same")), {}, "layer '0' needs the whole"),
        (pn.GRU(3, 2, return_sequences=True, go_backwards=True), {}, "layer '' needs the whole"),
        (
            pn.Sequential(pn.Linear(3, 2), pn.TransformerBlock(2, 1)),
            {},
            "layer '1.attention.branch.1' needs",
        ),
        (net(), {"truncated_bptt_steps": 0}, "truncated_bptt_steps must be a whole number"),
    ],
)
def test_what_cannot_be_divided_is_refused(layer: pn.Layer, options: dict[str, Any], message: str) -> None:
    run = trainer(layer)
    before, y = weights(run), options.pop("y", Y)
    with pytest.raises(ValueError, match=message):
        run.fit(X, y, **{"truncated_bptt_steps": 4, "progress": False} | options)
    np.testing.assert_array_equal(weights(run), before)


def test_metrics_ranks_reused_layers_and_iterables_are_refused() -> None:
    with pytest.raises(ValueError, match="metric 'r2_score' needs all predictions"):
        fit(trainer(metrics="r2_score"))
    with pytest.raises(ValueError, match="needs arrays, but x is an iterable"):
        trainer().fit([(X, Y)], truncated_bptt_steps=4)
    same = pn.GRU(3, 3, return_sequences=True)
    with pytest.raises(ValueError, match="layers that are used once"):
        fit(trainer(pn.Sequential(same, same, pn.Linear(3, 2))))

    def run(communicator: Any) -> None:
        made = net().initialize(dtype="float64")
        fit(pn.Trainer(made, pn.MSELoss(), pn.SGD(0.1), communicator=communicator))

    with pytest.raises(ValueError, match="in one process"):
        run_threads(run, 2)


@pytest.mark.parametrize("steps", [3, None])
def test_a_checkpoint_of_other_parts_is_refused(tmp_path: Path, steps: int | None) -> None:
    class Saves(pn.Callback):
        def on_train_batch_end(self, training: Any) -> None:
            if training.steps == 1:
                training.save(tmp_path / "first.safetensors")

    fit(trainer(), callbacks=[Saves()])
    resumed = trainer()
    before = weights(resumed)
    with pytest.raises(pn.FileFormatError, match="truncated_bptt_steps"):
        fit(resumed, resume=tmp_path / "first.safetensors", truncated_bptt_steps=steps)
    np.testing.assert_array_equal(weights(resumed), before)


def test_a_given_state_is_refused() -> None:
    made = pn.Graph((pn.GRU(3, 2, return_sequences=True), ("x", "h"), "y")).initialize(dtype="float64")
    run = pn.Trainer(made, pn.MSELoss(), pn.SGD(0.1), communicator=None)
    x = {"x": X, "h": np.zeros((6, 10))}
    with pytest.raises(ValueError, match=r"needs the whole|do not fit"):
        run.fit(x, Y, truncated_bptt_steps=4, progress=False)
