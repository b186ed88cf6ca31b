"""The routes, one module per idea."""
