import numpy as np
import pytest

from portanet import kernels
from portanet.backends import Backend

rng = np.random.default_rng(0)


def rotation(angle: float) -> np.ndarray:
    return np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


MAPS = [rotation(0.4), rotation(-2.5), np.diag([0.5, 0.5]), np.diag([1.6, 1.3]), np.asarray([[1.0, 0.3], [-0.2, 0.9]])]


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_are_those_of_numpy(backend: Backend, size: int, turns: int) -> None:
    x = rng.normal(size=(3, size, size, 2))
    maps = np.broadcast_to(rotation(turns * np.pi / 2), (3, 2, 2)).copy()
    y = backend.to_numpy(kernels.warp(backend.asarray(x), backend.asarray(maps)))
    np.testing.assert_allclose(y, np.rot90(x, turns, axes=(1, 2)), atol=1e-12)


@pytest.mark.parametrize("maps", MAPS, ids=str)
def test_images_are_sampled_as_by_scipy(backend: Backend, maps: np.ndarray) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is what is compared with")
    image, centre = rng.normal(size=(9, 6)), np.asarray([4.0, 2.5])
    y = kernels.warp(backend.asarray(image[None, :, :, None]), backend.asarray(maps[None]))
    offset = centre - maps @ centre
    expected = ndimage.affine_transform(image, maps, offset, order=1, mode="grid-constant")
    np.testing.assert_allclose(backend.to_numpy(y)[0, :, :, 0], expected, atol=1e-12)


@pytest.mark.parametrize("maps", MAPS, ids=str)
def test_the_gradient_is_the_transposed_map(backend: Backend, maps: np.ndarray) -> None:
    max_stretch = int(np.ceil(np.abs(np.linalg.inv(maps)).sum(axis=1).max()))
    (x, dy), m = rng.normal(size=(2, 2, 5, 7, 3)), backend.asarray(np.stack([maps, maps.T]))
    y = backend.to_numpy(kernels.warp(backend.asarray(x), m))
    dx = backend.to_numpy(kernels.warp_gradient(backend.asarray(dy), m, max_stretch))
    for i in range(2):
        assert np.sum(y[i] * dy[i]) == pytest.approx(np.sum(x[i] * dx[i]), rel=1e-10)
