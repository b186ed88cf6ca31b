"""Hold the first expiry under a new retention value that would delete much at once: a typing error
must not cost a herd's films.
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
    """An expiry that waits.

    Attributes:
        due: How many jobs it would delete videos of.
        kept: How many jobs have not expired, those included.
        goes_on_at_utc: When it goes on by itself, if the value is the same then.
    """

    due: int
    kept: int
    goes_on_at_utc: datetime

    @property
    def sentence(self) -> str:
        """What it is, and what to do."""
        return (
            f"The retention (MUSTER_RETENTION_DAYS, MUSTER_RETENTION_RESULTS) is new and would delete the videos of {self.due} of "
            f"{self.kept} jobs at once. Nothing is deleted before {self.goes_on_at_utc:%Y-%m-%d %H:%M} UTC: correct the value until then, "
            "or run `python -m worker.sweep --yes` to go on now."
        )


class ExpiryBrake:
    """The brake of one retention value.

    Args:
        ports: Where jobs and notes are.
        value: The retention that is configured; another text is another value.
    """

    def __init__(self, ports: Ports, value: str) -> None:
        self._ports = ports
        self._value = value

    async def allows(self, *, due_before: datetime | None, confirmed: bool = False) -> bool:
        """Return whether jobs may expire; where not, that is logged and noted for `held_expiry`.

        Args:
            due_before: Jobs from before that time would expire; None: none would.
            confirmed: The operator has said yes.

        Raises:
            Unavailable: Storage or database does not answer.
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
        # By the clock of storage, which all processes share: one whose own is a day ahead must not
        # end the wait that another has begun.
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
        # The value before stays accepted: going back to it costs nothing.
        await self._ports.ledger.write_note(NOTE, {"accepted": note.get("accepted"), **waiting})
        logger.warning(
            "expiry waits: %s",
            held.sentence,
            extra={"action": "expiry_held", "due": due, "kept": kept},
        )
        return True


async def held_expiry(ports: Ports) -> HeldExpiry | None:
    """Return the expiry that waits, if one does.

    Raises:
        Unavailable: The database does not answer.
    """
    note = await ports.ledger.note(NOTE) or {}
    if "waiting" not in note:
        return None
    return HeldExpiry(
        cast(int, note["due"]),
        cast(int, note["kept"]),
        datetime.fromisoformat(str(note["since_utc"])) + WAIT,
    )
