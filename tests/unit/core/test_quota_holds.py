"""Uploads that run and links that are alive hold their bytes, so that no number of them passes an
owner's quota together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import upload_blob, uploads_of
from core.domain.quota import Hold
from core.errors import Throttled, Unavailable
from core.services.access.limits import Limits
from core.services.access.quotas import Quotas
from core.services.access.rooms import HOLD_LIFE
from core.services.attempts.dispatch import Dispatcher
from core.services.submission.files import Submission
from core.services.submission.submit import Submissions
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import MP4, ApiStand, running_api

JOBS, UPLOADS = "/api/v1/jobs", "/api/v1/uploads"
SIZE = len(MP4)


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api(quota_day_bytes=3 * SIZE, quota_links=4) as stand:
        yield stand


async def spent(api: ApiStand, owner: str = "ranch") -> int:
    return await api.ports.keys.spent(owner, day=api.clock().date(), at=api.clock())


def process(api: ApiStand) -> Submissions:
    """Another process of the API on the same stores."""
    quotas = Quotas(
        api.ports.jobs, api.ports.keys, api.clock, day_bytes=3 * SIZE, active_jobs=0, links=4
    )
    return Submissions(
        api.ports, Dispatcher(api.ports), Limits(10**9, 10, 60), api.clock, quotas=quotas
    )


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def sent(submission: Submission, data: bytes = MP4) -> None:
    await submission.add_stream("a.mp4", pieces(data))


async def test_ten_uploads_at_once_over_two_processes_hold_no_more_than_the_quota(
    api: ApiStand,
) -> None:
    processes, gate = [process(api), process(api)], asyncio.Event()
    begun: list[int] = []

    async def upload(number: int) -> str:
        try:
            async with processes[number % 2].begin(
                owner="ranch", declared_bytes=SIZE
            ) as submission:
                begun.append(number)
                await gate.wait()
                await sent(submission)
        except Throttled as error:
            return error.code
        return "sent"

    running = [asyncio.ensure_future(upload(number)) for number in range(10)]
    await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(begun) == 3, "before a byte of any has come"
    assert await spent(api) == 3 * SIZE
    gate.set()
    assert sorted(await asyncio.gather(*running)) == ["quota_bytes"] * 7 + ["sent"] * 3
    assert await spent(api) == 0, "none of them was accepted"


async def test_bytes_of_unknown_number_are_held_as_they_come(api: ApiStand) -> None:
    one, other = process(api), process(api)
    async with one.begin(owner="ranch") as first, other.begin(owner="ranch") as second:
        await sent(first, MP4 * 2)
        with pytest.raises(Throttled) as refused:
            await sent(second, MP4 * 2)
        assert refused.value.code == "quota_bytes"
        assert await spent(api) == 3 * SIZE, (
            "all that was left is held for the first, one step ahead of what came"
        )
    assert await spent(api) == 0


async def test_what_a_killed_process_held_is_free_again_after_a_quarter_of_an_hour(
    api: ApiStand,
) -> None:
    dead = Hold(
        id="f" * 32,
        day=api.clock().date(),
        amount=3 * SIZE,
        until_utc=api.clock() + HOLD_LIFE,
        kind="upload",
    )
    assert await api.ports.keys.hold("ranch", dead, at=api.clock(), limit_bytes=3 * SIZE) is None
    key = await make_key(api, "ranch")
    async with client_of(api, key) as client:
        assert (await client.post(JOBS, files={"file": MP4})).json()["code"] == "quota_bytes"
        api.clock.step(HOLD_LIFE.total_seconds())
        assert (await client.post(JOBS, files={"file": MP4})).status_code == 202
    assert await spent(api) == SIZE


async def test_a_slow_upload_says_that_it_lives(api: ApiStand) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield MP4
        for _ in range(6):
            api.clock.step(301)
            yield b"x"
            with pytest.raises(Throttled):
                async with process(api).begin(owner="ranch", declared_bytes=SIZE):
                    pass

    async with process(api).begin(owner="ranch", declared_bytes=3 * SIZE) as submission:
        await submission.add_stream("a.mp4", slowly())
        assert await spent(api) == 3 * SIZE


async def test_an_upload_that_stood_still_for_too_long_must_find_room_again(api: ApiStand) -> None:
    async def stopped() -> AsyncIterator[bytes]:
        yield MP4
        api.clock.step(HOLD_LIFE.total_seconds())
        assert await api.ports.keys.spend(
            "ranch",
            day=api.clock().date(),
            size_bytes=3 * SIZE,
            limit_bytes=3 * SIZE,
            at=api.clock(),
        )
        yield b"x"

    with pytest.raises(Throttled):
        async with process(api).begin(owner="ranch", declared_bytes=2 * SIZE) as submission:
            await submission.add_stream("a.mp4", stopped())
    assert await spent(api) == 3 * SIZE


@pytest.mark.parametrize("still_s", [120, HOLD_LIFE.total_seconds() + 60])
async def test_an_upload_over_midnight_counts_for_the_day_on_which_it_began(
    api: ApiStand, still_s: float
) -> None:
    api.clock.step(14.5 * 3600 - 60)
    today, submissions = api.clock().date(), process(api)
    async with submissions.begin(owner="ranch", declared_bytes=SIZE) as submission:
        await sent(submission)
        api.clock.step(still_s)
        await submissions.accept(submission, AnalysisSettings())
    assert api.clock().date() == today + timedelta(days=1)
    spent_on = [
        await api.ports.keys.spent("ranch", day=today + timedelta(days=number), at=api.clock())
        for number in (0, 1)
    ]
    assert spent_on == [SIZE, 0]


async def test_a_request_that_is_cancelled_holds_nothing(api: ApiStand) -> None:
    async def upload() -> None:
        async with process(api).begin(owner="ranch", declared_bytes=3 * SIZE):
            await asyncio.Event().wait()

    running = asyncio.ensure_future(upload())
    for _ in range(100):
        await asyncio.sleep(0)
    assert await spent(api) == 3 * SIZE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await spent(api) == 0


async def test_links_hold_what_they_declare_from_the_start(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        answers = await asyncio.gather(
            *(client.post(UPLOADS, json={"size_bytes": SIZE}) for _ in range(10))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 7
        assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {
            "quota_bytes"
        }
        assert (await client.post(JOBS, files={"file": MP4})).json()["code"] == "quota_bytes"
        api.clock.step(3600)
        assert (await client.post(UPLOADS, json={"size_bytes": 3 * SIZE})).status_code == 201, (
            "the links have ended"
        )


@pytest.fixture
def slow_reads(api: ApiStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all requests of one moment read what is held before any of them holds something."""
    given = api.ports.keys.holds

    async def slowly(*args: Any, **keywords: Any) -> list[Hold]:
        found = await given(*args, **keywords)
        await asyncio.sleep(0.02)
        return found

    monkeypatch.setattr(api.ports.keys, "holds", slowly)


