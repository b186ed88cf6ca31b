"""Detect: turns a segment into a stored log.

The worker that stores or finds the last log sends `assemble`.
"""

from __future__ import annotations

import time

from core.domain.blobs import log_blob
from core.domain.job import Plan, Segment
from core.errors import NotFound
from ml_engine.stages.run import Run
from worker.handlers.detecting import all_detected, start_assembling
from worker.run_record import write_segment_note
from worker.step import Step
from worker.write_once import put_once


async def detect(step: Step) -> None:
    """Store the segment's log and mark the segment as done.

    After the last segment, the job moves from detecting to assembling and `assemble` is sent.
    """
    job, plan = step.job, step.job.plan
    if job.state == "assembling" and step.redelivered:
        # The worker that had this message before may have moved the job on and ended before it sent
        # the next step.
        await step.send("assemble")
    if (
        job.state != "detecting"
        or plan is None
        or step.message.segment is None
        or step.message.segment >= len(plan.segments)
    ):
        return
    segment = plan.segments[step.message.segment]
    if step.redelivered and segment.index in job.done_segments:
        # The worker that had this message before may have assigned segments and ended before it
        # sent their messages.
        for index in job.handed_out:
            await step.send("detect", index)
    name = log_blob(job.id, plan.log_key, segment.index)
    if await _exists(step, name):
        step.log("segment_found", "the segment's log already exists", segment=segment.index)
    else:
        began = time.monotonic()
        data = await _detect(step, plan, segment)
        seconds = time.monotonic() - began
        await write_segment_note(step, plan, segment, seconds)
        step.stop.check()
        await put_once(
            step.tools.ports.results, name, data, content_type="application/vnd.apache.parquet"
        )
        step.log(
            "segment_detected",
            "segment detected",
            segment=segment.index,
            frames=segment.frames,
            seconds=round(seconds, 3),
        )
    if len({*job.done_segments, segment.index}) == len(plan.segments):
        step.tools.reached("last_log_written")
    job = await step.tools.ports.jobs.mark_segment_done(
        job.id, attempt=step.message.attempt, segment=segment.index, at=step.tools.timer.now()
    )
    if all_detected(job):
        await start_assembling(step, job)


async def _exists(step: Step, name: str) -> bool:
    try:
        await step.tools.ports.results.info(name)
    except NotFound:
        return False
    return True


async def _detect(step: Step, plan: Plan, segment: Segment) -> bytes:
    engine, settings = step.tools.engine, step.job.settings
    detector = await step.in_thread(
        step.tools.detectors.get, settings.detector, planned=plan.detector
    )
    # A frame's time depends on the lengths of the earlier files.
    async with step.tools.sources.open(
        step.job.files[: segment.file_index + 1], stop=step.stop
    ) as sources:
        times_s = engine.times_s([index for _, index in sources])[
            segment.first_frame : segment.first_frame + segment.frames
        ]
        path, index = sources[segment.file_index]
        return await step.in_thread(
            engine.detect_segment,
            path,
            index,
            segment,
            detector,
            frame_times_s=times_s,
            run=Run(settings, step.expect(segment.frames), step.stop.is_set),
        )
