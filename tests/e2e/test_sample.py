"""The sample video through everything: its counts are the rendered truth, and every way to read them agrees."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx_ws
import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.conftest import CHROMIUM_ARGUMENTS, find_chromium
from tests.support.stack import SAMPLE, TRUTH, Stack

ARTIFACTS = {
    *(
        "results.json",
        "tracks.csv",
        "tracks.mot.txt",
        "tracks.geojson",
        "timeline.csv",
        "animals.csv",
    ),
    *("contact_sheet.jpg", "annotated.mp4", "preview.jpg", "run.json"),
}


@pytest.mark.slow
def test_the_sample_is_counted_as_it_was_rendered(make_stack) -> None:
    stack = make_stack()
    stack.start_worker()
    job_id = stack.submit(
        SAMPLE, settings={"camera": "north", "recorded_at_utc": "2026-05-01T12:00:00Z"}
    )
    job = stack.wait(job_id)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"

    counted = {
        name: {"unique": c["unique"], "peak": c["peak"]} for name, c in job["counts"].items()
    }
    assert counted == {
        name: {"unique": c["unique"], "peak": c["peak"]} for name, c in TRUTH["counts"].items()
    }

    results = json.loads(stack.artifact(job_id, "results.json"))
    assert results["video"]["frames"] == TRUTH["frames"]
    middle = next(line for line in results["lines"] if line["name"] == "middle")
    for name, true in TRUTH["lines"]["middle"].items():
        assert {k: middle["counts"][name][k] for k in ("in", "out")} == true, name

    listed = stack.client.get(f"/api/v1/jobs/{job_id}/artifacts").json()
    assert {item["name"] for item in listed["items"]} == ARTIFACTS
    rows = list(csv.DictReader(io.StringIO(stack.artifact(job_id, "tracks.csv").decode())))
    assert len({row["track_id"] for row in rows}) >= sum(
        c["unique"] for c in TRUTH["counts"].values()
    )
    timeline = list(csv.DictReader(io.StringIO(stack.artifact(job_id, "timeline.csv").decode())))
    assert len(timeline) == TRUTH["frames"]
    assert {row["status"] for row in timeline} == {"detected"}

    _statistics_agree(stack, job_id)
    _tracks_arrive_by_websocket(stack, job_id, rows)
    _a_recount_is_quick_and_loads_no_detector(stack, job_id)


def _statistics_agree(stack, job_id: str) -> None:
    latest = stack.client.get("/latest_stats").json()
    assert set(latest) == {
        "_id",
        "total_frames",
        "total_detections",
        "max_bison_in_frame",
        "avg_confidence",
        "fps",
        "timestamp",
    }
    assert latest["_id"] == job_id
    assert latest["total_frames"] == TRUTH["frames"]
    assert latest["max_bison_in_frame"] == TRUTH["counts"]["bison"]["peak"]
    assert stack.client.get("/api/v1/all_stats").json() == [latest]
    series = stack.client.get(
        "/api/v1/stats/timeseries", params={"bucket": "day", "class": "cattle", "camera": "north"}
    ).json()
    assert [(b["start_utc"], b["unique_sum"]) for b in series["items"]] == [
        ("2026-05-01T00:00:00Z", TRUTH["counts"]["cattle"]["unique"])
    ]


def _tracks_arrive_by_websocket(stack, job_id: str, rows: list[dict[str, str]]) -> None:
    seen: dict[int, int] = {}
    socket: Any
    with httpx_ws.connect_ws(f"{stack.url}/ws/jobs/{job_id}", stack.client) as socket:
        first = socket.receive_json()
        assert (first["type"], first["payload"]["state"]) == ("status", "completed")
        try:
            while True:
                event = socket.receive_json(timeout=20)
                assert event["type"] == "tracks"
                seen[event["payload"]["frame"]] = len(event["payload"]["tracks"])
        except httpx_ws.WebSocketDisconnect as end:
            assert end.code == 1000
    per_frame: dict[int, int] = {}
    for row in rows:
        per_frame[int(row["frame"])] = per_frame.get(int(row["frame"]), 0) + 1
    assert {frame: n for frame, n in seen.items() if n} == per_frame
    assert list(seen) == sorted(seen)


def _a_recount_is_quick_and_loads_no_detector(stack, job_id: str) -> None:
    loads = len(stack.actions("detector_loaded"))
    before = time.monotonic()
    answer = stack.client.post(
        f"/api/v1/jobs/{job_id}/recount", json={"classes": ["bison"], "lines": [], "render": False}
    )
    assert answer.status_code == 202, answer.text
    job = stack.wait(
        job_id, until=lambda job: job["state"] in ("completed", "failed") and job["attempt"] == 2
    )
    took_s = time.monotonic() - before
    assert job["state"] == "completed"
    assert set(job["counts"]) == {"bison"}
    assert job["counts"]["bison"]["unique"] == TRUTH["counts"]["bison"]["unique"]
    assert len(stack.actions("detector_loaded")) == loads
    assert len(stack.actions("segment_detected")) == 1
    print(f"recount took {took_s:.2f} s")
