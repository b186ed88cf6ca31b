"""What a key opens: by scope, by owner, until it is revoked.

Refusals tell nothing about what there is.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from core.errors import StorageFull
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import MP4, START_UTC, ApiStand, running_api

JOBS = "/api/v1/jobs"
THEIRS, ABSENT = "a" * 32, "b" * 32


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


def told(answer: httpx.Response) -> tuple:
    """All that an answer tells, but for the id that was asked for."""
    return answer.status_code, re.sub("[ab]{32}", "ID", answer.text), sorted(answer.headers.items())


@pytest.mark.parametrize("scope", ["submit", "read"])
async def test_a_scope_opens_what_it_says_and_nothing_else_whatever_there_is(
    api: ApiStand, scope: str
) -> None:
    await api.add_job(THEIRS, owner="ranch")
    looks = [
        ("GET", JOBS),
        ("GET", f"{JOBS}/{THEIRS}"),
        ("GET", f"{JOBS}/{ABSENT}"),
        ("GET", "/health"),
        ("GET", "/no"),
    ]
    looks += [("GET", "/all_stats"), ("GET", "/api/v1/calibrations"), ("POST", "/api/v1/tickets")]
    changes = [
        ("POST", JOBS),
        ("DELETE", f"{JOBS}/{THEIRS}"),
        ("DELETE", f"{JOBS}/{ABSENT}"),
        ("POST", f"{JOBS}/{ABSENT}/cancel"),
    ]
    changes += [
        ("POST", "/submit-job"),
        ("POST", "/api/v1/uploads"),
        ("PUT", "/api/v1/calibrations/x"),
        ("PATCH", "/no"),
    ]
    keys = [
        ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/keys"),
        ("DELETE", "/api/v1/keys/x"),
        ("GET", "/api/v1/keys/x"),
        ("PUT", "/api/v1/keys"),
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
    ]
    forbidden = {"submit": looks, "read": changes}[scope] + keys
    allowed = {"submit": changes, "read": looks}[scope]
    async with client_of(api, await make_key(api, "ranch", scope)) as client:
        for method, path in forbidden:
            answer = await client.request(method, path)
            assert answer.status_code == 403, path
            assert method == "HEAD" or answer.json()["code"] == "missing_scope", path
        assert (await client.get("/api/v1/whoami")).json()["scopes"] == [scope]
        for method, path in allowed:
            assert (await client.request(method, path)).status_code not in (401, 403)


async def test_a_key_that_opens_nothing_is_refused_in_the_same_words_whatever_the_reason(
    api: ApiStand,
) -> None:
    good, revoked = await make_key(api, "ranch"), await make_key(api, "ranch")
    brief = await make_key(api, "ranch", expires_at_utc=START_UTC + timedelta(seconds=30))
    await api.app.state.services.keys.revoke(revoked.split("_")[1])
    api.clock.step(30)
    changed = good[:-1] + ("A" if good[-1] != "A" else "B")
    never = "muster_" + "0" * 16 + "_" + "A" * 43
    wrong = [
        revoked,
        brief,
        changed,
        never,
        good.upper(),
        good + "A",
        good[:-1],
        "muster_",
        "x",
        "a.b.c",
    ]
    answers = []
    for secret in wrong:
        async with client_of(api, secret) as client:
            answers.append(told(await client.get(JOBS)))
        async with client_of(api, at="http://127.0.0.1", x_api_key=secret) as client:
            answers.append(told(await client.get(JOBS)))
    assert {answer[0] for answer in answers} == {401}
    assert len({answer[1] for answer in answers}) == 1
    assert '"invalid_credentials"' in answers[0][1]
    async with client_of(api, x_api_key=good) as client:
        assert (await client.get(JOBS)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic bG9jYWw6"},
        {"authorization": "KEY"},
        {"authorization": ""},
        {"x_api_key": ""},
    ],
)
async def test_something_else_than_a_key_is_never_the_machines_own_user(
    api: ApiStand, headers: dict[str, str]
) -> None:
    async with client_of(api, at="http://127.0.0.1", **headers) as client:
        assert (await client.get(JOBS)).json()["code"] == "invalid_credentials"


async def test_two_credentials_are_one_too_many(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    async with client_of(api, key, x_api_key=key) as client:
        assert (await client.get(JOBS)).json()["code"] == "invalid_credentials"


async def test_a_key_in_an_address_is_refused_even_beside_a_good_one(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    for at, secret in (("http://127.0.0.1", None), ("http://192.0.2.7", key)):
        async with client_of(api, secret, at=at) as client:
            for address in (
                f"{JOBS}?api_key={key}",
                f"{JOBS}?x={key.replace('_', '%5F')}",
                f"{JOBS}/{key}",
            ):
                answer = await client.get(address)
                assert (answer.status_code, answer.json()["code"]) == (401, "key_in_url")
                assert key not in answer.text


async def test_keys_are_made_listed_and_revoked_over_http(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "boss", "admin")) as admin:
        asked = {"owner": "north ranch", "scopes": ["read"], "label": "gate", "expires_in_days": 1}
        answer = await admin.post("/api/v1/keys", json=asked)
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        made = answer.json()
        assert re.fullmatch(rf"muster_{made['id']}_[\w-]{{43}}", made["key"])
        assert made["expires_at_utc"] == "2026-06-02T09:30:00Z"
        async with client_of(api, made["key"]) as client:
            assert (await client.get(JOBS)).status_code == 200
            api.clock.step(1)
            listed = (await admin.get("/api/v1/keys", params={"owner": "north ranch"})).json()[
                "items"
            ]
            assert [(key["id"], key["label"], key["last_used_at_utc"]) for key in listed] == [
                (made["id"], "gate", "2026-06-01T09:30:00Z")
            ]
            assert made["key"] not in str(listed) and "digest" not in str(listed)
            for _ in range(2):
                revoked = await admin.delete(answer.headers["location"])
                assert revoked.json()["revoked_at_utc"] == "2026-06-01T09:30:01Z"
            assert (await client.get(JOBS)).json()["code"] == "invalid_credentials"
        assert (await admin.delete("/api/v1/keys/0000000000000000")).json()[
            "code"
        ] == "key_not_found"
        assert len((await admin.get("/api/v1/keys")).json()["items"]) == 2


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"owner": ""},
        {"owner": "a\nb"},
        {"owner": "x", "scopes": []},
        {"owner": "x", "scopes": ["all"]},
        {"owner": "x", "expires_in_days": 0},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(api: ApiStand, asked: dict) -> None:
    async with client_of(api, await make_key(api, "boss", "admin")) as admin:
        answer = await admin.post("/api/v1/keys", json=asked)
        assert (answer.status_code, answer.json()["code"]) in (
            (422, "invalid_request"),
            (422, "invalid_key"),
        )
        assert len((await admin.get("/api/v1/keys")).json()["items"]) == 1


async def test_the_machines_own_user_makes_no_keys_over_http(api: ApiStand) -> None:
    answer = await api.client.post("/api/v1/keys", json={"owner": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_the_first_key_is_made_once_and_again_when_none_opens_anything(api: ApiStand) -> None:
    keys = api.app.state.services.keys
    first = await keys.create_first(owner="local", scopes=("admin",))
    assert await keys.create_first(owner="local", scopes=("admin",)) is None
    await keys.revoke(first.key.id)
    assert await keys.create_first(owner="local", scopes=("admin",)) is not None


async def test_a_keys_use_is_noted_once_a_minute_and_a_full_disk_keeps_nobody_out(
    api: ApiStand, monkeypatch
) -> None:
    store = api.ports.keys
    noted: list[str] = []
    used = store.used

    async def note(key_id: str, *, at: datetime) -> None:
        noted.append(key_id)
        if len(noted) == 2:
            raise StorageFull("The disk is full.")
        await used(key_id, at=at)

    monkeypatch.setattr(store, "used", note)
    async with client_of(api, await make_key(api, "ranch")) as client:
        for seconds in (0, 59, 1, 0):
            api.clock.step(seconds)
            assert (await client.get(JOBS)).status_code == 200
    assert len(noted) == 3


async def test_where_the_store_of_keys_is_away_nobody_knows_who_asks(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    api.set_away("keys", True)
    async with client_of(api, key) as client:
        answer = await client.get(JOBS)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
            503,
            "unavailable",
            "5",
        )
    assert (await api.client.get(JOBS)).status_code == 200, "who needs no key notices nothing"


async def test_cattle_counters_address_follows_the_same_rules(api: ApiStand) -> None:
    sent: dict[str, Any] = {"file": ("cows.mp4", MP4)}
    async with client_of(api) as client:
        assert (await client.post("/submit-job", files=sent)).status_code == 401
    async with client_of(api, await make_key(api, "ranch")) as client:
        job_id = (await client.post("/submit-job", files=sent)).json()["job_id"]
    assert (await api.ports.jobs.get(job_id)).owner == "ranch"
    assert (await api.client.get(f"{JOBS}/{job_id}")).status_code == 404


async def test_a_detector_is_a_configured_name_on_every_route_that_takes_settings(
    api: ApiStand,
) -> None:
    await api.publish(THEIRS, {"tracks.csv": b"frame\n"}, owner="ranch")
    async with client_of(api, await make_key(api, "ranch")) as client:
        for detector in ("/etc/passwd", "../x", "hub/model", "https://evil.example/x", "pasture "):
            settings = json.dumps({"detector": detector})
            form: dict[str, Any] = {
                "files": {"file": ("a.mp4", MP4)},
                "data": {"settings": settings},
            }
            answers = [await client.post(path, **form) for path in (JOBS, "/submit-job")]
            answers.append(
                await client.post(
                    JOBS, json={"upload_ids": [ABSENT], "settings": {"detector": detector}}
                )
            )
            answers.append(
                await client.post(f"{JOBS}/{THEIRS}/recount", json={"detector": detector})
            )
            assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
                (422, "unknown_detector")
            ] * 4
