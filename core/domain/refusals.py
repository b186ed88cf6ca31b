"""Refusals that more than one module raises or shows. Each code and sentence is defined once here.

The API's document shows them as examples, so that callers receive what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.domain.blobs import ARTIFACTS
from core.domain.bulk import MOST_FAULTS
from core.domain.job import JobState
from core.errors import (
    Conflict,
    Expired,
    InvalidInput,
    MalformedRequest,
    NotFound,
    Throttled,
    TooLarge,
    UnsupportedMedia,
)

_SHOWN_FAULTS = 5


def malformed_json(fault: str, field: str = "body") -> MalformedRequest:
    """Return the error for a body that is not JSON."""
    return MalformedRequest(
        f"The body is not valid JSON: {fault}.",
        code="malformed_json",
        errors=[{"field": field, "problem": fault}],
    )


def malformed_multipart(fault: str) -> MalformedRequest:
    """Return the error for a body that is not the form that its Content-Type announces."""
    return MalformedRequest(
        f"The body is not valid multipart/form-data: {fault}.", code="malformed_multipart"
    )


def invalid_request(faults: Sequence[tuple[str, str]]) -> InvalidInput:
    """Return the error for a request whose fields are not valid.

    Args:
        faults: The name of each field, and its problem.
    """
    listed = "; ".join(f"{field}: {fault}" for field, fault in faults[:_SHOWN_FAULTS])
    return InvalidInput(
        f"The request is invalid: {listed}.",
        code="invalid_request",
        errors=[{"field": field, "problem": fault} for field, fault in faults[:MOST_FAULTS]],
    )


def bad_cursor() -> MalformedRequest:
    """Return the error for a cursor that no listing returned."""
    return MalformedRequest(
        "Unknown cursor. Start without a cursor, then follow next_cursor.", code="bad_cursor"
    )


def unsupported_content_type(expected: str) -> UnsupportedMedia:
    """Return the error for a body of the wrong content type."""
    return UnsupportedMedia(
        f"Unsupported Content-Type. Send {expected}.", code="unsupported_content_type"
    )


def video_too_large(limit_bytes: int) -> TooLarge:
    """Return the error for a recording over the operator's limit."""
    return TooLarge(
        f"The video exceeds this server's limit of {limit_bytes} bytes per job. "
        "Split it or re-encode it.",
        limit_bytes=limit_bytes,
    )


def idempotency_key_reused() -> InvalidInput:
    """Return the error for one idempotency key in two different requests."""
    return InvalidInput(
        "This Idempotency-Key was used for a different request. Use a new key for new content.",
        code="idempotency_key_reused",
    )


def no_such_job(job_id: str) -> NotFound:
    """Return the error for a job that does not exist, or belongs to another owner."""
    return NotFound(f"Job '{job_id[:80]}' not found.", code="job_not_found")


def no_such_upload(upload_id: str) -> NotFound:
    """Return the error for an upload that does not exist, or belongs to another owner."""
    return NotFound(
        f"Upload '{upload_id[:64]}' not found: its file was never sent, or a job already used it. "
        "Request a new upload link.",
        code="upload_not_found",
    )


def upload_changed(upload_id: str) -> Conflict:
    """Return the error for an upload whose file was replaced while the job was submitted."""
    return Conflict(
        f"Upload '{upload_id}' changed during the submission. Finish the upload, then retry.",
        code="upload_changed",
    )


def no_such_calibration(name: str) -> NotFound:
    """Return the error for a calibration that does not exist, or belongs to another owner."""
    return NotFound(f"Calibration '{name[:80]}' not found.", code="calibration_not_found")


def calibration_exists(name: str) -> Conflict:
    """Return the error for a calibration name that is taken."""
    return Conflict(
        f"Calibration '{name}' already exists. Replace it with PUT /api/v1/calibrations/{{name}}, "
        "or choose another name.",
        code="calibration_exists",
    )


def no_such_key() -> NotFound:
    """Return the error for a key that does not exist."""
    return NotFound("Key not found. GET /api/v1/keys lists all keys.", code="key_not_found")


def no_statistics() -> NotFound:
    """Return the error for a request for statistics before any job has completed."""
    return NotFound("No statistics yet. They appear when a job completes.", code="no_statistics")


def no_results(state: JobState) -> NotFound:
    """Return the error for the results of a job that ended without any."""
    return NotFound(
        f"The job has {state} without results. See its 'error'.", code="no_results", state=state
    )


def unknown_artifact() -> NotFound:
    """Return the error for a file name that no job has."""
    return NotFound(
        f"Unknown result file. Result files: {', '.join(ARTIFACTS)}.", code="unknown_artifact"
    )


def not_ready(state: JobState) -> Conflict:
    """Return the error for results that are requested too early."""
    return Conflict("The job has no results yet. Try again later.", code="not_ready", state=state)


def results_expired() -> Expired:
    """Return the error for results that the operator's retention has deleted."""
    return Expired(
        "The results were deleted at the end of their retention period. The job still has its "
        "counts."
    )


def video_expired() -> Expired:
    """Return the error for a step that needs a video which the operator's retention has deleted."""
    return Expired(
        "The video was deleted at the end of its retention period. "
        'A recount without a new annotated video still works: {"render": false}.'
    )


def all_expired() -> Expired:
    """Return the error for a job whose files the operator's retention has deleted."""
    return Expired(
        "The video and the results were deleted at the end of their retention period. "
        "Submit the video as a new job."
    )


def job_active(state: JobState) -> Conflict:
    """Return the error for a request that only an ended job allows."""
    return Conflict(
        "The job has not ended. Wait for it, or cancel it first.", code="job_active", state=state
    )


def job_ended(state: JobState) -> Conflict:
    """Return the error for cancelling a job that has ended."""
    return Conflict(
        f"The job has already {state}. There is nothing to cancel.", code="job_ended", state=state
    )


def job_completed(state: JobState) -> Conflict:
    """Return the error for retrying a job that has completed."""
    return Conflict(
        "The job has completed. To count with other settings, use recount. "
        "To detect again, submit the video as a new job.",
        code="job_completed",
        state=state,
    )


def rate_limited(*, per_s: float, burst: int, retry_after_s: float) -> Throttled:
    """Return the error for a caller that sends requests too fast."""
    return Throttled(
        f"Rate limit of {per_s:g} requests per second exceeded. "
        f"Retry in {math.ceil(retry_after_s)} s.",
        code="rate_limited",
        retry_after_s=retry_after_s,
        per_s=per_s,
        burst=burst,
    )


def not_a_video() -> UnsupportedMedia:
    """Return the error for a file whose first bytes are not a video's."""
    return UnsupportedMedia(
        "The file is not a video that Muster reads. Send MP4, MOV, MKV, WebM, AVI, MPEG-TS or "
        "MPEG-PS. The file name's ending does not matter."
    )


def quota_jobs(limit: int, *, retry_after_s: float) -> Throttled:
    """Return the error for an owner with too many active jobs."""
    return Throttled(
        f"{limit} of your jobs are active, which is your quota. Wait until one ends, or cancel "
        "one.",
        code="quota_jobs",
        retry_after_s=retry_after_s,
        limit=limit,
    )
