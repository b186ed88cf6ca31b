"""The rate limit of one caller, as a token bucket.

The buckets are stored in the process. N processes behind one URL allow N times the rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.domain.refusals import rate_limited

_REMEMBERED = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class RateLimiter:
    """Lets each caller send `burst` requests at once and `per_s` requests per second on average.

    Args:
        per_s: Requests per second; 0 means no limit.
        burst: Requests at once.
        monotonic: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self, *, per_s: float, burst: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str) -> None:
        """Count one request of a caller.

        Raises:
            Throttled: The caller is over the rate (code `rate_limited`); `retry_after_s` states
                when the next request is allowed.
        """
        if self._per_s <= 0:
            return
        now_s = self._monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._forget_idle(now_s)
            bucket = self._buckets[caller] = _Bucket(self._burst, now_s)
        bucket.tokens = self._refilled(bucket, now_s)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) / self._per_s
            raise rate_limited(per_s=self._per_s, burst=self._burst, retry_after_s=wait_s)
        bucket.tokens -= 1

    def _refilled(self, bucket: _Bucket, now_s: float) -> float:
        return min(self._burst, bucket.tokens + (now_s - bucket.at_s) * self._per_s)

    def _forget_idle(self, now_s: float) -> None:
        if len(self._buckets) < _REMEMBERED:
            return
        # A full bucket is the same as no bucket.
        self._buckets = {
            name: bucket
            for name, bucket in self._buckets.items()
            if self._refilled(bucket, now_s) < self._burst
        }
