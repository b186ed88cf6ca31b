"""The configuration, by concern."""
