"""The sample video through everything: its counts are the rendered truth, every way to read them
agrees, a browser plays the result.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx_ws
import pytest
from playwright.sync_api import sync_playwright

from infra.azurite_server import AzuriteServer
from tests.e2e.conftest import CHROMIUM_ARGUMENTS
from tests.support.networks import share_networks
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


PLAY_AND_SEEK = """async (url) => {
    const video = document.createElement('video');
    video.muted = true;
    document.body.replaceChildren(video);
    const event = (name) => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, {once: true});
        video.addEventListener('error', () => reject(new Error(video.error.message)), {once: true});
    });
    const loaded = event('loadeddata');
    video.src = url;
    await loaded;
    const seekable = video.seekable.end(0);
    await video.play();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const played = video.currentTime;
    video.pause();
    const seeked = event('seeked');
    video.currentTime = video.duration * 0.7;
    await seeked;
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let least = 255, most = 0;
    for (let i = 0; i < pixels.length; i += 4) { least = Math.min(least, pixels[i]); most = Math.max(most, pixels[i]); }
    return {duration: video.duration, seekable, played, at: video.currentTime, width: video.videoWidth, height: video.videoHeight,
            contrast: most - least};
}"""


@pytest.fixture(scope="module")
def sample(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[tuple[Stack, str]]:
    """A system that has counted the sample, and the id of that job."""
    base = tmp_path_factory.mktemp("sample")
    share_networks(base / "data")
    stack = Stack(azurite, base, unique_name, {})
    stack.start_api()
    stack.start_worker()
    job_id = stack.submit(
        SAMPLE, settings={"camera": "north", "recorded_at_utc": "2026-05-01T12:00:00Z"}
    )
    assert stack.wait(job_id)["state"] == "completed", stack.logs()
    yield stack, job_id
    stack.stop()


@pytest.mark.slow
def test_the_sample_is_counted_as_it_was_rendered(sample: tuple[Stack, str]) -> None:
    stack, job_id = sample
    job = stack.job(job_id)
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


def _statistics_agree(stack: Stack, job_id: str) -> None:
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


def _tracks_arrive_by_websocket(stack: Stack, job_id: str, rows: list[dict[str, str]]) -> None:
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


@pytest.mark.browser
@pytest.mark.slow
def test_the_annotated_video_plays_and_seeks(
    sample: tuple[Stack, str], chromium: str, tmp_path: Path
) -> None:
    stack, job_id = sample
    url = f"{stack.url}/api/v1/jobs/{job_id}/artifacts/annotated.mp4"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*CHROMIUM_ARGUMENTS, "--autoplay-policy=no-user-gesture-required"],
        )
        # A page of the same origin, so that the canvas may be read; its policy lets nothing be
        # loaded, as befits an answer that is no page.
        page = browser.new_page(viewport={"width": 1000, "height": 600}, bypass_csp=True)
        page.goto(f"{stack.url}/health/live")
        shown = page.evaluate(PLAY_AND_SEEK, url)
        page.screenshot(path=tmp_path / "annotated.png")
        browser.close()

    duration_s = TRUTH["frames"] / TRUTH["fps"]
    assert shown["duration"] == pytest.approx(duration_s, abs=0.2)
    assert shown["seekable"] == pytest.approx(duration_s, abs=0.2)
    assert shown["played"] > 0.1
    assert shown["at"] == pytest.approx(shown["duration"] * 0.7, abs=0.05)
    assert (shown["width"], shown["height"]) == (TRUTH["width"], TRUTH["height"])
    assert shown["contrast"] > 60
    assert (tmp_path / "annotated.png").stat().st_size > 5000


def test_a_recount_is_quick_and_loads_no_detector(sample: tuple[Stack, str]) -> None:
    """The last test of the sample: its results replace those that the others read."""
    stack, job_id = sample
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
