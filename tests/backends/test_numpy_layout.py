"""Batch-last memory layout, from a convolution through the next layers and back."""

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.disabled import enabled
from portanet.backends.numpy.layout import batch_first, batch_last, is_batch_last, to_batch_last
from portanet.kernels.windows import Window

IMAGES = np.random.default_rng(0).normal(size=(13, 8, 8, 3)).astype("float32")


def test_batch_first_undoes_batch_last() -> None:
    x = to_batch_last(IMAGES)
    assert is_batch_last(x)
    assert not is_batch_last(IMAGES)
    assert batch_last(x).shape == (8, 8, 3, len(IMAGES))
    assert batch_last(x).flags.c_contiguous
    np.testing.assert_array_equal(batch_first(batch_last(x)), IMAGES)
    assert to_batch_last(x).base is x.base or np.shares_memory(to_batch_last(x), x)


def test_a_slice_or_a_matrix_is_not_batch_last() -> None:
    assert not is_batch_last(to_batch_last(IMAGES)[:, :, 1:5])
    assert not is_batch_last(np.asfortranarray(np.zeros((4, 3))))


@pytest.mark.skipif(not enabled("batch_last"), reason="PORTANET_DISABLE contains batch_last")
@pytest.mark.parametrize("n", [7, 13])
def test_layers_keep_the_layout_of_a_convolution(n: int) -> None:
    """C order for a few images, else batch-last, from the convolution to the logits and back."""
    net = pn.Sequential(pn.Conv2D(3, 4, 3), pn.ReLU(), pn.MaxPool2D(2), pn.Flatten(), pn.Linear(36, 5)).initialize()
    expected, outputs, x = n > 7, [], IMAGES[:n]
    for layer in net:
        x, pullback = layer.vjp(x)
        outputs.append((x, pullback))
    for y, _ in outputs[:3]:
        assert is_batch_last(y) is expected
    for y, _ in outputs[3:]:
        assert y.flags.f_contiguous is expected
    _, dy = kernels.sparse_softmax_cross_entropy(x, np.arange(n) % 5)
    assert dy.flags.f_contiguous is expected
    for y, pullback in reversed(outputs[1:]):
        assert dy.strides == y.strides
        dy = pullback(dy)
    assert is_batch_last(dy) is expected


def test_a_gradient_in_another_layout_than_the_input_gives_the_same_result() -> None:
    window = Window.fit((8, 8), (2, 2), stride=(2, 2), dilation=(1, 1), padding="valid")
    x = to_batch_last(IMAGES)
    y = kernels.max_pool(x, window)
    dy = np.random.default_rng(1).normal(size=y.shape).astype("float32")
    dx = kernels.max_pool_gradient(dy, x, y, window)
    assert is_batch_last(dx)
    np.testing.assert_array_equal(dx, kernels.max_pool_gradient(dy, IMAGES, np.ascontiguousarray(y), window))


def test_pooling_accepts_the_window_as_a_keyword() -> None:
    window = Window.fit((8, 8), (2, 2), stride=(2, 2), dilation=(1, 1), padding="valid")
    np.testing.assert_array_equal(kernels.max_pool(IMAGES, window=window), kernels.max_pool(IMAGES, window))


def test_bias_grad_of_a_slice_of_a_batch_last_array() -> None:
    x = to_batch_last(IMAGES)[:, 1:6, 2:]
    np.testing.assert_allclose(kernels.bias_grad(x), x.sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_linear_of_two_dtypes_has_the_wider_dtype() -> None:
    x, w = np.asfortranarray(np.ones((4, 3), "float32")), np.ones((3, 2))
    y = kernels.linear(x, w)
    assert y.dtype == "float64"
    assert y.flags.f_contiguous
