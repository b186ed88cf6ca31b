"""The intake: a received message's body becomes a step, or a settlement if it is not ours."""

from __future__ import annotations

import logging
from datetime import timedelta

from core.domain.identity import StorageIdentity
from core.domain.message import UNKNOWN_MESSAGE, JobMessage
from core.errors import MalformedRequest, MusterError
from core.ports import Lease
from worker.settle import Settlement, back_off_s
from worker.step import Tools

logger = logging.getLogger(__name__)

KEEP_UNKNOWN = timedelta(hours=24)
"""How long a message that only a newer worker may understand remains in the queue. During a rolling
upgrade, old workers run beside new ones.
"""
LONGEST_DELAY_S = 60.0


async def read_message(tools: Tools, lease: Lease) -> JobMessage | Settlement:
    """Read a message.

    Args:
        tools: The tools of this worker.
        lease: The lease on the message.

    Returns:
        The message if it belongs to this storage, else its settlement. An unreadable message is
        never counted against its job.
    """
    try:
        own = await tools.dispatcher.identity()
    except MusterError as error:
        return Settlement("release", error.message, _delay_s(lease))
    try:
        message = JobMessage.from_bytes(lease.body)
    except MalformedRequest as error:
        if error.code == UNKNOWN_MESSAGE:
            return _unknown(tools, lease, error, own)
        tools.metrics.poisoned.labels("undecodable").inc()
        return Settlement("poison", error.message)
    return message if _is_ours(message.identity, own) else _foreign(tools, lease)


def _unknown(
    tools: Tools, lease: Lease, error: MalformedRequest, own: StorageIdentity | None
) -> Settlement:
    identity = error.details.get("identity")
    if not _is_ours(identity if isinstance(identity, str) else None, own):
        return _foreign(tools, lease)
    if tools.timer.now() - lease.inserted_at_utc < KEEP_UNKNOWN:
        tools.metrics.set_aside.labels("newer").inc()
        return Settlement("release", error.message, _delay_s(lease))
    tools.metrics.poisoned.labels("unknown").inc()
    return Settlement(
        "poison",
        f"{error.message} No worker accepted it within "
        f"{KEEP_UNKNOWN.total_seconds() / 3600:.0f} hours.",
    )


def _foreign(tools: Tools, lease: Lease) -> Settlement:
    # Another installation shares this queue, although it should not. Its message is neither ours to
    # process nor ours to poison.
    tools.metrics.set_aside.labels("foreign").inc()
    logger.warning(
        "a message of another installation is in this queue",
        extra={"action": "foreign_message", "message_id": lease.message_id},
    )
    return Settlement("release", "a message of another installation", _delay_s(lease))


def _is_ours(identity: str | None, own: StorageIdentity | None) -> bool:
    return identity is None or own is None or own.owns(identity)


def _delay_s(lease: Lease) -> float:
    return back_off_s(lease.delivery_count, longest_s=LONGEST_DELAY_S)
