"""How Sphinx builds the documentation: `make docs`. Nothing is fetched, neither to build the pages nor to read them."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "autocompress"
author = "the autocompress contributors"
copyright = "the autocompress contributors"
release = version = installed("autocompress")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True  # a name that leads nowhere is a warning, and warnings end the build
nitpick_ignore_regex = [("py:.*", r"(?!autocompress).*"), ("py:.*", r"autocompress\..*")]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
default_role = "code"  # docstrings are written as Markdown has them
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "autocompress"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {"**": ["pages.html"]}
templates_path = ["_templates"]
html_theme_options = {
    "navbar_center": [],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "use_edit_page_button": False,
}
copybutton_exclude = ".linenos, .gp, .go"


_PAGES = {"../benchmarks/results/": "measured/", "../CONTRIBUTING.md": "contributing.md"}


def _inside(app: object, name: str, source: list[str]) -> None:
    """What lies beside docs/ in the repository is a page in here: links are written as the repository has them."""
    for theirs, ours in _PAGES.items():
        source[0] = source[0].replace(f"]({theirs}", f"]({ours}")


def setup(app) -> None:  # type: ignore[no-untyped-def]
    app.connect("source-read", _inside)
