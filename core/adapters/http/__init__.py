"""Requests to other people's servers."""
