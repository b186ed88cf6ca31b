"""Names and numbers of requests, which are normalised and limited when they are validated.

Stored values are read without changes.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema


def composed(value: Any) -> Any:
    """Return a text in Unicode's composed form (NFC), and other values unchanged.

    A name that is typed on two systems must not become two names.
    """
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: controls, characters that change the direction or have no width, surrogates,
and line breaks.
"""


def visible(text: str) -> str:
    """Return a text in composed form without invisible characters.

    Two names that look the same must be the same.
    """
    return unicodedata.normalize(
        "NFC", "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    ).strip()


def cleaned(value: Any) -> Any:
    """Return the stored form of a name that a person typed.

    A name with C0 controls is returned unchanged, so that its pattern refuses it.
    """
    return visible(value) if isinstance(value, str) and not any(c < " " for c in value) else value


def _cleaned_if_typed(value: Any, info: ValidationInfo) -> Any:
    return cleaned(value) if info.context == TYPED else value


TYPED = {"typed": True}
"""Context for the validation of requests and settings files.

Stored values are not cleaned, because records of older releases must remain readable.
"""
CLEANED_IF_TYPED = BeforeValidator(_cleaned_if_typed)
CLEANED = BeforeValidator(cleaned)


def whole_number(least: int, most: int) -> tuple[AfterValidator, WithJsonSchema]:
    """Return the annotations that limit a whole number in a request.

    Stored numbers of releases without the limit remain readable.
    """

    def check(value: int, info: ValidationInfo) -> int:
        if info.context == TYPED and not least <= value <= most:
            raise ValueError(f"Input should be from {least} to {most}")
        return value

    return AfterValidator(check), WithJsonSchema(
        {"type": "integer", "minimum": least, "maximum": most}
    )


COMPOSED = BeforeValidator(composed)
"""Converts a field of a record to the composed form before it is validated."""
