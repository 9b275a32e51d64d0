"""
The GEMM bound: the time of a network's matrix products with NumPy, without all other operations.

A convolution counts as the product of its im2col columns and its kernel. Each product is split into blocks of the size
that is fastest on this machine, and every block uses the same memory, so that its operands may stay in the cache. Only
algorithms with fewer multiplications, such as Winograd's, are faster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bench.peers import Unsupported
from bench.recipe import Config, Recipe

MAX_BLOCK_ELEMENTS = (2**15, 2**17, 2**19, 2**22)
"""Sizes of the larger factor of a block to try: from the cache of a core to 16 MiB."""


@dataclass(frozen=True)
class Product:
    """A matrix product that is repeated."""

    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    repeats: int

    def run(self) -> None:
        """Multiply."""
        for _ in range(self.repeats):
            np.matmul(self.a, self.b, out=self.out)

    def seconds(self) -> float:
        """Return the time of :meth:`run`, the smaller of two."""
        times = []
        for _ in range(2):
            begin = perf_counter()
            self.run()
            times.append(perf_counter() - begin)
        return min(times)


def step(recipe: Recipe, device: str) -> Callable[[], np.ndarray]:
    """Return the products of forward, weight gradient and, except in the first layer, input gradient."""
    products: list[Product] = []
    for m, k, n in sizes(recipe, recipe.batch_size):
        products += [forward(m, k, n), weight_gradient(m, k, n)]
        if len(products) > 2:
            products.append(forward(m, n, k))
    return _run_all(products)


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], np.ndarray]:
    """Return the products of forward."""
    return _run_all([forward(m, k, n) for m, k, n in sizes(recipe, batch_size)])


def sizes(recipe: Recipe, batch_size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (m, k, n) for each layer that multiplies a matrix of shape (m, k) by one of shape (k, n)."""
    for config, shape in zip(recipe.layers, recipe.shapes, strict=True):
        if (
            config["type"] in ("Residual", "ConvTranspose2D", "GRU", "LSTM", "TransformerBlock")
            or config.get("groups", 1) > 1
        ):
            raise Unsupported(f"the products of {config['type']} are not counted")
        if config["type"] == "Linear":
            yield batch_size, config["in_features"], config["out_features"]
        elif config["type"].startswith("Conv"):
            *output_shape, n = shape
            k = _kernel_elements(config, len(output_shape)) * config["in_channels"]
            yield batch_size * int(np.prod(output_shape)), k, n


def forward(m: int, k: int, n: int) -> Product:
    """Return the fastest blocking of (m, k) times (k, n); an input gradient is one with k and n exchanged."""
    candidates = (
        Product(_random(rows, k), _random(k, n), _random(rows, n), repeats)
        for rows, repeats in _blockings(m, max(k, n))
    )
    return min(candidates, key=Product.seconds)


def weight_gradient(m: int, k: int, n: int) -> Product:
    """Return the fastest blocking of (k, m) times (m, n)."""
    candidates = (
        Product(_random(rows, k).T, _random(rows, n), _random(k, n), repeats)
        for rows, repeats in _blockings(m, max(k, n))
    )
    return min(candidates, key=Product.seconds)


def _blockings(m: int, width: int) -> set[tuple[int, int]]:
    """Return ways to split m rows: rows per block and number of blocks."""
    counts = {-(-m * width // most) for most in MAX_BLOCK_ELEMENTS if width <= most} or {1}
    return {(m // count, count) for count in counts if count <= m}


def _kernel_elements(config: Config, n_axes: int) -> int:
    size = config["kernel_size"]
    return int(size**n_axes if isinstance(size, int) else np.prod(size))


def _random(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).random((rows, columns), np.float32)


def _run_all(products: list[Product]) -> Callable[[], np.ndarray]:
    if not products:
        raise Unsupported("the network has no matrix products")

    def run() -> np.ndarray:
        for product in products:
            product.run()
        return products[-1].out

    return run
