"""The job stores under test, each on a database of its own, and jobs to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.mongo import MongoJobStore
from core.adapters.sqlite import SqliteJobStore
from core.domain.analysis import AnalysisSettings
from core.domain.job import (
    Failure,
    Job,
    Plan,
    Segment,
    SourceFile,
    TelemetryFile,
    TelemetryRemark,
    VideoFacts,
    Waiting,
)
from core.domain.results import ClassCounts, Note
from core.ports import JobFilter, JobStore
from tests.contract.databases import opened_stores
from tests.fakes import MemoryJobStore

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
FILE = SourceFile(
    name="Flug über die Weide.mp4", blob="jobs/a/source/000", size_bytes=5_000_000_000, etag="0x8D"
)


@asynccontextmanager
async def opened_job_store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    """Open the store that the fixture's parameter names; afterwards drop what it made."""
    async with opened_stores(request, MemoryJobStore, SqliteJobStore, MongoJobStore) as (store,):
        yield store


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def make_job(key: str = "a", *, seconds: float = 0, **changes: Any) -> Job:
    times = dict.fromkeys(("created_at_utc", "updated_at_utc", "heartbeat_at_utc"), at(seconds))
    return Job(**{"id": key, "files": (FILE,), **times, **changes})


def make_plan(segments: int = 3) -> Plan:
    return Plan(
        video=VideoFacts(
            frames=300 * segments,
            fps=29.97,
            width_px=1920,
            height_px=1080,
            duration_s=10.01 * segments,
        ),
        segments=tuple(
            Segment(
                index=i,
                file_index=0,
                first_frame=300 * i,
                frames=300,
                file_first_frame=300 * i,
                seek_pts=2**40 + i,
            )
            for i in range(segments)
        ),
        log_key="0f" * 8,
        file_starts_s=(0.0, 10.01),
        detector={
            "name": "femto",
            "thresholds": {"bison": 0.35},
            "labels": {"b. bison": "bison", "$ox": "cattle", "100% cow": "cattle"},
        },
    )


TELEMETRY = TelemetryFile(
    source="embedded",
    name="Flug über die Weide.mp4",
    blob="jobs/a/telemetry/track-000.srt",
    size_bytes=31_000_000,
    etag="0x8E",
    dialect="p4-rtk",
    samples=100_000,
    has_position=True,
    has_attitude=True,
    warnings=(
        TelemetryRemark(
            code="telemetry_no_fix",
            message="17 positions are 0, 0, because the drone had no satellites yet.",
        ),
    ),
)

WAITING = Waiting(
    code="storage_full", message="The worker's disk is full: $5 would do.", since_utc=at(3.125)
)

FULL = make_job(
    "full",
    files=(FILE, FILE.model_copy(update={"telemetry": TELEMETRY})),
    state="completed",
    attempt=3,
    owner="ranch",
    settings=AnalysisSettings(
        camera="north gate", recorded_at_utc=at(-5), thresholds={"bison": 0.4}, only="bison"
    ),
    completed_at_utc=at(9.125),
    plan=make_plan(),
    done_segments=(0, 1, 2),
    rendered_frames=900,
    result_revision="r0003",
    counts={
        "bison": ClassCounts(
            unique=43,
            low=41,
            high=46,
            peak=40,
            mean=17.25,
            reasons=(Note(code="a_b", text="a.b"), Note(code="other", text="$c")),
        )
    },
    artifacts=("results.json", "tracks.csv"),
    error=Failure(code="no_frames", message="The video has no frames.", step="plan"),
    idempotency_key="key-1",
    request_hash="abc",
    webhook="https://example.org/hook?token=a.b$c",
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    step_failures={"detect:1": 2},
    step_starts={"render": 1},
)


async def keys(store: JobStore, **conditions: Any) -> list[str]:
    return [job.id for job in (await store.list_page(JobFilter(**conditions), limit=200)).items]
