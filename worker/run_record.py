"""`run.json`: the duration, host and versions of each step.

It is the only result file that may differ between two runs.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from functools import partial
from typing import Required, TypedDict

from core.domain.blobs import ARTIFACTS, assembly_blob, log_blob, result_blob
from core.domain.job import Plan, Segment
from core.errors import NotFound
from core.version import muster_version
from worker.step import Step
from worker.write_once import put_once

_PACKAGES = (
    "av",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "pyarrow",
    "supervision",
    "torch",
    "transformers",
)


class SegmentNote(TypedDict):
    """The circumstances in which a segment's log was made."""

    segment: int
    frames: int
    attempt: int
    worker: str
    host: str
    runtime: str | None
    seconds: float


class StepRecord(TypedDict, total=False):
    """The duration and worker of a step."""

    seconds: float
    worker: str
    workers: list[str]


class RunRecord(TypedDict, total=False):
    """The contents of `run.json`."""

    job_id: Required[str]
    attempt: Required[int]
    versions: dict[str, str]
    host: dict[str, str | int | None]
    detector: dict[str, object]
    segments: list[SegmentNote]
    segments_detected_in_this_attempt: int
    steps: Required[dict[str, StepRecord]]


async def write_segment_note(step: Step, plan: Plan, segment: Segment, seconds: float) -> None:
    """Store the circumstances of a segment's detection beside its log.

    The log itself must not contain times, hosts or runtimes.
    """
    note: SegmentNote = {
        "segment": segment.index,
        "frames": segment.frames,
        "attempt": step.message.attempt,
        "worker": step.tools.worker_id,
        "host": platform.node(),
        # The plan cannot know the runtime. Other workers have other devices, and OpenVINO may
        # refuse a checkpoint.
        "runtime": step.tools.detectors.loaded().get(str(plan.detector.get("name"))),
        "seconds": round(seconds, 3),
    }
    name = _note_blob(step.job.id, plan.log_key, segment.index)
    await step.tools.ports.results.put(
        name, json.dumps(note).encode(), content_type="application/json"
    )


def _note_blob(job_id: str, log_key: str, segment: int) -> str:
    return log_blob(job_id, log_key, segment).removesuffix(".parquet") + ".json"


async def new_run_record(step: Step, plan: Plan, assemble_seconds: float) -> RunRecord:
    """Return the record after `assemble`.

    Returns:
        {job_id, attempt, versions, hosts, detector, segments, steps: {detect, assemble}}.
        `segments` are the notes of the detections, each with the attempt in which it was made. The
        seconds of `detect` are the sum over all segments.
    """
    store = step.tools.ports.results
    prefix = log_blob(step.job.id, plan.log_key, 0).rpartition("/")[0] + "/"
    stored = {blob.name async for blob in store.list_blobs(prefix)}
    wanted = [_note_blob(step.job.id, plan.log_key, segment.index) for segment in plan.segments]
    notes: list[SegmentNote] = [
        json.loads(data)
        for data in await step.gather(partial(store.get, name) for name in wanted if name in stored)
    ]
    detected = [note for note in notes if note["attempt"] == step.message.attempt]
    return {
        "job_id": step.job.id,
        "attempt": step.message.attempt,
        "versions": _versions(),
        "host": {"name": platform.node(), "machine": platform.machine(), "cores": os.cpu_count()},
        "detector": plan.detector,
        "segments": notes,
        "segments_detected_in_this_attempt": len(detected),
        "steps": {
            "detect": {
                "seconds": round(sum(note["seconds"] for note in detected), 3),
                "workers": sorted({n["worker"] for n in detected}),
            },
            "assemble": {"seconds": round(assemble_seconds, 3), "worker": step.tools.worker_id},
        },
    }


async def write_run_record(step: Step, revision: str, record: RunRecord) -> None:
    """Store the record once, with the revision's other files."""
    data = json.dumps(record, indent=2).encode()
    await put_once(
        step.tools.ports.results,
        result_blob(step.job.id, revision, "run.json"),
        data,
        content_type=ARTIFACTS["run.json"],
    )


async def keep_for_render(step: Step, plan: Plan, revision: str, record: RunRecord) -> None:
    """Store the record after `assemble` outside the results. The render step completes it."""
    name = assembly_blob(step.job.id, plan.log_key, revision)
    await step.tools.ports.results.put(
        name, json.dumps(record).encode(), content_type="application/json"
    )


async def kept_for_render(step: Step, plan: Plan, revision: str) -> RunRecord:
    """Return the record that `assemble` stored, or one with only the job's id and attempt."""
    try:
        data = await step.tools.ports.results.get(
            assembly_blob(step.job.id, plan.log_key, revision)
        )
    except NotFound:
        return {"job_id": step.job.id, "attempt": step.message.attempt, "steps": {}}
    record: RunRecord = json.loads(data)
    return record


def _versions() -> dict[str, str]:
    found = {"muster": muster_version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
