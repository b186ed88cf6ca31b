"""The periodic housekeeping: lost messages, webhooks, orphaned blobs and expired files."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.domain.clock import Clock
from core.domain.housekeeping import HousekeepingRules
from core.errors import MusterError
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.delete import finish_deletions
from core.services.housekeeping.expiry_brake import ExpiryBrake
from core.services.housekeeping.orphans import Orphans
from core.services.housekeeping.retention import Retention
from core.services.housekeeping.storage_identity import require_no_takeover
from core.services.housekeeping.sweep import Sweeper

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """The results of one run.

    Attributes:
        resent: Jobs whose message was sent again.
        finished: Interrupted deletions that were finished.
        orphans, uploads, unpublished, buried: Blobs that were deleted; see `Cleared`.
        expired: Jobs that expired.
        held: Whether an expiry waits for the operator's confirmation, or for a day.
    """

    resent: int = 0
    finished: int = 0
    orphans: int = 0
    uploads: int = 0
    unpublished: int = 0
    buried: int = 0
    expired: int = 0
    held: bool = False


class Housekeeping:
    """The use case. Any number of processes may run it at the same time.

    Args:
        ports: The ports of the process.
        dispatcher: Sends messages.
        clock: Returns the current time.
        rules: The operator's rules.
        confirmed: Whether the operator has confirmed that everything that is due may expire.
    """

    def __init__(
        self,
        ports: Ports,
        dispatcher: Dispatcher,
        clock: Clock,
        rules: HousekeepingRules,
        *,
        confirmed: bool = False,
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._rules = rules
        self._confirmed = confirmed
        self._sweeper = Sweeper(ports, dispatcher, clock)
        self._orphans = Orphans(
            ports,
            clock,
            least_age=rules.least_age,
            upload_life=rules.upload_life,
            read_life=rules.read_life,
        )
        keep = rules.keep
        self._retention = (
            None
            if keep is None
            else Retention(ports, clock, after=keep, results=rules.expiring_results)
        )
        self._brake = ExpiryBrake(ports, rules.retention)

    async def run(self, *, everything: bool = False) -> Report:
        """Do a bounded amount of work. The next run continues where this one stopped.

        Args:
            everything: Continue until all work is done.

        Raises:
            MusterError: The first error of any part; the other parts were done regardless.
                `ForeignStorage`: another database has taken the storage over, and nothing was
                deleted.
        """
        report, errors = Report(), []
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "messages": lambda: self._resend(report),
            # Checked before anything is deleted: a stack that still runs after `adopt` elsewhere
            # must not delete anything.
            "marks": lambda: require_no_takeover(self._ports),
            "deletions": lambda: self._finish(report, everything),
            "orphans": lambda: self._clear(report, everything),
            "retention": lambda: self._expire(report, everything),
        }
        for name, part in parts.items():
            try:
                await part()
            except MusterError as error:
                errors.append(error)
                logger.warning(
                    "not swept: %s",
                    error.message,
                    extra={"action": "sweep_failed", "part": name, "code": error.code},
                )
                if name == "marks":
                    break
        found = dataclasses.asdict(report)
        logger.log(
            logging.INFO if any(found.values()) else logging.DEBUG,
            "swept",
            extra={"action": "swept", **found},
        )
        if errors:
            raise errors[0]
        return report

    async def _resend(self, report: Report) -> None:
        report.resent = await self._sweeper.run(visibility=self._rules.visibility)

    async def _finish(self, report: Report, everything: bool) -> None:
        while done := await finish_deletions(self._ports, self._clock):
            report.finished += done
            if not everything:
                return

    async def _clear(self, report: Report, everything: bool) -> None:
        cleared = await self._orphans.run(pages=None) if everything else await self._orphans.run()
        report.orphans, report.uploads = cleared.orphans, cleared.uploads
        report.unpublished, report.buried = cleared.unpublished, cleared.buried

    async def _expire(self, report: Report, everything: bool) -> None:
        keep = self._rules.keep
        # The clock of storage is used. A process with a slow clock would find nothing due, and
        # would accept a new value as an old one.
        due_before = None if keep is None else await self._ports.sources.now() - keep
        report.held = not await self._brake.allows(due_before=due_before, confirmed=self._confirmed)
        if self._retention is None:
            return
        while not report.held and (done := await self._retention.run()):
            report.expired += done
            if not everything:
                return
