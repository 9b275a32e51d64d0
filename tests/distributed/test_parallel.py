"""Training by several ranks, which are threads here: the weights are those of one rank with the whole batches."""

import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.distributed import Communicator, RankFailed, run_threads

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(97, 6)), RNG.integers(0, 3, 97)
IMAGES = RNG.normal(size=(50, 8, 8, 2))
WEIGHTS = RNG.uniform(0.0, 2.0, 97)
WEIGHTS[::5] = 0.0


def dense(*extra: pn.Layer) -> pn.Layer:
    return pn.Sequential(pn.Linear(6, 16), *extra, pn.ReLU(), pn.Linear(16, 3))


def convolutions(*extra: pn.Layer) -> pn.Layer:
    return pn.Sequential(*extra, pn.Conv2D(4, 3), pn.BatchNorm(), pn.ReLU(), pn.GlobalAvgPool(), pn.Linear(3))


NETWORKS: dict[str, tuple[Callable[[], pn.Layer], np.ndarray]] = {
    "dense": (dense, X),
    "BatchNorm": (lambda: dense(pn.BatchNorm(16)), X),
    "BatchNorm, cumulative": (lambda: dense(pn.BatchNorm(16, momentum=None, affine=False)), X),
    "Dropout": (lambda: dense(pn.Dropout(0.3)), X),
    "GaussianNoise": (lambda: dense(pn.GaussianNoise(0.2)), X),
    "convolutions": (convolutions, IMAGES),
    "recurrent": (
        lambda: pn.Sequential(pn.Reshape(2, 3), pn.Bidirectional(pn.GRU(3, 4)), pn.Linear(8, 3)),
        X,
    ),
    "attention": (
        lambda: pn.Sequential(
            *(pn.Linear(6, 24), pn.Reshape(3, 8), pn.TransformerBlock(8, 2, dropout=0.3)),
            *(pn.Flatten(), pn.Linear(24, 3)),
        ),
        X,
    ),
    "SpatialDropout": (lambda: convolutions(pn.SpatialDropout(0.3)), IMAGES),
    "RandomFlip": (lambda: convolutions(pn.RandomFlip()), IMAGES),
    "RandomCrop": (lambda: convolutions(pn.RandomCrop(6, 6)), IMAGES),
    "RandomTranslation": (lambda: convolutions(pn.RandomTranslation(2)), IMAGES),
    "RandomRotation": (lambda: convolutions(pn.RandomRotation(20)), IMAGES),
}


def train(
    communicator: Communicator | None,
    batch_size: int,
    make: Callable[[], pn.Layer] = dense,
    x: np.ndarray = X,
    *,
    y: Any = None,
    loss: pn.Loss | None = None,
    optimizer: pn.optimizers.Optimizer | None = None,
    epochs: int = 4,
    metrics: Any = ("accuracy",),
    sync_batch_norm: bool = True,
    **fit: Any,
) -> pn.Trainer:
    net = make().build(x.shape[1:]).initialize(seed=1, dtype="float64")
    optimizer = copy.deepcopy(optimizer) or pn.SGD(0.05, momentum=0.9)
    trainer = pn.Trainer(
        net,
        copy.deepcopy(loss) or pn.CrossEntropyLoss(),
        optimizer,
        metrics=metrics,
        communicator=communicator,
        sync_batch_norm=sync_batch_norm,
    )
    trainer.fit(x, Y[: x.shape[0]] if y is None else y, epochs=epochs, batch_size=batch_size, progress=False, **fit)
    return trainer


def check_same(one: pn.Trainer, ranks: list[pn.Trainer], *, rtol: float = 1e-9) -> None:
    expected = one.net.get_weights()
    for trainer in ranks:
        for name, values in trainer.net.get_weights().items():
            np.testing.assert_allclose(values, expected[name], rtol=rtol, atol=1e-12, err_msg=name)
            np.testing.assert_array_equal(values, ranks[0].net.get_weights()[name], err_msg=name)
        assert trainer.history.epochs == ranks[0].history.epochs
        assert trainer.steps == one.steps
        for ours, theirs in zip(trainer.history.epochs, one.history.epochs, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)


