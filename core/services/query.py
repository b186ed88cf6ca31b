"""Queries about jobs: progress, published files, and tracks frame by frame."""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from core.domain.blobs import ARTIFACTS, result_blob
from core.domain.job import Job
from core.domain.refusals import no_results, not_ready, results_expired, unknown_artifact
from core.errors import NotFound
from core.ports import BlobInfo, Ports

_REMEMBERED_JOBS = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job's current step.

    `fraction` is the part of that step that is done, 0 to 1. `seconds_left` is null until a rate is
    known.
    """

    step: str
    frames_done: int
    frames_total: int | None
    fraction: float
    seconds_left: float | None


TrackBox = TypedDict(
    "TrackBox",
    {
        "track_id": int,
        "class": str,
        "score": float,
        "xyxy": list[float],
        "interpolated": bool,
        "ground": list[float] | None,
        "ground_error_m": float | None,
    },
)
"""The box of one track in one frame; see `track_frames`."""


class TrackFrame(TypedDict):
    """The tracks of one frame; see `track_frames`."""

    frame: int
    time_s: float
    tracks: list[TrackBox]


class ProgressMeter:
    """Estimates the remaining time of a step.

    The rate is the frames done between the first reading of the step and the current one.
    """

    def __init__(self) -> None:
        self._first: OrderedDict[tuple[str, int, str], tuple[datetime, int]] = OrderedDict()

    def progress(self, job: Job, now: datetime) -> Progress:
        """Return the current progress of a job."""
        total = job.plan.video.frames if job.plan else None
        done = job.rendered_frames if job.state == "rendering" else job.frames_done
        if job.state == "completed":
            return Progress(job.state, total or 0, total, 1.0, 0.0)
        fraction = min(1.0, done / total) if total else 0.0
        left = (
            self._seconds_left(job, now, done, total)
            if total and job.state in ("detecting", "rendering")
            else None
        )
        return Progress(job.state, done, total, round(fraction, 4), left)

    def _seconds_left(self, job: Job, now: datetime, done: int, total: int) -> float | None:
        key = (job.id, job.attempt, job.state)
        first_at, first_done = self._first.setdefault(key, (now, done))
        self._first.move_to_end(key)
        while len(self._first) > _REMEMBERED_JOBS:
            self._first.popitem(last=False)
        elapsed_s = (now - first_at).total_seconds()
        if done > first_done and elapsed_s > 0:
            return round((total - done) * elapsed_s / (done - first_done), 1)
        if job.state == "detecting" and job.attempt == 1 and done > 0:
            # At the first reading the rate counts from the submission. This includes waiting, so
            # the remaining time is an upper estimate.
            return round((total - done) * (now - job.created_at_utc).total_seconds() / done, 1)
        return None


def published_revision(job: Job) -> str:
    """Return the name of a job's published revision.

    Raises:
        Conflict: Nothing is published yet (code `not_ready`).
        Expired: The results were deleted at the end of their retention.
        NotFound: Nothing will be published, because the job ended before (code `no_results`).
    """
    if "results" in job.expired:
        raise results_expired()
    if job.result_revision is not None:
        return job.result_revision
    if job.is_terminal:
        raise no_results(job.state)
    raise not_ready(job.state)


def artifact_blob(job: Job, name: str) -> str:
    """Return the blob name of one published file.

    Raises:
        NotFound: There is no file of that name (code `unknown_artifact`), or this job made none
            (`artifact_not_made`).
        Conflict: Nothing is published yet (code `not_ready`).
    """
    if name not in ARTIFACTS:
        raise unknown_artifact()
    revision = published_revision(job)
    if name not in job.artifacts:
        raise NotFound(
            f"This job has no {name}. Its settings may have turned it off.",
            code="artifact_not_made",
        )
    return result_blob(job.id, revision, name)


async def artifact_infos(ports: Ports, job: Job) -> list[tuple[str, BlobInfo]]:
    """Return the published files in the order of `ARTIFACTS`, with what storage reports about them.

    Raises:
        NotFound, Conflict: As `published_revision`.
    """
    prefix = result_blob(job.id, published_revision(job), "")
    async with aclosing(ports.results.list_blobs(prefix)) as blobs:
        found = {blob.name.removeprefix(prefix): blob async for blob in blobs}
    return [(name, found[name]) for name in ARTIFACTS if name in found and name in job.artifacts]


async def track_frames(ports: Ports, job: Job) -> AsyncGenerator[TrackFrame]:
    """Yield a published job's tracks frame by frame.

    `tracks.csv` is streamed, so memory does not grow with the video.

    Yields:
        {frame, time_s, tracks: [{track_id, class, score, xyxy (px), interpolated, ground ([x, y] or
        null), ground_error_m (the radius that contains the animal with 90 % probability if the
        assumed errors hold, or null)}]}. Frames without tracks are left out.

    Raises:
        NotFound, Conflict: As `artifact_blob`.
    """
    async with (
        aclosing(ports.results.stream(artifact_blob(job, "tracks.csv"))) as pieces,
        aclosing(_lines(pieces)) as lines,
    ):
        header: list[str] | None = None
        frame: TrackFrame | None = None
        async for line in lines:
            values = next(csv.reader([line]))
            if header is None:
                header = values
                continue
            row = dict(zip(header, values, strict=True))
            number = int(row["frame"])
            if frame is None or frame["frame"] != number:
                if frame is not None:
                    yield frame
                frame = {"frame": number, "time_s": float(row["time_s"]), "tracks": []}
            frame["tracks"].append(_track(row))
        if frame is not None:
            yield frame


def _track(row: dict[str, str]) -> TrackBox:
    ground = (
        [float(row["ground_x"]), float(row["ground_y"])]
        if row["ground_x"] and row["ground_y"]
        else None
    )
    return {
        "track_id": int(row["track_id"]),
        "class": row["class"],
        "score": float(row["score"]),
        "xyxy": [float(row[key]) for key in ("x1", "y1", "x2", "y2")],
        "interpolated": row["interpolated"].lower() in ("1", "true"),
        "ground": ground,
        # Older results, made before the error was measured, lack this column.
        "ground_error_m": float(row["ground_error_m"]) if row.get("ground_error_m") else None,
    }


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[str]:
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line := line.rstrip(b"\r"):
                yield line.decode()
    if rest:
        yield rest.decode()
