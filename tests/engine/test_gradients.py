import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.engine.gradients import FirstWrite
from portanet.parameters import collect_gradients


def test_first_write_overwrites_then_adds_and_zeroes_the_rest(backend: Backend) -> None:
    net = pn.Sequential(pn.Linear(2, 2), pn.Linear(2, 2)).to(backend)
    x = net.asarray(np.ones((3, 2)))
    for n_calls in (1, 2):
        net.flat.grad[...] = 7.0
        sink = FirstWrite(net.parameters())
        with collect_gradients(sink):
            for _ in range(n_calls):
                net[1].vjp(x)[1](x)
        sink.finish()
        np.testing.assert_array_equal(backend.to_numpy(net.flat.grad), [*[0] * 6, *[3 * n_calls] * 6])


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 3), (0, 3)])
def test_channel_sums_overwrite_then_add(backend: Backend, shape: tuple[int, ...]) -> None:
    layer = pn.Linear(2, 3).initialize(device=backend)
    assert layer.bias is not None
    dy = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer.bias.grad[...] = 7.0
    with collect_gradients(FirstWrite(layer.parameters())):
        for times in (1, 2):
            with backend.activate():
                layer.bias.accumulate_channel_sum(backend.asarray(dy))
            expected = times * dy.sum(axis=tuple(range(dy.ndim - 1)))
            np.testing.assert_allclose(backend.to_numpy(layer.bias.grad), expected, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_get_no_gradient(backend: Backend) -> None:
    layer = pn.Linear(2, 2).to(backend).freeze()
    x = layer.asarray(np.ones((3, 2)))
    layer.vjp(x)[1](x)
    np.testing.assert_array_equal(backend.to_numpy(layer.flat.grad), np.zeros(6))