def compare(size: int, batch_size: int, *args: Any, **options: Any) -> None:
    one = train(None, size * batch_size, *args, **options)
    check_same(one, run_threads(lambda ranks: train(ranks, batch_size, *args, **options), size))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_ranks_give_the_weights_of_one_rank_with_the_whole_batches(name: str, size: int) -> None:
    make, x = NETWORKS[name]
    compare(size, 12 // size, make, x)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": WEIGHTS},
        {"class_weight": [1.0, 3.0, 0.5]},
        {"loss": pn.CrossEntropyLoss(weight=(1.0, 3.0, 0.5))},
        {"loss": pn.CrossEntropyLoss(reduction="sum"), "optimizer": pn.SGD(1e-3)},
        {"loss": pn.CrossEntropyLoss(ignore_index=1)},
        {"loss": pn.MSELoss(), "y": RNG.normal(size=(97, 3)), "metrics": ["mse"]},
        {"optimizer": pn.SGD(0.1, clip_norm=0.05)},
        {"optimizer": pn.Adam(0.01, weight_decay=0.01)},
        {"optimizer": pn.AdamW(0.01)},
        {"shuffle": False},
        {"validation_data": (X[:40], Y[:40])},
        {"validation_split": 0.3},
        {"validation_data": (X[:1], Y[:1])},
        {"callbacks": [pn.LearningRateScheduler(pn.schedules.CosineDecay(0.1, 30))]},
    ],
    ids=lambda options: ", ".join(f"{name}" for name in options),
)
def test_weights_losses_clipping_and_validation_are_those_of_the_whole_batch(options: dict[str, Any]) -> None:
    compare(2, 6, **options)
    compare(3, 4, **options)


def test_a_batch_may_have_fewer_examples_than_there_are_ranks() -> None:
    compare(5, 2, lambda: dense(pn.BatchNorm(16), pn.Dropout(0.2)), X[:83])  # the last batch has 3


def test_metrics_of_all_predictions() -> None:
    metrics = {"mean_logit": lambda prediction, y: float(np.mean(prediction)), "hits": pn.accuracy}
    compare(3, 4, metrics=metrics, validation_data=(X[:40], Y[:40]))


def test_sparse_data() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    compare(2, 6, dense, sparse.csr_array(X * (X > 0)))


def test_every_rank_may_have_an_iterable_of_its_own() -> None:
    def parts(rank: int, size: int) -> Iterator[Any]:
        for begin in range(0, 96, 12):
            rows = slice(begin + rank * 12 // size, begin + (rank + 1) * 12 // size)
            yield X[rows], Y[rows]
        if rank == 0:
            yield X[:2], Y[:2]  # the others have ended: nobody takes it

    class Source:
        def __init__(self, rank: int, size: int):
            self.rank, self.size = rank, size

        def __iter__(self) -> Iterator[Any]:
            return parts(self.rank, self.size)

    def run(ranks: Communicator | None) -> pn.Trainer:
        trainer = pn.Trainer(
            dense(pn.BatchNorm(16), pn.Dropout(0.2)).initialize(seed=1, dtype="float64"),
            pn.CrossEntropyLoss(),
            pn.SGD(0.1),
            metrics=["accuracy"],
            communicator=ranks,
        )
        source = Source(ranks.rank, ranks.size) if ranks else [(X[i : i + 12], Y[i : i + 12]) for i in range(0, 96, 12)]
        trainer.fit(source, epochs=3, progress=False)
        return trainer

    check_same(run(None), run_threads(run, 3))


def test_statistics_of_parts_are_averaged_after_each_epoch() -> None:
    def run(ranks: Communicator) -> pn.Trainer:
        return train(ranks, 6, lambda: dense(pn.BatchNorm(16)), sync_batch_norm=False)

    first, second = run_threads(run, 2)
    for name, values in first.net.get_weights().items():
        np.testing.assert_array_equal(values, second.net.get_weights()[name])
    whole = train(None, 12, lambda: dense(pn.BatchNorm(16)))
    assert not np.allclose(first.net.get_weights()["0.weight"], whole.net.get_weights()["0.weight"], rtol=1e-9)


def test_ranks_begin_with_the_weights_of_rank_0() -> None:
    def run(ranks: Communicator) -> np.ndarray:
        net = dense().initialize(seed=ranks.rank)
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.0), communicator=ranks, seed=ranks.rank)
        trainer.fit(X, Y, progress=False)
        return net.get_weights()["0.weight"]

    first, second = run_threads(run, 2)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, dense().initialize(seed=0).get_weights()["0.weight"])


