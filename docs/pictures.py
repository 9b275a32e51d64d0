"""The figures of the site, each as a picture for light pages and one for dark pages."""

import colorsys
from pathlib import Path
from typing import Any

from matplotlib.colors import to_rgb, to_rgba
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
    path = Path(next(block_vars["image_path_iterator"]))
    save_light_and_dark(figure, path)
    return f"\n.. image:: /{path.relative_to(gallery_conf['src_dir']).as_posix()}\n   :alt: {describe(figure)}\n"


def save_light_and_dark(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Save a figure at a path, and its dark form beside it."""
    figure.savefig(path, dpi=dpi)
    darken(figure)
    figure.savefig(dark_path(path), dpi=dpi)


def dark_path(path: Path) -> Path:
    """Return the path of the dark form of a picture."""
    return path.with_stem(f"{path.stem}-dark")


def darken(figure: Figure) -> None:
    """
    Make a figure fit a dark page.

    What is drawn inside of axes keeps its colours. Axes without a frame hold a drawing; all of its colours change.
    """
    figure.patch.set_facecolor(BACKGROUND)
    texts, legends = [*figure.texts], [*figure.legends]
    for axes in figure.axes:
        axes.patch.set_facecolor(BACKGROUND)
        axes.tick_params(which="both", colors=FOREGROUND)
        for spine in axes.spines.values():
            spine.set_edgecolor(FOREGROUND)
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        legends += [legend] if (legend := axes.get_legend()) else []
        if not axes.axison:
            darken_drawing(axes)
    for legend in legends:
        legend.get_frame().set(facecolor=BACKGROUND, edgecolor=FOREGROUND)
        texts += [*legend.get_texts(), legend.get_title()]
    if title := figure._suptitle:  # no public name gives the text itself
        texts.append(title)
    for text in texts:
        text.set_color(FOREGROUND)


def darken_drawing(axes: Any) -> None:
    """Exchange light and dark in the boxes, arrows, lines and texts of a drawing."""
    for line in [*axes.texts, *axes.lines]:
        line.set_color(darkened(line.get_color()))
    arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
    behind_texts = [box for text in axes.texts if (box := text.get_bbox_patch())]
    for patch in [*axes.patches, *arrows, *behind_texts]:
        patch.set(facecolor=darkened(patch.get_facecolor()), edgecolor=darkened(patch.get_edgecolor()))


def darkened(color: Any) -> tuple[float, float, float, float]:
    """Return a colour of the same hue for dark pages: black is as light there as texts, and white as dark as pages."""
    *rgb, alpha = to_rgba(color)
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb)
    light, dark = (colorsys.rgb_to_hls(*to_rgb(own))[1] for own in (FOREGROUND, BACKGROUND))
    return (*colorsys.hls_to_rgb(hue, light + (dark - light) * lightness, saturation), alpha)


def describe(figure: Figure) -> str:
    """Return the titles of a figure, for readers who cannot see it."""
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    labels = [axes.get_ylabel() for axes in figure.axes]
    return "; ".join(dict.fromkeys(text.replace("\n", " ") for text in titles + labels if text)) or "figure"
