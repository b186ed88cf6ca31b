"""The settlement of a lease: complete, release or poison, or nothing if the lease is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from core.errors import LeaseLost, MusterError, Unavailable
from core.ports import JobQueue, Lease
from worker.stop import StopReason
from worker.timing import Timer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The way to settle a message.

    Attributes:
        kind: `complete`: done, or nothing to do. `release`: visible again after `delay_s`.
            `poison`: moved to the poison queue. `nothing`: the message is not ours.
        reason: The reason, for the log and the poison queue.
        delay_s: How long a released message is invisible.
    """

    kind: Literal["complete", "release", "poison", "nothing"]
    reason: str = ""
    delay_s: float = 0.0


COMPLETE = Settlement("complete")


def after_stop(reason: StopReason | None) -> Settlement:
    """Return the settlement of a message whose step was stopped."""
    if reason == "shutdown":
        return Settlement("release", "this worker is shutting down")
    if reason == "job_ended":
        return COMPLETE
    return Settlement("nothing", "lease lost")


def describe(error: Exception) -> tuple[str, str]:
    """Return the code and the sentence under which an error counts as a failure of its step."""
    if isinstance(error, MusterError):
        return error.code, error.message
    if isinstance(error, MemoryError):
        return "out_of_memory", "The worker has too little memory for this step."
    return "internal_error", "An unexpected error occurred in the worker. Its log has the details."


def back_off_s(
    tries: int, *, longest_s: float, random_fraction: Callable[[], float] = random.random
) -> float:
    """Return the delay after `tries` failed tries: 2ⁿ s, at most `longest_s`.

    Up to half of the delay is subtracted at random.
    """
    return min(longest_s, 2.0 ** min(tries, 30)) * (1 - random_fraction() / 2)


async def settle(queue: JobQueue, lease: Lease, how: Settlement, timer: Timer) -> None:
    """Settle a lease. Retry while the queue is unavailable and the lease may still be ours.

    Raises no `MusterError`. If no try succeeds, the message becomes visible again, which every step
    tolerates.
    """
    if how.kind == "nothing":
        return
    actions: dict[str, Callable[[], Awaitable[None]]] = {
        "complete": lambda: queue.complete(lease),
        "release": lambda: queue.release(lease, delay=timedelta(seconds=how.delay_s)),
        "poison": lambda: queue.poison(lease, reason=how.reason),
    }
    extra = {"message_id": lease.message_id, "delivery_count": lease.delivery_count}
    for tries in itertools.count():
        try:
            await actions[how.kind]()
        except LeaseLost:
            logger.warning(
                "lease lost before it was settled",
                extra={"action": "settle_too_late", "how": how.kind, **extra},
            )
            return
        except Unavailable as error:
            if timer.now() >= lease.visible_at_utc:
                logger.warning(
                    "not settled: %s",
                    error.message,
                    extra={"action": "settle_failed", "how": how.kind, **extra},
                )
                return
            await timer.wait(asyncio.Event(), back_off_s(tries, longest_s=5.0))
        else:
            break
    if how.kind == "poison":
        logger.error(
            "message poisoned: %s", how.reason, extra={"action": "message_poisoned", **extra}
        )
    elif how.kind == "release":
        logger.info(
            "message released: %s",
            how.reason,
            extra={"action": "message_released", "delay_s": round(how.delay_s, 1), **extra},
        )
