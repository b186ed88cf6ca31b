"""An address may try so many wrong keys; right ones pass, from the same address, too."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from core.domain.access import new_key, new_ticket
from core.errors import Throttled
from core.services.access import wrong_keys
from core.services.access.wrong_keys import RECOGNISED_S, WrongKeys
from tests.support.access_stand import REMOTE, client_of, make_key, shake_hands
from tests.support.api_stand import ApiStand, running_api

JOBS = "/api/v1/jobs"
JOB = "a" * 32


async def ask(api: ApiStand, key: str, *, client: str = "198.51.100.1") -> httpx.Response:
    transport = httpx.ASGITransport(app=api.app, client=(client, 1))
    async with httpx.AsyncClient(
        transport=transport, base_url=REMOTE, headers={"X-API-Key": key}
    ) as opened:
        return await opened.get(JOBS)


def wrong_key() -> str:
    return new_key()[1]


def reads(api: ApiStand) -> int:
    return api.ports.keys.reads


async def test_wrong_keys_are_refused_before_the_store_is_asked() -> None:
    async with running_api(wrong_keys_per_min=5) as api:
        assert [(await ask(api, wrong_key())).status_code for _ in range(5)] == [401] * 5
        before = reads(api)
        for credential in (wrong_key(), "no key at all", "a.b.c", "muster_x"):
            refused = await ask(api, credential)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_wrong_keys")
            assert 0 < int(refused.headers["retry-after"]) <= 12
        assert reads(api) == before
        assert (await ask(api, wrong_key(), client="198.51.100.2")).status_code == 401


async def test_many_at_once_do_not_pass_the_limit() -> None:
    async with running_api(wrong_keys_per_min=5) as api:
        answers = await asyncio.gather(*(ask(api, wrong_key()) for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45
        assert reads(api) == 5


async def test_a_right_key_passes_from_an_address_that_tries_wrong_ones() -> None:
    async with running_api(wrong_keys_per_min=5) as api:
        key, unseen = await make_key(api, "ranch"), await make_key(api, "other ranch")
        assert (await ask(api, key)).status_code == 200
        for _ in range(20):
            await ask(api, wrong_key())
        assert [(await ask(api, key)).status_code for _ in range(20)] == [200] * 20
        # The price: this process has not seen that key before. Elsewhere it passes.
        assert (await ask(api, unseen)).status_code == 429
        assert (await ask(api, unseen, client="198.51.100.2")).status_code == 200
        assert (await ask(api, unseen)).status_code == 200


async def test_right_keys_are_not_counted() -> None:
    async with running_api(wrong_keys_per_min=1) as api:
        for number in range(20):
            assert (await ask(api, await make_key(api, f"ranch {number}"))).status_code == 200


async def test_a_store_that_does_not_answer_counts_for_nothing() -> None:
    async with running_api(wrong_keys_per_min=2) as api:
        api.set_away("keys", True)
        assert {(await ask(api, wrong_key())).status_code for _ in range(10)} == {503}
        api.set_away("keys", False)
        assert (await ask(api, wrong_key())).status_code == 401


async def test_a_revoked_key_is_as_wrong_as_any() -> None:
    async with running_api(wrong_keys_per_min=3) as api:
        key = await make_key(api, "ranch")
        assert (await ask(api, key)).status_code == 200
        await api.app.state.services.keys.revoke(
            next(iter((await api.ports.keys.list_page(limit=1)).items)).id
        )
        assert [(await ask(api, key)).status_code for _ in range(6)] == [401] * 4 + [429] * 2


async def test_wrong_tickets_count_and_a_ticket_that_was_just_made_passes() -> None:
    async with running_api(wrong_keys_per_min=3) as api:
        await api.add_job(JOB, owner="ranch")
        key = await make_key(api, "ranch", "read")
        async with client_of(api, key) as client:
            ticket = (await client.post("/api/v1/tickets", json={"job_id": JOB})).json()["ticket"]
        statuses = [
            (await shake_hands(api, f"/ws/jobs/{JOB}", query=f"ticket={new_ticket()}"))[0].get(
                "status"
            )
            for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await shake_hands(api, f"/ws/jobs/{JOB}", query=f"ticket={ticket}"))[0][
            "type"
        ] == "websocket.accept"
        again = await shake_hands(api, f"/ws/jobs/{JOB}", query=f"ticket={ticket}")
        assert again[0]["status"] == 429


async def test_requests_of_the_machine_itself_are_not_concerned() -> None:
    async with running_api(wrong_keys_per_min=1) as api:
        for _ in range(5):
            await api.client.get(JOBS, headers={"X-API-Key": wrong_key()})
        assert (await api.client.get(JOBS)).status_code == 200


def test_tokens_come_back_with_time() -> None:
    now_s = 0.0
    bucket = WrongKeys(per_minute=30, monotonic=lambda: now_s)

    def taken() -> int:
        done = 0
        try:
            while True:
                bucket.take("x")
                done += 1
        except Throttled as error:
            assert 0 < error.retry_after_s <= 2
        return done

    assert taken() == 30
    now_s = 2.1
    assert taken() == 1
    now_s = 10_000
    assert taken() == 30
    bucket.give_back("x")
    assert taken() == 1


def test_neither_table_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_keys, "_ADDRESSES", 100)
    monkeypatch.setattr(wrong_keys, "_CREDENTIALS", 100)
    now_s = 0.0
    bucket = WrongKeys(per_minute=1, monotonic=lambda: now_s)
    for number in range(1000):
        bucket.take(f"address {number}")
        bucket.remember("in use")
        bucket.remember(f"credential {number}")
    assert len(bucket._buckets) == len(bucket._right) == 100
    assert bucket.recognises("in use")
    assert not bucket.recognises("credential 5")
    now_s = RECOGNISED_S + 1
    assert not bucket.recognises("in use")


def test_no_limit_is_none() -> None:
    bucket = WrongKeys(per_minute=0)
    began_s = time.monotonic()
    for _ in range(1000):
        bucket.take("x")
    assert time.monotonic() - began_s < 5
    assert not bucket._buckets