def test_different_data_are_refused_by_all() -> None:
    def run(ranks: Communicator) -> None:
        train(ranks, 6, dense, X[: 90 + ranks.rank])

    with pytest.raises(ValueError, match="ranks 0 and 1 have different data or settings: examples 90 and 91"):
        run_threads(run, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": [pn.EarlyStopping("loss")]}, r"callbacks \[\] and \['EarlyStopping'\]"),
        ({"sync_batch_norm": False}, "sync_batch_norm True and False"),
        ({"make": lambda: dense(pn.Dropout(0.1))}, r"net 'Sequential.* and 'Sequential"),
        ({"sample_weight": WEIGHTS}, "weights 'none' and 'given'"),
        ({"metrics": ()}, r"metrics \['loss', 'accuracy'\] and \['loss'\]"),
    ],
    ids=["callbacks", "sync_batch_norm", "net", "weights", "metrics"],
)
def test_different_settings_are_refused_by_all(options: dict[str, Any], message: str) -> None:
    def run(ranks: Communicator) -> None:
        train(ranks, 6, **(options if ranks.rank else {}))

    with pytest.raises(ValueError, match=rf"ranks 0 and 1 have different data or settings: {message}"):
        run_threads(run, 2)


def test_ranks_at_different_places_of_the_program_are_refused() -> None:
    def run(ranks: Communicator) -> None:
        if ranks.rank:
            ranks.barrier()
        else:
            train(ranks, 6)

    with pytest.raises(
        RuntimeError, match=r"the ranks call all_gather of nothing, at a barrier and .*: call the same on"
    ):
        run_threads(run, 2)


def test_clusters_of_different_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ranks 0 and 1 have different data or settings: x \(90, 6\) and \(91, 6\)"):
        run_threads(lambda ranks: pn.KMeans(2).fit(X[: 90 + ranks.rank], communicator=ranks), 2)
    with pytest.raises(ValueError, match=r"settings 'KMeans.2.' and 'KMeans.3.'"):
        run_threads(lambda ranks: pn.KMeans(2 + ranks.rank).fit(X, communicator=ranks), 2)
    with pytest.raises(ValueError, match="sample_weight 'none' and 'given'"):
        run_threads(
            lambda ranks: pn.KMeans(2).fit(X, sample_weight=WEIGHTS if ranks.rank else None, communicator=ranks), 2
        )


def test_early_stopping_and_divergence_are_decided_together() -> None:
    stop = pn.EarlyStopping("loss", patience=1, min_delta=10.0)
    trainers = run_threads(lambda ranks: train(ranks, 6, epochs=10, callbacks=[copy.deepcopy(stop)]), 3)
    assert {len(trainer.history.epochs) for trainer in trainers} == {2}

    def diverge(ranks: Communicator) -> type[Exception] | None:
        try:
            train(ranks, 6, optimizer=pn.SGD(1e200))
        except pn.Diverged as error:
            return type(error)
        return None

    assert run_threads(diverge, 3) == [pn.Diverged] * 3


