"""The signals of MNIST-1D."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy smooths the noise")
pytest.importorskip("matplotlib", reason="experiments draw with matplotlib")

from experiments.mnist_1d import signals


def test_signals_are_the_published_ones() -> None:
    data = signals()
    assert data.x_train.shape == (4000, 40)
    assert data.x_test.shape == (1000, 40)
    assert data.y_train[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    assert data.y_test[:10].tolist() == [2, 6, 3, 9, 4, 3, 1, 9, 5, 2]
    first, last = [-0.33200567, -0.47191037, -0.77869708], [0.65987565, 0.87773435, 1.19315184]
    np.testing.assert_allclose(data.x_train[0, :3], first, rtol=1e-6)
    np.testing.assert_allclose(data.x_test[-1, -3:], last, rtol=1e-6)
