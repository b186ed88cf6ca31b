"""Unclaimed blobs, for which this database has no record, tombstone or marker.

They are counted and reported. They are deleted only when the operator asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.domain.clock import Clock
from core.domain.identity import Tombstone
from core.domain.json_values import JsonObject
from core.ports import BlobInfo, Ports, StorageLedger
from core.services.housekeeping.delete import delete_owned

NOTE = "unclaimed"


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A job's folder in one container, or one upload.

    Attributes:
        place: `sources`, `results` or `uploads`.
        name: The job's id, or the upload's blob name.
    """

    place: str
    name: str
    blobs: int
    size_bytes: int
    oldest_at_utc: datetime
    newest_at_utc: datetime

    @classmethod
    def of(cls, place: str, name: str, infos: Sequence[BlobInfo]) -> Unclaimed:
        """Sum up blobs, of which there is at least one."""
        times = [info.modified_at_utc for info in infos]
        return cls(
            place, name, len(infos), sum(info.size_bytes for info in infos), min(times), max(times)
        )


@dataclass(slots=True)
class Total:
    """The sum of unclaimed blobs in one place."""

    folders: int = 0
    blobs: int = 0
    size_bytes: int = 0
    oldest_at_utc: datetime | None = None

    def add(self, found: Unclaimed) -> None:
        """Add one folder or upload."""
        self.folders += 1
        self.blobs += found.blobs
        self.size_bytes += found.size_bytes
        self.oldest_at_utc = min(filter(None, (self.oldest_at_utc, found.oldest_at_utc)))


@dataclass(slots=True)
class Tally:
    """Sums up the findings of walks, each of which may take several runs.

    Attributes:
        walks: The names of the walks.
        on_unclaimed: Called with everything that is found.
    """

    walks: Collection[str]
    on_unclaimed: Callable[[Unclaimed], None] | None = None
    _counting: dict[str, Total] = field(default_factory=dict)
    _ended: dict[str, Total] = field(default_factory=dict)

    def add(self, walk: str, found: Unclaimed) -> None:
        """Count something that a walk has found."""
        self._counting.setdefault(walk, Total()).add(found)
        if self.on_unclaimed is not None:
            self.on_unclaimed(found)

    def end(self, walk: str) -> None:
        """Record that a walk has reached its end."""
        self._ended[walk] = self._counting.pop(walk, Total())

    async def write_down(self, ledger: StorageLedger, at: datetime) -> None:
        """Write the sum of all walks into the ledger once each has reached its end."""
        if set(self._ended) == set(self.walks):
            totals = self._ended.values()
            oldest = min(
                (total.oldest_at_utc for total in totals if total.oldest_at_utc is not None),
                default=None,
            )
            value: JsonObject = {
                "folders": sum(total.folders for total in totals),
                "blobs": sum(total.blobs for total in totals),
                "bytes": sum(total.size_bytes for total in totals),
                "oldest_at_utc": None if oldest is None else oldest.isoformat(),
                "counted_at_utc": at.isoformat(),
            }
            await ledger.write_note(NOTE, value)


async def noted_unclaimed(ledger: StorageLedger) -> JsonObject:
    """Return the findings of the last complete walk; empty before the first.

    The keys are `folders`, `blobs`, `bytes`, `oldest_at_utc` and `counted_at_utc`.
    """
    return await ledger.note(NOTE) or {}


async def purge_unclaimed(ports: Ports, clock: Clock, found: Iterable[Unclaimed]) -> None:
    """Delete unclaimed blobs when the operator asks for it.

    Each job gets a tombstone first, so that the sweeper can finish an interrupted deletion.

    Raises:
        Unavailable: A service does not respond; the remaining blobs are found again.
    """
    for item in found:
        if item.place == "uploads":
            await ports.sources.purge(item.name)
        elif not await ports.jobs.outlines([item.name]):
            tombstone = await ports.ledger.bury(
                Tombstone(job_id=item.name, reason="purged", written_at_utc=clock())
            )
            await delete_owned(ports, item.name)
            await ports.ledger.finish(tombstone, at=clock())
