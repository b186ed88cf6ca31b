"""The expiry brake, which holds the first expiry under a new retention value.

It acts if the expiry would delete much at once, so that a typing error does not delete a herd's
videos.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from core.domain.json_values import JsonObject
from core.ports import Ports

logger = logging.getLogger(__name__)

NOTE = "retention"
MUCH_JOBS = 20
MUCH_FRACTION = 0.05
WAIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class HeldExpiry:
    """An expiry that is held.

    Attributes:
        due: Number of jobs whose videos it would delete.
        kept: Number of jobs that have not expired, including those that are due.
        goes_on_at_utc: The time at which it continues automatically if the value has not changed by
            then.
    """

    due: int
    kept: int
    goes_on_at_utc: datetime

    @property
    def sentence(self) -> str:
        """The description of the held expiry, and what the operator can do."""
        return (
            f"The retention (MUSTER_RETENTION_DAYS, MUSTER_RETENTION_RESULTS) is new and would "
            f"delete the videos of {self.due} of {self.kept} jobs at once. Nothing is deleted "
            f"before {self.goes_on_at_utc:%Y-%m-%d %H:%M} UTC. Correct the value before then, "
            "or run `muster sweep --yes` (in a container: `python -m worker.sweep --yes`) to "
            "delete now."
        )


class ExpiryBrake:
    """The brake of one retention value.

    Args:
        ports: The ports of the process.
        value: The configured retention as text; a different text is a different value.
    """

    def __init__(self, ports: Ports, value: str) -> None:
        self._ports = ports
        self._value = value

    async def allows(self, *, due_before: datetime | None, confirmed: bool = False) -> bool:
        """Return whether jobs may expire. A held expiry is logged, and recorded for `held_expiry`.

        Args:
            due_before: Jobs submitted before this time would expire; None: no job would.
            confirmed: Whether the operator has confirmed the expiry.

        Raises:
            Unavailable: Storage or database does not respond.
        """
        note = await self._ports.ledger.note(NOTE) or {}
        if note == {"accepted": self._value}:
            return True
        if (
            note.get("accepted") != self._value
            and not confirmed
            and due_before is not None
            and await self._waits(note, due_before)
        ):
            return False
        await self._ports.ledger.write_note(NOTE, {"accepted": self._value})
        return True

    async def _waits(self, note: JsonObject, due_before: datetime) -> bool:
        due = await self._ports.jobs.count_unexpired(created_before=due_before)
        kept = await self._ports.jobs.count_unexpired()
        if due <= MUCH_JOBS or due <= MUCH_FRACTION * kept:
            return False
        # All processes share the clock of storage. A process whose own clock is a day fast must not
        # end the wait that another process has begun.
        now = await self._ports.sources.now()
        since = (
            datetime.fromisoformat(str(note["since_utc"]))
            if note.get("waiting") == self._value
            else now
        )
        held = HeldExpiry(due, kept, since + WAIT)
        if now >= held.goes_on_at_utc:
            return False
        waiting: JsonObject = {
            "waiting": self._value,
            "since_utc": since.isoformat(),
            "due": due,
            "kept": kept,
        }
        # The earlier value remains accepted, so that an operator can return to it without delay.
        await self._ports.ledger.write_note(NOTE, {"accepted": note.get("accepted"), **waiting})
        logger.warning(
            "the expiry is held: %s",
            held.sentence,
            extra={"action": "expiry_held", "due": due, "kept": kept},
        )
        return True


async def held_expiry(ports: Ports) -> HeldExpiry | None:
    """Return the expiry that is held, if any.

    Raises:
        Unavailable: The database does not respond.
    """
    note = await ports.ledger.note(NOTE) or {}
    if "waiting" not in note:
        return None
    return HeldExpiry(
        cast(int, note["due"]),
        cast(int, note["kept"]),
        datetime.fromisoformat(str(note["since_utc"])) + WAIT,
    )
