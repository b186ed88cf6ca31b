"""Names of blobs.

All of them are made here, by the server; no part of a user's file name ever enters one.
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
    """Prefix of everything a job owns, in either container."""
    return f"{JOBS_PREFIX}{job_id}/"


def job_of_folder(folder: str) -> str | None:
    """Return the id of the job whose folder this is, such as `jobs/…/`; None for a folder that is
    not one of Muster's.
    """
    job_id = folder.removeprefix(JOBS_PREFIX).removesuffix("/")
    return job_id if _ID.fullmatch(job_id) else None


def source_blob(job_id: str, index: int) -> str:
    """Name of the job's source file number `index`, in the input container."""
    return f"{source_prefix(job_id)}{index:03d}"


def telemetry_blob(job_id: str, index: int) -> str:
    """Name of the job's telemetry file number `index`, in the order in which they came, in the
    input container.
    """
    return f"{job_prefix(job_id)}telemetry/{index:03d}.srt"


def track_blob(job_id: str, file_index: int) -> str:
    """Name of the telemetry that was found within the job's source file of this number, in the
    input container.
    """
    return f"{job_prefix(job_id)}telemetry/track-{file_index:03d}.srt"


def submitting_blob(job_id: str) -> str:
    """Name of the marker of a submission that is not finished, in the input container: what allows
    to delete its blobs.
    """
    return f"{job_prefix(job_id)}submitting"


def submission_blob(job_id: str) -> str:
    """Name of the copy of the job's record as it was accepted, in the output container: what a lost
    record is made again from.
    """
    return f"{job_prefix(job_id)}submission.json"


def source_prefix(job_id: str) -> str:
    """Prefix of the job's source files, in the input container."""
    return f"{job_prefix(job_id)}source/"


def uploads_of(owner: str) -> str:
    """Prefix of one owner's direct uploads, in the input container: another owner's upload has
    another name, and so is not there.
    """
    return f"{UPLOADS_PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/"


def upload_blob(upload_id: str, *, owner: str) -> str:
    """Staging name of a direct upload, in the input container."""
    return f"{uploads_of(owner)}{upload_id}"


def link_blob(upload: str) -> str:
    """Name of the marker of an upload link, beside the blob that is uploaded with it: what allows
    to delete that one.

    Args:
        upload: Name of the staging blob.
    """
    return f"{upload}{LINK_SUFFIX}"


def log_prefix(job_id: str) -> str:
    """Prefix of the job's detection logs, whatever their keys, in the output container."""
    return f"{job_prefix(job_id)}log/"


def log_blob(job_id: str, log_key: str, segment: int) -> str:
    """Name of a segment's detection log, in the output container."""
    return f"{log_prefix(job_id)}{log_key}/{segment:05d}.parquet"


def assembly_blob(job_id: str, log_key: str, revision: str) -> str:
    """Name of the note on how a revision was assembled, in the output container, beside the log."""
    return f"{log_prefix(job_id)}{log_key}/{revision}.json"


def attempt_revisions(attempt: int) -> str:
    """Return what the names of all revisions of an attempt begin with, such as `r0002-`."""
    return f"r{attempt:04d}-"


def new_revision(attempt: int) -> str:
    """Return a name of a revision that no other one has, such as `r0002-5f0c9a1e`.

    Of several workers at the same attempt each writes a revision of its own; one of them is
    published, and nobody ever writes to it again.
    """
    return f"{attempt_revisions(attempt)}{uuid.uuid4().hex[:8]}"


def results_prefix(job_id: str) -> str:
    """Prefix of all revisions of a job, in the output container; each is a folder."""
    return f"{job_prefix(job_id)}results/"


def revision_attempt(revision: str) -> int | None:
    """Return the number of the attempt that makes a revision; None for a name that no revision has."""
    digits = revision.removeprefix("r").partition("-")[0]
    return (
        int(digits) if revision.startswith("r") and digits.isascii() and digits.isdigit() else None
    )


def result_blob(job_id: str, revision: str, name: str) -> str:
    """Name of one artefact of a revision, in the output container."""
    return f"{results_prefix(job_id)}{revision}/{name}"
