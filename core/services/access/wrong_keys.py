"""How many wrong keys one address may try. The counts are kept in the process; N processes behind
one address allow N times as many.

All callers behind a proxy or a router share one address, so an address over its limit is not shut
out. A credential that was right lately passes without a question. A credential that this process
does not recognise is refused before the store is asked.
The price: at an address over its limit, a right key that this process has not seen within
`RECOGNISED_S` waits until the address has tokens again. Other addresses do not notice.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Throttled

RECOGNISED_S = 24 * 3600.0
"""How long a right credential is recognised after its last use."""

_ADDRESSES = 10_000
_CREDENTIALS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class WrongKeys:
    """Counts per address. Both tables are bounded: the entry that was used longest ago goes first.
    Not thread-safe; nothing blocks.

    Args:
        per_minute: Wrong credentials a minute from one address; 0 means no limit.
        monotonic: Tells seconds that never go back.
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
        """Count one credential that is not recognised, before it is looked up. Right ones are given
        back.

        Raises:
            Throttled: The address has tried too many (code `too_many_wrong_keys`).
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
        """Count a credential no more: it was right, or the store could not tell."""
        bucket = self._buckets.get(address)
        if bucket is not None:
            bucket.tokens = min(self._most, bucket.tokens + 1)

    def recognises(self, digest: str) -> bool:
        """Return whether a credential was right lately.

        It is looked up all the same, so that a revoked key opens nothing.
        """
        seen_s = self._right.get(digest)
        return seen_s is not None and self._monotonic() - seen_s <= RECOGNISED_S

    def remember(self, digest: str) -> None:
        """Take note that a credential is right. Idempotent."""
        self._right[digest] = self._monotonic()
        self._right.move_to_end(digest)
        if len(self._right) > _CREDENTIALS:
            self._right.popitem(last=False)

    def forget(self, digest: str) -> None:
        """Take note that a credential is right no more. Idempotent."""
        self._right.pop(digest, None)
