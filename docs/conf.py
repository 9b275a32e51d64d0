"""Sphinx builds the site from this folder: ``tox -e docs``."""

from portanet import __version__

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
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]

# A page for each public name. The docstrings give types and shapes, and the signatures the defaults.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
nitpicky = True
nitpick_ignore = [("py:class", "contextlib.nullcontext")]  # a default, which has no page here

html_theme = "pydata_sphinx_theme"
html_title = "PortaNet"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False, "pygments_light_style": "tango"}

RESULTS = {"../bench/RESULTS.md": "results/benchmarks.md", "../experiments/RESULTS.md": "results/experiments.md"}
"""Pages that lie elsewhere in the repository, and their names in the site."""


def setup(app):
    """Let links to these pages lead to the site's own."""

    def replace(app, name, source):
        for path, page in RESULTS.items():
            source[0] = source[0].replace(f"({path})", f"({page})")

    app.connect("source-read", replace)
