import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.kernels import special
from portanet.losses import elementwise
from tests.cases import LABELS, LOSSES, SHARES, X, concrete

COURSE_LOSSES: list[tuple[Any, np.ndarray, np.ndarray]] = [
    (pn.course.MSELoss, X, X[::-1]),
    (pn.course.BCE, SHARES, SHARES[::-1]),
    *((pn.course.CrossEntropy, SHARES, t) for t in (LABELS, SHARES[::-1])),
    *((pn.course.LogSoftmaxCrossEntropy, X, t) for t in (LABELS, SHARES[::-1])),
]
EXTREMES = np.asarray([[-1e4, 1e4, 0.0], [88.0, -88.0, 1e-30]])


@pytest.mark.parametrize(
    "loss",
    [
        *(pn.BCEWithLogitsLoss(), pn.BCEWithLogitsLoss(pos_weight=9.0), pn.CrossEntropyLoss(), pn.MultiMarginLoss()),
        *(pn.HuberLoss(), pn.SmoothL1Loss(), pn.L1Loss()),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_predictions_give_finite_values_and_gradients(backend: Backend, loss: pn.Loss, dtype: str) -> None:
    target = np.arange(2) if isinstance(loss, pn.MultiMarginLoss) else np.eye(3)[:2].astype(dtype)
    value, pullback = loss.vjp(backend.asarray(EXTREMES, dtype), backend.asarray(target))
    assert np.isfinite(float(value))
    assert np.isfinite(backend.to_numpy(pullback())).all()


@pytest.mark.parametrize("loss", [pn.BCELoss(), pn.course.CrossEntropy()], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_exactly_zero_and_one_give_finite_values_and_gradients(
    backend: Backend, loss: pn.Loss, dtype: str
) -> None:
    p = backend.asarray(np.asarray([[0.0, 1.0], [0.0, 1.0]]), dtype)
    value, pullback = loss.vjp(p, backend.asarray(np.asarray([[0.0, 1.0], [1.0, 0.0]]), dtype))
    gradient = backend.to_numpy(pullback())
    assert np.isfinite(float(value))
    assert np.isfinite(gradient).all()
    assert gradient[1, 0] < 0 <= gradient[1, 1]  # the wrong ones are pushed the right way


def test_softmax_cross_entropy_is_exact_where_softmax_saturates(backend: Backend) -> None:
    value = pn.CrossEntropyLoss()(backend.asarray(np.asarray([[1000.0, 0.0]])), backend.asarray(np.asarray([1])))
    assert float(value) == 1000.0


def test_class_indices_and_one_hot_rows_give_the_same_loss(backend: Backend) -> None:
    z = backend.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    labels = np.asarray([2, 0, 1, 1, 2])
    loss = pn.CrossEntropyLoss(label_smoothing=0.1)
    by_index, by_row = (float(loss(z, backend.asarray(t))) for t in (labels, np.eye(3)[labels]))
    assert by_index == pytest.approx(by_row, rel=1e-15)


def test_classes_are_on_the_last_of_many_axes(backend: Backend) -> None:
    z, labels = np.random.default_rng(0).normal(size=(2, 4, 3)), np.asarray([[0, 1, 2, 0], [1, 1, 2, 2]])
    grid = pn.CrossEntropyLoss().vjp(backend.asarray(z), backend.asarray(labels))
    flat = pn.CrossEntropyLoss().vjp(backend.asarray(z.reshape(8, 3)), backend.asarray(labels.reshape(8)))
    assert float(grid[0]) == pytest.approx(float(flat[0]), rel=1e-15)
    np.testing.assert_allclose(backend.to_numpy(grid[1]()).reshape(8, 3), backend.to_numpy(flat[1]()), rtol=1e-15)


@pytest.mark.parametrize(
    ("loss", "target", "message"),
    [
        (pn.MSELoss(), np.zeros((4, 1)), r"target must have shape \(4, 3\) to match the prediction \(4, 3\)"),
        (pn.MSELoss(), np.zeros(4), "target must have shape"),
        (pn.CrossEntropyLoss(), np.zeros(3, "int64"), r"target must have shape \(4,\) or \(4, 3\)"),
        (pn.course.CrossEntropy(), np.zeros((4, 2)), r"target must have shape \(4,\) or \(4, 3\)"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(loss: pn.Loss, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(np.zeros((4, 3)), target)


def test_a_target_on_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target is on .*device1.* but the prediction is on cpu"):
        pn.MSELoss()(np.zeros((2, 2)), pn.get_backend("strict").asarray(np.zeros((2, 2))))


@pytest.mark.parametrize(
    "build",
    [
        lambda: pn.MSELoss(reduction="average"),  # type: ignore[arg-type]
        lambda: pn.HuberLoss(0.0),
        lambda: pn.CrossEntropyLoss(label_smoothing=1.0),
        lambda: pn.SmoothL1Loss(0.0),
        lambda: pn.MultiMarginLoss(p=3),
        lambda: pn.GaussianNLLLoss(eps=0.0),
        lambda: pn.BCEWithLogitsLoss(pos_weight=-1.0),
        lambda: pn.CrossEntropyLoss(ignore_index=0.5),  # type: ignore[arg-type]
        lambda: pn.MSELoss(reduction="batchmean"),  # type: ignore[arg-type]
    ],
)
def test_settings_are_checked(build: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()


def test_there_is_one_weight_for_each_class() -> None:
    with pytest.raises(ValueError, match="weight has 2 numbers, the prediction 3 classes"):
        pn.CrossEntropyLoss(weight=[1, 2])(np.zeros((4, 3)), np.zeros(4, "int64"))


@pytest.mark.parametrize(("loss", "prediction", "target"), LOSSES, ids=[f"{loss!r}-{t.ndim}d" for loss, _, t in LOSSES])
def test_float32_is_within_a_few_roundings_of_float64(loss: pn.Loss, prediction: Any, target: Any) -> None:
    exact, rounded = (np.asarray(loss(prediction.astype(dtype), target)) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(rounded, exact, rtol=2e-5, atol=1e-5)


def test_a_logit_of_minus_infinity_adds_nothing(backend: Backend) -> None:
    z = backend.asarray(np.asarray([[0.0, -np.inf, 0.0]]))
    value, pullback = pn.CrossEntropyLoss().vjp(z, backend.asarray(np.asarray([0])))
    assert float(value) == pytest.approx(np.log(2))
    np.testing.assert_allclose(backend.to_numpy(pullback()), [[-0.5, 0.0, 0.5]])


def test_class_weights_are_checked() -> None:
    for weights in ((1.0, -1.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="weight must be a list or dict with a number of at least 0"):
            pn.CrossEntropyLoss(weight=weights)


def test_a_changed_class_weight_applies() -> None:
    logits, target = np.asarray([[0.1, 0.2], [0.3, -0.1]]), np.asarray([0, 1])
    loss = pn.CrossEntropyLoss(weight=(1.0, 3.0))
    loss(logits, target)
    loss.weight = (1.0, 30.0)
    assert loss(logits, target) == pn.CrossEntropyLoss(weight=(1.0, 30.0))(logits, target)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (4, 1)])
def test_sample_weight_must_have_one_number_an_example(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(4,\)"):
        pn.MSELoss()(np.ones((4, 2)), np.ones((4, 2)), np.ones(shape))


def test_class_weights_that_are_set_later_are_checked_and_used() -> None:
    loss = pn.CrossEntropyLoss()
    loss.weight = {0: 5.0}
    assert loss.weight == (5.0,)
    with pytest.raises(ValueError, match="weight must have class indices for keys"):
        loss.weight = {"a": 1.0}
    loss.weight = [1.0, 3.0]
    value = loss(np.zeros((2, 2)), np.asarray([0, 1]))
    np.testing.assert_allclose(value, np.log(2.0))
    assert repr(loss) == "CrossEntropyLoss(weight=(1.0, 3.0))"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
@pytest.mark.parametrize(
    "case", {type(loss): (loss, p, t) for loss, p, t in LOSSES}.values(), ids=lambda case: repr(case[0])
)
def test_integers_which_would_wrap_round_are_refused(case: tuple[pn.Loss, np.ndarray, np.ndarray], dtype: str) -> None:
    loss, prediction, target = case
    with pytest.raises(ValueError, match=f"prediction has dtype {dtype}: give floats"):
        loss(np.ones(prediction.shape, dtype), np.ones(target.shape, dtype))


@pytest.mark.parametrize("gap", [5.0, 17.0, 30.0, 60.0, 120.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_confident_mistake_is_unlearnt_through_a_sigmoid(backend: Backend, dtype: str, gap: float) -> None:
    net = pn.Sequential(pn.Linear(1, 1), pn.Sigmoid()).initialize(device=backend, dtype=dtype)
    for sign, target in ((1, 0.0), (-1, 1.0)):
        net.set_weights({"0.weight": [[0.0]], "0.bias": [sign * gap]})
        x, t = net.asarray([[0.0]]), net.asarray([[target]])
        y, pullback = net.vjp(x)
        net.zero_grad()
        pullback(pn.BCELoss().vjp(y, t)[1]())
        (bias,) = [p for name, p in net.named_parameters() if name == "0.bias"]
        expected = sign / (1 + math.exp(-gap))
        assert float(bias.grad[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dloss", ["x", None, [1.0], np.ones(3), np.ones((1, 2))], ids=str)
def test_a_gradient_that_has_not_the_shape_of_the_loss_is_refused(reduction: Any, dloss: Any) -> None:
    _, pullback = pn.MSELoss(reduction=reduction).vjp(np.ones((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="dloss must be a number"):
        pullback(dloss)


UNREDUCED = [
    *((loss, p, t) for loss, p, t in LOSSES if loss.reduction == "none"),
    *((kind(reduction="none"), p, t) for kind, p, t in COURSE_LOSSES),
]
REAL = (0.0, -0.0, 0.3, 17.0, -17.0, 88.0, -104.0, 1e4, -1e4)
UNIT = (0.0, 1.0, 0.5, 0.3, 1e-4, 1e-9, 0.999)
LARGE = {"float32": 1e38, "float64": 1e300}


def extremes(prediction: np.ndarray, dtype: str) -> np.ndarray:
    """Probabilities, log-probabilities or numbers, like some predictions, but small, large, 0 and 1."""
    large, rng = LARGE[dtype], np.random.default_rng(0)
    small = 2 * float(np.finfo(dtype).smallest_normal)  # the compiled kernels take smaller numbers for 0
    values = (*UNIT, small, 1 - np.finfo(dtype).eps) if prediction.min() >= 0 else (*REAL, large, -large, small)
    drawn = rng.choice(np.asarray(values), size=(1000, *prediction.shape[1:]))
    return (-np.abs(drawn) if prediction.max() <= 0 else drawn).astype(dtype)


def test_every_loss_is_tried_at_extremes() -> None:
    course = {v for v in vars(pn.course).values() if isinstance(v, type) and issubclass(v, pn.Loss)} - {pn.course.Loss}
    assert {type(loss) for loss, *_ in UNREDUCED} == concrete(pn.Loss) - {pn.MultiOutputLoss} | course


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="numpy.longdouble is not more precise than float64")
@pytest.mark.parametrize("case", UNREDUCED, ids=[f"{loss!r}-{t.ndim}d" for loss, _, t in UNREDUCED])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_at_extremes_are_those_of_more_digits(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, case: tuple[pn.Loss, np.ndarray, np.ndarray], dtype: str
) -> None:
    loss, prediction, target = case
    p = extremes(prediction, dtype)
    if isinstance(loss, pn.course.CrossEntropy):  # its derivative -t / p is bounded there
        p = np.maximum(p, np.finfo(dtype).smallest_normal)
    t = np.resize(target, (len(p), *target.shape[1:]))
    t = t.astype(dtype) if t.dtype.kind == "f" else t
    if isinstance(loss, pn.ElementwiseLoss):
        t = np.where(np.arange(len(p))[:, None] % 2 == 0, t, np.round(extremes(target, dtype)))  # 0 and 1 too
    with backend.activate():
        value, pullback = loss.vjp(backend.asarray(p), backend.asarray(t))
        found = [np.array(backend.to_numpy(a)) for a in (value, pullback())]
    slope = special.min_slope(dtype)
    monkeypatch.setattr(elementwise, "min_slope", lambda dtype: slope)  # the bound of the dtype, not of longdouble
    with np.errstate(over="ignore", under="ignore"):
        exact, gradient = loss.unreduced(
            np, p.astype("longdouble"), t.astype("longdouble") if t.dtype.kind == "f" else t
        )
        expected = [a.astype(dtype) for a in (exact, gradient(1.0))]
    eps = float(np.finfo(dtype).eps)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=40 * eps, atol=8 * eps)


def test_the_loss_of_a_small_probability_keeps_its_digits(backend: Backend) -> None:
    p, t = backend.asarray(np.asarray([[1e-9]], "float32")), backend.asarray(np.asarray([[0.0]], "float32"))
    assert float(pn.BCELoss()(p, t)) == pytest.approx(1e-9, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (pn.MSELoss(), (np.full((2, 3), 1e39),), "target holds numbers too large for float32"),
        (pn.MSELoss(), (np.zeros((2, 3)), np.full(2, 1e39)), "sample_weight holds numbers too large for float32"),
        (
            pn.NLLLoss(weight=[1e39, 1, 1]),
            (np.asarray([0, 1]),),
            r"weight holds 1e\+39, which is too large for float32",
        ),
    ],
    ids=["target", "sample_weight", "weight"],
)
def test_numbers_that_would_become_infinite_are_refused_by_name(loss: pn.Loss, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(np.zeros((2, 3), "float32"), *arguments)


@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss(), pn.NLLLoss(), pn.CrossEntropyLoss(weight=[1, 2, 3])])
@pytest.mark.parametrize("labels", [[0, 3], [-1, 1]])
def test_class_indices_out_of_range_are_refused_on_the_host(loss: pn.Loss, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"class indices must be in \[0, 3\); the target reaches from"):
        loss(np.zeros((2, 3)), np.asarray(labels))


@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss, pn.NLLLoss])
@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_ignored_labels_are_as_if_they_were_left_out(backend: Backend, loss: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    p, weights = np.log(rng.dirichlet(np.ones(3), size=(2, 4))), rng.uniform(size=2)
    labels, ignored = np.asarray([[0, 1, 2, 0], [1, 1, 2, 2]], dtype), 255 if dtype == "uint8" else -100
    padded = np.where([[True, True, False, True], [False, True, False, True]], labels, np.asarray(ignored, dtype))
    settings: list[dict[str, Any]] = [{}, {"weight": (1.0, 2.0, 3.0)}]
    settings += [{"label_smoothing": 0.1}] if loss is pn.CrossEntropyLoss else []
    for how in settings:
        value, pullback = loss(ignore_index=ignored, **how).vjp(*map(backend.asarray, (p, padded, weights)))
        kept = padded != ignored
        rows = np.broadcast_to(weights[:, None], (2, 4))[kept]
        alone, pullback_alone = loss(**how).vjp(*map(backend.asarray, (p[kept], labels[kept], rows)))
        assert float(value) == pytest.approx(float(alone), rel=1e-14)
        gradient = backend.to_numpy(pullback())
        np.testing.assert_allclose(gradient[kept], backend.to_numpy(pullback_alone()), rtol=1e-13)
        assert not gradient[~kept].any()


@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss(ignore_index=-100), pn.NLLLoss(ignore_index=-100)])
def test_a_batch_of_ignored_labels_has_the_loss_0(backend: Backend, loss: pn.Loss) -> None:
    value, pullback = loss.vjp(backend.asarray(np.log(SHARES)), backend.asarray(np.full(4, -100)))
    assert float(value) == 0
    assert not backend.to_numpy(pullback()).any()


def test_labels_out_of_range_are_refused_beside_ignored_ones() -> None:
    loss = pn.CrossEntropyLoss(ignore_index=-100)
    loss(np.zeros((2, 3)), np.asarray([2, -100]))
    with pytest.raises(ValueError, match=r"class indices must be in \[0, 3\); the target reaches from -1 to 0"):
        loss(np.zeros((2, 3)), np.asarray([-1, -100]))


def test_the_divergence_of_a_distribution_from_itself_is_0(backend: Backend) -> None:
    for loss, target in ((pn.KLDivLoss(), SHARES), (pn.KLDivLoss(log_target=True), np.log(SHARES))):
        value = loss(backend.asarray(np.log(SHARES)), backend.asarray(target))
        assert float(value) == pytest.approx(0, abs=1e-15)


def test_batchmean_is_the_divergence_an_example(backend: Backend) -> None:
    p, t, weights = np.log(SHARES), SHARES[::-1].copy(), np.asarray([1.0, 0.0, 2.0, 3.0])
    divergences = np.sum(t * (np.log(t) - p), axis=1)
    loss = pn.KLDivLoss(reduction="batchmean")
    arrays = list(map(backend.asarray, (p, t, weights)))
    assert float(loss(*arrays[:2])) == pytest.approx(divergences.mean())
    assert float(loss(*arrays)) == pytest.approx(weights @ divergences / weights.sum())


def test_a_target_of_0_has_no_divergence(backend: Backend) -> None:
    p, t = np.log([[0.5, 0.5]]), np.asarray([[1.0, 0.0]])
    value, pullback = pn.KLDivLoss(reduction="sum").vjp(backend.asarray(p), backend.asarray(t))
    assert float(value) == pytest.approx(math.log(2))
    np.testing.assert_array_equal(backend.to_numpy(pullback()), -t)


def test_a_positive_weight_of_1_changes_nothing(backend: Backend) -> None:
    for weight in (1.0, (1.0,) * 6):
        results = [
            loss.vjp(backend.asarray(X), backend.asarray(SHARES))
            for loss in (pn.BCEWithLogitsLoss(pos_weight=weight), pn.BCEWithLogitsLoss())
        ]
        (value, pullback), (expected, pullback_expected) = results
        assert float(value) == pytest.approx(float(expected), rel=1e-14)
        found, wanted = (backend.to_numpy(pull()) for pull in (pullback, pullback_expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_weight_is_needed_for_each_output() -> None:
    with pytest.raises(ValueError, match="pos_weight has 2 numbers, the prediction 6 classes"):
        pn.BCEWithLogitsLoss(pos_weight=(1.0, 2.0))(X, SHARES)


def test_soft_margin_is_binary_cross_entropy_of_signs(backend: Backend) -> None:
    p, t = backend.asarray(X), backend.asarray(np.sign(X[::-1]))
    (value, pullback), (expected, pullback_expected) = (
        pn.SoftMarginLoss().vjp(p, t),
        pn.BCEWithLogitsLoss().vjp(p, (t + 1) / 2),
    )
    assert float(value) == pytest.approx(float(expected), rel=1e-14)
    found, wanted = (backend.to_numpy(pull()) for pull in (pullback, pullback_expected))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("loss", [pn.SoftMarginLoss(), pn.HingeEmbeddingLoss()], ids=repr)
@pytest.mark.parametrize("target", [[[0, 1]], [[True, False]], [[0.5, -1.0]]], ids=str)
def test_targets_that_are_no_signs_are_refused(loss: pn.Loss, target: Any) -> None:
    with pytest.raises(ValueError, match="targets must be -1 or 1: give 2"):
        loss(np.zeros((1, 2)), np.asarray(target))
    loss(np.zeros((1, 2)), np.ones((1, 2), "uint8"))


@pytest.mark.parametrize("shape", [(4, 1), (4,)])
def test_a_variance_for_each_mean_is_on_the_last_axis(backend: Backend, shape: tuple[int, ...]) -> None:
    mean, variance, target = (np.random.default_rng(i).uniform(0.5, 2.0, size=(4, 1)) for i in range(3))
    expected = np.log(np.sqrt(2 * np.pi * variance)) + (mean - target) ** 2 / (2 * variance)
    prediction, target = np.concatenate([mean, variance], axis=1), target.reshape(shape)
    value = pn.GaussianNLLLoss(full=True)(backend.asarray(prediction), backend.asarray(target))
    assert float(value) == pytest.approx(expected.mean())


def test_a_variance_below_eps_may_grow_again(backend: Backend) -> None:
    loss = pn.GaussianNLLLoss(eps=0.01, reduction="sum")
    prediction = backend.asarray(np.asarray([[0.0, -1.0]]))
    value, pullback = loss.vjp(prediction, backend.asarray(np.asarray([[1.0]])))
    assert float(value) == pytest.approx((math.log(0.01) + 100) / 2)
    assert backend.to_numpy(pullback())[0].tolist() == pytest.approx([-100, (100 - 1e4) / 2])


def test_means_without_variances_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction must hold means, then as many variances .* got shape \(4, 3\)"):
        pn.GaussianNLLLoss()(np.ones((4, 3)), np.ones((4, 3)))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="targets must be counts of at least 0; the target reaches from -1 to 2"):
        pn.PoissonNLLLoss()(np.zeros((1, 2)), np.asarray([[-1, 2]]))


def test_a_term_of_no_probability_is_0_even_where_the_prediction_is_impossible(backend: pn.backends.Backend) -> None:
    p, t = backend.asarray([[-np.inf, 0.0]], "float64"), backend.asarray([[0.0, 1.0]], "float64")
    loss, of_logarithms = pn.KLDivLoss(reduction="sum"), pn.KLDivLoss(reduction="sum", log_target=True)
    assert float(loss(p, t)) == 0.0
    assert float(of_logarithms(backend.asarray([[-1.0, 0.0]], "float64"), p)) == 0.0


def test_a_subclass_of_the_cross_entropy_has_its_own_terms_and_mean() -> None:
    class Doubled(pn.CrossEntropyLoss):
        def unreduced(self, xp: Any, prediction: Any, target: Any) -> Any:
            terms, gradient = super().unreduced(xp, prediction, target)
            return 2.0 * terms, lambda factor: 2.0 * gradient(factor)

    class Halved(pn.CrossEntropyLoss):
        def normalizer(self, xp: Any, terms: Any, target: Any, sample_weight: Any = None) -> float:
            return 2.0 * len(terms)

    logits, labels = X[:3], np.arange(3) % X.shape[1]
    value, pullback = pn.CrossEntropyLoss().vjp(logits, labels)
    for loss, factor in ((Doubled(), 2.0), (Halved(), 0.5)):
        own_value, own_pullback = loss.vjp(logits, labels)
        assert float(own_value) == pytest.approx(factor * float(value))
        np.testing.assert_allclose(own_pullback(), factor * pullback(), rtol=1e-12)


def test_class_weights_are_kept_for_each_dtype() -> None:
    """A recorded step may read those of another dtype; they must not be freed."""
    loss = pn.CrossEntropyLoss(weight=(1.0, 2.0, 3.0))
    likes = [np.ones((2, 3), dtype) for dtype in ("float32", "float64")]
    first = [loss.device_numbers(np, "weight", like, 3) for like in likes]
    assert [weights.dtype for weights in first] == ["float32", "float64"]
    assert all(loss.device_numbers(np, "weight", like, 3) is w for like, w in zip(likes, first, strict=True))
    loss.weight = (3.0, 2.0, 1.0)
    np.testing.assert_array_equal(loss.device_numbers(np, "weight", likes[0], 3), [3.0, 2.0, 1.0])
    array, loss.weight = loss.device_numbers(np, "weight", likes[0], 3), [3.0, 2.0, 1.0]  # equal numbers
    assert loss.device_numbers(np, "weight", likes[0], 3) is array  # a recorded step may read it
