"""Arrays that the compiled kernels do not take fall to the portable forms, with the same results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.numpy import core
from portanet.kernels.windows import Window

pytestmark = pytest.mark.skipif(core.compiled is None, reason="the compiled kernels are not in use")


def unaligned(x: np.ndarray) -> np.ndarray:
    memory = np.empty(x.nbytes + 1, np.uint8)
    y: np.ndarray = np.ndarray(x.shape, x.dtype, memory.data, 1)
    y[...] = x
    return y


def swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder())


LAYERS: list[pn.Layer] = [
    *(pn.TanH(), pn.ReLU(), pn.GELU(), pn.Softmax(), pn.LogSoftmax(), pn.Dropout(0.5)),
    *(pn.MaxPool1D(2), pn.AvgPool1D(2), pn.LayerNorm(64, elementwise_affine=False), pn.GroupNorm(4, 64, affine=False)),
]


@pytest.mark.parametrize("change", [unaligned, swapped])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_layers_take_unaligned_arrays_and_other_byte_orders(layer: pn.Layer, change: Callable[..., Any]) -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 16, 8, 64)).astype("float32")
    results = []
    for array, gradient in ((x, dy), (change(x), change(dy))):
        layer.initialize(seed=0)
        y, pullback = layer.vjp(array)
        results.append((y, pullback(gradient[:, : y.shape[1]])))
    for ours, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda dz, dw: (unaligned(dz), dw),
        lambda dz, dw: (dz.astype("float64"), dw),
        lambda dz, dw: (dz, np.empty((dw.shape[0], 2 * dw.shape[1]), dw.dtype)[:, ::2]),
    ],
    ids=["unaligned", "of another dtype", "with gaps"],
)
def test_the_derivative_of_the_layer_below_is_never_left_out(spoil: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    x, w1, w2, dz = (rng.normal(size=s).astype("float32") for s in ((5, 4), (4, 3), (3, 2), (5, 2)))
    results = []
    for form in ("__call__", "portable"):
        y, below = getattr(kernels.dense, form)(x, w1, None, pn.TanH().elementwise)
        given, dw = spoil(dz, np.empty_like(w2))
        results.append((getattr(kernels.dense_gradient, form)(given, y, w2, dw, None, True, below), dw))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_winograd_with_several_outputs_along_an_axis_of_length_one() -> None:
    window = Window.fit((1, 64), (1, 3), stride=(1, 1), dilation=(1, 1), padding=((1, 1), (1, 1)))
    rng = np.random.default_rng(0)
    x, w, dy = rng.normal(size=(32, 1, 64, 32)), rng.normal(size=(1, 3, 32, 32)), rng.normal(size=(32, 3, 64, 32))
    for kernel, arguments in (
        (kernels.conv, (x, w)),
        (kernels.conv_input_gradient, (dy, w)),
        (kernels.conv_weight_gradient, (x, dy)),
    ):
        expected = kernel.portable(*arguments, window)
        np.testing.assert_allclose(kernel(*arguments, window), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("odd", [1e38, np.inf, np.nan])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_what_overflows_in_a_transform_stays_in_its_own_outputs(size: int, odd: float) -> None:
    window = Window.fit((16, 16), (size, size), stride=(1, 1), dilation=(1, 1), padding="same")
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype("float32") for shape in ((16, 16, 16, 32), (size, size, 32, 32)))
    dy = rng.normal(size=x.shape).astype("float32")
    x[0, 5, 5, 0] = dy[3, 9, 2, 1] = odd
    w /= 100
    for kernel, arguments in (
        (kernels.conv, (x, w)),
        (kernels.conv_input_gradient, (dy, w)),
        (kernels.conv_weight_gradient, (x, dy)),
    ):
        with np.errstate(all="ignore"):
            expected = kernel.portable(*arguments, window)
        assert np.all(np.isfinite(kernel(*arguments, window)[np.isfinite(expected)]))


class Scaled(pn.Activation):
    """An activation that reads an object, and one that uses sin in place."""

    def __init__(self, setting: Any):
        self.setting = setting

    def elementwise(self, xp: Any, x: Any) -> Any:
        factor = self.setting.factor
        return factor * x, lambda: factor + 0.0 * x


class Sine(pn.Activation):
    def elementwise(self, xp: Any, x: Any) -> Any:
        return xp.sin(x), lambda: xp.cos(x)


class Setting:
    factor = 2.0


def test_an_activation_that_reads_an_object_is_not_traced() -> None:
    layer, x = Scaled(Setting()), np.ones((100, 100), "float32")
    assert layer(x).max() == 2
    layer.setting.factor = 5.0
    assert layer(x).max() == 5


def test_layers_of_deleted_networks_are_not_kept() -> None:
    import gc
    import weakref

    net = pn.Sequential(pn.Linear(4, 3), pn.TanH(), pn.GELU()).initialize()
    net(np.ones((5000, 4), "float32"))
    activation = weakref.ref(net[1])
    del net
    gc.collect()
    assert activation() is None


def test_sine_of_large_numbers_in_a_dense_layer() -> None:
    w = np.asarray([[3e38]], "float32")
    y, dz = kernels.dense(np.ones((2, 1), "float32"), w, None, Sine().elementwise)
    assert dz is not None
    np.testing.assert_allclose(y, np.sin(np.float64(w)).repeat(2, 0), rtol=1e-6)
    np.testing.assert_allclose(dz(np.ones_like(y)), np.cos(np.float64(w)).repeat(2, 0), rtol=1e-6)


def test_given_statistics_may_be_read_only_and_one_array() -> None:
    x, same = np.random.default_rng(0).normal(size=(40, 1, 8, 1)), np.full((1, 1, 8, 1), 0.5)
    same.flags.writeable = False
    weight = np.arange(16.0)[::2]
    ours, expected = (
        form(x, (0, 1, 3), weight, None, 1e-5, (same, same))[0]
        for form in (kernels.normalize, kernels.normalize.portable)
    )
    np.testing.assert_allclose(ours, expected)


@pytest.mark.parametrize("axes", [(0, 3), (0, 1), (1,), (2, 3), (0, 1, 3), (1, 3), (3,)])
def test_normalization_over_any_axes(axes: tuple[int, ...]) -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 6, 4, 3))
    y, mean, variance = kernels.normalize(x, axes, None, None, 1e-5)
    expected = kernels.normalize.portable(x, axes, None, None, 1e-5)
    for one, other in zip((y, mean, variance), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    gradients = kernels.normalize_gradient(dy, x, axes, mean, variance, None, 1e-5)
    for one, other in zip(
        gradients, kernels.normalize_gradient.portable(dy, x, axes, mean, variance, None, 1e-5), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("origin", [0, 0.5, np.float32(0.5), np.asarray(0.5, "float32")])
def test_the_origin_of_a_sum_of_squares_may_be_any_number(origin: Any) -> None:
    x = np.ones((3, 2), "float32")
    assert float(kernels.sum_of_squares(x, origin)) == 6 * (1 - float(origin)) ** 2


def test_results_that_overlap_operands_are_refused() -> None:
    x = np.zeros((6, 3), "float32")
    w, dz, dw = (np.zeros(s, "float32") for s in ((3, 2), (6, 2), (3, 2)))
    with pytest.raises(ValueError, match="must not overlap"):
        core.compiled.dense_gradient(dz, x, w, dw, x[0, :2], None, None, None)
    y = np.zeros((6, 2), "float32")
    with pytest.raises(ValueError, match="must not overlap"):
        core.compiled.dense(x, w, y[0], None, np.zeros_like(y), y)


def test_an_empty_batch_and_wrong_numbers_are_refused_or_done() -> None:
    x, dy = np.zeros((5, 3, 0), "float32"), np.zeros((5, 4, 0), "float32")
    dw = np.ones((1, 3, 4), "float32")
    core.compiled.conv_weight_gradient(x, dy, dw, True, (1,), (1,), ((0, 0),), 1)
    assert not dw.any()
    with pytest.raises(ValueError, match="bytes must be positive"):
        core.compiled.misalignment(np.zeros(1, np.uint8), 0)


@pytest.mark.parametrize("number", [257, 3_000_000_000, 2**62])
def test_more_threads_than_the_most_are_the_most(number: int) -> None:
    before = pn.get_num_threads()
    try:
        pn.set_num_threads(number)
        assert pn.get_num_threads() == core.MAX_THREADS
    finally:
        pn.set_num_threads(before)
