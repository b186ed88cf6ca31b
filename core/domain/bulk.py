"""How many values a document that a stranger sent may hold, before models look at each of them.

A model that refuses a document names every fault. Of two million faults that takes half a minute
and gigabytes.
"""

from __future__ import annotations

from typing import Any

from core.errors import InvalidInput

MOST_ITEMS = 10_000
"""In one list: as many as a calibration has points."""
MOST_KEYS = 200
"""In one mapping."""
MOST_VALUES = 120_000
"""In all: the largest calibration, zones and counted frames together have 100 000."""
MOST_FAULTS = 100
"""How many faults an answer names."""


def check_bulk_of(text: bytes) -> None:
    """Refuse JSON that holds so many values, before it is read: a million empty lists take seconds.

    Raises as `check_bulk`.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > 3 * MOST_VALUES:
        raise _too_many()


def _too_many() -> InvalidInput:
    return InvalidInput(
        f"Too many values: at most {MOST_ITEMS} in a list, {MOST_KEYS} in an object and {MOST_VALUES} in all.",
        code="too_many_values",
    )


def check_bulk(data: Any) -> None:
    """Refuse a document with more values than anything has that Muster takes. Its own time is
    bounded.

    Args:
        data: What JSON gave.

    Raises:
        InvalidInput: It has too many (code `too_many_values`).
    """
    left, level = MOST_VALUES, [data]
    while level:
        below: list[Any] = []
        for item in level:
            if not isinstance(item, dict | list | tuple):
                continue
            left -= len(item)
            if len(item) > (MOST_KEYS if isinstance(item, dict) else MOST_ITEMS) or left < 0:
                raise _too_many()
            below += item.values() if isinstance(item, dict) else item
        level = below
