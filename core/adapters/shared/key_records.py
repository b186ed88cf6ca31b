"""Errors that the key stores share."""

from __future__ import annotations

from core.errors import Conflict


def key_exists(key_id: str) -> Conflict:
    """Return the error for an id that is taken."""
    return Conflict(f"Key {key_id} already exists.", code="key_exists")
