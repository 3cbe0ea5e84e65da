"""The settings of Sphinx, which makes a site of these pages: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `reference` and `mathml`
from reference import fill_pages

project = "fewmask"
copyright = "the authors of fewmask, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
root_doc = "index"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
add_module_names = False

html_theme = "furo"
html_title = "fewmask"
html_copy_source = False
linkcheck_anchors = False


def setup(app):  # type: ignore[no-untyped-def]
    """Sphinx calls this: pages of the reference are written from the code when they are read."""
    app.connect("source-read", fill_pages)
