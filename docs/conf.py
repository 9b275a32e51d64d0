"""Sphinx builds the site from this folder: ``tox -e docs``."""

import sys
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.ext.autosummary import autosummary_table

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import formulas  # noqa: E402
import numbers_page  # noqa: E402
import pictures  # noqa: E402

from portanet import __version__  # noqa: E402

project = "PortaNet"
author = "The PortaNet developers"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "sg_execution_times.rst", "**/sg_execution_times.rst"]

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# A page for each public name. The docstrings give types and shapes, and the signatures the defaults.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
nitpicky = True
nitpick_ignore = [("py:class", "contextlib.nullcontext")]  # a default, which has no page here

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "subsection_order": [f"gallery/{folder}" for folder in ("networks", "pictures", "clusters_and_text", "speed")],
    "filename_pattern": r"\.py$",  # runs every file
    "backreferences_dir": "reference/generated/examples",
    "doc_module": ("portanet",),
    "image_scrapers": ("pictures.save_figures",),
    "reset_modules": (),
    "capture_repr": (),
    "matplotlib_animations": False,
    "abort_on_example_error": True,
    "first_notebook_cell": None,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,  # the pages of two builds are equal
    "remove_config_comments": True,
    "copyfile_regex": r"",
}

# All formulas are drawn by this one file, without fonts and without a request to another host.
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"
mathjax_path = MATHJAX.name
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "pydata_sphinx_theme"
html_title = "PortaNet"
html_static_path = ["_static", str(MATHJAX)]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "navigation_with_keys": False,
    "pygments_light_style": "tango",
    "logo": {"text": "PortaNet"},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}

RESULTS = {"../bench/RESULTS.md": "results/benchmarks.md", "../experiments/RESULTS.md": "results/experiments.md"}
"""Pages that lie elsewhere in the repository, and their names in the site."""


def is_citation(node):
    """Whether a node is a number in brackets that leads to the references."""
    return isinstance(node, nodes.Element) and node.get("reftype") == "ref" and node.get("refdomain") == "citation"


def show_dark_pictures(app, doctree):
    """Let dark pages show the dark form of each picture that has one beside it."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if pictures.dark_path(path).exists():
            dark = image.deepcopy()
            dark["uri"] = image["uri"].removesuffix(path.name) + pictures.dark_path(path).name
            image["classes"].append("only-light")
            dark["classes"].append("only-dark")
            shown, twin = image, dark
            if isinstance(image.parent, nodes.reference):  # a link holds one picture
                shown, twin = image.parent, image.parent.copy()
                twin += dark
            shown.parent.insert(shown.parent.index(shown) + 1, twin)


def setup(app):
    """Let links to these pages lead to the site's own, and typeset the formulas of docstrings."""

    def replace(app, name, source):
        up = "../" * name.count("/")
        for path, page in RESULTS.items():
            source[0] = source[0].replace(f"({up}{path})", f"({up}{page})")

    def typeset(app, what, name, obj, options, lines):  # noqa: PLR0917
        lines[:] = formulas.typeset("\n".join(lines)).split("\n")

    def leave_out_citations(app, doctree):
        # The tables of names show first lines without the list of references that these cite.
        for table in doctree.findall(autosummary_table):
            for citation in list(table.findall(is_citation)):
                parent, place = citation.parent, citation.parent.index(citation)
                if place and isinstance(parent[place - 1], nodes.Text):
                    parent[place - 1] = nodes.Text(parent[place - 1].rstrip())
                parent.remove(citation)

    numbers_page.write(DOCS / "results" / "numbers.md")
    app.connect("source-read", replace)
    app.connect("autodoc-process-docstring", typeset)
    app.connect("doctree-read", leave_out_citations)
    app.connect("doctree-read", show_dark_pictures, priority=400)  # before Sphinx collects the pictures
