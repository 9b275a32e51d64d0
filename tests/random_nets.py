"""Random networks of layers that ONNX and PyTorch have too, with running statistics other than those of the start."""

from collections.abc import Callable

import numpy as np

import portanet as pn

Make = Callable[[int], pn.Layer]

OF_IMAGES: list[Make] = [
    lambda c: pn.Conv2D(c, 3, 2, padding=1, bias=False),
    lambda c: pn.Conv2D(c, 2 * c, 3, stride=2, padding=1, groups=c),
    lambda c: pn.ConvTranspose2D(c, 2, 2, stride=2),
    pn.BatchNorm,
    lambda c: pn.GroupNorm(1, c),
    pn.LayerNorm,
    lambda c: pn.RMSNorm(c, eps=1e-3),
    lambda c: pn.Linear(c, 3),
    pn.PReLU,
    lambda c: pn.SiLU(),
    lambda c: pn.Mish(),
    lambda c: pn.Softmax(),
    lambda c: pn.Dropout(0.2),
    lambda c: pn.Rescale(0.5, 0.25),
    lambda c: pn.MaxPool2D(2, 1, padding=1),
    lambda c: pn.AvgPool2D(2, padding=1, count_include_pad=True, ceil_mode=True),
    lambda c: pn.AdaptiveAvgPool2D((2, 3)),
    lambda c: pn.Upsample(2, mode="bilinear"),
    lambda c: pn.Pad(((0, 1), (2, 0))),
    lambda c: pn.Residual(pn.Sequential(pn.Conv2D(c, c, 3, padding=1), pn.BatchNorm(c), pn.TanH())),
    lambda c: pn.Residual(pn.LayerNorm(c), projection=pn.Linear(c, c)),
    lambda c: pn.Parallel(pn.TanH(), pn.Conv2D(c, 2, 1), pn.Sequential(pn.Sigmoid(), pn.Linear(c, 1))),
]
OF_ROWS: list[Make] = [
    lambda n: pn.Linear(n, 4),
    pn.BatchNorm,
    pn.LayerNorm,
    lambda n: pn.ReLU(),
    lambda n: pn.LogSoftmax(),
    lambda n: pn.Residual(pn.Sequential(pn.Linear(n, n), pn.GELU())),
]


def random_net(seed: int) -> tuple[pn.Sequential, np.ndarray]:
    """Return a network in float64, and two images."""
    rng = np.random.default_rng(seed)
    shape = (*map(int, rng.integers(3, 8, size=2)), int(rng.integers(1, 4)))
    layers: list[pn.Layer] = []

    def append(layer: pn.Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
        layers.append(layer)
        return layer.output_shape(shape)

    now = shape
    for _ in range(int(rng.integers(1, 6))):
        now = append(OF_IMAGES[int(rng.integers(len(OF_IMAGES)))](now[-1]), now)
    if rng.random() < 0.7:
        now = append(pn.Flatten() if rng.random() < 0.6 else pn.GlobalAvgPool(), now)
        for _ in range(int(rng.integers(4))):
            now = append(OF_ROWS[int(rng.integers(len(OF_ROWS)))](now[-1]), now)
    net = pn.Sequential(*layers).initialize(seed=seed, dtype="float64")
    for name, buffer in net.named_buffers():
        if "running" in name:
            buffer.data[...] = rng.uniform(0.5, 2.0, size=buffer.shape)
    return net, rng.normal(size=(2, *shape))
