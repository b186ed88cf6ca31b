"""The result files."""
