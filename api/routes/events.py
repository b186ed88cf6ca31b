"""A job's events over a WebSocket: its status after each change, then its tracks frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from api.access import CallerDep
from api.services import Services, services_of
from api.views import job_summary
from core.domain.access import Caller
from core.domain.job import Job
from core.errors import NotFound, TransientError, Unauthenticated
from core.services.query import track_frames
from core.services.submission.submit import job_of

router = APIRouter()

UNKNOWN_JOB = 4404
TRY_AGAIN_LATER = 1013
NORMAL = 1000
CREDENTIAL_ENDED = 4401
BEAT_S = 5.0
"""How often the key of an open WebSocket is looked up again. A WebSocket can stay open for this
long after its key was revoked.
"""


@dataclass(frozen=True, slots=True)
class Close:
    """The code and reason with which a WebSocket is closed. The reason is for programs."""

    code: int
    reason: str = ""


@router.websocket("/ws/jobs/{job_id}")
async def job_events(socket: WebSocket, job_id: str, caller: CallerDep) -> None:
    """Sends the job's status now and after each change, then its tracks.

    A status is `{type: "status", payload: job}`, with the job as listings show it. After the job
    has completed, `{type: "tracks", payload: frame}` follows for each frame with tracks. Then the
    WebSocket closes with 1000.

    It closes with 4404 for an unknown job, and with 1013 while storage or database is unavailable.
    It closes with 4401 when the key or token that opened it, or that created its ticket, ends. The
    reason is then `token_expired` or `key_expired` at that moment, or `key_revoked` within five
    seconds.

    Where a key is required, browsers first get a ticket from `POST /api/v1/tickets`. Other clients
    may send the key in a header.
    """
    services = services_of(socket)
    await socket.accept()
    try:
        # A token is accepted until a minute after its end, because clocks differ. A WebSocket ends
        # when the token does.
        services.keys.check_end(caller)
    except Unauthenticated as error:
        await socket.close(CREDENTIAL_ENDED, error.code)
        return
    tasks = (
        asyncio.create_task(_tell(socket, services, job_id, caller.sees)),
        asyncio.create_task(until_refused(services, caller)),
        # A sender that never receives would not notice that the client has left.
        asyncio.create_task(_until_left(socket)),
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    close, told = (
        next((outcome for outcome in outcomes if isinstance(outcome, Close)), None),
        outcomes[0],
    )
    if close is not None:
        with suppress(WebSocketDisconnect):  # the client has left and needs no close message
            await socket.close(close.code, close.reason)
    elif isinstance(told, Exception) and not isinstance(told, WebSocketDisconnect):
        raise told


async def _tell(socket: WebSocket, services: Services, job_id: str, owner: str | None) -> Close:
    try:
        services.require_open()
        job = await job_of(services.ports, job_id, owner=owner)
        async with aclosing(services.watchers.changes(job_id)) as changes:
            async for job in changes:
                await _send_status(socket, services, job)
                if job.is_terminal:
                    break
        if job.state == "completed" and "results" not in job.expired:
            async with aclosing(track_frames(services.ports, job)) as frames:
                async for frame in frames:
                    await socket.send_json({"type": "tracks", "payload": frame})
    except NotFound:
        return Close(UNKNOWN_JOB)
    except TransientError:
        return Close(TRY_AGAIN_LATER)
    return Close(NORMAL if job.is_terminal else UNKNOWN_JOB)


async def _send_status(socket: WebSocket, services: Services, job: Job) -> None:
    await socket.send_json(
        {"type": "status", "payload": job_summary(job, services).model_dump(mode="json")}
    )


async def until_refused(
    services: Services, caller: Caller, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> Close:
    """Return how to close once the caller's key or token is no longer valid.

    A key or token that expires is noticed at once, a revocation within `BEAT_S`.
    """
    while True:
        ends = caller.ends_at_utc
        left_s = BEAT_S if ends is None else (ends - services.clock()).total_seconds()
        await sleep(max(0.0, min(BEAT_S, left_s)))
        try:
            await services.keys.check_again(caller)
        except Unauthenticated as error:
            return Close(CREDENTIAL_ENDED, error.code)
        except TransientError:
            # A caller that cannot be checked is disconnected, too. It may connect again.
            return Close(TRY_AGAIN_LATER)


async def _until_left(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError if `receive` is called after the disconnect message.
        return
