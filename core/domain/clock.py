"""Times with a time zone, in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current time in UTC, truncated to milliseconds, as every store can hold it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def as_utc(value: datetime) -> datetime:
    """Return an aware time in UTC, truncated to milliseconds.

    Raises:
        ValueError: The time is naive, so its meaning is unknown, or its offset leads outside the
            years 1 to 9999.
    """
    if value.tzinfo is None:
        raise ValueError("a time needs its offset from UTC, such as 2026-06-01T09:30:00Z")
    try:
        value = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time must be in the years 1 to 9999, also in UTC") from error
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


UtcDatetime = Annotated[datetime, AfterValidator(as_utc)]
