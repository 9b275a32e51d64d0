"""Pages of the site: what each source report claimed, and what holds."""

from collections.abc import Iterator, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import NamedTuple

from experiments.runner.record import Experiment
from experiments.runner.report import Pair, Result, judged, markdown_table, met, reported
from experiments.runner.text import ours, seeds


class Page(NamedTuple):
    """A page: its title, what the report did, and the groups of its experiments."""

    title: str
    text: str
    chapters: Mapping[str, Sequence[str]]
    """Ids of the experiments of each chapter; a name that ends with a hyphen stands for all that begin with it."""


PAGES = {
    "000": Page(
        "Report 000: a modular network from scratch",
        "A student project of 2021: layers, losses, an optimizer and k-means in NumPy, tried on made-up points and on "
        "digits of the USPS. It concludes that the mean squared error works better than binary cross-entropy, and that "
        "noise in the input of an auto-encoder improves the classification of its output.\n\n"
        "The reported values can be repeated; the two conclusions drawn from them do not hold. With a correct "
        "gradient, the two losses are equally good to within 0.2 dB of PSNR, and noise lowers the accuracy of a "
        "classifier of the outputs.",
        {
            "Toy problems": ["000-toy-"],
            "Linear maps": ["000-linear-"],
            "Digits and clusters": ["000-usps-"],
            "Auto-encoders": ["000-ae-"],
            "Convolutions": ["000-conv1d-"],
        },
    ),
    "001": Page(
        "Report 001: larger auto-encoders and convolutions",
        "A student project of 2024 on the same exercises, with larger auto-encoders and 2-D convolutions. It concludes "
        "that binary cross-entropy reconstructs better than the mean squared error, and that noise in the training of "
        "an auto-encoder is useless.\n\n"
        "The first conclusion holds under plain gradient descent; under Adam, the two losses differ little. The second "
        "fails: noise in training raised the PSNR of denoised images for every network that was tried.",
        {
            "Layers": ["001-linear-boundary", "001-activations", "001-two-layer", "001-usps-mlp"],
            "Auto-encoders": ["001-ae-", "001-latent-tsne"],
            "Denoising": ["001-denoise-"],
            "Convolutions": ["001-conv1d-", "001-conv2d-"],
            "Further work": ["001-further"],
        },
    ),
    "002": Page(
        "Report 002: course work on MNIST",
        "Two students answer [exercise sheet 003](003.md): logistic regression, a perceptron and a convolutional "
        "network on MNIST, and pictures of the test set in the plane. They conclude that larger batches learn better, "
        "and that the cost of logistic regression is not convex.\n\n"
        "The figures that are missed lie within 1.4 standard deviations of three seeds. Both conclusions fail: the "
        "batches that seem better come after more training, and the cost is convex.",
        {
            "Images and parameters": ["003-show", "003-answers"],
            "Three networks": ["003-logistic", "003-mlp", "003-lenet"],
            "In the plane": ["003-tsne-pca"],
        },
    ),
    "003": Page(
        "Report 003: an exercise sheet on deep learning",
        "[Report 002](002.md) answers exercises 0 to 4 of this sheet; its page has their figures. The sheet expects "
        "about 99 % from the convolutional network of exercise 3. Exercises 5 and 6, which report 002 leaves out, ask "
        "how well the layers of a network separate the classes.\n\n"
        "Both are reached: the network classifies 99.1 % of the test set correctly, and from the pixels to the "
        "perceptron to the convolutional network, more neighbours have the same class.",
        {"Separating the classes": ["003-separability"]},
    ),
    "004": Page(
        "Report 004: dense networks, HOG features and a convolutional network",
        "Two students compare dense networks on pixels of MNIST, dense networks on histograms of oriented gradients "
        "(HOG), and convolutional networks, and take the last to Fashion-MNIST. The convolutional networks are the "
        "best, and shirts the hardest class of clothes.\n\n"
        "Both hold. All accuracies and losses are better than reported; a few F1 scores of single digits are missed.",
        {"Pixels": ["004-mlp"], "HOG": ["004-hog"], "Convolutions": ["004-cnn"], "Clothes": ["004-fashion"]},
    ),
}


LEGEND = (
    "A table compares a figure of the report with ours: the mean and the standard deviation over the seeds. "
    '"-" stands where the report gives a figure that is neither good nor bad, such as a weight.'
)
NAMES = {
    "000": "In the notes, *eps* is the learning rate. Figures named *sheet* are those of the network of the course's "
    "exercise sheet, figures named *own* those of the student's own network."
}
"""What the names in the figures of a report mean."""


def write_pages(pairs: Sequence[Pair], results: Path, folder: Path) -> dict[Path, str]:
    """
    Return the Markdown of each page by its path.

    Parameters
    ----------
    pairs : sequence of tuple of Experiment and dict
        Result of :func:`experiments.runner.report.read`.
    results, folder : Path
        Folders of the results and of the pages; links to pictures are relative.
    """
    pictures = Path(relpath(results, folder)).as_posix()
    return {folder / f"{number}.md": _page(number, page, pairs, pictures) for number, page in PAGES.items()}


def _page(number: str, page: Page, pairs: Sequence[Pair], pictures: str) -> str:
    chapters = {title: _chosen(ids, pairs) for title, ids in page.chapters.items()}
    figures = [figure for members in chapters.values() for *_, figure in judged(members)]
    parts = [f"# {page.title}", page.text]
    if figures:
        parts.append(f"**{sum(figure['met'] for figure in figures)} of {len(figures)} reported figures are reached.**")
        parts.append(" ".join([LEGEND, *([NAMES[number]] if number in NAMES else [])]))
    for title, members in chapters.items():
        parts.append(f"## {title}")
        for pair in members:
            parts += _section(*pair, pictures)
    return "\n\n".join(parts) + "\n"


def _chosen(ids: Sequence[str], pairs: Sequence[Pair]) -> list[Pair]:
    return [
        (experiment, result)
        for id in ids
        for experiment, result in pairs
        if experiment.id == id or (id.endswith("-") and experiment.id.startswith(id))
    ]


def _section(experiment: Experiment, result: Result, pictures: str) -> Iterator[str]:
    yield f"### {experiment.id}"
    yield f"{result['what'][0].upper()}{result['what'][1:]}. *{seeds(result).capitalize()}.*"
    compared = {name: figure for name, figure in result["figures"].items() if figure["reported"] is not None}
    if compared:
        rows = [(name, reported(figure), ours(figure), met(figure)) for name, figure in compared.items()]
        yield markdown_table(("figure", "reported", "ours", "reached"), rows)
    if experiment.remark:
        yield f"**What holds.** {experiment.remark}"
    others = {name: figure for name, figure in result["figures"].items() if figure["reported"] is None}
    if others:
        measured = [(name, ours(figure)) for name, figure in others.items()]
        yield f":::{{dropdown}} Also measured\n{markdown_table(('figure', 'ours'), measured)}\n:::"
    if result["choices"]:
        yield f":::{{dropdown}} What the report leaves open\n{result['choices']}\n:::"
    if result["pictures"]:
        images = (f"![{caption}]({pictures}/{experiment.id}/{name})" for name, caption in result["pictures"].items())
        columns = min(2, len(result["pictures"]))
        yield (
            f"::::{{grid}} 1 1 {columns} {columns}\n"
            + "\n".join(f":::{{grid-item}}\n{image}\n:::" for image in images)
            + "\n::::"
        )
