"""Code that the listings of all stores share.

It covers times as integers, cursors, page sizes and the bounds of buckets.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.domain.refusals import bad_cursor
from core.errors import InvalidInput
from core.ports import Bucket

MAX_PAGE = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MAX_ID_LENGTH = 256


def to_ms(time: datetime) -> int:
    """Return an aware time as milliseconds since 1970, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return the time in UTC of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def bound_ms(time: datetime) -> int:
    """Return an aware time in milliseconds, rounded up.

    As a bound, `>=` and `<` then give the same result for stored whole milliseconds as the time
    itself would.
    """
    return -((_EPOCH - time) // _MILLISECOND)


MIN_MS = to_ms(datetime.min.replace(tzinfo=UTC))
MAX_MS = to_ms(datetime.max.replace(tzinfo=UTC))


class Position(NamedTuple):
    """A position in a listing that goes from new to old.

    Ids are never empty, so (time, "") comes after every item of that time.
    """

    time_ms: int
    id: str


class Span(NamedTuple):
    """The requested part of a listing: from `since_ms` (inclusive) up to `before` (exclusive)."""

    since_ms: int
    before: Position


def span(*, since: datetime | None, until: datetime | None, cursor: str | None = None) -> Span:
    """Combine a filter's times with a cursor.

    Raises:
        MalformedRequest: The cursor is not from a listing (code `bad_cursor`).
    """
    before = Position(MAX_MS + 1, "") if until is None else Position(bound_ms(until), "")
    if cursor is not None:
        before = min(before, decode_cursor(cursor))
    return Span(MIN_MS if since is None else bound_ms(since), before)


def encode_cursor(last: Position) -> str:
    """Return the cursor that continues after `last`: opaque, safe in a URL."""
    text = json.dumps([last.time_ms, last.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """Return the position of a cursor.

    Raises:
        MalformedRequest: The cursor is not from a listing (code `bad_cursor`).
    """
    try:
        text = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        time_ms, key = json.loads(text)
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise bad_cursor() from error
    is_time = type(time_ms) is int and MIN_MS <= time_ms <= MAX_MS
    is_id = isinstance(key, str) and 0 < len(key) <= _MAX_ID_LENGTH and key.isprintable()
    if not (is_time and is_id):
        raise bad_cursor()
    return Position(time_ms, key)


def check_limit(limit: int) -> None:
    """Refuse page sizes that no listing supports.

    Raises:
        InvalidInput: The size is not 1 to 200 (code `bad_limit`).
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit must be 1 to {MAX_PAGE}, not {limit}.", code="bad_limit")


def bucket_start(time: datetime, bucket: Bucket) -> datetime:
    """Return the start of the bucket that contains an aware UTC time. Weeks begin on Monday."""
    hour = time.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    match bucket:
        case "hour":
            return hour
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)


def bucket_end(start: datetime, bucket: Bucket) -> datetime:
    """Return the end of the bucket that begins at `start`, which is the start of the next one."""
    match bucket:
        case "hour":
            return start + timedelta(hours=1)
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "month":
            return (start + timedelta(days=31)).replace(day=1)
