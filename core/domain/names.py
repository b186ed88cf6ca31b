"""Names that people type."""

from __future__ import annotations

import unicodedata
from typing import Any

from pydantic import BeforeValidator


def composed(value: Any) -> Any:
    """Return a text in Unicode's composed form (NFC): one name that is typed on two systems must not become two. Others as they are."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


COMPOSED = BeforeValidator(composed)
"""What makes a field of a record composed before it is checked."""
