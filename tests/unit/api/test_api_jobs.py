"""Submitting and following jobs over HTTP, on stand-ins of the ports."""

from __future__ import annotations

import pytest

from core.domain.job import Failure
from tests.support.api_stand import MP4, ApiStand, make_plan, running_api


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


async def test_a_recording_is_accepted_when_it_is_stored_recorded_and_sent(api: ApiStand) -> None:
    answer = await api.submit(("herd.mp4", MP4), settings='{"only": "bison", "camera": "north"}')

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}" == job["links"]["self"]
    assert answer.headers["retry-after"] == "2"
    assert (job["state"], job["attempt"], job["error"], job["counts"]) == ("queued", 1, None, None)
    assert job["files"] == [{"name": "herd.mp4", "size_bytes": len(MP4), "telemetry": None}]
    assert job["settings"]["only"] == "bison"
    assert await api.ports.sources.get(f"jobs/{job['id']}/source/000") == MP4
    stored = await api.ports.jobs.get(job["id"])
    assert stored.files[0].etag == (await api.ports.sources.info(stored.files[0].blob)).etag
    assert [(m.job_id, m.attempt, m.step) for m in api.messages()] == [(job["id"], 1, "plan")]
    assert api.ports.detect_queue.bodies() == []


async def test_files_keep_their_order(api: ApiStand) -> None:
    answer = await api.submit(("b.mp4", MP4 + b"1"), ("a.mp4", MP4 + b"22"), ("c.mp4", MP4))

    job = await api.ports.jobs.get(answer.json()["id"])
    assert [(f.name, f.size_bytes - len(MP4)) for f in job.files] == [
        ("b.mp4", 1),
        ("a.mp4", 2),
        ("c.mp4", 0),
    ]
    assert await api.blob_names() == [
        *(f"jobs/{job.id}/source/00{i}" for i in range(3)),
        f"jobs/{job.id}/submission.json",
    ]


async def test_the_trace_context_of_a_submission_travels_with_its_message(api: ApiStand) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await api.submit(headers={"traceparent": trace})
    await api.submit(headers={"traceparent": "nonsense"})
    assert [m.traceparent for m in api.messages()] == [trace, None]


async def test_the_same_request_with_the_same_key_makes_one_job(api: ApiStand) -> None:
    first = await api.submit(headers={"Idempotency-Key": "k1"})
    again = await api.submit(headers={"Idempotency-Key": "k1"})

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await api.blob_names() == [
        f"jobs/{first.json()['id']}/{name}" for name in ("source/000", "submission.json")
    ]
    assert len(api.messages()) == 1


@pytest.mark.parametrize("change", ["content", "name", "settings"])
async def test_a_key_stands_for_one_request(api: ApiStand, change: str) -> None:
    first = await api.submit(("a.mp4", MP4), settings="{}", headers={"Idempotency-Key": "k1"})
    other = await api.submit(
        (
            "b.mp4" if change == "name" else "a.mp4",
            MP4[:-1] + b"\x00" if change == "content" else MP4,
        ),
        settings='{"only": "bison"}' if change == "settings" else "{}",
        headers={"Idempotency-Key": "k1"},
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await api.blob_names() == [
        f"jobs/{first.json()['id']}/{name}" for name in ("source/000", "submission.json")
    ]


async def test_an_empty_key_is_refused(api: ApiStand) -> None:
    answer = await api.submit(headers={"Idempotency-Key": "k" * 201})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_idempotency_key")


async def test_jobs_are_listed_newest_first_in_pages(api: ApiStand) -> None:
    for number in range(5):
        await api.add_job(f"{number:032x}", state="failed" if number == 3 else "queued")
        api.clock.step(60)

    first = (await api.client.get("/api/v1/jobs", params={"limit": 2})).json()
    second = (
        await api.client.get("/api/v1/jobs", params={"limit": 3, "cursor": first["next_cursor"]})
    ).json()
    assert [int(job["id"], 16) for job in first["items"] + second["items"]] == [4, 3, 2, 1, 0]
    assert second["next_cursor"] is None
    failed = (await api.client.get("/api/v1/jobs", params={"state": "failed"})).json()["items"]
    assert [int(job["id"], 16) for job in failed] == [3]
    window = {"created_from": "2026-06-01T09:31:00Z", "created_until": "2026-06-01T09:33:00Z"}
    assert [
        int(job["id"], 16)
        for job in (await api.client.get("/api/v1/jobs", params=window)).json()["items"]
    ] == [2, 1]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("cursor=nonsense", 400, "bad_cursor"),
        ("limit=0", 422, "invalid_request"),
        ("limit=201", 422, "invalid_request"),
        ("state=done", 422, "invalid_request"),
        ("created_from=2026-06-01T09:31:00", 422, "invalid_request"),
    ],
)
async def test_a_listing_that_makes_no_sense_is_refused(
    api: ApiStand, query: str, status: int, code: str
) -> None:
    answer = await api.client.get(f"/api/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_progress_is_counted_in_frames_and_the_time_left_from_their_rate(
    api: ApiStand,
) -> None:
    job = await api.add_job(
        "a" * 32, state="detecting", plan=make_plan(frames=1200, segments=4), done_segments=()
    )
    first = (await api.client.get(f"/api/v1/jobs/{job.id}")).json()["progress"]
    assert first == {
        "step": "detecting",
        "frames_done": 0,
        "frames_total": 1200,
        "fraction": 0.0,
        "seconds_left": None,
    }

    api.clock.step(30)
    await api.ports.jobs.mark_segment_done(job.id, attempt=1, segment=2, at=api.clock())
    answer = await api.client.get(f"/api/v1/jobs/{job.id}")
    assert answer.json()["progress"] == {
        "step": "detecting",
        "frames_done": 300,
        "frames_total": 1200,
        "fraction": 0.25,
        "seconds_left": 90.0,
    }
    assert answer.headers["retry-after"] == "2"


