"""Assemble: turns all logs into tracks, counts and files, under a revision not yet published."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from core.domain.blobs import ARTIFACTS, log_blob, new_revision, result_blob
from core.domain.job import Plan
from core.errors import FenceLost, PermanentError
from worker.publish import discard, publish
from worker.run_record import keep_for_render, new_run_record, write_run_record
from worker.step import Step
from worker.stored import read_if_stored
from worker.telemetry import read_telemetry

if TYPE_CHECKING:
    from ml_engine.stages.assemble import Assembled


async def assemble(step: Step) -> None:
    """Move the job to rendering and send `render`, or to completed if no video is wanted."""
    job, plan = step.job, step.job.plan
    if job.state == "rendering" and step.redelivered:
        # The worker that had this message before may have moved the job on and ended before it sent
        # the next step.
        await step.send("render")
    if job.state != "assembling":
        return
    if plan is None:
        raise FenceLost(f"Job {job.id} has no plan.", state=job.state, attempt=job.attempt)
    step.tools.engine.check_settings(job.settings, plan.video)
    began = time.monotonic()
    assembled = await _assemble(step, plan)
    seconds = time.monotonic() - began
    await step.confirm()
    revision = new_revision(step.message.attempt)
    try:
        await _stage(step, plan, revision, assembled, seconds)
    except FenceLost:
        await discard(step, revision)
        raise
    if job.settings.render:
        step.tools.reached("rendering_not_sent")
        await step.send("render")


async def _stage(
    step: Step, plan: Plan, revision: str, assembled: Assembled, seconds: float
) -> None:
    """Write a revision of this worker, then move the job on.

    The job moves to rendering, or to completed if no video is wanted.
    """
    job, store = step.job, step.tools.ports.results
    await step.gather(
        partial(store.put, result_blob(job.id, revision, name), data, content_type=ARTIFACTS[name])
        for name, data in sorted(assembled.files.items())
    )
    record = await new_run_record(step, plan, seconds)
    step.log("job_assembled", "assembled", revision=revision, seconds=round(seconds, 3))
    if job.settings.render:
        await keep_for_render(step, plan, revision, record)
        await step.update(
            ("assembling",),
            {"state": "rendering", "staged_revision": revision, "rendered_frames": 0},
        )
    else:
        await write_run_record(step, revision, record)
        await publish(step, revision)


async def _assemble(step: Step, plan: Plan) -> Assembled:
    store, engine = step.tools.ports.results, step.tools.engine
    names = [log_blob(step.job.id, plan.log_key, segment.index) for segment in plan.segments]
    found = await step.gather(partial(read_if_stored, store, name) for name in names)
    stored = [data for data in found if data is not None]
    if len(stored) < len(names):
        await _forget_missing(
            step, plan, {number for number, data in enumerate(found) if data is None}
        )
    telemetry = await read_telemetry(step, plan)

    def work() -> Assembled:
        log = engine.concat([engine.read_log(data) for data in stored])
        return engine.assemble(
            log,
            settings=step.job.settings,
            video=plan.video,
            detector=plan.detector,
            telemetry=telemetry,
        )

    return await step.in_thread(work)


async def _forget_missing(step: Step, plan: Plan, missing: set[int]) -> None:
    """Record that detections are gone, so that a retry detects them again. Then fail."""
    left = tuple(segment for segment in step.job.done_segments if segment not in missing)
    await step.update(("assembling",), {"done_segments": left})
    sentence = (
        f"The detections of {len(missing)} of {len(plan.segments)} segments are no longer "
        "in storage. Retry the job to detect them again."
    )
    raise PermanentError(sentence, code="log_missing", segments=sorted(missing))