@pytest.mark.usefixtures("slow_reads")
async def test_so_many_links_are_alive_at_a_time(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        assert (await client.post(UPLOADS, json={"size_bytes": 0})).status_code == 201
        api.clock.step(600)
        answers = await asyncio.gather(
            *(client.post(UPLOADS, json={"size_bytes": 1}) for _ in range(8))
        )
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 5
        assert {(answer.json()["code"], answer.headers["retry-after"]) for answer in refused} == {
            ("quota_links", "3000")
        }
        assert (
            "11:30" not in refused[0].json()["detail"]
            and "10:30:00 UTC" in refused[0].json()["detail"]
        )
        api.clock.step(3000)
        assert (await client.post(UPLOADS, json={"size_bytes": 1})).status_code == 201
        assert (await client.post(UPLOADS, json={"size_bytes": 1})).status_code == 429
    async with client_of(api, await make_key(api, "park")) as client:
        assert (await client.post(UPLOADS, json={"size_bytes": 1})).status_code == 201


@pytest.mark.usefixtures("slow_reads")
async def test_links_of_yesterday_count_as_long_as_they_are_alive(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        api.clock.step(14.5 * 3600 - 60)
        assert [
            (await client.post(UPLOADS, json={"size_bytes": 1})).status_code for _ in range(3)
        ] == [201] * 3
        api.clock.step(120)
        answers = await asyncio.gather(
            *(client.post(UPLOADS, json={"size_bytes": 1}) for _ in range(3))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 429, 429]
        api.clock.step(3600)
        assert [
            (await client.post(UPLOADS, json={"size_bytes": 1})).status_code for _ in range(5)
        ] == [201] * 4 + [429]


async def test_a_link_without_a_size_holds_the_largest_that_there_is_room_for(
    api: ApiStand,
) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        assert (await client.post(UPLOADS, json={"size_bytes": SIZE})).status_code == 201
        link = (await client.post(UPLOADS)).json()
        assert await spent(api) == 3 * SIZE
        assert (await client.post(UPLOADS)).json()["code"] == "quota_bytes"
        await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4)
        assert (
            await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
        ).status_code == 202
        assert await spent(api) == 2 * SIZE, "what was measured counts"


async def test_a_link_becomes_what_was_really_put_and_frees_its_place(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        for _ in range(2):
            link = (await client.post(UPLOADS, json={"size_bytes": SIZE + 100})).json()
            await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4)
            assert (
                await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
            ).status_code == 202
        assert await spent(api) == 2 * SIZE
        assert await api.ports.keys.holds("ranch", since=api.clock().date(), at=api.clock()) == []


async def test_a_file_larger_than_declared_makes_no_job(api: ApiStand) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        for declared in (0, SIZE - 1):
            link = (await client.post(UPLOADS, json={"size_bytes": declared})).json()
            await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4)
            refused = await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
            assert (refused.status_code, refused.json()["code"]) == (413, "larger_than_declared")
        assert api.messages() == []
        assert [name for name in await api.films() if name.startswith("jobs/")] == []


