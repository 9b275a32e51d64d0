"""
The floor: what the matrix products of a network take with NumPy, without all that is around them.

A convolution counts as the product of its columns (im2col) with its kernel. Each product is done in pieces of the size
that is fastest here, over and over on the same memory, as if what it reads were always in the cache. Only fewer
operations go below that, such as Winograd's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bench.peers import Unfit
from bench.recipe import Config, Recipe

PIECES = (2**15, 2**17, 2**19, 2**22)
"""Numbers of the larger factor to try: from what fits into the cache of a core to 16 MiB."""


@dataclass(frozen=True)
class Product:
    """A matrix product, done a number of times."""

    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    times: int

    def do(self) -> None:
        """Multiply."""
        for _ in range(self.times):
            np.matmul(self.a, self.b, out=self.out)

    def seconds(self) -> float:
        """Time it, the better of two runs."""
        times = []
        for _ in range(2):
            begun = perf_counter()
            self.do()
            times.append(perf_counter() - begun)
        return min(times)


def step(recipe: Recipe, device: str) -> Callable[[], np.ndarray]:
    """Products of forward, weight gradient and, but for the first layer, input gradient."""
    products: list[Product] = []
    for m, k, n in sizes(recipe, recipe.batch_size):
        products += [forward(m, k, n), weight_gradient(m, k, n)]
        if len(products) > 2:
            products.append(forward(m, n, k))
    return _run(products)


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], np.ndarray]:
    """Products of forward."""
    return _run([forward(m, k, n) for m, k, n in sizes(recipe, batch_size)])


def sizes(recipe: Recipe, batch_size: int) -> Iterator[tuple[int, int, int]]:
    """Rows m and columns k of the input, columns n of the output, of each layer that multiplies (m, k) by (k, n)."""
    for config, shape in zip(recipe.layers, recipe.shapes, strict=True):
        if config["type"] == "Linear":
            yield batch_size, config["in_features"], config["out_features"]
        elif config["type"].startswith("Conv"):
            *places, n = shape
            yield batch_size * int(np.prod(places)), _cells(config, len(places)) * config["in_channels"], n


def forward(m: int, k: int, n: int) -> Product:
    """Multiply (m, k) by (k, n) in the fastest way; an input gradient is one with k and n exchanged."""
    ways = (Product(_random(rows, k), _random(k, n), _random(rows, n), times) for rows, times in _pieces(m, max(k, n)))
    return min(ways, key=Product.seconds)


def weight_gradient(m: int, k: int, n: int) -> Product:
    """Multiply (k, m) by (m, n) in the fastest way."""
    ways = (
        Product(_random(rows, k).T, _random(rows, n), _random(k, n), times) for rows, times in _pieces(m, max(k, n))
    )
    return min(ways, key=Product.seconds)


def _pieces(m: int, width: int) -> set[tuple[int, int]]:
    """Ways to deal m rows out: how many a piece, and how many pieces."""
    counts = {-(-m * width // most) for most in PIECES if width <= most} or {1}
    return {(m // count, count) for count in counts if count <= m}


def _cells(config: Config, n_axes: int) -> int:
    size = config["kernel_size"]
    return int(size**n_axes if isinstance(size, int) else np.prod(size))


def _random(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).random((rows, columns), np.float32)


def _run(products: list[Product]) -> Callable[[], np.ndarray]:
    if not products:
        raise Unfit("the network multiplies no matrices")

    def run() -> np.ndarray:
        for product in products:
            product.do()
        return products[-1].out

    return run