def test_a_callback_that_stops_one_rank_stops_all() -> None:
    class StopRank1(pn.Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            if trainer.communicator.rank == 1 and len(trainer.history.epochs) == 2:
                trainer.stop()

    trainers = run_threads(lambda ranks: train(ranks, 6, epochs=10, callbacks=[StopRank1()]), 3)
    assert [len(trainer.history.epochs) for trainer in trainers] == [2, 2, 2]


def test_an_example_of_one_rank_that_overflows_is_seen_by_all() -> None:
    x = X.copy()
    x[-1] = 1e200  # of the last rank, without shuffling
    y = np.zeros((97, 3))

    def diverge(ranks: Communicator) -> str:
        with pytest.raises(pn.Diverged) as error:
            train(ranks, 33, x=x, y=y, loss=pn.MSELoss(), metrics=(), shuffle=False)
        return str(error.value)

    first, *others = run_threads(diverge, 3)
    assert "loss" in first
    assert others == [first, first]


def test_only_rank_0_writes(tmp_path: Path) -> None:
    def run(ranks: Communicator) -> None:
        folder = tmp_path / str(ranks.rank)
        folder.mkdir()
        calls = [
            pn.CSVLogger(folder / "log.csv"),
            pn.JSONLogger(folder / "log.jsonl"),
            pn.ModelCheckpoint(folder / "run-{epoch}.safetensors"),
        ]
        train(ranks, 6, callbacks=calls).save(folder / "trainer.safetensors")

    run_threads(run, 3)
    assert len(list((tmp_path / "0").iterdir())) >= 4
    assert not [*(tmp_path / "1").iterdir(), *(tmp_path / "2").iterdir()]


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 3), (3, 1), (1, 2)])
def test_a_checkpoint_goes_on_with_another_number_of_ranks(tmp_path: Path, before: int, after: int) -> None:
    make = lambda: dense(pn.BatchNorm(16), pn.Dropout(0.2))  # noqa: E731

    class Stop(Exception):
        pass

    class StopAfter(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            if trainer.steps == 13:  # within the second epoch
                trainer.save(tmp_path / "run")
                trainer.communicator.barrier()  # the error of one rank must not end the others before the file is there
                raise Stop

    def run(size: int, **options: Any) -> list[pn.Trainer]:
        return run_threads(lambda ranks: train(ranks, 12 // size, make, **options), size)

    with pytest.raises(Stop):
        run(before, callbacks=[StopAfter()])
    check_same(train(None, 12, make), run(after, resume=tmp_path / "run"))


def test_two_runs_have_the_same_bits() -> None:
    runs = [
        run_threads(lambda ranks: train(ranks, 4, lambda: dense(pn.BatchNorm(16), pn.Dropout(0.2))), 3)
        for _ in range(2)
    ]
    for name, values in runs[0][0].net.get_weights().items():
        np.testing.assert_array_equal(values, runs[1][0].net.get_weights()[name])


def test_the_error_of_a_rank_ends_all() -> None:
    seen: dict[int, BaseException] = {}

    class Fails(pn.Callback):
        def on_train_batch_begin(self, trainer: Any) -> None:
            if trainer.communicator.rank == 1 and trainer.steps == 5:
                raise OSError("the disk is full")

    def run(ranks: Communicator) -> None:
        try:
            train(ranks, 6, callbacks=[Fails()])
        except BaseException as error:
            seen[ranks.rank] = error
            raise

    with pytest.raises(OSError, match="the disk is full"):
        run_threads(run, 3)
    for rank in (0, 2):
        assert isinstance(seen[rank], RankFailed)
        assert "rank 1 failed with OSError: the disk is full: find its own message" in str(seen[rank])


def test_a_rank_that_does_not_answer_is_named() -> None:
    seen: dict[int, BaseException] = {}
    released = threading.Event()

    class Hangs(pn.Callback):
        def on_train_batch_begin(self, trainer: Any) -> None:
            if trainer.communicator.rank == 2 and trainer.steps == 5:
                released.wait()

    def run(ranks: Communicator) -> None:
        try:
            train(ranks, 6, callbacks=[Hangs()])
        except BaseException as error:
            seen[ranks.rank] = error
            released.set()
            raise

    with pytest.raises(RankFailed, match="rank 2 did not answer for 5 s"):
        run_threads(run, 3, timeout=5.0)
    assert {type(error) for error in seen.values()} == {RankFailed}


def test_a_rank_that_comes_too_late_gets_the_error_of_the_others() -> None:
    seen: dict[int, str] = {}
    given_up = threading.Event()

    def run(ranks: Communicator) -> None:
        if ranks.rank == 0:
            given_up.wait()
        try:
            ranks.barrier()
        except RankFailed as error:
            seen[ranks.rank] = str(error)
            given_up.set()
            raise

    with pytest.raises(RankFailed, match="rank 0 did not answer for 2 s"):
        run_threads(run, 3, timeout=2.0)
    assert len({*seen.values()}) == 1
    assert {*seen} == {0, 1, 2}


def test_without_a_launcher_nothing_changes() -> None:
    trainer = pn.Trainer(dense(), pn.CrossEntropyLoss(), pn.SGD(0.1))
    assert type(trainer.communicator) is pn.distributed.Local
    with pytest.raises(TypeError, match='communicator must be "auto", None or a Communicator, got 3'):
        pn.Trainer(dense(), pn.CrossEntropyLoss(), pn.SGD(0.1), communicator=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("size", [2, 3])
def test_k_means_gives_the_centres_of_one_rank(size: int, weights: np.ndarray | None) -> None:
    one = pn.KMeans(7, random_state=1).fit(X, sample_weight=weights)

    def fit(ranks: Communicator) -> pn.KMeans:
        return pn.KMeans(7, random_state=1).fit(X, sample_weight=weights, communicator=ranks)

    for model in run_threads(fit, size):
        np.testing.assert_allclose(model.cluster_centers_, one.cluster_centers_, rtol=1e-12)
        np.testing.assert_array_equal(model.labels_, one.labels_)
        assert model.n_iter_ == one.n_iter_
        assert model.inertia_ == pytest.approx(one.inertia_)


def test_an_empty_cluster_is_filled_alike_on_all_ranks() -> None:
    init = np.concatenate([X[:3], np.full((1, 6), 100.0)])  # nothing is near the last centre
    one = pn.KMeans(4, init=init).fit(X)
    for model in run_threads(lambda ranks: pn.KMeans(4, init=init).fit(X, communicator=ranks), 2):
        np.testing.assert_allclose(model.cluster_centers_, one.cluster_centers_, rtol=1e-12)


def test_a_rank_may_stop_all() -> None:
    class Stop(pn.Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            if trainer.communicator.rank == 1 and len(trainer.history.epochs) == 2:
                trainer.stop()

    trainers = run_threads(lambda ranks: train(ranks, 6, epochs=10, callbacks=[Stop()]), 3)
    assert [len(trainer.history.epochs) for trainer in trainers] == [2, 2, 2]


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"optimizer": pn.SGD(0.05, momentum=0.5)}, "optimizer 'SGD"),
        ({"loss": pn.CrossEntropyLoss(label_smoothing=0.1)}, "loss 'CrossEntropyLoss"),
        ({"validation_split": 0.1}, "examples 97 and 87"),
        ({"batch_size": 4}, "steps"),
        ({"sample_weight": WEIGHTS}, "weights 'none' and 'given'"),
    ],
    ids=str,
)
def test_settings_that_differ_are_refused_by_all(different: dict[str, Any], message: str) -> None:
    def run(ranks: Communicator) -> str:
        options: dict[str, Any] = {"batch_size": 6, **(different if ranks.rank == 1 else {})}
        with pytest.raises(ValueError, match="ranks 0 and 1 have different data or settings") as error:
            train(ranks, **options)
        return str(error.value)

    first, second = run_threads(run, 2)
    assert first == second
    assert message in first


def test_callbacks_begin_with_the_learning_rate_of_rank_0() -> None:
    def run(ranks: Communicator) -> float:
        net = dense().initialize(seed=1)
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1), communicator=ranks)
        if ranks.rank == 1:
            trainer.optimizer.lr = 0.5
        with pytest.raises(ValueError, match="optimizer"):
            trainer.fit(X, Y, progress=False)
        trainer.optimizer.lr = 0.1
        plateau = pn.ReduceLROnPlateau("loss", patience=0, min_delta=10.0)
        trainer.fit(X, Y, epochs=4, callbacks=[plateau], progress=False)
        return trainer.optimizer.lr

    first, second = run_threads(run, 2)
    assert first == second < 0.1


