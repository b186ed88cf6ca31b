"""What the key stores share: their errors."""

from __future__ import annotations

from core.errors import Conflict


def key_exists(key_id: str) -> Conflict:
    """The error of an id that is taken."""
    return Conflict(f"There is a key {key_id} already.", code="key_exists")
