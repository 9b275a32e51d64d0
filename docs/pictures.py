"""The figures of the gallery, each as a picture for light pages and one for dark pages."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

DPI = 130
FOREGROUND, BACKGROUND = "#ced6dd", "#14181e"
"""Colours of text and of the page in the theme's dark form."""


def save_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """
    Save the figure that is the last value of a block of code, and return the reStructuredText that shows it.

    Sphinx-Gallery calls this after each block. Its own function finds only figures of pyplot.
    """
    values = block_vars["example_globals"]
    figure, values["___"] = values.get("___"), None  # the next block may have no value
    if not isinstance(figure, Figure):
        return ""
    light = Path(next(block_vars["image_path_iterator"]))
    dark = save_light_and_dark(figure, light)
    return "\n".join(
        f"\n.. image:: /{path.relative_to(gallery_conf['src_dir']).as_posix()}\n"
        f"   :alt: {describe(figure)}\n   :class: only-{theme}\n"
        for path, theme in ((light, "light"), (dark, "dark"))
    )


def save_light_and_dark(figure: Figure, path: Path, dpi: int = DPI) -> Path:
    """Save a figure at a path, and its dark form beside it, whose path is returned."""
    dark = path.with_stem(f"{path.stem}-dark")
    figure.savefig(path, dpi=dpi)
    darken(figure)
    figure.savefig(dark, dpi=dpi)
    return dark


def darken(figure: Figure) -> None:
    """Make a figure fit a dark page; what is drawn inside the axes keeps its colours."""
    figure.patch.set_facecolor(BACKGROUND)
    texts, legends = [*figure.texts], [*figure.legends]
    for axes in figure.axes:
        axes.patch.set_facecolor(BACKGROUND)
        axes.tick_params(which="both", colors=FOREGROUND)
        for spine in axes.spines.values():
            spine.set_edgecolor(FOREGROUND)
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        legends += [legend] if (legend := axes.get_legend()) else []
    for legend in legends:
        legend.get_frame().set(facecolor=BACKGROUND, edgecolor=FOREGROUND)
        texts += [*legend.get_texts(), legend.get_title()]
    if title := figure._suptitle:  # no public name gives the text itself
        texts.append(title)
    for text in texts:
        text.set_color(FOREGROUND)


def describe(figure: Figure) -> str:
    """Return the titles of a figure, for readers who cannot see it."""
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    labels = [axes.get_ylabel() for axes in figure.axes]
    return "; ".join(dict.fromkeys(text.replace("\n", " ") for text in titles + labels if text)) or "figure"
