"""How fast, how many bytes in a day, how many jobs at a time."""

from __future__ import annotations

import asyncio

import pytest

from core.domain.blobs import upload_blob
from core.errors import Throttled, Unavailable
from core.services.access.rate import RateLimiter
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import MP4, ApiStand, make_plan, running_api

JOBS = "/api/v1/jobs"


def test_a_bucket_gives_its_burst_at_once_and_its_rate_afterwards() -> None:
    now_s = 100.0
    limiter = RateLimiter(per_s=2, burst=4, monotonic=lambda: now_s)

    def taken(count: int) -> int:
        done = 0
        for _ in range(count):
            try:
                limiter.take("key")
                done += 1
            except Throttled as error:
                assert error.code == "rate_limited"
                assert 0 < error.retry_after_s <= 0.5
        return done

    assert taken(10) == 4
    now_s += 0.49
    assert taken(10) == 0
    now_s += 0.51
    assert taken(10) == 2
    now_s += 3600
    assert taken(10) == 4, "no more than the burst, however long nobody asked"
    limiter.take("another")


def test_no_rate_is_no_limit_and_idle_callers_are_forgotten() -> None:
    endless = RateLimiter(per_s=0, burst=1)
    for _ in range(100):
        endless.take("key")
    now_s = 0.0
    limiter = RateLimiter(per_s=1, burst=1, monotonic=lambda: now_s)
    for number in range(10_000):
        limiter.take(f"key {number}")
    now_s = 10.0
    limiter.take("one more")
    assert len(limiter._buckets) == 1


async def test_a_key_that_asks_too_fast_gets_429_and_others_do_not() -> None:
    async with running_api(rate_per_s=0.001, rate_burst=3) as api:
        fast = await make_key(api, "ranch")
        async with client_of(api, fast) as client:
            answers = [
                await client.get(path) for path in (JOBS, "/no/such", JOBS, JOBS, "/no/such")
            ]
            assert [answer.status_code for answer in answers] == [200, 404, 200, 429, 429]
            assert answers[3].json()["code"] == "rate_limited"
            assert 900 < int(answers[3].headers["retry-after"]) <= 1000
        async with client_of(api, await make_key(api, "ranch")) as client:
            assert (await client.get(JOBS)).status_code == 200, "each key has a bucket of its own"
        for _ in range(5):
            assert (await api.client.get(JOBS)).status_code == 200


@pytest.fixture
async def api():
    async with running_api(quota_day_bytes=3 * len(MP4), quota_jobs=4) as stand:
        yield stand


async def send(api: ApiStand, key: str, data: bytes = MP4, **headers: str):
    async with client_of(api, key, **headers) as client:
        return await client.post(JOBS, files={"file": ("a.mp4", data)})


async def test_a_days_bytes_are_counted_and_begin_anew_at_midnight(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    assert [(await send(api, key)).status_code for _ in range(3)] == [202] * 3
    refused = await send(api, key)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_bytes")
    assert refused.headers["retry-after"] == str(14 * 3600 + 1800), "from 09:30 to midnight UTC"
    assert len(api.messages()) == 3 and len(await api.films()) == 3
    async with client_of(api, key) as client:
        assert (await client.get("/api/v1/whoami")).json() | {"key_id": None} == {
            "owner": "ranch",
            "scopes": ["read", "submit"],
            "key_id": None,
            "bytes_today": 3 * len(MP4),
            "quota_day_bytes": 3 * len(MP4),
            "jobs_active": 3,
            "quota_jobs": 4,
        }
    assert (await send(api, await make_key(api, "park"))).status_code == 202
    api.clock.step(15 * 3600)
    assert (await send(api, key)).status_code == 202


async def test_what_does_not_fit_is_refused_as_it_comes_and_leaves_nothing_counted(
    api: ApiStand,
) -> None:
    key = await make_key(api, "ranch")
    for data, code in (
        (MP4 * 4, "quota_bytes"),
        (b"text", "unsupported_media"),
        (b"", "empty_file"),
    ):
        assert (await send(api, key, data)).json()["code"] == code
    assert await api.films() == []
    assert await api.ports.keys.spent("ranch", day=api.clock().date()) == 0


async def test_a_job_that_could_not_be_recorded_counts_nothing(api: ApiStand, monkeypatch) -> None:
    async def away(job: object) -> None:
        raise Unavailable("The service does not answer.")

    key = await make_key(api, "ranch")
    with monkeypatch.context() as patched:
        patched.setattr(api.ports.jobs, "add", away)
        assert (await send(api, key)).status_code == 503
    assert await api.ports.keys.spent("ranch", day=api.clock().date()) == 0
    assert (await send(api, key)).status_code == 202


async def test_one_owner_has_so_many_jobs_at_a_time(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    small = MP4[: len(MP4) // 4]
    done = await asyncio.gather(*(send(api, key, small) for _ in range(8)))
    assert sorted(answer.status_code for answer in done) == [202] * 4 + [429] * 4
    refused = [answer for answer in done if answer.status_code == 429]
    assert {(answer.json()["code"], answer.headers["retry-after"]) for answer in refused} == {
        ("quota_jobs", "30")
    }
    assert len(await api.films()) == 4
    accepted = next(answer for answer in done if answer.status_code == 202)
    async with client_of(api, key) as client:
        assert (await client.post(f"{accepted.headers['location']}/cancel")).status_code == 202
    assert (await send(api, key, small)).status_code == 202


async def test_a_repeated_request_costs_nothing_even_when_nothing_is_left(api: ApiStand) -> None:
    key = await make_key(api, "ranch")
    whole = MP4 * 3
    done = await asyncio.gather(*(send(api, key, whole, idempotency_key="same") for _ in range(6)))
    assert {answer.status_code for answer in done} == {202}
    assert len({answer.json()["id"] for answer in done}) == 1
    assert await api.ports.keys.spent("ranch", day=api.clock().date()) == len(whole)
    again = await send(api, key, whole, idempotency_key="same")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")


async def test_direct_uploads_count_what_lies_unused(api: ApiStand, monkeypatch) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        link = (await client.post("/api/v1/uploads", json={"size_bytes": 2 * len(MP4)})).json()
        await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4 * 2)
        assert (
            await client.post("/api/v1/uploads", json={"size_bytes": len(MP4)})
        ).status_code == 201
        refused = await client.post("/api/v1/uploads", json={"size_bytes": 1})
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_bytes")
        assert (
            await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
        ).status_code == 202
        assert await api.ports.keys.spent("ranch", day=api.clock().date()) == 3 * len(MP4), (
            "the job's, and what the second link holds"
        )
        api.clock.step(3601)
        assert await api.ports.keys.spent(
            "ranch", day=api.clock().date(), at=api.clock()
        ) == 2 * len(MP4)
        monkeypatch.setattr("core.services.submission.uploads.MAX_STAGED", 0)
        assert (await client.post("/api/v1/uploads")).json()["code"] == "quota_uploads"


async def test_an_upload_that_grew_past_the_quota_makes_no_job(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        link = (await client.post("/api/v1/uploads")).json()
        await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4 * 4)
        assert (await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})).json()[
            "code"
        ] == "quota_bytes"
    assert api.messages() == []


