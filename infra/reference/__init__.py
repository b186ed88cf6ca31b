"""Reference pages of the documentation, generated from the code: one module a page."""
