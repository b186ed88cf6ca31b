"""Real footage through the running API, with the COCO-pretrained checkpoint. Skipped where the evaluation data is absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.stack import Stack


@pytest.fixture
def stack(make_stack, femto_onnx: str) -> Stack:
    stack = make_stack(MUSTER_DETECTORS=json.dumps({"femto": femto_onnx}))
    stack.start_worker()
    return stack


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_herd(stack: Stack, shared_dir: Path) -> None:
    job_id = stack.submit(
        shared_dir / "data/clips/cow-herd-pasture.mp4",
        settings={"detector": "femto", "classes": ["cattle"]},
    )
    job = stack.wait(job_id, timeout_s=840)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    assert 22 <= job["counts"]["cattle"]["peak"] <= 28
    results = json.loads(stack.artifact(job_id, "results.json"))
    assert (results["video"]["frames"], results["video"]["width"], results["video"]["height"]) == (
        1011,
        640,
        360,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_six_people_one_after_the_other(stack: Stack, shared_dir: Path) -> None:
    job_id = stack.submit(
        shared_dir / "data/clips/people-one-by-one.mp4",
        settings={"detector": "femto", "classes": ["person"]},
    )
    job = stack.wait(job_id, timeout_s=840)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    assert job["counts"]["person"]["unique"] == 6
    assert job["counts"]["person"]["peak"] == 1
