"""
PyTorch in its usual style: channels-first, but sequences as they are; gradients set to None.

Options: fused optimizers, channels_last, torch.compile and CUDA graphs, as in the performance tuning guide and the page
"CUDA semantics" of PyTorch's documentation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.peers import Unsupported
from bench.recipe import Config, Recipe

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def set_precision(precision: str) -> None:
    """Set the precision of products and convolutions on a GPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def step(
    recipe: Recipe,
    device: str,
    *,
    fused: bool = False,
    channels_last: bool = False,
    compiled: str = "",
    graph: bool = False,
) -> Callable[[], Any]:
    """Return a training step on one batch; ``compiled`` is a mode of torch.compile."""
    net, x = _net_and_batch(recipe, device, recipe.batch_size, channels_last)
    target = x if recipe.target == "input" else torch.as_tensor(recipe.targets(recipe.examples(len(x))), device=device)
    optimizer = make_optimizer(recipe.optimizer, net, fused=fused, capturable=graph)
    loss = make_loss(recipe.loss)

    def forward(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return loss(net(x), target)

    if compiled:
        forward = torch.compile(forward, dynamic=False, mode=compiled)

    def run() -> Any:
        optimizer.zero_grad(set_to_none=True)
        value: Any = forward(x, target)
        value.backward()
        optimizer.step()
        return value

    return _synchronized(_recorded(run) if graph else run, device)


def inference(
    recipe: Recipe,
    device: str,
    batch_size: int,
    *,
    fused: bool = False,
    channels_last: bool = False,
    compiled: str = "",
    graph: bool = False,
) -> Callable[[], Any]:
    """Return a function that computes the outputs for one batch."""
    if fused and not (channels_last or compiled or graph):
        raise Unsupported("inference has no optimizer to fuse")
    net, x = _net_and_batch(recipe, device, batch_size, channels_last)
    net.eval()
    if compiled:
        net = torch.compile(net, dynamic=False, mode=compiled)

    @torch.inference_mode()
    def run() -> Any:
        return net(x)

    return _synchronized(_recorded(run) if graph else run, device)


def make_net(recipe: Recipe) -> nn.Sequential:
    """Translate the layers."""
    return nn.Sequential(*map(_layer, recipe.layers))


def inputs(recipe: Recipe, n: int) -> torch.Tensor:
    """Return n examples in PyTorch's order of axes: (N, C, ...), but sequences as (N, T, C) or (N, T)."""
    x = torch.as_tensor(recipe.examples(n))
    return x if recipe.layers[0]["type"] in SEQUENCE_LAYERS else x.movedim(-1, 1).contiguous()


def make_loss(config: Config) -> Loss:
    """Return the loss function with the same values."""
    return LOSSES[config["type"]]


def make_optimizer(config: Config, net: nn.Module, *, fused: bool, capturable: bool = False) -> torch.optim.Optimizer:
    """Return the optimizer of the same name; RMSprop has no fused implementation, so foreach is used."""
    kind, lr, weights = config["type"], config["lr"], net.parameters()
    if kind == "SGD":
        return torch.optim.SGD(weights, lr, momentum=config["momentum"], fused=fused or None)
    if kind == "Adam":
        return torch.optim.Adam(
            weights, lr, betas=tuple(config["betas"]), eps=config["eps"], fused=fused or None, capturable=capturable
        )
    if kind == "RMSprop":
        return torch.optim.RMSprop(
            weights, lr, alpha=config["alpha"], eps=config["eps"], foreach=fused or None, capturable=capturable
        )
    raise Unsupported(f"{kind} is not translated")


def _net_and_batch(recipe: Recipe, device: str, batch_size: int, channels_last: bool) -> tuple[Any, torch.Tensor]:
    """Return the network and a batch on the device, in the memory format."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("PyTorch finds no CUDA device")
    net: Any = make_net(recipe).to(device)
    x = inputs(recipe, batch_size).to(device)
    if channels_last:
        if x.ndim != 4:
            raise Unsupported("channels_last is for images")
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return net, x


def _layer(config: Config) -> nn.Module:
    kind = config["type"].removeprefix("portanet.")  # that of an inner layer
    if kind not in LAYERS:
        raise Unsupported(f"{kind} is not translated")
    return LAYERS[kind](config)


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's own classes differ in the number of axes that they accept."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass


class _Residual(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.branch = _layer(config["branch"])
        self.projection = nn.Identity() if config["projection"] is None else _layer(config["projection"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.projection(x) + self.branch(x)
        return y


class _Recurrent(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, kind: type[nn.RNNBase], config: Config):
        super().__init__()
        if config["return_sequences"] or config["go_backwards"] or config["mask_zeros"]:
            raise Unsupported("recurrent layers are translated that go forwards and return the last state")
        self.layer = kind(config["input_size"], config["hidden_size"], batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x)[0][:, -1]
        return y


class _PositionalEmbedding(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(config["max_len"], config["embedding_dim"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight[: x.shape[1]]


class _TransformerBlock(nn.Module):
    """
    A block of PyTorch's fastest functions: one product for queries, keys and values, and fused attention.

    ``nn.TransformerEncoderLayer`` computes the same, but is slower: it copies the sequence to the order (T, N, C).
    """

    def __init__(self, config: Config):
        super().__init__()
        if config["dropout"] or config["mask_zeros"]:
            raise Unsupported("transformer blocks are translated without dropout and padding")
        width, hidden = config["d_model"], config["dim_feedforward"]
        self.num_heads, self.is_causal = config["num_heads"], config["is_causal"]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = self.in_proj(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (a.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for a in projected)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        x = x + self.out_proj(attended.transpose(1, 2).flatten(2))
        y: torch.Tensor = x + self.feed_forward(self.norm2(x))
        return y


def _linear(config: Config) -> nn.Module:
    return nn.Linear(config["in_features"], config["out_features"], bias=config["bias"])


def _conv(kind: type[nn.Module], config: Config) -> nn.Module:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
    return kind(**{name: config[name] for name in (*names, "output_padding") if name in config})


def _pool(kind: type[nn.Module], config: Config) -> nn.Module:
    if config["padding"] != "valid":
        raise Unsupported("padded pooling is not translated")
    return kind(config["kernel_size"], config["stride"], ceil_mode=config["ceil_mode"])


SEQUENCE_LAYERS = {"Embedding", "GRU", "LSTM"}
"""First layers of networks for sequences."""

LAYERS: dict[str, Callable[[Config], nn.Module]] = {
    "Linear": _linear,
    "Conv1D": partial(_conv, nn.Conv1d),
    "Conv2D": partial(_conv, nn.Conv2d),
    "ConvTranspose2D": partial(_conv, nn.ConvTranspose2d),
    "MaxPool1D": partial(_pool, nn.MaxPool1d),
    "MaxPool2D": partial(_pool, nn.MaxPool2d),
    "AvgPool1D": partial(_pool, nn.AvgPool1d),
    "AvgPool2D": partial(_pool, nn.AvgPool2d),
    "BatchNorm": lambda config: _BatchNorm(
        config["num_features"], config["eps"], config["momentum"], affine=config["affine"]
    ),
    "LayerNorm": lambda config: nn.LayerNorm(
        config["normalized_shape"], config["eps"], elementwise_affine=config["elementwise_affine"]
    ),
    "Embedding": lambda config: nn.Embedding(config["num_embeddings"], config["embedding_dim"]),
    "PositionalEmbedding": _PositionalEmbedding,
    "GRU": partial(_Recurrent, nn.GRU),
    "LSTM": partial(_Recurrent, nn.LSTM),
    "TransformerBlock": _TransformerBlock,
    "Residual": _Residual,
    "Sequential": lambda config: nn.Sequential(*map(_layer, config["layers"])),
    "ReLU": lambda config: nn.ReLU(),
    "Sigmoid": lambda config: nn.Sigmoid(),
    "TanH": lambda config: nn.Tanh(),
    "Softmax": lambda config: nn.Softmax(dim=-1),
    "Dropout": lambda config: nn.Dropout(config["p"]),
    "Flatten": lambda config: nn.Flatten(),
}

LOSSES: dict[str, Loss] = {
    "MSELoss": functional.mse_loss,
    "BCELoss": functional.binary_cross_entropy,
    "CrossEntropyLoss": lambda logits, labels: functional.cross_entropy(logits.flatten(0, -2), labels.flatten()),
    "course.CrossEntropy": lambda p, labels: functional.nll_loss(torch.log(p), labels),
}


def _synchronized(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    if device == "cpu":
        return run

    def synchronized() -> Any:
        value = run()
        torch.cuda.synchronize()
        return value

    return synchronized


def _recorded(run: Callable[[], Any]) -> Callable[[], Any]:
    """Record a CUDA graph after a warm-up on another stream, as PyTorch's documentation asks."""
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = run()

    def replay() -> Any:
        graph.replay()
        return value

    return replay
