"""
The networks of the experiments, each with its loss, optimizer, batch size and input shape.

Where a source leaves the optimizer or an activation open, the choice is that of the experiment. `python -m bench peers`
runs the networks with a goal by default.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

from bench.recipe import Config, Recipe, Target
from portanet import (
    GRU,
    LSTM,
    SGD,
    Adam,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    BCELoss,
    Conv1D,
    Conv2D,
    ConvTranspose2D,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    Loss,
    MaxPool1D,
    MaxPool2D,
    MSELoss,
    Optimizer,
    PositionalEmbedding,
    ReLU,
    Residual,
    RMSprop,
    Sequential,
    Sigmoid,
    Softmax,
    TanH,
    TransformerBlock,
)
from portanet.config import Configured, to_json
from portanet.course import CrossEntropy


@dataclass(frozen=True)
class Network:
    """
    A network and its training step.

    Parameters
    ----------
    id : str
        Name on the command line; it starts with the number of the source.
    layers : callable
        Returns new layers at each call.
    loss, optimizer : callable
        Return a new loss and a new optimizer.
    batch_size : int
        Examples per training step.
    input_shape : tuple of int
        Shape of one example, channels-last.
    target : {"labels", "values", "input"}
        See :class:`bench.recipe.Recipe`.
    n_ids : int, optional
        See :class:`bench.recipe.Recipe`.
    goal : float, optional
        Largest allowed ratio of PortaNet's training step time to that of the best PyTorch variant, on two cores.
    """

    id: str
    layers: Callable[[], list[Layer]]
    loss: Callable[[], Loss]
    optimizer: Callable[[], Optimizer]
    batch_size: int
    input_shape: tuple[int, ...]
    target: Target = "labels"
    n_ids: int | None = None
    goal: float | None = None

    def build(self) -> Sequential:
        """Return a new network whose weights are not initialized."""
        return Sequential(*self.layers())

    def recipe(self) -> Recipe:
        """Return the network as plain data."""
        layers = self.layers()
        shapes = list(accumulate(layers, lambda shape, layer: layer.output_shape(shape), initial=self.input_shape))
        return Recipe(
            id=self.id,
            layers=tuple(map(_config, layers)),
            loss=_config(self.loss()),
            optimizer=_config(self.optimizer()),
            batch_size=self.batch_size,
            input_shape=self.input_shape,
            shapes=tuple(shapes[1:]),
            target=self.target,
            n_ids=self.n_ids,
        )


def _config(item: Configured) -> Config:
    config: Config = to_json(item)
    return {**config, "type": config["type"].removeprefix("portanet.")}


def dense(*sizes: int, hidden: type[Layer], end: type[Layer] | None = None) -> list[Layer]:
    """Return Linear layers with an activation between any two of them and, optionally, another one at the end."""
    layers: list[Layer] = []
    for n_in, n_out in pairwise(sizes):
        layers += [Linear(n_in, n_out), hidden()]
    return [*layers[:-1], *([end()] if end else [])]


def autoencoder(*sizes: int) -> list[Layer]:
    """Return an auto-encoder: TanH layers down to the last size and back, with a sigmoid at the end."""
    return dense(*sizes, *sizes[-2::-1], hidden=TanH, end=Sigmoid)


def dense_with_dropout(n_in: int, n_hidden: int, p: float) -> list[Layer]:
    """Return a dense network with one hidden layer and dropout."""
    return [Linear(n_in, n_hidden), ReLU(), Dropout(p), Linear(n_hidden, 10)]


def dense_head(n_in: int, n_hidden: int = 100) -> list[Layer]:
    """Return the dense layers after the convolutions of sources 000, 001 and 004."""
    return [Flatten(), Linear(n_in, n_hidden), ReLU(), Linear(n_hidden, 10)]


def conv1d_net3() -> list[Layer]:
    """Return three convolutions over the pixels of a digit as one signal."""
    return [
        *(Conv1D(1, 128, 3), MaxPool1D(2)),
        *(Conv1D(128, 64, 3), MaxPool1D(2)),
        *(Conv1D(64, 32, 3), MaxPool1D(2)),
        *dense_head(960),
    ]


def conv2d_net3() -> list[Layer]:
    """Return two convolutions with overlapping average pooling between them."""
    return [Conv2D(1, 32, 3), AvgPool2D(2, stride=1), Conv2D(32, 64, 3), AvgPool2D(2), *dense_head(1600)]


def lenet() -> list[Layer]:
    """Return two convolutions and a hidden layer with sigmoids, as the exercise sheet of source 003 asks."""
    return [
        *(Conv2D(1, 32, 5, padding="same"), Sigmoid(), MaxPool2D(2)),
        *(Conv2D(32, 64, 5, padding="same"), Sigmoid(), MaxPool2D(2)),
        *(Flatten(), Linear(3136, 100), Sigmoid(), Linear(100, 10)),
    ]


def cnn(filters: int, last_filters: int, n_hidden: int) -> list[Layer]:
    """Return the convolutional network of source 004, which is also used with more filters and dense units."""
    return [
        *(Conv2D(1, filters, 5, padding="same"), ReLU(), MaxPool2D(2)),
        *(Conv2D(filters, filters, 5, padding="same"), ReLU(), MaxPool2D(2)),
        *(Conv2D(filters, last_filters, 3, padding="same"), ReLU(), MaxPool2D(2)),
        *dense_head(9 * last_filters, n_hidden),
    ]


def normalized(layer: Layer) -> list[Layer]:
    """Return a convolution, batch normalization and ReLU."""
    return [layer, BatchNorm(layer.out_channels), ReLU()]  # type: ignore[attr-defined]


def separable(n_in: int, n_out: int, stride: int) -> list[Layer]:
    """Return a depthwise and a 1x1 convolution, as in MobileNet."""
    depthwise = Conv2D(n_in, n_in, 3, stride=stride, padding=1, groups=n_in, bias=False)
    return [*normalized(depthwise), *normalized(Conv2D(n_in, n_out, 1, bias=False))]


def mobile_net() -> list[Layer]:
    """Return a small network of depthwise-separable convolutions."""
    return [
        *normalized(Conv2D(3, 32, 3, padding=1, bias=False)),
        *(*separable(32, 64, 2), *separable(64, 64, 1), *separable(64, 128, 2), *separable(128, 128, 1)),
        *(AvgPool2D(8), Flatten(), Linear(128, 10)),
    ]


def strided_autoencoder() -> list[Layer]:
    """Return an encoder of strided convolutions and a decoder of transposed ones, as in DCGAN."""
    strided = partial(Conv2D, kernel_size=4, stride=2, padding=1)
    transposed = partial(ConvTranspose2D, kernel_size=4, stride=2, padding=1)
    return [
        *(strided(1, 32), ReLU()),
        *normalized(strided(32, 64, bias=False)),
        *normalized(transposed(64, 32, bias=False)),
        *(transposed(32, 1), Sigmoid()),
    ]


def residual_block(n_in: int, n_out: int, stride: int) -> list[Layer]:
    """Return two convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""
    branch = Sequential(
        *normalized(Conv2D(n_in, n_out, 3, stride=stride, padding=1, bias=False)),
        *(Conv2D(n_out, n_out, 3, padding=1, bias=False), BatchNorm(n_out)),
    )
    if stride == 1 and n_in == n_out:
        return [Residual(branch), ReLU()]
    projection = Sequential(Conv2D(n_in, n_out, 1, stride=stride, bias=False), BatchNorm(n_out))
    return [Residual(branch, projection=projection), ReLU()]


