"""Tracking: boxes joined to tracks, and tracks to animals."""
