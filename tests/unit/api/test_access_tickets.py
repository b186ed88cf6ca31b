"""WebSockets: a ticket lets one in, once, for one job; a key never stands in an address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from api.routes import events
from core.domain.access import Caller
from tests.support.access_stand import client_of, make_key, shake_hands
from tests.support.api_stand import ApiStand, running_api

JOB, OTHER = "a" * 32, "b" * 32


async def ticket_for(api: ApiStand, key: str, job_id: str = JOB) -> str:
    async with client_of(api, key) as client:
        answer = await client.post("/api/v1/tickets", json={"job_id": job_id})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.json()["url"] == f"/ws/jobs/{job_id}?ticket={answer.json()['ticket']}"
    return answer.json()["ticket"]


async def follow(api: ApiStand, job_id: str = JOB, **options: Any) -> list[dict[str, Any]]:
    return await shake_hands(api, f"/ws/jobs/{job_id}", **options)


def refusal(sent: list[dict[str, Any]]) -> tuple[int, str]:
    assert [message["type"] for message in sent[:2]] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    return sent[0]["status"], json.loads(sent[1]["body"])["code"]


async def test_a_ticket_lets_in_once() -> None:
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        ticket = await ticket_for(api, await make_key(api, "ranch", "read"))
        sent = await follow(api, query=f"ticket={ticket}")
        assert sent[0]["type"] == "websocket.accept"
        assert refusal(await follow(api, query=f"ticket={ticket}")) == (401, "invalid_credentials")


async def test_a_ticket_dies_after_45_seconds_with_its_key_and_on_another_job() -> None:
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        await api.add_job(OTHER, owner="ranch")
        key = await make_key(api, "ranch", "read")
        late, elsewhere, revoked = [await ticket_for(api, key) for _ in range(3)]
        refused = (401, "invalid_credentials")
        assert refusal(await follow(api, OTHER, query=f"ticket={elsewhere}")) == refused
        assert refusal(await follow(api, query=f"ticket={elsewhere}")) == refused, (
            "it is used up all the same"
        )
        api.clock.step(45)
        assert refusal(await follow(api, query=f"ticket={late}")) == refused
        api.clock.step(-1)
        await api.app.state.services.keys.revoke(key.split("_")[1])
        assert refusal(await follow(api, query=f"ticket={revoked}")) == refused
        assert refusal(await follow(api, query="ticket=")) == (401, "credentials_required")
        for query in ("ticket=x", f"ticket={late}&ticket={late}", "ticket=ticket_" + "A" * 43):
            assert refusal(await follow(api, query=query)) == refused


async def test_without_a_ticket_a_header_does_and_a_key_in_the_address_does_not() -> None:
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        key = await make_key(api, "ranch", "read")
        assert refusal(await follow(api)) == (401, "credentials_required")
        assert refusal(await follow(api, query=f"key={key}")) == (401, "key_in_url")
        assert refusal(await follow(api, query=f"ticket={key}")) == (401, "key_in_url")
        assert refusal(
            await follow(api, authorization=f"Bearer {await make_key(api, 'ranch', 'submit')}")
        ) == (403, "missing_scope")
        assert (await follow(api, authorization=f"Bearer {key}"))[0]["type"] == "websocket.accept"
        assert (await follow(api, x_api_key=key))[0]["type"] == "websocket.accept"


async def test_another_owners_job_closes_like_an_unknown_one() -> None:
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        key = await make_key(api, "park", "read")
        closes = [
            (await follow(api, job_id, authorization=f"Bearer {key}"))[1] for job_id in (JOB, OTHER)
        ]
        assert [message["code"] for message in closes] == [4404, 4404]


@pytest.mark.parametrize("by_ticket", [True, False], ids=["ticket", "header"])
async def test_a_web_socket_does_not_outlive_its_key(
    by_ticket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.001)
    async with running_api() as api:
        await api.add_job(JOB, owner="ranch")
        keys = [await make_key(api, "ranch", "read") for _ in range(2)]
        asked = [
            {"query": f"ticket={await ticket_for(api, key)}"} if by_ticket else {"x_api_key": key}
            for key in keys
        ]
        service, checked = api.app.state.services.keys, asyncio.Semaphore(0)
        check = service.check_again

        async def check_again(caller: Caller) -> None:
            await check(caller)
            checked.release()

        monkeypatch.setattr(service, "check_again", check_again)
        doomed, other = [
            asyncio.create_task(follow(api, stays=True, **options)) for options in asked
        ]
        for _ in range(10):
            await asyncio.wait_for(checked.acquire(), 30)
        assert not doomed.done() and not other.done()
        await service.revoke(keys[0].split("_")[1])
        sent = await asyncio.wait_for(doomed, 30)
        assert (sent[-1]["type"], sent[-1]["code"], sent[-1]["reason"]) == (
            "websocket.close",
            4401,
            "key_revoked",
        )
        assert not other.done(), "another key's WebSocket stays open"
        api.set_away("keys", True)
        assert (await asyncio.wait_for(other, 30))[-1]["code"] == 1013, (
            "who cannot be checked is not let on"
        )


async def test_a_server_without_refusals_for_web_sockets_closes_before_accepting() -> None:
    async with running_api() as api:
        sent: list[dict[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(dict(message))

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        scope = {
            "type": "websocket",
            "path": f"/ws/jobs/{JOB}",
            "query_string": b"",
            "headers": [(b"host", b"10.0.0.4")],
        }
        await api.app(
            {**scope, "server": ("10.0.0.4", 80), "scheme": "ws", "root_path": "", "client": None},
            receive,
            send,
        )
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "credentials_required"}]
