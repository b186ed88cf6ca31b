"""Webhooks through the API: named by a submission, shown with the job, refused where they are not
allowed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from core.domain.blobs import upload_blob
from core.domain.job import Job
from core.services.webhooks import owner_secret
from tests.support.api_stand import MP4, ApiStand, form_body, running_api

SECRET = "a secret of the operator's"
URL = "https://example.org/hook?token=theirs"


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api(webhook_secret=SECRET) as stand:
        yield stand


async def submit(api: ApiStand, *webhooks: str, key: str | None = None) -> httpx.Response:
    parts = [("file", "herd.mp4", MP4), *(("webhook", None, url.encode()) for url in webhooks)]
    headers = {"Content-Type": "multipart/form-data; boundary=muster"} | (
        {"Idempotency-Key": key} if key else {}
    )
    return await api.client.post("/api/v1/jobs", content=form_body(parts), headers=headers)


async def only_job(api: ApiStand) -> Job:
    (job,) = [
        await api.ports.jobs.get(item["id"])
        for item in (await api.client.get("/api/v1/jobs")).json()["items"]
    ]
    return job


async def test_a_form_may_name_a_webhook(api: ApiStand) -> None:
    answer = await submit(api, f" {URL}\n")
    assert answer.status_code == 202
    assert answer.json()["webhook"] == {"url": "https://example.org/hook", "deliveries": None}
    assert (await only_job(api)).webhook == URL
    assert "theirs" not in (await api.client.get("/api/v1/jobs")).text


async def test_so_may_a_job_of_uploads(api: ApiStand) -> None:
    upload = (await api.client.post("/api/v1/uploads", json={})).json()["upload_id"]
    await api.ports.sources.put(upload_blob(upload, owner="local"), MP4)
    answer = await api.client.post("/api/v1/jobs", json={"upload_ids": [upload], "webhook": URL})
    assert answer.status_code == 202, answer.text
    assert (await only_job(api)).webhook == URL


async def test_the_job_shows_what_became_of_it(api: ApiStand) -> None:
    job_id = (await submit(api, URL)).json()["id"]
    webhooks = api.app.state.services.webhooks
    await webhooks.expect(await api.ports.jobs.get(job_id))
    shown = (await api.client.get(f"/api/v1/jobs/{job_id}")).json()["webhook"]["deliveries"]
    assert [(item["event_id"], item["state"], item["event"], item["tries"]) for item in shown] == [
        (f"{job_id}-1", "expected", None, 0)
    ]
    done = await api.ports.jobs.update(
        job_id, attempt=1, expected=("queued",), at=api.clock(), changes={"state": "failed"}
    )
    await webhooks.announce(done)
    (shown,) = (await api.client.get(f"/api/v1/jobs/{job_id}")).json()["webhook"]["deliveries"]
    assert (shown["state"], shown["event"], shown["settled_at_utc"]) == ("due", "failed", None)
    assert shown["next_try_at_utc"] == api.clock().isoformat().replace("+00:00", "Z")


async def test_a_job_without_one_shows_none(api: ApiStand) -> None:
    job_id = (await submit(api)).json()["id"]
    assert (await api.client.get(f"/api/v1/jobs/{job_id}")).json()["webhook"] is None


@pytest.mark.parametrize(
    ("webhooks", "code"),
    [
        (["http://example.org/"], "bad_webhook"),
        (["https://[::ffff:10.0.0.1]/"], "webhook_not_public"),
        ([URL, URL], "doubled_part"),
        ([""], "bad_webhook"),
    ],
)
async def test_bad_ones_are_refused_and_leave_nothing_behind(
    api: ApiStand, webhooks: list[str], code: str
) -> None:
    answer = await submit(api, *webhooks)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await api.blob_names() == []


async def test_where_the_operator_set_no_secret_there_are_none() -> None:
    async with running_api() as api:
        for answer in (await submit(api, URL), await api.client.post("/api/v1/webhooks/secret")):
            assert (answer.status_code, answer.json()["code"]) == (422, "webhooks_off")
        assert (await submit(api)).status_code == 202


async def test_an_idempotency_key_covers_the_webhook(api: ApiStand) -> None:
    first = await submit(api, URL, key="k")
    again = await submit(api, URL, key="k")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    for other in (
        await submit(api, "https://example.org/other", key="k"),
        await submit(api, key="k"),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_caller_sees_their_own_secret_and_no_cache_keeps_it(api: ApiStand) -> None:
    answer = await api.client.post("/api/v1/webhooks/secret")
    assert answer.json() == {"secret": owner_secret(SECRET, "local")}
    assert answer.headers["cache-control"] == "no-store"
    assert (await api.client.get("/api/v1/webhooks/secret")).status_code == 405


async def test_a_clients_trace_goes_on_with_the_job_and_its_later_attempts(api: ApiStand) -> None:
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await api.submit(("herd.mp4", MP4), headers={"traceparent": context})
    job = await only_job(api)
    assert job.traceparent == context
    assert [message.traceparent for message in api.messages()] == [context]
    await api.ports.jobs.update(
        job.id, attempt=1, expected=("queued",), at=api.clock(), changes={"state": "failed"}
    )
    assert (await api.client.post(f"/api/v1/jobs/{job.id}/retry")).status_code == 202
    assert [message.traceparent for message in api.messages()] == [context, context]
