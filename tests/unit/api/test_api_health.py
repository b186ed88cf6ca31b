"""Health, figures, documentation, and a start while everything is away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.readiness import Readiness
from core.domain.housekeeping import HousekeepingRules
from core.domain.job import Job
from core.domain.worker_problem import WorkerProblem
from core.errors import StorageFull
from core.ports import WorkerReport
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping
from tests.support.api_stand import ApiStand, SteppedClock, make_ports, running_api
from tests.support.configuration import api_config

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


async def test_health_has_the_known_shape_and_what_workers_report(api: ApiStand) -> None:
    alone = await api.client.get("/health")
    assert alone.status_code == 200
    assert alone.json() == {
        "status": "degraded",
        "gpu_available": False,
        "device": "none",
        "models_loaded": [],
        "database_connected": True,
        "storage_connected": True,
        "workers": 0,
        "problems": [],
    }
    await api.ports.jobs.report_worker(
        WorkerReport("w1", api.clock(), "cuda:0", True, ("pasture",))
    )
    served = (await api.client.get("/health")).json()
    assert (
        served["status"],
        served["gpu_available"],
        served["device"],
        served["models_loaded"],
        served["workers"],
    ) == (
        "healthy",
        True,
        "cuda:0",
        ["pasture"],
        1,
    )
    api.clock.step(600)
    assert (await api.client.get("/health")).json()["workers"] == 0


async def test_what_sweepers_found_is_told_and_holds_nothing_up(api: ApiStand) -> None:
    await api.ports.jobs.report_worker(
        WorkerReport("w1", api.clock() + timedelta(days=90), "cuda:0", True)
    )
    await api.ports.results.put("jobs/" + "a" * 32 + "/log/k/00000.parquet", b"12345")
    for number in range(30):
        await api.add_job(f"{number:032x}", state="completed")
    api.clock.step(60 * 24 * 3600)
    assert "muster_unclaimed_blobs NaN" in (await api.client.get("/metrics")).text, (
        "not counted yet"
    )
    rules = HousekeepingRules(
        timedelta(days=99), timedelta(hours=1), timedelta(hours=1), keep=timedelta(days=30)
    )
    await Housekeeping(api.ports, Dispatcher(api.ports), api.clock, rules).run()
    health = (await api.client.get("/health")).json()
    told = [
        (problem["code"], problem["degrades"], problem["workers"]) for problem in health["problems"]
    ]
    assert (health["status"], told) == (
        "healthy",
        [("unclaimed_blobs", False, []), ("expiry_held", False, [])],
    )
    assert "1 blobs (5 bytes)" in health["problems"][0]["message"]
    assert "30 of 30 jobs" in health["problems"][1]["message"]
    figures = (await api.client.get("/metrics")).text
    assert "muster_unclaimed_blobs 1.0" in figures and "muster_unclaimed_bytes 5.0" in figures


async def test_a_full_disk_that_workers_report_is_a_problem(api: ApiStand) -> None:
    well = WorkerReport(
        "w0", api.clock(), "cuda:0", True, detail={"host": "h", "pid": 1, "problems": []}
    )
    full: WorkerProblem = {
        "code": "storage_full",
        "message": "The worker's disk is full.",
        "folder": "/data",
        "free_bytes": 5,
    }
    for report in (
        well,
        *(replace(well, worker_id=name, detail={"problems": [full]}) for name in ("w1", "w2")),
    ):
        await api.ports.jobs.report_worker(report)
    health = (await api.client.get("/health")).json()
    problem = {
        "code": "storage_full",
        "message": "The worker's disk is full.",
        "degrades": True,
        "workers": ["w1", "w2"],
    }
    assert (health["status"], health["workers"], health["problems"]) == ("degraded", 3, [problem])
    for name in ("w1", "w2"):
        await api.ports.jobs.report_worker(replace(well, worker_id=name))
    health = (await api.client.get("/health")).json()
    assert (health["status"], health["problems"]) == ("healthy", [])


async def test_decoding_without_confinement_is_a_problem_that_holds_nothing_up(
    api: ApiStand,
) -> None:
    told: WorkerProblem = {
        "code": "decoding_unconfined",
        "message": "Videos are decoded unconfined.",
        "degrades": False,
    }
    await api.ports.jobs.report_worker(
        WorkerReport("w0", api.clock(), "cuda:0", True, detail={"problems": [told]})
    )
    health = (await api.client.get("/health")).json()
    assert (health["status"], health["problems"]) == ("healthy", [{**told, "workers": ["w0"]}])


async def test_a_full_disk_of_the_database_refuses_submissions_and_is_a_problem(
    api: ApiStand, monkeypatch
) -> None:
    async def full(job: Job) -> Job:
        raise StorageFull(
            "The disk that holds /data/muster.sqlite3 is full. Make room.", disk_of="database"
        )

    await api.ports.jobs.report_worker(
        WorkerReport("w1", api.clock() + timedelta(minutes=5), "cuda:0", True)
    )
    with monkeypatch.context() as patch:
        patch.setattr(api.ports.jobs, "add", full)
        refused = await api.submit()
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
        503,
        "storage_full",
        "5",
    )
    assert [blob.name async for blob in api.ports.sources.list_blobs("jobs/")] == []
    health = (await api.client.get("/health")).json()
    problem = {
        "code": "storage_full",
        "message": refused.json()["detail"],
        "degrades": True,
        "workers": [],
    }
    assert (health["status"], health["problems"]) == ("degraded", [problem])
    api.clock.step(301)
    health = (await api.client.get("/health")).json()
    assert (health["status"], health["problems"]) == ("healthy", [])


@pytest.mark.parametrize("part", ["sources", "results", "queue", "detect_queue", "jobs"])
async def test_live_ready_and_well_are_different_questions(api: ApiStand, part: str) -> None:
    assert (await api.client.get("/health/ready")).json()["status"] == "ready"
    api.set_away(part, True)
    assert (await api.client.get("/health/live")).json() == {"status": "live"}
    ready = await api.client.get("/health/ready")
    assert (ready.status_code, ready.json()["code"], ready.headers["retry-after"]) == (
        503,
        "not_ready_to_serve",
        "5",
    )
    assert [name for name, well in ready.json()["details"]["checks"].items() if not well] == [
        "database" if part == "jobs" else part
    ]
    health = (await api.client.get("/health")).json()
    assert (health["database_connected"], health["storage_connected"]) == (
        part != "jobs",
        part == "jobs",
    )


async def test_an_application_that_starts_without_storage_serves_once_it_is_back(
    monkeypatch,
) -> None:
    clock = SteppedClock()
    ports = make_ports(clock)
    ports.sources.away = True
    app = create_app(api_config(), None, clock)
    bootstrap = pytest.importorskip("core.bootstrap")
    monkeypatch.setattr(bootstrap, "make_ports", lambda config: ports)
    monkeypatch.setattr("api.app.FIRST_OPEN_S", 0.0)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 503
        refused = await client.get("/api/v1/jobs")
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
            503,
            "not_open",
            "5",
        )
        ports.sources.away = False
        assert await app.state.services.wait_open(5)
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/api/v1/jobs")).json()["items"] == []


async def test_figures_count_by_route_and_each_application_has_its_own(api: ApiStand) -> None:
    await api.submit()
    await api.client.get("/api/v1/jobs/" + "a" * 32)
    text = (await api.client.get("/metrics")).text
    assert 'muster_http_requests_total{method="POST",route="/api/v1/jobs",status="202"} 1.0' in text
    assert (
        'muster_http_requests_total{method="GET",route="/api/v1/jobs/{job_id}",status="404"} 1.0'
        in text
    )
    assert "muster_jobs_accepted_total 1.0" in text
    assert 'muster_queue_messages{queue="main"} 1.0' in text
    async with running_api() as other:
        assert "muster_jobs_accepted_total 0.0" in (await other.client.get("/metrics")).text
    api.set_away("queue", True)
    answer = await api.client.get("/metrics")
    assert answer.status_code == 200
    assert 'queue="main"' not in answer.text


async def test_everything_is_documented_with_its_errors(api: ApiStand) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    assert {
        "/api/v1/jobs",
        "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/{job_id}/results",
        "/api/v1/jobs/{job_id}/artifacts/{name}",
        "/api/v1/jobs/{job_id}/recount",
        "/api/v1/uploads",
        "/api/v1/stats/timeseries",
        "/submit-job",
        "/latest_stats",
        "/health",
    } <= set(schema["paths"])
    submit = schema["paths"]["/api/v1/jobs"]["post"]
    assert set(submit["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert {"202", "400", "413", "415", "422", "503"} <= set(submit["responses"])
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation.get("summary"), path
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert "application/problem+json" in answer["content"], (path, status)
    names = schema["components"]["schemas"]
    assert "HTTPValidationError" not in names
    references = [
        part.split('"')[0]
        for part in str(schema).replace("'", '"').split("#/components/schemas/")[1:]
    ]
    assert set(references) <= set(names)


def test_importing_the_application_reads_and_opens_nothing() -> None:
    code = (
        "import os, api.main, sys; "
        "heavy = {'azure.storage.blob', 'pymongo', 'sqlite3', 'torch', 'cv2'}; "
        "assert not heavy & set(sys.modules), 'too much'"
    )
    environment = {**os.environ, "MUSTER_DATA_DIR": "not/absolute", "MUSTER_DETECTORS": "not JSON"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_parts_are_asked_once_a_second_however_many_probes_come() -> None:
    asked, now = [], [0.0]
    async with running_api() as api:
        ping = api.ports.jobs.ping

        async def counted() -> None:
            asked.append(now[0])
            await asyncio.sleep(0)
            await ping()

        vars(api.ports.jobs)["ping"] = counted
        api.app.state.services.readiness = Readiness(api.ports, lambda: True, lambda: now[0])
        answers = await asyncio.gather(*(api.client.get("/health/ready") for _ in range(50)))
        assert ({answer.status_code for answer in answers}, asked) == ({200}, [0.0])
        now[0] = 0.9
        api.set_away("jobs", True)
        assert (await api.client.get("/health/ready")).status_code == 200
        now[0] = 1.0
        assert (await api.client.get("/health/ready")).status_code == 503
        api.set_away("jobs", False)
        now[0] = 1.9
        assert (await api.client.head("/health/ready")).status_code == 503
        now[0] = 2.0
        assert (await api.client.get("/health/ready")).status_code == 200
        assert asked == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "connection", ["UseDevelopmentStorage=true", "AccountName=ranch;AccountKey=YWJj"]
)
async def test_a_published_key_that_the_operator_allows_is_told_and_degrades_nothing(
    connection: str,
) -> None:
    async with running_api(storage_connection=connection, allow_published_storage_key=True) as api:
        told = [
            problem
            for problem in (await api.client.get("/health")).json()["problems"]
            if problem["code"] == "published_storage_key"
        ]
    if connection != "UseDevelopmentStorage=true":
        assert told == []
        return
    (problem,) = told
    assert (problem["degrades"], problem["workers"]) == (False, [])
    assert "MUSTER_ALLOW_PUBLISHED_STORAGE_KEY" in problem["message"]
