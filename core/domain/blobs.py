"""Names of blobs.

The server generates every name. User file names are never part of one.
"""

from __future__ import annotations

import hashlib
import re
import uuid

ARTIFACTS: dict[str, str] = {
    "results.json": "application/json",
    "tracks.csv": "text/csv; charset=utf-8",
    "tracks.mot.txt": "text/plain; charset=utf-8",
    "tracks.geojson": "application/geo+json",
    "timeline.csv": "text/csv; charset=utf-8",
    "animals.csv": "text/csv; charset=utf-8",
    "contact_sheet.jpg": "image/jpeg",
    "annotated.mp4": "video/mp4",
    "preview.jpg": "image/jpeg",
    "run.json": "application/json",
}
"""Files of a revision and their media types."""


JOBS_PREFIX = "jobs/"
UPLOADS_PREFIX = "uploads/"
LINK_SUFFIX = ".link"
_ID = re.compile(r"[0-9a-f]{32}")


def job_prefix(job_id: str) -> str:
    """Return the prefix of everything that a job owns, in either container."""
    return f"{JOBS_PREFIX}{job_id}/"


def job_of_folder(folder: str) -> str | None:
    """Return the id of the job that owns a folder such as `jobs/…/`.

    Return None if the folder is not one of Muster's.
    """
    job_id = folder.removeprefix(JOBS_PREFIX).removesuffix("/")
    return job_id if _ID.fullmatch(job_id) else None


def source_blob(job_id: str, index: int) -> str:
    """Return the name of the job's source file number `index`, in the input container."""
    return f"{source_prefix(job_id)}{index:03d}"


def telemetry_blob(job_id: str, index: int) -> str:
    """Return the name of the job's telemetry file number `index`, in the input container.

    Telemetry files are numbered in order of arrival.
    """
    return f"{job_prefix(job_id)}telemetry/{index:03d}.srt"


def track_blob(job_id: str, file_index: int) -> str:
    """Return the name of the telemetry that was found within a source file of the job.

    It is in the input container.
    """
    return f"{job_prefix(job_id)}telemetry/track-{file_index:03d}.srt"


def submitting_blob(job_id: str) -> str:
    """Return the name of the marker of an unfinished submission, in the input container.

    The marker permits the deletion of the submission's blobs.
    """
    return f"{job_prefix(job_id)}submitting"


def submission_blob(job_id: str) -> str:
    """Return the name of the copy of the job's record at its acceptance, in the output container.

    A lost record is rebuilt from this copy.
    """
    return f"{job_prefix(job_id)}submission.json"


def source_prefix(job_id: str) -> str:
    """Return the prefix of the job's source files, in the input container."""
    return f"{job_prefix(job_id)}source/"


def uploads_of(owner: str) -> str:
    """Return the prefix of one owner's direct uploads, in the input container.

    Owners have different prefixes, so that no owner can find the upload of another.
    """
    return f"{UPLOADS_PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/"


def upload_blob(upload_id: str, *, owner: str) -> str:
    """Return the staging name of a direct upload, in the input container."""
    return f"{uploads_of(owner)}{upload_id}"


def link_blob(upload: str) -> str:
    """Return the name of the marker of an upload link, beside the blob that is uploaded through it.

    The marker permits the deletion of that blob.

    Args:
        upload: Name of the staged blob.
    """
    return f"{upload}{LINK_SUFFIX}"


def log_prefix(job_id: str) -> str:
    """Return the prefix of the job's detection logs, for all keys, in the output container."""
    return f"{job_prefix(job_id)}log/"


def log_blob(job_id: str, log_key: str, segment: int) -> str:
    """Return the name of a segment's detection log, in the output container."""
    return f"{log_prefix(job_id)}{log_key}/{segment:05d}.parquet"


def assembly_blob(job_id: str, log_key: str, revision: str) -> str:
    """Return the name of the record of how a revision was assembled.

    It is in the output container, beside the log.
    """
    return f"{log_prefix(job_id)}{log_key}/{revision}.json"


def attempt_revisions(attempt: int) -> str:
    """Return the prefix of the names of all revisions of an attempt, such as `r0002-`."""
    return f"r{attempt:04d}-"


def new_revision(attempt: int) -> str:
    """Return a unique name for a revision, such as `r0002-5f0c9a1e`.

    Several workers may process the same attempt. Each of them writes its own revision. One revision
    is published, and is never written to again.
    """
    return f"{attempt_revisions(attempt)}{uuid.uuid4().hex[:8]}"


def results_prefix(job_id: str) -> str:
    """Return the prefix of all revisions of a job, in the output container; each is a folder."""
    return f"{job_prefix(job_id)}results/"


def revision_attempt(revision: str) -> int | None:
    """Return the attempt that makes a revision; None if the name is not a revision's."""
    digits = revision.removeprefix("r").partition("-")[0]
    return (
        int(digits) if revision.startswith("r") and digits.isascii() and digits.isdigit() else None
    )


def result_blob(job_id: str, revision: str, name: str) -> str:
    """Return the name of one artefact of a revision, in the output container."""
    return f"{results_prefix(job_id)}{revision}/{name}"
