"""Bad and odd videos through the whole system: each gets a clear answer and harms nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import httpx
import numpy as np
import pytest

from core.adapters.azure.blob import AzureBlobStore
from tests.support.stack import Stack
from tests.support.video_samples import (
    cut_bytes,
    remux,
    trim_with_edit_list,
    write_audio_only,
    write_video,
)

Maker = Callable[[Path], list[Path]]


def text(folder: Path) -> list[Path]:
    path = folder / "notes.mp4"
    path.write_text("Dear Sir or Madam, this is not a video.\n" * 200)
    return [path]


def empty(folder: Path) -> list[Path]:
    path = folder / "empty.mp4"
    path.touch()
    return [path]


def two_sizes(folder: Path) -> list[Path]:
    return [
        write_video(folder / "a.mp4", frames=20),
        write_video(folder / "b.mp4", frames=20, width=96, height=64),
    ]


def two_rates(folder: Path) -> list[Path]:
    return [
        write_video(folder / "a.mp4", frames=20, fps=30),
        write_video(folder / "b.mp4", frames=20, fps=12),
    ]


def variable_rate(folder: Path) -> list[Path]:
    times = [Fraction(n, 30) + (Fraction(n - 20, 10) if n > 20 else 0) for n in range(40)]
    return [write_video(folder / "vfr.mp4", frames=40, times=times)]


def trimmed(folder: Path) -> list[Path]:
    whole = write_video(folder / "whole.mp4", frames=90, gop=30, b_frames=0)
    return [trim_with_edit_list(whole, folder / "trimmed.mp4", start_pts=15 * 512)]


def from_the_middle(folder: Path) -> list[Path]:
    whole = write_video(folder / "whole.ts", frames=120)
    return [cut_bytes(whole, folder / "middle.ts", start=0.35)]


REFUSED: dict[str, tuple[Maker, int, str]] = {
    "empty": (empty, 422, "empty_file"),
    "text renamed .mp4": (text, 415, "unsupported_media"),
}

FAILED: dict[str, tuple[Maker, dict | None, set[str]]] = {
    "truncated": (
        lambda f: [cut_bytes(write_video(f / "a.mp4"), f / "b.mp4", end=0.6)],
        None,
        {"truncated_video"},
    ),
    "header only": (
        lambda f: [
            write_video(
                f / "a.mp4", frames=0, container_options={"movflags": "frag_keyframe+empty_moov"}
            )
        ],
        None,
        {"no_frames"},
    ),
    "audio only": (lambda f: [write_audio_only(f / "a.mp4")], None, {"no_video_stream"}),
    "zero frames": (lambda f: [write_video(f / "a.mkv", frames=0)], None, {"no_frames"}),
    "two files of different size": (two_sizes, None, {"files_differ"}),
    "two files of different frame rate": (two_rates, None, {"files_differ"}),
    "a line outside the frame": (
        lambda f: [write_video(f / "a.mp4", frames=20)],
        {"lines": [{"name": "far", "start": [0, 5000], "end": [100, 5000]}]},
        {"line_outside_frame"},
    ),
    "a zone outside the frame": (
        lambda f: [write_video(f / "a.mp4", frames=20)],
        {"zones": [{"name": "far", "polygon": [[900, 900], [950, 900], [950, 950]]}]},
        {"zone_outside_frame"},
    ),
}

COUNTED: dict[str, tuple[Maker, int]] = {
    "one pixel": (
        lambda f: [
            write_video(
                f / "a.mkv",
                frames=3,
                width=1,
                height=1,
                codec="ffv1",
                pix_fmt="bgr0",
                b_frames=0,
                image=_grey_pixel,
            )
        ],
        3,
    ),
    "odd size": (
        lambda f: [
            write_video(
                f / "a.mkv",
                frames=12,
                width=129,
                height=97,
                codec="ffv1",
                pix_fmt="bgr0",
                b_frames=0,
            )
        ],
        12,
    ),
    "10-bit": (lambda f: [write_video(f / "a.mp4", frames=12, pix_fmt="yuv420p10le")], 12),
    "HEVC": (
        lambda f: [
            write_video(
                f / "a.mp4", frames=12, codec="libx265", options={"x265-params": "log-level=error"}
            )
        ],
        12,
    ),
    "variable frame rate": (variable_rate, 40),
    "rotated": (lambda f: [write_video(f / "a.mp4", frames=12, rotation_deg=90)], 12),
    "wrong extension": (lambda f: [write_video(f / "a.mp4", frames=12).rename(f / "a.txt")], 12),
    "path-like Unicode name": (
        lambda f: [write_video(f / "a.mp4", frames=12).rename(f / "Бизон «2» 🦬.mp4")],
        12,
    ),
    "trimmed": (trimmed, 75),
    "two files, one recording": (
        lambda f: [write_video(f / "a.mp4", frames=20), write_video(f / "b.mp4", frames=25)],
        45,
    ),
    "packets lost in the middle": (
        lambda f: [
            remux(
                write_video(f / "a.ts", frames=60, gop=12),
                f / "b.ts",
                keep=lambda place: not 20 < place < 24,
            )
        ],
        57,
    ),
}


def _grey_pixel(number: int) -> np.ndarray:
    return np.full((1, 1, 3), 100, np.uint8)


async def blob_names(stack: Stack) -> list[str]:
    names = []
    for container in ("BLOB_CONTAINER_INPUT", "BLOB_CONTAINER_OUTPUT"):
        store = AzureBlobStore(
            container=stack.env[container],
            connection_string=stack.env["AZURE_STORAGE_CONNECTION_STRING"],
            account_url=None,
        )
        await store.open()
        names += [blob.name async for blob in store.list_blobs("jobs/")]
        await store.close()
    return names


def made(make: Maker, folder: Path) -> list[Path]:
    folder.mkdir()
    return make(folder)


@pytest.mark.slow
def test_every_bad_video_gets_a_clear_answer_and_the_worker_lives(
    make_stack, tmp_path: Path
) -> None:
    stack = make_stack()
    worker = stack.start_worker()

    for name, (make, status, code) in REFUSED.items():
        (path,) = made(make, tmp_path / name)
        answer = stack.client.post("/api/v1/jobs", files={"file": (path.name, path.read_bytes())})
        assert (answer.status_code, answer.json()["code"]) == (status, code), name
    assert asyncio.run(blob_names(stack)) == []

    failing = {
        name: stack.submit(*made(make, tmp_path / name), settings=s)
        for name, (make, s, _) in FAILED.items()
    }
    counting = {
        name: stack.submit(*made(make, tmp_path / name.replace(" ", "_")))
        for name, (make, _) in COUNTED.items()
    }

    for name, job_id in failing.items():
        job = stack.wait(job_id)
        assert (job["state"], job["error"]["code"] in FAILED[name][2]) == ("failed", True), (
            f"{name}: {job['error']}"
        )
        assert len(job["error"]["message"]) > 20 and str(tmp_path) not in job["error"]["message"]
    for name, job_id in counting.items():
        job = stack.wait(job_id)
        assert job["state"] == "completed", f"{name}: {job['error']}"
        results = json.loads(stack.artifact(job_id, "results.json"))
        assert results["video"]["frames"] == COUNTED[name][1], name
    assert worker.alive

    rotated = json.loads(stack.artifact(counting["rotated"], "results.json"))["video"]
    assert (rotated["width"], rotated["height"]) == (96, 128)
    ids = {*failing.values(), *counting.values()}
    assert {blob.split("/")[1] for blob in asyncio.run(blob_names(stack))} <= ids

    for job_id in ids:
        assert stack.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert asyncio.run(blob_names(stack)) == []


@pytest.mark.slow
def test_what_a_person_may_ask_wrongly_of_a_job(make_stack, tmp_path: Path) -> None:
    stack = make_stack()
    stack.start_worker()
    job_id = stack.submit(write_video(tmp_path / "a.mp4", frames=30))
    assert stack.wait(job_id)["state"] == "completed"
    base = f"/api/v1/jobs/{job_id}"

    def refused(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.json()["code"]

    client = stack.client
    assert refused(client.get("/api/v1/jobs/0123456789abcdef")) == (404, "job_not_found")
    assert refused(client.get(f"{base}/artifacts/..%2f..%2fplan")) == (404, "unknown_artifact")
    assert refused(client.get(f"{base}/artifacts/passwd")) == (404, "unknown_artifact")
    assert refused(client.post(f"{base}/recount", json={"thresholds": {"bison": 0.01}})) == (
        422,
        "invalid_settings",
    )
    assert refused(client.post(f"{base}/recount", json={"colour": 1})) == (422, "invalid_settings")
    assert refused(client.post(f"{base}/recount", json={"detect_fps": 1})) == (
        422,
        "recount_changes_detection",
    )
    line = {"name": "far", "start": [0, 5000], "end": [9, 5000]}
    assert refused(client.post(f"{base}/recount", json={"lines": [line]})) == (
        422,
        "line_outside_frame",
    )
    assert refused(client.post(f"{base}/cancel"))[0] == 409
    assert stack.job(job_id)["attempt"] == 1


@pytest.mark.slow
def test_degenerate_calibrations_are_refused(make_stack, shared_dir: Path, tmp_path: Path) -> None:
    stack = make_stack()
    video = write_video(tmp_path / "a.mp4", frames=5).read_bytes()
    files = sorted((shared_dir / "data/homography").glob("*.npz"))
    assert files
    for path in files:
        with np.load(path, allow_pickle=False) as points:
            calibration = {
                "image_points": points["image_points"].tolist(),
                "ground_points": points["map_points"].tolist(),
            }
        answer = stack.client.post(
            "/api/v1/jobs",
            files={"file": ("a.mp4", video)},
            data={"settings": json.dumps({"calibration": calibration})},
        )
        assert answer.status_code == 422, path.name
        assert "calibration" in answer.json()["code"], answer.json()
    assert asyncio.run(blob_names(stack)) == []
