"""Tickets for WebSockets, and who one is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.access import CallerDep
from api.problems import documented
from api.services import OpenServices
from core.domain.access import Scope
from core.domain.clock import UtcDatetime
from core.services.submission.submit import job_of

router = APIRouter(prefix="/api/v1", tags=["access"])


class TicketRequest(BaseModel):
    """Which job a WebSocket is to follow."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field(max_length=100, examples=["3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70"])


class TicketView(BaseModel):
    """What lets one WebSocket in, once."""

    ticket: str
    url: str = Field(
        description="Where to open the WebSocket, ticket included.",
        examples=["/ws/jobs/3f1b6c0e…?ticket=ticket_…"],
    )
    expires_at_utc: UtcDatetime


class Whoami(BaseModel):
    """Whom the API takes you for."""

    owner: str
    scopes: list[Scope]
    key_id: str | None = Field(description="Null with a token, or without a key.")
    bytes_today: int = Field(
        description="Submitted since midnight UTC, and held for uploads and links."
    )
    quota_day_bytes: int | None = Field(description="The most in a day; null: no limit.")
    jobs_active: int = Field(description="Jobs that wait or are worked on.")
    quota_jobs: int | None = Field(description="The most at a time; null: no limit.")


@router.post(
    "/tickets",
    status_code=201,
    responses=documented(400, 404, 413, 422, 503),
    summary="Get a ticket for a WebSocket",
)
async def create_ticket(
    asked: TicketRequest, services: OpenServices, caller: CallerDep
) -> TicketView:
    """Browsers cannot send a key with a WebSocket, and a key in an address ends up in logs: a ticket is good once, for one job, for
    45 seconds, and what it opens ends with the key or token that it was made with."""
    job = await job_of(services.ports, asked.job_id, owner=caller.sees)
    made = await services.keys.make_ticket(caller, job.id)
    services.access.expect(made.secret)
    return TicketView(
        ticket=made.secret,
        url=f"/ws/jobs/{job.id}?ticket={made.secret}",
        expires_at_utc=made.expires_at_utc,
    )


@router.get("/whoami", responses=documented(503), summary="Whom am I taken for")
async def whoami(services: OpenServices, caller: CallerDep) -> Whoami:
    """Owner, scopes, and what is used of the quota."""
    used = await services.quotas.usage(caller.owner)
    return Whoami(
        owner=caller.owner,
        scopes=sorted(caller.scopes),
        key_id=caller.key_id,
        bytes_today=used.bytes_today,
        quota_day_bytes=used.day_bytes,
        jobs_active=used.jobs_active,
        quota_jobs=used.jobs,
    )
