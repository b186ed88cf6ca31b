"""Real footage through the running API, with the COCO-pretrained checkpoint. Skipped where the
evaluation data is absent.

`make soak` takes the whole films.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.video_samples import remux


@pytest.fixture
def stack(make_stack, femto_onnx: str) -> Stack:
    stack = make_stack(MUSTER_DETECTORS=json.dumps({"femto": femto_onnx}))
    stack.start_worker()
    return stack


def beginning(film: Path, folder: Path, frames: int | None) -> Path:
    """Return the film, or a copy of its first frames."""
    return remux(film, folder / film.name, keep=lambda n: n < frames) if frames else film


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("frames", "least", "most"), [(240, 21, 25), pytest.param(None, 22, 28, marks=pytest.mark.soak)]
)
def test_a_real_herd(
    stack: Stack, shared_dir: Path, tmp_path: Path, frames: int | None, least: int, most: int
) -> None:
    """By eye, 23 cows are visible at first, and 26 at once later."""
    job_id = stack.submit(
        beginning(shared_dir / "data/clips/cow-herd-pasture.mp4", tmp_path, frames),
        settings={"detector": "femto", "classes": ["cattle"]},
    )
    job = stack.wait(job_id, timeout_s=840)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    assert least <= job["counts"]["cattle"]["peak"] <= most
    results = json.loads(stack.artifact(job_id, "results.json"))
    assert (results["video"]["frames"], results["video"]["width"], results["video"]["height"]) == (
        frames or 1011,
        640,
        360,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("frames", "people"), [(450, 2), pytest.param(None, 6, marks=pytest.mark.soak)]
)
def test_people_one_after_the_other(
    stack: Stack, shared_dir: Path, tmp_path: Path, frames: int | None, people: int
) -> None:
    job_id = stack.submit(
        beginning(shared_dir / "data/clips/people-one-by-one.mp4", tmp_path, frames),
        settings={"detector": "femto", "classes": ["person"]},
    )
    job = stack.wait(job_id, timeout_s=840)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    assert job["counts"]["person"]["unique"] == people
    assert job["counts"]["person"]["peak"] == 1
