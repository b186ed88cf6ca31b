"""The routes, one module an idea."""