async def test_a_failed_job_says_why(api: ApiStand) -> None:
    await api.add_job(
        "a" * 32,
        state="failed",
        error=Failure(code="unreadable_video", message="No frame.", step="plan"),
    )
    answer = await api.client.get(f"/api/v1/jobs/{'a' * 32}")
    assert answer.json()["error"] == {
        "code": "unreadable_video",
        "message": "No frame.",
        "step": "plan",
    }
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/recount"),
        ("GET", "/results"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/run.json"),
    ],
)
async def test_an_unknown_job_is_404(api: ApiStand, method: str, path: str) -> None:
    await api.add_job("b" * 32, owner="somebody else")
    for job_id in ("a" * 32, "b" * 32, "%00", "..%2f"):
        answer = await api.client.request(method, f"/api/v1/jobs/{job_id}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] in ("job_not_found", "route_not_found")


async def test_an_active_job_is_cancelled_and_stays_so(api: ApiStand) -> None:
    await api.add_job("a" * 32, state="detecting")
    for _ in range(2):
        answer = await api.client.post(f"/api/v1/jobs/{'a' * 32}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")


@pytest.mark.parametrize("state", ["completed", "failed"])
async def test_an_ended_job_cannot_be_cancelled(api: ApiStand, state: str) -> None:
    await api.add_job("a" * 32, state=state)
    answer = await api.client.post(f"/api/v1/jobs/{'a' * 32}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


async def test_deleting_leaves_nothing_and_touches_nobody_elses(api: ApiStand) -> None:
    kept = (await api.submit()).json()["id"]
    gone = (await api.submit()).json()["id"]
    await api.ports.results.put(f"jobs/{gone}/log/k/00000.parquet", b"x")

    assert (await api.client.delete(f"/api/v1/jobs/{gone}")).status_code == 204
    assert await api.blob_names() == [f"jobs/{kept}/source/000", f"jobs/{kept}/submission.json"]
    assert (await api.client.get(f"/api/v1/jobs/{gone}")).status_code == 404
    assert (await api.client.get(f"/api/v1/jobs/{kept}")).status_code == 200


async def test_a_recount_starts_the_next_attempt_from_assemble_on(api: ApiStand) -> None:
    await api.publish(
        "a" * 32, {"results.json": b"{}"}, settings={"only": "bison", "camera": "north"}
    )
    answer = await api.client.post(
        f"/api/v1/jobs/{'a' * 32}/recount", json={"lines": [], "camera": None}
    )

    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["attempt"]) == ("assembling", 2)
    assert (job["settings"]["lines"], job["settings"]["camera"], job["settings"]["only"]) == (
        [],
        None,
        "bison",
    )
    assert [(m.step, m.attempt) for m in api.messages()] == [("assemble", 2)]
    assert (await api.ports.jobs.get("a" * 32)).result_revision == "r0001"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"detect_fps": 5}, "recount_changes_detection"),
        ({"detector": "pasture"}, "recount_changes_detection"),
        ({"detector": "someone/model"}, "unknown_detector"),
        ({"thresholds": {"bison": 0.01}}, "invalid_settings"),
        ({"colour": "red"}, "invalid_settings"),
        ([], "invalid_request"),
    ],
)
async def test_a_recount_that_stored_detections_cannot_answer_is_refused(
    api: ApiStand, settings: object, code: str
) -> None:
    await api.publish("a" * 32, {"results.json": b"{}"})
    answer = await api.client.post(f"/api/v1/jobs/{'a' * 32}/recount", json=settings)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    job = await api.ports.jobs.get("a" * 32)
    assert (job.state, job.attempt, api.messages()) == ("completed", 1, [])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": "rendering"}, "job_active"),
        ({"state": "failed", "done_segments": (0,)}, "no_detection_log"),
        ({"state": "failed", "plan": None}, "no_detection_log"),
    ],
)
async def test_a_recount_needs_an_ended_job_with_all_its_detections(
    api: ApiStand, fields: dict, code: str
) -> None:
    await api.publish("a" * 32, {}, **fields)
    answer = await api.client.post(f"/api/v1/jobs/{'a' * 32}/recount", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, code)


async def test_a_recount_that_cannot_be_sent_is_taken_back(api: ApiStand) -> None:
    before = await api.publish("a" * 32, {"results.json": b"{}"}, completed_at_utc=api.clock())
    api.ports.queue.away = True
    answer = await api.client.post(f"/api/v1/jobs/{'a' * 32}/recount", json={"lines": []})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    job = await api.ports.jobs.get("a" * 32)
    assert (job.state, job.settings, job.completed_at_utc) == (
        "completed",
        before.settings,
        before.completed_at_utc,
    )