def res_net() -> list[Layer]:
    """Return a small residual network."""
    return [
        *normalized(Conv2D(3, 16, 3, padding=1, bias=False)),
        *(*residual_block(16, 16, 1), *residual_block(16, 32, 2), *residual_block(32, 64, 2)),
        *(AvgPool2D(8), Flatten(), Linear(64, 10)),
    ]


def transformer(n_tokens: int, length: int, width: int) -> list[Layer]:
    """Return a language model of four blocks: the logits of the next token at each position."""
    blocks = [TransformerBlock(width, 4, is_causal=True) for _ in range(4)]
    return [
        Embedding(n_tokens, width),
        PositionalEmbedding(length, width),
        *blocks,
        LayerNorm(width),
        Linear(width, n_tokens),
    ]


# Settings shared by several networks
regression = partial(Network, loss=MSELoss, optimizer=SGD, target="values")
toy = partial(regression, batch_size=5, input_shape=(4,))
linear_maps = partial(regression, batch_size=100)
points = partial(regression, batch_size=64, input_shape=(2,))
full_batch_signal = partial(
    Network, loss=partial(CrossEntropy, reduction="mean"), optimizer=SGD, batch_size=500, input_shape=(256, 1)
)
classifier = partial(Network, loss=CrossEntropyLoss)
usps = partial(classifier, optimizer=Adam, batch_size=64)
signal = partial(usps, input_shape=(256, 1))
image = partial(usps, input_shape=(16, 16, 1))
source_003 = partial(classifier, optimizer=partial(SGD, 0.5), batch_size=300, input_shape=(784,))
source_004 = partial(classifier, optimizer=partial(RMSprop, 1e-3, alpha=0.9, eps=1e-7), batch_size=128)
raw_mnist = partial(source_004, input_shape=(784,))
mnist_image = partial(source_004, input_shape=(28, 28, 1))
full_batch_encoder = partial(Network, loss=MSELoss, optimizer=SGD, batch_size=500, input_shape=(256,), target="input")
encoder = partial(Network, loss=BCELoss, optimizer=Adam, batch_size=64, target="input")
color_image = partial(usps, input_shape=(32, 32, 3))
sequence = partial(classifier, optimizer=Adam, goal=0.80)

