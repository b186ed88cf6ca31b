"""Adapters for requests to servers that do not belong to this installation."""
