"""What stays open ends with the key or token that opened it: WebSockets, their tickets, answers and
uploads under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.revocation import BEAT_S as ANSWERS_BEAT_S
from api.revocation import Revocation
from api.routes import events
from api.routes.events import BEAT_S, Close, until_refused
from core.domain.access import LOCAL_CALLER, Caller
from core.errors import Unauthenticated
from core.ports import JobFilter
from tests.support.access_stand import client_of, make_key, shake_hands
from tests.support.api_stand import MP4, START_UTC, ApiStand, form_body, running_api

JOB = "a" * 32
PATH = f"/ws/jobs/{JOB}"


def token_caller(life_s: float) -> Caller:
    return Caller(
        owner="ranch",
        scopes=frozenset({"read"}),
        credential="token:1",
        ends_at_utc=START_UTC + timedelta(seconds=life_s),
    )


async def key_caller(api: ApiStand, life_s: float | None = None) -> Caller:
    ends = None if life_s is None else START_UTC + timedelta(seconds=life_s)
    keys = api.app.state.services.keys
    return await keys.check(await make_key(api, "ranch", "read", expires_at_utc=ends))


async def closed_after(api: ApiStand, caller: Caller) -> tuple[Close, list[float]]:
    """Return how a WebSocket of a caller is closed, and the pauses before each look; the clock goes
    on by them.
    """
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        assert len(pauses) < 20, "the WebSocket stays open"
        api.clock.step(seconds)

    return await until_refused(api.app.state.services, caller, sleep), pauses


@pytest.mark.parametrize("life_s", [0.25, 5.0, 12.5])
async def test_a_web_socket_ends_at_the_moment_at_which_its_token_does(life_s: float) -> None:
    async with running_api() as api:
        close, pauses = await closed_after(api, token_caller(life_s))
        assert close == Close(4401, "token_expired")
        assert (sum(pauses), max(pauses)) == (life_s, min(BEAT_S, life_s))


async def test_a_web_socket_ends_at_the_moment_at_which_its_key_expires() -> None:
    async with running_api() as api:
        close, pauses = await closed_after(api, await key_caller(api, 12.5))
        assert (close, sum(pauses)) == (Close(4401, "key_expired"), 12.5)


async def test_a_web_socket_ends_within_a_beat_of_the_revocation_of_its_key() -> None:
    async with running_api() as api:
        caller = await key_caller(api)
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            assert len(pauses) < 20, "the WebSocket stays open"
            if len(pauses) == 3:
                await api.app.state.services.keys.revoke(str(caller.key_id))

        assert await until_refused(api.app.state.services, caller, sleep) == Close(
            4401, "key_revoked"
        )
        assert pauses == [BEAT_S] * 3


async def test_the_machines_own_user_has_no_end() -> None:
    async with running_api() as api:
        with pytest.raises(AssertionError, match="stays open"):
            await closed_after(api, LOCAL_CALLER)


@pytest.mark.parametrize("source", ["token", "key"])
async def test_a_ticket_remembers_the_end_of_what_it_was_made_with(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.001)
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        keys = api.app.state.services.keys
        caller = token_caller(60) if source == "token" else await key_caller(api, 60)
        ticket = await keys.make_ticket(caller, JOB)
        redeemed = await keys.redeem(ticket.secret)
        assert (redeemed.ends_at_utc, redeemed.job_id) == (START_UTC + timedelta(seconds=60), JOB)

        ticket = await keys.make_ticket(caller, JOB)
        socket = asyncio.create_task(
            shake_hands(api, PATH, query=f"ticket={ticket.secret}", stays=True)
        )
        await asyncio.sleep(0.02)
        assert not socket.done()
        api.clock.step(60)
        sent = await asyncio.wait_for(socket, 20)
        assert (sent[-1]["code"], sent[-1]["reason"]) == (4401, f"{source}_expired")


@pytest.mark.parametrize("source", ["token", "key"])
async def test_no_ticket_outlives_what_it_was_made_with(source: str) -> None:
    async with running_api() as api:
        keys = api.app.state.services.keys
        caller = token_caller(10) if source == "token" else await key_caller(api, 10)
        ticket = await keys.make_ticket(caller, JOB)
        assert ticket.expires_at_utc == START_UTC + timedelta(seconds=10)
        api.clock.step(10)
        with pytest.raises(Unauthenticated) as caught:
            await keys.redeem(ticket.secret)
        assert caught.value.code == "invalid_credentials", (
            "a ticket that opens nothing is refused in the same words, whatever the reason"
        )


async def test_a_token_that_is_taken_a_moment_after_its_end_opens_no_web_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")

        async def identify(_: Any) -> Caller:
            return token_caller(-1)

        monkeypatch.setattr(api.app.state.services.access, "identify", identify)
        sent = await shake_hands(api, PATH, stays=True)
        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"], (
            "nothing of the job was sent"
        )
        assert (sent[-1]["code"], sent[-1]["reason"]) == (4401, "token_expired")


async def answer_in_pieces(
    api: ApiStand, caller: Caller, before_piece: Any
) -> list[dict[str, Any]]:
    """Send an answer of ten pieces through the middleware, a second each; return what went out."""
    now_s, sent = 0.0, []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal now_s
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(10):
            now_s += 1
            await before_piece(number)
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 9})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the answer reads no body")

    scope = {"type": "http", "path": "/x", "app": api.app, "state": {"caller": caller}}
    await Revocation(app, lambda: now_s)(scope, receive, send)
    return sent


async def test_an_answer_under_way_is_cut_when_its_key_is_revoked_and_not_when_it_expires() -> None:
    async with running_api() as api:
        caller, keys = await key_caller(api, 60), api.app.state.services.keys

        async def expire(number: int) -> None:
            api.clock.step(60)

        whole = await answer_in_pieces(api, caller, expire)
        assert len(whole) == 11 and not whole[-1]["more_body"]

        async def revoke(number: int) -> None:
            if number == 2:
                await keys.revoke(str(caller.key_id))

        cut = await answer_in_pieces(api, caller, revoke)
        assert len(cut) == 1 + ANSWERS_BEAT_S - 1, "the piece at the next look is not sent"
        assert cut[-1]["more_body"], "an answer that was cut has no end"


async def test_an_answer_goes_on_while_its_key_cannot_be_looked_up() -> None:
    async with running_api() as api:
        caller = await key_caller(api)

        async def away(number: int) -> None:
            api.set_away("keys", True)

        assert len(await answer_in_pieces(api, caller, away)) == 11


async def test_an_upload_whose_key_is_revoked_meanwhile_makes_no_job() -> None:
    async with running_api() as api:
        key = await make_key(api, "ranch")
        body = form_body([("file", "a.mp4", MP4)])

        async def slowly() -> AsyncGenerator[bytes]:
            yield body[: len(body) // 2]
            await api.app.state.services.keys.revoke(key.split("_")[1])
            yield body[len(body) // 2 :]

        async with client_of(
            api, key, content_type="multipart/form-data; boundary=muster"
        ) as client:
            answer = await client.post("/api/v1/jobs", content=slowly())
        assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
        assert await api.films() == []
        assert (await api.ports.jobs.list_page(JobFilter(), limit=10)).items == []


def test_a_tokens_end_beyond_the_calendar_is_the_calendars_last_moment() -> None:
    from api.oidc import _moment

    assert _moment(1_780_000_000.9) == datetime.fromtimestamp(1_780_000_000, UTC)
    for far in (10**12, 10**30, 1e300):
        assert _moment(far) == datetime.max.replace(tzinfo=UTC)