@pytest.mark.parametrize(
    ("size", "status"), [(-1, 422), (2**63, 413), (10**400, 413), (1.5, 422), ("many", 422)]
)
async def test_sizes_that_no_file_has_hold_nothing(
    api: ApiStand, size: object, status: int
) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        assert (await client.post(UPLOADS, json={"size_bytes": size})).status_code == status
    assert await spent(api) == 0


async def test_an_absurd_declared_length_is_refused_and_holds_nothing(api: ApiStand) -> None:
    for declared in (4 * SIZE + 6 * 2**20, 2**63, 10**18):
        with pytest.raises(Throttled) as refused:
            async with process(api).begin(
                owner="ranch", declared_bytes=declared, slack_bytes=5 * 2**20
            ):
                raise AssertionError("it may not begin")
        assert refused.value.code == "quota_bytes"
    assert await spent(api) == 0


async def test_a_link_that_could_not_be_made_holds_nothing(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object, **keywords: object) -> str:
        raise Unavailable("Storage does not answer.")

    async with client_of(api, await make_key(api, "ranch")) as client:
        with monkeypatch.context() as patched:
            patched.setattr(api.ports.sources, "upload_url", away)
            assert (await client.post(UPLOADS, json={"size_bytes": SIZE})).status_code == 503
        assert await spent(api) == 0
        assert await api.ports.keys.holds("ranch", since=api.clock().date(), at=api.clock()) == []


async def test_what_outlives_its_link_still_counts_and_what_its_link_holds_counts_once(
    api: ApiStand,
) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        link = (await client.post(UPLOADS, json={"size_bytes": 2 * SIZE})).json()
        await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), MP4 * 2)
        assert (await client.post(UPLOADS, json={"size_bytes": SIZE})).status_code == 201
        api.clock.step(3600)
        assert (await client.post(UPLOADS, json={"size_bytes": SIZE + 1})).json()[
            "code"
        ] == "quota_bytes"
        assert (await client.post(UPLOADS, json={"size_bytes": SIZE})).status_code == 201
        assert (
            await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
        ).status_code == 202
    assert await spent(api) == 3 * SIZE


async def test_a_job_that_is_refused_leaves_the_links_hold_and_counts_nothing(
    api: ApiStand,
) -> None:
    async with client_of(api, await make_key(api, "ranch")) as client:
        link = (await client.post(UPLOADS, json={"size_bytes": SIZE})).json()
        await api.ports.sources.put(upload_blob(link["upload_id"], owner="ranch"), b"text" * 20)
        assert (
            await client.post(JOBS, json={"upload_ids": [link["upload_id"]]})
        ).status_code == 415
        assert await spent(api) == SIZE
        assert [blob.name async for blob in api.ports.sources.list_blobs(uploads_of("ranch"))]


async def test_the_machines_own_user_has_no_limit_of_links_or_bytes(api: ApiStand) -> None:
    answers = [await api.client.post(UPLOADS, json={"size_bytes": 10 * SIZE}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 6
    assert await spent(api, "local") == 0


async def test_without_a_quota_of_bytes_links_are_still_limited() -> None:
    async with (
        running_api(quota_day_bytes=0, quota_links=2) as api,
        client_of(api, await make_key(api, "ranch")) as client,
    ):
        answers = [await client.post(UPLOADS) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        upload_id = answers[0].json()["upload_id"]
        await api.ports.sources.put(upload_blob(upload_id, owner="ranch"), MP4)
        assert (await client.post(JOBS, json={"upload_ids": [upload_id]})).status_code == 202
        assert (await client.post(UPLOADS)).status_code == 201
