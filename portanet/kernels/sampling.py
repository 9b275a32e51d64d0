"""Images sampled where linear maps about their centres take the pixels, by bilinear interpolation."""

from collections.abc import Callable
from itertools import product

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def warp(x: Array, maps: Array) -> Array:
    """
    Return ``y[p] = Σ hat(M p - q) x[q]`` over the pixels q of each image, with zeros outside of it.

    ``hat(d) = max(0, 1 - |d₁|) max(0, 1 - |d₂|)`` weighs the four pixels around ``M p``. Coordinates, rows first, are
    counted from the centre of the image.

    Parameters
    ----------
    x : array of float, shape (N, H, W, C)
    maps : array of float, shape (N, 2, 2)
        The matrices M, from the output to the input.

    Examples
    --------
    >>> x = np.asarray([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    >>> warp(x, np.asarray([[[0.0, 1.0], [-1.0, 0.0]]]))[0, :, :, 0]  # rotated by 90 degrees, counterclockwise
    array([[2., 4.],
           [1., 3.]])
    """
    rows, columns = _grid(x)
    row, column = _apply(maps, rows, columns)
    return _gather(x, row, column, 1, lambda r, c: (row - r, column - c))


@kernel
def warp_gradient(dy: Array, maps: Array, max_stretch: int) -> Array:
    """
    Return dx of ``y = warp(x, maps)``: ``dx[q] = Σ hat(M p - q) dy[p]`` over the pixels p of the output.

    Parameters
    ----------
    dy : array of float, shape (N, H, W, C)
    maps : array of float, shape (N, 2, 2)
    max_stretch : int
        A bound of the row sums of ``|M⁻¹|``: only pixels p nearer than that to ``M⁻¹ q``, along both axes, have a
        weight above 0.

    Examples
    --------
    >>> x = np.asarray([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    >>> maps = np.asarray([[[0.0, 1.0], [-1.0, 0.0]]])
    >>> bool((warp_gradient(warp(x, maps), maps, 2) == x).all())
    True
    """
    xp = namespace(dy)
    a, b, c, d = (maps[:, i, j] for i, j in product(range(2), repeat=2))
    inverse = xp.reshape(xp.stack([d, -b, -c, a], axis=-1), (-1, 2, 2)) / xp.reshape(a * d - b * c, (-1, 1, 1))
    rows, columns = _grid(dy)

    def difference(r: Array, c: Array) -> tuple[Array, Array]:
        row, column = _apply(maps, r, c)
        return row - rows, column - columns

    return _gather(dy, *_apply(inverse, rows, columns), max_stretch, difference)


def _grid(x: Array) -> tuple[Array, Array]:
    """Coordinates of the pixels from the centre, shapes (1, H, 1) and (1, 1, W)."""
    xp, (_, height, width, _) = namespace(x), x.shape
    rows, columns = (xp.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2 for n in (height, width))
    return xp.reshape(rows, (1, height, 1)), xp.reshape(columns, (1, 1, width))


def _apply(maps: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Where the maps take pixels, two arrays of shape (N, H, W)."""
    xp = namespace(maps)
    a, b, c, d = (xp.reshape(maps[:, i, j], (-1, 1, 1)) for i, j in product(range(2), repeat=2))
    return a * rows + b * columns, c * rows + d * columns


def _gather(
    values: Array,
    rows: Array,
    columns: Array,
    max_stretch: int,
    difference: Callable[[Array, Array], tuple[Array, Array]],
) -> Array:
    """Sum the pixels nearer than ``max_stretch`` to the given ones, each times the hat of its difference."""
    xp, (n, height, width, channels) = namespace(values), values.shape
    images = xp.reshape(xp.arange(n, dtype=xp.int64, device=values.device), (n, 1, 1))
    flat, total = xp.reshape(values, (n * height * width, channels)), xp.zeros_like(values)
    first = [xp.floor(v + (m - 1) / 2) + (1 - max_stretch) for v, m in ((rows, height), (columns, width))]
    for i, j in product(range(2 * max_stretch), repeat=2):
        row, column = first[0] + i, first[1] + j
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        hats = [xp.maximum(1.0 - xp.abs(d), 0.0) for d in difference(row - (height - 1) / 2, column - (width - 1) / 2)]
        weight = xp.where(inside, hats[0] * hats[1], 0.0)
        position = xp.astype(xp.where(inside, row * width + column, 0.0), xp.int64)
        taken = xp.take(flat, xp.reshape(images * (height * width) + position, (-1,)), axis=0)
        total += xp.expand_dims(weight, axis=-1) * xp.reshape(taken, values.shape)
    return total
