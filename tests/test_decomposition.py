import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest

from portanet import PCA, get_backend
from portanet.backends import Backend
from portanet.kernels import distances

sklearn_decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is the reference")

rng = np.random.default_rng(0)
SPREAD = 2.0 ** -np.arange(12)
TALL = rng.normal(size=(400, 12)) * SPREAD @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + rng.normal(size=12)
WIDE = np.ascontiguousarray(rng.normal(size=(12, 40)) * SPREAD[:, np.newaxis])
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("x", [TALL, WIDE, TALL[:12]], ids=["tall", "wide", "square"])
def test_agrees_with_scikit_learn(backend: Backend, x: Any, dtype: str) -> None:
    ours = PCA(4, device=backend).fit(x.astype(dtype))
    expected = sklearn_decomposition.PCA(4, svd_solver="full").fit(x)
    tolerance = TOLERANCE[dtype]
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_"):
        values = backend.to_numpy(getattr(ours, name))
        assert values.dtype == dtype
        np.testing.assert_allclose(values, getattr(expected, name), rtol=tolerance, atol=tolerance, err_msg=name)
    assert ours.noise_variance_ == pytest.approx(expected.noise_variance_, rel=10 * tolerance)
    assert (ours.n_components_, ours.n_samples_) == (4, len(x))
    np.testing.assert_allclose(ours.transform(x), expected.transform(x), atol=tolerance)
    back = ours.inverse_transform(ours.transform(x))
    np.testing.assert_allclose(back, expected.inverse_transform(expected.transform(x)), atol=tolerance)


def test_the_largest_element_of_a_component_is_positive(backend: Backend) -> None:
    for x in (TALL, -TALL, WIDE, -WIDE):
        axes = backend.to_numpy(PCA(4, device=backend).fit(x).components_)
        np.testing.assert_array_equal(np.max(axes, axis=1), np.max(np.abs(axes), axis=1))


@pytest.mark.parametrize("x", [TALL, WIDE[:, :12]], ids=["tall", "square"])
def test_all_components_reconstruct_the_examples(backend: Backend, x: Any) -> None:
    pca = PCA(12, device=backend).fit(x)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(x)), x, atol=1e-12)
    assert float(backend.xp.sum(pca.explained_variance_ratio_)) == pytest.approx(1.0)


