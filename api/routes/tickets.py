"""Tickets for WebSockets, and the caller's own identity."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.access import CallerDep
from api.document import EXAMPLE_JOB, documented
from api.services import OpenServices
from core.domain.access import Scope
from core.domain.clock import UtcDatetime
from core.domain.refusals import invalid_request, malformed_json, no_such_job
from core.services.submission.submit import job_of

router = APIRouter(prefix="/api/v1", tags=["access"])


class TicketRequest(BaseModel):
    """The job that a WebSocket will follow."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field(max_length=100, examples=["3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70"])


class TicketView(BaseModel):
    """A ticket, which opens one WebSocket once."""

    ticket: str
    url: str = Field(
        description="URL at which to open the WebSocket, including the ticket.",
        examples=["/ws/jobs/3f1b6c0e…?ticket=ticket_…"],
    )
    expires_at_utc: UtcDatetime


class Whoami(BaseModel):
    """The caller's identity, scopes and quota."""

    owner: str
    scopes: list[Scope]
    key_id: str | None = Field(description="Null for a token, or without a key.")
    bytes_today: int = Field(
        description="Submitted since midnight UTC, plus bytes reserved for uploads and links."
    )
    quota_day_bytes: int | None = Field(description="Maximum per day; null: no limit.")
    jobs_active: int = Field(description="Jobs that have not ended.")
    quota_jobs: int | None = Field(description="Maximum number of active jobs; null: no limit.")


@router.post(
    "/tickets",
    status_code=201,
    responses=documented(
        malformed_json("Expecting value"),
        no_such_job(EXAMPLE_JOB),
        invalid_request([("body.job_id", "Field required")]),
    ),
    summary="Create a ticket for a WebSocket",
)
async def create_ticket(
    asked: TicketRequest, services: OpenServices, caller: CallerDep
) -> TicketView:
    """Returns a ticket that opens one WebSocket, for one job, within 45 seconds.

    Browsers need a ticket, because they cannot send a key in the header of a WebSocket, and a key
    in a URL ends up in logs. The WebSocket closes when the key or token of this request ends.
    """
    job = await job_of(services.ports, asked.job_id, owner=caller.sees)
    made = await services.keys.make_ticket(caller, job.id)
    services.access.expect(made.secret)
    return TicketView(
        ticket=made.secret,
        url=f"/ws/jobs/{job.id}?ticket={made.secret}",
        expires_at_utc=made.expires_at_utc,
    )


@router.get("/whoami", summary="Get the caller's identity")
async def get_caller(services: OpenServices, caller: CallerDep) -> Whoami:
    """Returns the owner, the scopes, and the used part of the quota."""
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
