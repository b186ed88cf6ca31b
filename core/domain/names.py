"""Names and numbers that people type: cleaned and limited when they are typed.

What is stored is read as it is.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema


def composed(value: Any) -> Any:
    """Return a text in Unicode's composed form (NFC): one name that is typed on two systems must
    not become two. Others as they are.
    """
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, of what changes the direction or has no width, of halves of
pairs, and of line breaks.
"""


def visible(text: str) -> str:
    """Return a text in composed form without invisible characters: two names that look the same
    must be the same.
    """
    return unicodedata.normalize(
        "NFC", "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    ).strip()


def cleaned(value: Any) -> Any:
    """Return a name that a person types as it is kept; one with C0 controls as it is, which its
    pattern then refuses.
    """
    return visible(value) if isinstance(value, str) and not any(c < " " for c in value) else value


def _cleaned_if_typed(value: Any, info: ValidationInfo) -> Any:
    return cleaned(value) if info.context == TYPED else value


TYPED = {"typed": True}
"""Context of a validation of what a person sends.

What is stored is not cleaned: a record of before must stay readable.
"""
CLEANED_IF_TYPED = BeforeValidator(_cleaned_if_typed)
CLEANED = BeforeValidator(cleaned)


def whole_number(least: int, most: int) -> tuple[AfterValidator, WithJsonSchema]:
    """Return what limits a whole number that a person types.

    A stored one of a release without the limit stays readable.
    """

    def check(value: int, info: ValidationInfo) -> int:
        if info.context == TYPED and not least <= value <= most:
            raise ValueError(f"Input should be from {least} to {most}")
        return value

    return AfterValidator(check), WithJsonSchema(
        {"type": "integer", "minimum": least, "maximum": most}
    )


COMPOSED = BeforeValidator(composed)
"""What makes a field of a record composed before it is checked."""
