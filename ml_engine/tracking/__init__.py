"""Boxes joined to tracks, and tracks to animals."""
