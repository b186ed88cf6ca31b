"""Limits on the number of values in a client's document, checked before models validate it.

A model that refuses a document reports every fault. For two million faults that takes half a minute
and gigabytes of memory.
"""

from __future__ import annotations

from typing import Any

from core.errors import InvalidInput

MOST_ITEMS = 10_000
"""Most items in one list: the number of points that a calibration may have."""
MOST_KEYS = 200
"""Most keys in one mapping."""
MOST_VALUES = 120_000
"""Most values in all. The largest calibration, zones and counted frames together have 100 000."""
MOST_FAULTS = 100
"""Most faults that a response lists."""


def check_bulk_of(text: bytes) -> None:
    """Refuse JSON with too many values before it is parsed: a million empty lists take seconds.

    Raises as `check_bulk`.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > 3 * MOST_VALUES:
        raise _too_many()


def _too_many() -> InvalidInput:
    return InvalidInput(
        f"Too many values: at most {MOST_ITEMS} in a list, {MOST_KEYS} in an object and "
        f"{MOST_VALUES} in all.",
        code="too_many_values",
    )


def check_bulk(data: Any) -> None:
    """Refuse a document with more values than any valid document has.

    The time of the check itself is bounded.

    Args:
        data: The parsed JSON.

    Raises:
        InvalidInput: The document has too many values (code `too_many_values`).
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
