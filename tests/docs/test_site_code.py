"""The code that makes the site: formulas, figures, the page of benchmarks, the gallery, and the check of links."""

import ast
import re
import sys
import textwrap
from pathlib import Path

import pytest

figures = pytest.importorskip("matplotlib.figure", reason="the site's figures are drawn with matplotlib")

ROOT = Path(__file__).parents[2]
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*/*.py"))
sys.path.append(str(ROOT / "docs"))  # Sphinx finds these modules there

import check_site  # noqa: E402
import formulas  # noqa: E402
import numbers_page  # noqa: E402
import pictures  # noqa: E402


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("y = x W + b", r"y = x\, W + b"),
        ("dx = dy Wᵀ", r"dx = dy\, W^{\mathsf{T}}"),
        (
            "z = (x - mean) / √(variance + eps)",
            r"z = \frac{x - \mathrm{mean}}{\sqrt{\mathrm{variance} + \mathrm{eps}}}",
        ),
        ("|r| - beta / 2", r"\left|r\right| - \frac{\mathrm{beta}}{2}"),
        ("h_t = o tanh(c_(t-1))", r"h_{t} = o\, \operatorname{tanh}\left(c_{t - 1}\right)"),
        ("m̂ = m / (1 - β₁ᵗ)", r"\hat{m} = \frac{m}{1 - \beta _{1}^{t}}"),
        ("-λ", r"-\lambda"),
        ("(a) (b) / (c)", r"\frac{\left(a\right)\, \left(b\right)}{c}"),
        ("y[k] = Σ_i x[i] W[i, k]", r"y\left[k\right] = \sum_{i} x\left[i\right]\, W\left[i, k\right]"),
    ],
)
def test_formulas_become_tex(text: str, tex: str) -> None:
    assert formulas.tex(text) == tex


@pytest.mark.parametrize(
    "text",
    ["Linear(3, 2)", "net[-1] = Linear(10)", "padding='same'", "m.needs_all = False", "(n + 1,)", "y = x +", "y = (x"],
)
def test_code_and_halves_of_formulas_stay_literals(text: str) -> None:
    assert formulas.tex(text) is None
    assert formulas.typeset(f"a ``{text}`` b") == f"a ``{text}`` b"


def test_formula_over_two_lines_is_one_formula() -> None:
    assert formulas.typeset("a ``y = x\n    W`` b") == r"a :math:`y = x\, W` b"


def test_dark_figure_has_light_text_and_the_data_keep_their_colours(tmp_path: Path) -> None:
    figure = figures.Figure()
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [0, 1], color="black", label="a line")
    axes.set(title="a title", xlabel="x")
    axes.legend()
    pictures.save_light_and_dark(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure-dark.png").read_bytes() != (tmp_path / "figure.png").read_bytes()
    texts = [axes.title, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_legend().get_texts()]
    assert {text.get_color() for text in texts} == {pictures.FOREGROUND}
    assert line.get_color() == "black"


def test_dark_drawing_exchanges_light_and_dark(tmp_path: Path) -> None:
    figure = figures.Figure()
    axes = figure.subplots()
    axes.axis("off")
    text = axes.text(0, 0, "on a box", bbox={"facecolor": "#dbe9f6", "edgecolor": "black"})
    arrow = axes.annotate("", (1, 1), (0, 0), arrowprops={"color": "black"}).arrow_patch
    pictures.save_light_and_dark(figure, tmp_path / "figure.png")
    light, dark = (pictures.darkened(color) for color in ("black", "white"))
    assert text.get_color() == light
    assert arrow.get_edgecolor() == text.get_bbox_patch().get_edgecolor() == light
    box = text.get_bbox_patch().get_facecolor()
    assert sum(light[:3]) > 2.2
    assert sum(dark[:3]) < 0.4
    assert sum(box[:3]) < 0.6
    assert box[2] > box[0]  # still blue


def test_each_picture_of_the_pages_has_a_dark_form() -> None:
    paths = {*(ROOT / "docs" / "images").glob("*.png")}
    light = {path for path in paths if not path.stem.endswith("-dark")}
    assert len(light) > 10
    assert paths == light | {*map(pictures.dark_path, light)}


def test_page_of_benchmarks_has_machines_dates_and_pictures(tmp_path: Path) -> None:
    page = tmp_path / "numbers.md"
    numbers_page.write(page)
    text = page.read_text(encoding="utf-8")
    assert "usable cores" in text
    shown = re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)
    assert len(shown) > 3
    assert all((tmp_path / name).exists() and pictures.dark_path(tmp_path / name).exists() for name in shown)
    assert "PyTorch takes" in text


def test_page_of_benchmarks_says_what_was_not_measured(tmp_path: Path) -> None:
    numbers_page.write(tmp_path / "numbers.md", tmp_path)
    assert "No GPU has been measured yet." in (tmp_path / "numbers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)
def test_gallery_script_is_short_prints_last_and_uses_public_names(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 80
    assert (ast.get_docstring(tree) or "").splitlines()[1].startswith("===")
    assert "print(" in ast.unparse(tree.body[-1])
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name.startswith("_")]
    assert {module for module in modules if module.startswith("portanet")} <= {"portanet.plots", "portanet.sklearn"}


def test_example_of_the_front_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    page = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    (block,) = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", page, re.MULTILINE)
    exec(textwrap.dedent(block), {})
    accuracy = re.search(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.9


def test_check_of_the_site_finds_dead_links_and_other_hosts(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="https://other/x.css"><h1 id="here"></h1><a href="b.html#there">b</a>'
        '<a href="a.html#here">a</a><a href="#gone">g</a><a href="c.html">c</a><a href="https://other">o</a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1>')
    (tmp_path / "s.css").write_text("@font-face { src: url('https://other/font.woff') }")
    assert sorted(check_site.faults_of_files(tmp_path)) == [
        "a.html links to #gone, which has no such heading",
        "a.html links to c.html, which does not exist",
        "a.html loads https://other/x.css",
        "s.css loads https://other/font.woff",
    ]
