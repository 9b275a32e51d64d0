"""How images lie in memory from a convolution on, forward and back."""

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.numpy.layout import batch_first, batch_last, lay_batch_last, lies_batch_last
from portanet.kernels.windows import Window

IMAGES = np.random.default_rng(0).normal(size=(9, 8, 8, 3)).astype("float32")


def test_the_batch_comes_last_and_first_again():
    x = lay_batch_last(IMAGES)
    assert lies_batch_last(x)
    assert not lies_batch_last(IMAGES)
    assert batch_last(x).shape == (8, 8, 3, 9)
    assert batch_last(x).flags.c_contiguous
    np.testing.assert_array_equal(batch_first(batch_last(x)), IMAGES)
    assert lay_batch_last(x).base is x.base or np.shares_memory(lay_batch_last(x), x)


def test_only_whole_arrays_lie_batch_last():
    assert not lies_batch_last(lay_batch_last(IMAGES)[:, :, 1:5])
    assert not lies_batch_last(np.asfortranarray(np.zeros((4, 3))))


@pytest.mark.parametrize("n", [7, 9])
def test_a_network_keeps_the_order_that_its_convolution_makes(n):
    """Few images lie channels last; more of them have their batch last, from the convolution to the scores and back."""
    net = pn.Sequential(pn.Conv2D(3, 4, 3), pn.ReLU(), pn.MaxPool2D(2), pn.Flatten(), pn.Linear(36, 5)).initialize()
    last, outputs, x = n > 7, [], IMAGES[:n]
    for layer in net:
        x, pullback = layer.vjp(x)
        outputs.append((x, pullback))
    for y, _ in outputs[:3]:
        assert lies_batch_last(y) is last
    for y, _ in outputs[3:]:
        assert y.flags.f_contiguous is last
    _, dy = kernels.sparse_softmax_cross_entropy(x, np.arange(n) % 5)
    assert dy.flags.f_contiguous is last
    for y, pullback in reversed(outputs[1:]):
        assert dy.strides == y.strides
        dy = pullback(dy)
    assert lies_batch_last(dy) is last


def test_gradients_that_lie_otherwise_than_what_they_meet_are_the_same():
    window = Window.fit((8, 8), (2, 2), stride=(2, 2), dilation=(1, 1), padding="valid")
    x = lay_batch_last(IMAGES)
    y = kernels.max_pool(x, window)
    dy = np.random.default_rng(1).normal(size=y.shape).astype("float32")
    dx = kernels.max_pool_gradient(dy, x, y, window)
    assert lies_batch_last(dx)
    np.testing.assert_array_equal(dx, kernels.max_pool_gradient(dy, IMAGES, np.ascontiguousarray(y), window))


def test_a_window_may_be_named():
    window = Window.fit((8, 8), (2, 2), stride=(2, 2), dilation=(1, 1), padding="valid")
    np.testing.assert_array_equal(kernels.max_pool(IMAGES, window=window), kernels.max_pool(IMAGES, window))


def test_a_part_of_images_has_the_sums_of_its_channels():
    x = lay_batch_last(IMAGES)[:, 1:6, 2:]
    np.testing.assert_allclose(kernels.bias_grad(x), x.sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_products_of_two_types_are_of_the_wider():
    x, w = np.asfortranarray(np.ones((4, 3), "float32")), np.ones((3, 2))
    y = kernels.linear(x, w)
    assert y.dtype == "float64"
    assert y.flags.f_contiguous
