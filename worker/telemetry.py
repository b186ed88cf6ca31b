"""Drone telemetry: found within videos by the plan step, and read by the assemble step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.domain.blobs import track_blob
from core.domain.job import Job, Plan, SourceFile, TelemetryFile
from core.errors import InvalidTelemetry, MusterError, PermanentError, Stopped
from core.services.submission import telemetry as files
from core.telemetry import Remark, Telemetry, joined, parse_srt
from worker.step import Step
from worker.stored import source_told
from worker.write_once import put_once

logger = logging.getLogger(__name__)

_OTHER_SUBTITLES = ("telemetry_empty", "telemetry_not_srt", "telemetry_not_dji")
"""Codes of errors which show that a subtitle track is not telemetry."""


async def with_tracks(step: Step, paths: Sequence[Path]) -> tuple[SourceFile, ...]:
    """Find and store the telemetry tracks of those videos that were submitted without an .SRT.

    Args:
        step: The plan step.
        paths: The job's videos on this disk, in order.

    Returns:
        The job's files, with the telemetry that was found. If a track cannot be used, its file
        contains the reason.

    Raises:
        Stopped, TransientError: The step cannot continue. A bad track raises nothing.
    """
    found = []
    for number, (file, path) in enumerate(zip(step.job.files, paths, strict=True)):
        track = None if file.telemetry is not None else await _track(step, number, file, path)
        found.append(file if track is None else file.model_copy(update={"telemetry": track}))
    return tuple(found)


async def _track(step: Step, number: int, file: SourceFile, path: Path) -> TelemetryFile | None:
    try:
        data = await step.in_thread(
            step.tools.engine.read_telemetry_track, path, should_stop=step.stop.is_set
        )
        if data is None:
            return None
        telemetry = await step.in_thread(parse_srt, data, _check(step))
    except PermanentError as error:
        step.log("track_refused", error.message, file=number, code=error.code)
        return None if error.code in _OTHER_SUBTITLES else files.unusable(file.name, error)
    except (MusterError, Stopped, MemoryError):
        raise
    except Exception:
        # No defect of a subtitle track may prevent the count of the video.
        logger.exception(
            "a subtitle track could not be read",
            extra={"action": "track_unreadable", "job_id": step.job.id, "file": number},
        )
        return files.unusable(
            file.name,
            InvalidTelemetry(
                "it cannot be read; send the .SRT beside the video.", code="telemetry_unreadable"
            ),
        )
    step.stop.check()
    store, name = step.tools.ports.sources, track_blob(step.job.id, number)
    # Another delivery of this step may have stored the same bytes already, and the job may refer to
    # their ETag.
    info = await put_once(store, name, data, content_type=files.MEDIA_TYPE) or await store.info(
        name
    )
    step.log(
        "track_found",
        "telemetry within the video",
        file=number,
        samples=len(telemetry),
        dialect=telemetry.dialect,
    )
    return files.described("embedded", file.name, info, telemetry)


async def read_telemetry(step: Step, plan: Plan) -> Telemetry | None:
    """Return the telemetry of all files of a job, on the recording's timeline.

    The result is None if there is neither telemetry nor a remark about it.

    Raises:
        VideoError: A file is gone (code `source_missing`), or differs from the submitted one
            (`source_changed`).
    """
    given = [
        (number, file.telemetry)
        for number, file in enumerate(step.job.files)
        if file.telemetry is not None and file.telemetry.blob
    ]
    stored = await step.gather(partial(_stored, step, item) for _, item in given)
    left_out = _left_out(step.job)
    if not given:
        return Telemetry.nothing(left_out) if left_out else None
    parts = [await step.in_thread(parse_srt, data, _check(step)) for data in stored]
    telemetry = joined(parts, [plan.file_starts_s[number] for number, _ in given])
    return replace(telemetry, warnings=(*telemetry.warnings, *left_out))


def _check(step: Step) -> Callable[[], None]:
    """Return the function that ends the parsing when the step is stopped.

    It is called in the engine's thread and only reads the flag.
    """

    def check() -> None:
        if step.stop.is_set():
            raise Stopped

    return check


async def _stored(step: Step, file: TelemetryFile) -> bytes:
    with source_told(file.name):
        return await step.tools.ports.sources.get(str(file.blob), if_match=file.etag)


def _left_out(job: Job) -> tuple[Remark, ...]:
    """Return the remarks about telemetry that cannot be used."""
    unusable = [
        file.telemetry
        for file in job.files
        if file.telemetry is not None and file.telemetry.blob is None
    ]
    return tuple(
        Remark(remark.code, remark.message) for item in unusable for remark in item.warnings
    )
