"""The documentation's build: Sphinx with MyST, no extension that loads anything from a network."""

project = "Muster"
author = "The Muster authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Muster"
html_static_path: list[str] = []
# A picture or a link that does not exist is a warning, and `make docs` ends on a warning.
nitpicky = True
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