def own_metric(prediction: Any, y: Any) -> float:
    """A metric that is no mean over the examples."""
    return float(np.max(prediction))


@pytest.mark.parametrize("iterable", [False, True], ids=["arrays", "iterables"])
def test_a_run_resumes_within_an_epoch_with_metrics_of_all_predictions(tmp_path: Path, iterable: bool) -> None:
    class Stop(Exception):
        pass

    class StopAfter(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            if trainer.steps == 11:
                trainer.save(tmp_path / "run")
                trainer.communicator.barrier()
                raise Stop

    def run(ranks: Communicator, **options: Any) -> pn.Trainer:
        trainer = pn.Trainer(
            dense(pn.Dropout(0.2)).initialize(seed=1, dtype="float64"),
            pn.CrossEntropyLoss(),
            pn.SGD(0.1),
            metrics={"own": own_metric, "hits": pn.accuracy},
            communicator=ranks,
        )
        begin, end = ranks.rank * 12 // ranks.size, (ranks.rank + 1) * 12 // ranks.size
        parts = [(X[i + begin : i + end], Y[i + begin : i + end]) for i in range(0, 96, 12)]
        x, y = (parts, None) if iterable else (X[:96], Y[:96])
        settings: dict[str, Any] = {} if iterable else {"batch_size": 12 // ranks.size, "shuffle": False}
        trainer.fit(x, y, epochs=3, progress=False, **settings, **options)
        return trainer

    whole = run_threads(run, 2)
    check_same(run_threads(run, 1)[0], whole)
    with pytest.raises(Stop):
        run_threads(lambda ranks: run(ranks, callbacks=[StopAfter()]), 2)
    again = run_threads(lambda ranks: run(ranks, resume=tmp_path / "run"), 2)
    check_same(whole[0], again)


def test_k_means_draws_the_centres_of_rank_0() -> None:
    first, second = run_threads(lambda ranks: pn.KMeans(5, random_state=None).fit(X, communicator=ranks), 2)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


def test_a_single_step_of_several_ranks_is_refused() -> None:
    def run(ranks: Communicator) -> None:
        trainer = pn.Trainer(
            dense().initialize(dtype="float64"), pn.CrossEntropyLoss(), pn.SGD(0.1), communicator=ranks
        )
        with pytest.raises(RuntimeError, match="step trains in one process: call fit, or give the Trainer comm"):
            trainer.step(X, Y)

    run_threads(run, 2)
