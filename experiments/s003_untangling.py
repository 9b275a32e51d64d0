"""Separation of the classes of MNIST by a network: test images and hidden activations in the plane."""

from typing import Any

import numpy as np

from experiments import s003_lenet
from experiments.runner import Figures, Run, classify, experiment
from experiments.s003_mlp import perceptron
from portanet import PCA, SGD, metrics, plots

NEIGHBOURS = 6


@experiment(
    "003-tsne-pca",
    source="003, exercise 4; answer of 002",
    data="mnist",
    what="the test set in the plane: t-SNE (init PCA, perplexity 30) and PCA, side by side",
    choices=f"The neighbourhood hit, which the sheet asks for in exercise 5, of the {NEIGHBOURS} nearest neighbours.",
    reported={},
)
def tsne_pca(run: Run) -> Figures:
    data = run.load("mnist")
    x = data.x_test.reshape(-1, 784)
    planes = {"t-SNE": tsne(x, run.seed), "PCA": PCA(2, device=run.backend).fit_transform(x)}
    panels = {name: (points, data.y_test) for name, points in planes.items()}
    run.picture("planes", plots.scatter(panels, data.classes, title=run.id), "The test set of MNIST in the plane")
    return {f"neighbourhood hit, {name}": hit(run, points, data.y_test) for name, points in planes.items()}


@experiment(
    "003-separability",
    source="003, exercises 5 and 6",
    data="mnist",
    what=(
        "t-SNE of the test set: its pixels, the hidden layer of the perceptron (100), that of the conv net (100); "
        "convex hull, ellipse and neighbourhood hit of the classes"
    ),
    choices=(
        f"The sheet gives no number of neighbours: {NEIGHBOURS}, as in Rauber et al., Visualizing the hidden activity "
        "of artificial neural networks, 2017. The networks are trained as in 003-mlp with learning rate 0.5 and in "
        "003-lenet. An ellipse is the contour at 2 standard deviations of the Gaussian fitted to a class."
    ),
    reported={},
)
def separability(run: Run) -> Figures:
    data = run.load("mnist")
    mlp, conv = perceptron(), s003_lenet.lenet()
    classify(run, mlp, SGD(0.5), data, batch_size=300, epochs=1 if run.quick else 10, name="perceptron")
    s003_lenet.train(run, conv, data, name="conv net")
    spaces = {
        "pixels": data.x_test.reshape(-1, 784),
        "perceptron": mlp[:-1].predict(data.x_test),
        "conv net": conv[:-1].predict(data.x_test),
    }
    planes = {name: tsne(x, run.seed) for name, x in spaces.items()}
    figures = {f"neighbourhood hit, {name}": hit(run, points, data.y_test) for name, points in planes.items()}
    panels = {f"{name}: {figures[f'neighbourhood hit, {name}']:.4f}": (xy, data.y_test) for name, xy in planes.items()}
    figure = plots.scatter(panels, data.classes, title=f"{run.id}: neighbourhood hit")
    for axes, points in zip(figure.axes, planes.values(), strict=True):
        outline(axes, points, data.y_test)
    run.picture("planes", figure, "t-SNE of the test set, with the convex hull and the ellipse of each class")
    return figures


def tsne(x: np.ndarray, seed: int) -> np.ndarray:
    """Embed x, shape (N, D), in the plane, shape (N, 2), by t-SNE."""
    from sklearn.manifold import TSNE

    return TSNE(2, init="pca", perplexity=30, random_state=seed).fit_transform(x)


def hit(run: Run, points: np.ndarray, labels: np.ndarray) -> float:
    return float(metrics.neighbourhood_hit(*map(run.backend.asarray, (points, labels)), NEIGHBOURS))


def outline(axes: Any, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw the convex hull of each class, and the contour at 2 standard deviations of its fitted Gaussian."""
    from scipy.spatial import ConvexHull
    from sklearn.mixture import GaussianMixture

    angle = np.linspace(0, 2 * np.pi, 100)
    circle = 2 * np.stack([np.cos(angle), np.sin(angle)])
    for label in np.unique(labels):
        members, color = points[labels == label], f"C{label}"
        axes.fill(*members[ConvexHull(members).vertices].T, fill=False, edgecolor=color, lw=0.7, alpha=0.6)
        gaussian = GaussianMixture(1).fit(members)
        ellipse = gaussian.means_.T + np.linalg.cholesky(gaussian.covariances_[0]) @ circle
        axes.plot(*ellipse, color=color, lw=1.6)