_NETWORKS = (
    toy("000-toy", lambda: dense(4, 4, 2, hidden=TanH), goal=0.06),
    toy("000-toy-tanh", lambda: dense(4, 4, 1, hidden=TanH, end=TanH)),
    toy("000-toy-sigmoid", lambda: dense(4, 4, 2, hidden=Sigmoid, end=Sigmoid)),
    toy("000-toy-softmax", lambda: [Linear(4, 4), Linear(4, 2), Softmax()]),
    linear_maps("000-linear-1", lambda: [Linear(5, 1)], input_shape=(5,)),
    linear_maps("000-linear-2", lambda: [Linear(2, 2), Linear(2, 1)], input_shape=(2,)),
    linear_maps("000-linear-n", lambda: [Linear(2, 3), Linear(3, 2), Linear(2, 1)], input_shape=(2,)),
    linear_maps("000-usps-mlp", lambda: dense(256, 100, 10, hidden=TanH, end=Softmax), input_shape=(256,)),
    full_batch_encoder("000-ae-normalised", lambda: autoencoder(256, 100, 10)),
    full_batch_encoder(
        "000-ae-two-layer",
        lambda: [Linear(256, 50), Linear(50, 10), Sigmoid(), Linear(10, 50), Linear(50, 256), Sigmoid()],
    ),
    full_batch_signal("000-conv1d-max", lambda: [Conv1D(1, 32, 3), MaxPool1D(2), *dense_head(4064), Softmax()]),
    full_batch_signal("000-conv1d-avg", lambda: [Conv1D(1, 32, 3), AvgPool1D(2), *dense_head(4064), Softmax()]),
    points("001-linear-boundary", lambda: [Linear(2, 1)]),
    points("001-two-layer", lambda: dense(2, 50, 1, hidden=TanH, end=Sigmoid)),
    usps("001-usps-mlp", lambda: dense(256, 100, 10, hidden=TanH), input_shape=(256,)),
    encoder("001-ae-usps", lambda: autoencoder(256, 128, 64), input_shape=(256,), goal=0.40),
    encoder("001-ae-usps-complex", lambda: autoencoder(256, 128, 64, 32), input_shape=(256,)),
    encoder("001-ae-mnist-simple", lambda: autoencoder(784, 128, 64), input_shape=(784,)),
    encoder("001-ae-mnist", lambda: autoencoder(784, 512, 256, 128, 64), input_shape=(784,), goal=0.70),
    signal("001-conv1d-net1", lambda: [Conv1D(1, 32, 3), MaxPool1D(2), *dense_head(4064)], goal=0.40),
    signal(
        "001-conv1d-net2",
        lambda: [Conv1D(1, 128, 3), MaxPool1D(2), Conv1D(128, 32, 3), MaxPool1D(2), *dense_head(1984)],
        goal=0.28,
    ),
    signal("001-conv1d-net3", conv1d_net3, goal=0.35),
    image("001-conv2d-net1", lambda: [Conv2D(1, 32, 3), AvgPool2D(2), *dense_head(1568)], goal=0.40),
    image("001-conv2d-net2", lambda: [Conv2D(1, 64, 3), AvgPool2D(2), *dense_head(3136)], goal=0.40),
    image("001-conv2d-net3", conv2d_net3, goal=0.72),
    source_003("003-logistic", lambda: [Linear(784, 10)], goal=0.40),
    source_003("003-mlp", lambda: dense(784, 100, 10, hidden=Sigmoid), goal=0.65),
    mnist_image("003-lenet", lenet, optimizer=Adam, goal=0.60),
    raw_mnist("004-mlp", lambda: dense_with_dropout(784, 300, 0.5), goal=0.40),
    raw_mnist("004-mlp-200", lambda: dense_with_dropout(784, 200, 0.3)),
    raw_mnist("004-mlp-500", lambda: dense_with_dropout(784, 500, 0.7)),
    raw_mnist("004-mlp-900", lambda: dense_with_dropout(784, 900, 0.5)),
    source_004("004-hog", lambda: dense(392, 200, 10, hidden=ReLU), input_shape=(392,)),
    source_004("004-hog-40", lambda: dense(40, 200, 10, hidden=ReLU), input_shape=(40,)),
    source_004("004-hog-196", lambda: dense_with_dropout(196, 200, 0.5), input_shape=(196,)),
    mnist_image("004-cnn", lambda: cnn(9, 16, 25), goal=0.50),
    mnist_image("004-cnn-filters", lambda: cnn(18, 32, 25)),
    mnist_image("004-cnn-doubled", lambda: cnn(18, 32, 50)),
    color_image("mobile-net", mobile_net, goal=0.80),
    encoder("strided-ae", strided_autoencoder, input_shape=(28, 28, 1), goal=0.80),
    color_image("res-net", res_net, goal=0.80),
    sequence("gru", lambda: [GRU(28, 128), Linear(128, 10)], batch_size=128, input_shape=(28, 28)),
    sequence("lstm", lambda: [LSTM(64, 128), Linear(128, 10)], batch_size=32, input_shape=(64, 64)),
    sequence("transformer", lambda: transformer(256, 128, 128), batch_size=32, input_shape=(128,), n_ids=256),
    usps("digits", lambda: dense_with_dropout(64, 256, 0.5), batch_size=32, input_shape=(64,)),
)

NETWORKS = {network.id: network for network in _NETWORKS}
