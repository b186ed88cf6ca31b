"""A storage in memory with jobs and blobs, and the sweep that clears it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core.domain.blobs import (
    link_blob,
    source_blob,
    submitting_blob,
)
from core.domain.identity import StorageIdentity
from core.services.housekeeping.orphans import Orphans
from core.services.housekeeping.unclaimed import Unclaimed
from tests.fakes import IDENTITY
from tests.support.api_stand import SteppedClock, make_job, make_ports

AGE, LINK = timedelta(minutes=60), timedelta(minutes=30)
HOUR_S = 3601.0


class Stand:
    """Ports in memory and a clock."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.ports = make_ports(self.clock)
        self.unclaimed: list[Unclaimed] = []
        self.orphans = self.sweeper(on_unclaimed=self.unclaimed.append)

    def sweeper(self, **options: Any) -> Orphans:
        return Orphans(self.ports, self.clock, least_age=AGE, upload_life=LINK, **options)

    async def die(
        self, number: int, *, identity: StorageIdentity | None = IDENTITY, files: int = 1
    ) -> None:
        """Leave what a submission leaves whose process is killed before its job is recorded."""
        body = b"" if identity is None else identity.mark.to_bytes()
        await self.ports.sources.put(submitting_blob(key(number)), body)
        for index in range(files):
            await self.ports.sources.put(source_blob(key(number), index), b"x")

    async def link(self, number: int, *, identity: StorageIdentity = IDENTITY) -> None:
        await self.ports.sources.put(link_blob(upload(number)), identity.mark.to_bytes())

    async def blobs(self) -> list[str]:
        found = []
        for store in (self.ports.sources, self.ports.results):
            found += [info.name for info in (await store.page("", limit=10_000)).items]
        return found

    async def add(self, job_id: str, **fields: Any) -> None:
        await self.ports.jobs.add(make_job(job_id, self.clock(), **fields))


def key(number: int) -> str:
    return f"{number:032x}"


def upload(number: int) -> str:
    return f"uploads/somebody/{key(number)}"
