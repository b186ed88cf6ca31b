"""The limit on wrong keys from one IP address.

The counts are stored in the process. N processes behind one URL allow N times as many.

All callers behind a proxy or a router share one IP address, so an address over its limit is not
locked out. A credential that was valid recently passes without being counted. A credential that
this process does not recognise is refused before the store is asked.

The price is paid at an address over its limit: a valid key that this process has not seen within
`RECOGNISED_S` waits until the address has tokens again. Other addresses are not affected.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Throttled

RECOGNISED_S = 24 * 3600.0
"""Seconds for which a valid credential is recognised after its last use."""

_ADDRESSES = 10_000
_CREDENTIALS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class WrongKeys:
    """Counts per IP address.

    Both tables are bounded: the least recently used entry is dropped first. Not thread-safe;
    nothing blocks.

    Args:
        per_minute: Wrong credentials per minute from one IP address; 0 means no limit.
        monotonic: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self, *, per_minute: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._most = max(1.0, per_minute)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._right: OrderedDict[str, float] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one unrecognised credential before it is looked up.

        The count of a valid credential is subtracted again (`give_back`).

        Raises:
            Throttled: The address has tried too many wrong keys (code `too_many_wrong_keys`).
        """
        if self._per_minute <= 0:
            return
        now_s = self._monotonic()
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = _Bucket(self._most, now_s)
            if len(self._buckets) > _ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        bucket.tokens = min(
            self._most, bucket.tokens + (now_s - bucket.at_s) * self._per_minute / 60
        )
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) * 60 / self._per_minute
            raise Throttled(
                f"Too many wrong keys from your address. "
                f"Check your key, then retry in {math.ceil(wait_s)} s.",
                code="too_many_wrong_keys",
                retry_after_s=wait_s,
                per_minute=self._per_minute,
            )
        bucket.tokens -= 1

    def give_back(self, address: str) -> None:
        """Subtract one count, because the credential was valid or the store could not be asked."""
        bucket = self._buckets.get(address)
        if bucket is not None:
            bucket.tokens = min(self._most, bucket.tokens + 1)

    def recognises(self, digest: str) -> bool:
        """Return whether a credential was valid recently.

        The credential is looked up even so, so that a revoked key is refused.
        """
        seen_s = self._right.get(digest)
        return seen_s is not None and self._monotonic() - seen_s <= RECOGNISED_S

    def remember(self, digest: str) -> None:
        """Record that a credential is valid. Idempotent."""
        self._right[digest] = self._monotonic()
        self._right.move_to_end(digest)
        if len(self._right) > _CREDENTIALS:
            self._right.popitem(last=False)

    def forget(self, digest: str) -> None:
        """Record that a credential is no longer valid. Idempotent."""
        self._right.pop(digest, None)
