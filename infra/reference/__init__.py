"""The reference pages of the documentation, generated from the code: one module per page."""