async def test_the_machines_own_user_has_no_quota(api: ApiStand) -> None:
    for _ in range(6):
        assert (await api.submit()).status_code == 202
    whoami = (await api.client.get("/api/v1/whoami")).json()
    assert (
        whoami["owner"],
        whoami["quota_day_bytes"],
        whoami["quota_jobs"],
        whoami["jobs_active"],
    ) == ("local", None, None, 6)


async def test_zero_is_no_limit() -> None:
    async with running_api(quota_day_bytes=0, quota_jobs=0) as api:
        key = await make_key(api, "ranch")
        assert [(await send(api, key)).status_code for _ in range(6)] == [202] * 6
        async with client_of(api, key) as client:
            assert (await client.get("/api/v1/whoami")).json()["quota_jobs"] is None
            assert (await client.post("/api/v1/uploads")).status_code == 201


@pytest.mark.parametrize("again", ["retry", "recount"])
async def test_jobs_that_begin_again_are_counted_like_new_ones(api: ApiStand, again: str) -> None:
    ended = {
        "state": "completed" if again == "recount" else "cancelled",
        "plan": make_plan(frames=600, segments=2),
        "done_segments": (0, 1),
    }
    for number in range(6):
        await api.add_job(f"{number:032x}", owner="ranch", **ended)
    async with client_of(api, await make_key(api, "ranch")) as client:
        answers = await asyncio.gather(
            *(client.post(f"{JOBS}/{number:032x}/{again}") for number in range(6))
        )
        assert sorted(answer.status_code for answer in answers) == [202] * 4 + [429] * 2
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {(answer.json()["code"], answer.headers["retry-after"]) for answer in refused} == {
            ("quota_jobs", "30")
        }
        assert await api.ports.jobs.count_active("ranch") == 4
        assert (await client.post(JOBS, files={"file": ("a.mp4", MP4)})).json()[
            "code"
        ] == "quota_jobs"
        begun = next(number for number, answer in enumerate(answers) if answer.status_code == 202)
        left = next(number for number, answer in enumerate(answers) if answer.status_code == 429)
        assert (await client.post(f"{JOBS}/{begun:032x}/cancel")).status_code == 202
        assert (await client.post(f"{JOBS}/{left:032x}/{again}")).status_code == 202
    async with client_of(api, await make_key(api, "office", "read", "submit", "admin")) as client:
        late = await client.post(f"{JOBS}/{begun:032x}/retry")
        assert (late.status_code, late.json()["code"]) == (429, "quota_jobs"), (
            "an admin passes no owner's quota"
        )


async def test_the_machines_own_jobs_begin_again_without_a_quota(api: ApiStand) -> None:
    for number in range(6):
        await api.add_job(
            f"{number:032x}", state="cancelled", plan=make_plan(frames=600, segments=2)
        )
        assert (await api.client.post(f"{JOBS}/{number:032x}/retry")).status_code == 202
