"""Results of one seed, one hash for each case: ``python -m tests.deterministic_runs [NAME ...]`` prints JSON."""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import portanet as pn

Arrays = dict[str, np.ndarray]


def images(n: int = 96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 14, 14, 3)).astype("float32"), rng.integers(10, size=n)


def trained(*layers: pn.Layer, flat: bool = False, **settings: Any) -> Arrays:
    """Weights and history of a network after two epochs; 96 examples in batches of 40, so that the last is short."""
    x, y = images()
    x = x.reshape(len(x), -1) if flat else x
    trainer = pn.Trainer(pn.Sequential(*layers), pn.CrossEntropyLoss(), pn.Adam(1e-3, **settings), seed=3)
    history = trainer.fit(x, y, epochs=2, batch_size=40, progress=False)
    return {**trainer.net.get_weights(), "loss": np.asarray(history["loss"]), "prediction": trainer.predict(x)}


def dense(**settings: Any) -> Arrays:
    layers = pn.Linear(588, 300), pn.ReLU(), pn.Linear(300, 200), pn.TanH(), pn.Linear(200, 10)
    return trained(*layers, flat=True, **settings)


def convolutions(**settings: Any) -> Arrays:
    return trained(
        *(pn.Conv2D(3, 24, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2), pn.Conv2D(24, 32, 3), pn.GELU()),
        *(pn.AvgPool2D(5), pn.Flatten(), pn.Linear(32, 10)),
        **settings,
    )


def batch_norm(**settings: Any) -> Arrays:
    return trained(
        *(pn.Conv2D(3, 24, 3), pn.BatchNorm(24), pn.ReLU(), pn.MaxPool2D(2), pn.Flatten()),
        *(pn.Linear(864, 64), pn.BatchNorm(64), pn.Sigmoid(), pn.Linear(64, 10)),
        **settings,
    )


def dropout(**settings: Any) -> Arrays:
    layers = pn.Linear(588, 300), pn.ReLU(), pn.Dropout(0.4), pn.Linear(300, 10)
    return trained(*layers, flat=True, **settings)


def kmeans(**settings: Any) -> Arrays:
    x = np.random.default_rng(0).normal(size=(3000, 50)).astype("float32")
    found = pn.KMeans(20, max_iter=8, random_state=5, **settings).fit(x)
    return {"centres": found.cluster_centers_, "labels": found.labels_, "costs": found.cost_history_}


def pca() -> Arrays:
    x = np.random.default_rng(0).normal(size=(1000, 60)).astype("float32")
    found = pn.PCA(20).fit(x)
    return {"components": found.components_, "variances": found.explained_variance_, "plane": found.transform(x)}


NETWORKS: dict[str, Callable[..., Arrays]] = {
    "dense": dense,
    "convolutions": convolutions,
    "batch norm": batch_norm,
    "dropout": dropout,
}
CASES: dict[str, Callable[[], Arrays]] = {
    **NETWORKS,
    **{f"{name}, clipped": partial(run, clip_norm=0.5) for name, run in NETWORKS.items()},
    "kmeans": kmeans,
    "kmeans from given centres": lambda: kmeans(init=np.random.default_rng(1).normal(size=(20, 50))),
    "pca": pca,
}


def digest(name: str) -> str:
    """Hash all arrays of a case."""
    total = hashlib.sha256()
    for key, values in CASES[name]().items():
        total.update(key.encode() + np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    print(json.dumps({name: digest(name) for name in sys.argv[1:] or CASES}))