def test_results_do_not_depend_on_the_block_size(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = PCA(3, device=backend).fit(TALL)
    monkeypatch.setattr(distances, "MAX_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(distances, "MIN_BLOCK_ROWS", 64)
    pca = PCA(3, device=backend).fit(TALL)
    np.testing.assert_allclose(pca.transform(TALL), expected.transform(TALL), atol=1e-12)


def test_small_components_of_float32_far_from_zero(backend: Backend) -> None:
    """Deviations of 1 and an offset of 1000: in float32, a sum of squares has no correct digit of the variance."""
    x = (rng.normal(size=(5000, 3)) * [1.0, 0.5, 0.25] + 1000.0).astype("float32")
    ours = PCA(3, device=backend).fit(x)
    expected = np.linalg.eigvalsh(np.cov(x.astype("float64").T))[::-1]
    np.testing.assert_allclose(backend.to_numpy(ours.explained_variance_), expected, rtol=1e-6)


def test_a_component_of_a_millionth_of_the_largest(backend: Backend) -> None:
    """Of tall data, components of 1e-8 of the largest are lost; those of 1e-6 have three correct digits."""
    x = rng.normal(size=(200, 2)) * [1.0, 1e-6]
    expected = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / 199
    ours = PCA(2, device=backend).fit(x)
    np.testing.assert_allclose(backend.to_numpy(ours.explained_variance_), expected, rtol=1e-3)


def test_fit_transform_ignores_y(backend: Backend) -> None:
    pca = PCA(2, device=backend)
    for y in (None, np.zeros(400)):
        np.testing.assert_array_equal(pca.fit_transform(TALL, y), pca.transform(TALL))


def test_arguments_are_attributes() -> None:
    pca = PCA(2, device="cpu")
    assert (pca.n_components, pca.device) == (2, "cpu")


def test_results_per_example_are_on_the_device_of_the_data(backend: Backend) -> None:
    x = backend.asarray(TALL)
    pca = PCA(2).fit(x)
    z = pca.transform(x)
    for result in (z, pca.inverse_transform(z), pca.components_, pca.mean_):
        assert isinstance(result, backend.array_type)
        assert result.device == backend.device
    for result in (pca.transform(TALL), pca.inverse_transform(pca.transform(TALL.tolist()))):
        assert isinstance(result, np.ndarray)


def test_integers_are_computed_in_float32(backend: Backend) -> None:
    x = rng.integers(0, 256, size=(50, 4), dtype="uint8")
    pca = PCA(2, device=backend).fit(x)
    assert pca.components_.dtype == backend.xp.float32
    expected = sklearn_decomposition.PCA(2, svd_solver="full").fit(x.astype("float64"))
    np.testing.assert_allclose(pca.transform(x), expected.transform(x), rtol=1e-4, atol=1e-3)


def test_memory_is_bounded() -> None:
    x = rng.random((60_000, 256), dtype="float32")  # 61 MB
    tracemalloc.start()
    try:
        PCA(2, device="cpu").fit_transform(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


@pytest.mark.parametrize(
    ("n_components", "x", "message"),
    [
        (5, np.ones((4, 9)), r"n_components is 5, but x of shape \(4, 9\) has at most 4"),
        (2, np.full((4, 9), 0.1), "all examples of x are equal"),
        (1, np.ones((1, 9)), "all examples of x are equal"),
        (1, np.ones(9), r"x must have shape \(N, D\)"),
        (1, np.full((4, 9), np.nan), "x holds NaN"),
        (
            1,
            2**60 + np.arange(8).reshape(4, 2),
            "an integer that float64 rounds: subtract a number first, such as x - x",
        ),
    ],
)
def test_unfit_data_are_refused_and_keep_the_earlier_fit(
    backend: Backend, n_components: int, x: Any, message: str
) -> None:
    pca = PCA(n_components, device=backend).fit(TALL)
    before = dict(vars(pca))
    with pytest.raises(ValueError, match=message):
        pca.fit(x)
    assert vars(pca) == before


def test_data_unlike_the_fitted_ones_are_refused(backend: Backend) -> None:
    pca = PCA(2, device=backend)
    with pytest.raises(
        AttributeError, match=r"PCA has no attribute components_: it is not fitted, call fit\(x\) first"
    ):
        pca.transform(TALL)
    pca.fit(TALL)
    with pytest.raises(ValueError, match=r"x must have shape \(N, 12\), as in the fit, got \(400, 5\)"):
        pca.transform(TALL[:, :5])
    with pytest.raises(ValueError, match=r"z must have shape \(N, 2\), as in the fit, got \(400, 12\)"):
        pca.inverse_transform(TALL)


@pytest.mark.parametrize("n_components", [0, -1, 0.9, None])
def test_unfit_arguments_are_refused(n_components: Any) -> None:
    with pytest.raises(ValueError, match="n_components must be a whole number of at least 1"):
        PCA(n_components)


def test_repr_and_copy() -> None:
    assert repr(PCA(2)) == "PCA(2)"
    pca = PCA(2, device=get_backend("cpu")).fit(TALL)
    np.testing.assert_array_equal(copy.deepcopy(pca).transform(TALL), pca.transform(TALL))


@pytest.mark.parametrize("x", [TALL, TALL[:7]], ids=["tall", "wide"])
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(s, "float64") for s in (1e-310, 1e-200, 1e160, 1e300)] + [(s, "float32") for s in (1e-30, 1e30)],
)
def test_components_do_not_depend_on_the_scale_of_the_data(backend: Backend, x: Any, scale: float, dtype: str) -> None:
    scale_in_dtype = np.asarray(scale, dtype)
    expected, found = PCA(3, device=backend).fit(x), PCA(3, device=backend).fit(x.astype(dtype) * scale_in_dtype)
    tolerance = 1e-8 if dtype == "float64" else 1e-3
    singular_values = backend.to_numpy(found.singular_values_).astype("float64") / scale
    np.testing.assert_allclose(singular_values, backend.to_numpy(expected.singular_values_), rtol=tolerance)
    for name in ("components_", "explained_variance_ratio_"):
        a, b = (backend.to_numpy(getattr(pca, name)) for pca in (found, expected))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    coordinates = found.transform(x.astype(dtype) * scale_in_dtype).astype("float64") / scale
    np.testing.assert_allclose(coordinates, expected.transform(x), rtol=tolerance, atol=tolerance)
    with np.errstate(over="ignore", under="ignore"):
        variance = (backend.to_numpy(expected.explained_variance_) * scale * scale).astype(dtype)
    np.testing.assert_allclose(backend.to_numpy(found.explained_variance_), variance, rtol=tolerance)
