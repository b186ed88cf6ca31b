"""Detect: one segment in, its log stored. Who stores or finds the last one asks for `assemble`."""

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
    """A log for the segment, the segment in the done set; after the last one detecting → assembling
    and an `assemble` message.
    """
    job, plan = step.job, step.job.plan
    if job.state == "assembling" and step.redelivered:
        # Whoever had this message may have ended after moving the job on and before asking for the
        # next step.
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
        # Whoever had this message may have ended after handing out segments and before sending
        # their messages.
        for index in job.handed_out:
            await step.send("detect", index)
    name = log_blob(job.id, plan.log_key, segment.index)
    if await _exists(step, name):
        step.log("segment_found", "the segment's log is there already", segment=segment.index)
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
    # A frame's time needs the lengths of the files before its own.
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
