"""Plan: indexes the recording and cuts it into segments.

`core/services/attempts/turns.py` then sends the segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from core.domain.blobs import log_blob, submitting_blob
from core.domain.job import Job, Plan, SourceFile
from core.domain.work import check_work, looks_left
from core.errors import FenceLost
from core.services.access.work import count_work
from worker.handlers.detecting import start_assembling
from worker.step import Step
from worker.telemetry import with_tracks


async def plan(step: Step) -> None:
    """Move the job from queued through planning to detecting.

    When redelivered in `detecting`, resend the messages of assigned segments without a log.
    """
    job = step.job
    if (
        job.waiting is not None
        and job.waiting.until_utc is not None
        and step.tools.timer.now() < job.waiting.until_utc
    ):
        # The message is superfluous. The sweeper sends another one when the waiting ends.
        return
    if job.state in ("queued", "planning"):
        await step.update(("queued", "planning"), {"state": "planning"})
        # The record exists, whatever becomes of the job. The marker of an unfinished submission is
        # no longer needed.
        await step.tools.ports.sources.delete(submitting_blob(job.id))
        made, files = await _make_plan(step)
        done = await _stored_segments(step, made)
        await _count_work(step, made, done)
        job = await step.update(
            ("planning",),
            {
                "plan": made,
                "files": files,
                "done_segments": done,
                "sent_until": 0,
                "state": "detecting",
            },
        )
        step.log(
            "job_planned",
            "planned",
            frames=made.video.frames,
            segments=len(made.segments),
            log_key=made.log_key,
        )
    elif job.state == "detecting" and job.plan is not None:
        job = await _mark_stored(step, job, job.plan)
    else:
        return
    await _ask_for_missing(step, job)


async def _make_plan(step: Step) -> tuple[Plan, tuple[SourceFile, ...]]:
    """Return the plan, and the job's files with the telemetry found within them."""
    engine, settings = step.tools.engine, step.job.settings
    async with step.tools.sources.open(step.job.files, stop=step.stop) as sources:
        indexes = [index for _, index in sources]
        files = await with_tracks(step, [path for path, _ in sources])
    video, segments = await step.in_thread(
        engine.plan_segments, indexes, min_frames=step.tools.config.worker.segment_frames
    )
    engine.check_settings(settings, video)
    detector = await step.in_thread(step.tools.detectors.describe, settings.detector)
    key = engine.log_key(detector, settings=settings, video=video, segments=segments)
    times_s = engine.times_s(indexes)
    starts_s = tuple(
        float(times_s[segment.first_frame]) for segment in segments if segment.file_first_frame == 0
    )
    return Plan(
        video=video,
        segments=segments,
        log_key=key,
        file_starts_s=starts_s,
        detector=asdict(detector),
    ), files


async def _count_work(step: Step, made: Plan, done: tuple[int, ...]) -> None:
    """Count the work that is left to detect.

    Raises:
        InvalidSettings: The work exceeds the limit per job (code `work_over_budget`).
        Throttled, PermanentError: The work exceeds the rest of the owner's day (code `quota_work`).
    """
    tools, video, settings = step.tools, made.video, step.job.settings
    slices = len(
        tools.engine.plan_tiles((video.width_px, video.height_px), settings.tiles, _input_hw(made))
    )
    looks = looks_left(made, done, settings, slices)
    check_work(looks, tools.config.work.max_work, video=video, settings=settings, slices=slices)
    await count_work(
        tools.ports.keys,
        tools.timer.now,
        step.job,
        looks,
        day_work=tools.config.work.quota_day_work,
    )


def _input_hw(made: Plan) -> tuple[int, int]:
    """Return height and width of the detector's input, px."""
    height, width = cast(Sequence[int], made.detector["input_hw"])
    return height, width


async def _stored_segments(step: Step, made: Plan) -> tuple[int, ...]:
    """Return the segments whose log exists. An earlier attempt may have had the same plan."""
    names = {
        log_blob(step.job.id, made.log_key, segment.index): segment.index
        for segment in made.segments
    }
    prefix = log_blob(step.job.id, made.log_key, 0).rpartition("/")[0] + "/"
    return tuple(
        sorted(
            [
                names[blob.name]
                async for blob in step.tools.ports.results.list_blobs(prefix)
                if blob.name in names
            ]
        )
    )


async def _mark_stored(step: Step, job: Job, made: Plan) -> Job:
    for segment in sorted(set(await _stored_segments(step, made)) - set(job.done_segments)):
        job = await step.tools.ports.jobs.mark_segment_done(
            job.id, attempt=step.message.attempt, segment=segment, at=step.tools.timer.now()
        )
    return job


async def _ask_for_missing(step: Step, job: Job) -> None:
    if job.plan is None:
        raise FenceLost(f"Job {job.id} has lost its plan.", state=job.state, attempt=job.attempt)
    if job.is_detected:
        await start_assembling(step, job)
    elif step.redelivered:
        # The worker that had this message before may have assigned segments and ended before it
        # sent their messages.
        for segment in job.handed_out:
            await step.send("detect", segment)
