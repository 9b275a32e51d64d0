"""Inference of whole networks, at batch sizes 1 and 1000."""

from collections.abc import Callable

import pytest

from bench.networks import NETWORKS

pytestmark = pytest.mark.benchmark(warmup=True)


@pytest.mark.parametrize("batch", [1, 1000])
@pytest.mark.parametrize("network", NETWORKS)
def test_network_inference(timed: Callable[..., None], network: str, batch: int, device: str) -> None:
    net = NETWORKS[network].build().initialize(device=device)
    x = net.asarray(NETWORKS[network].recipe().examples(batch))
    timed(lambda: net(x))
