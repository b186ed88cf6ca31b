"""Every error that Muster raises on purpose.

    MusterError
    ├── PermanentError          the same input fails again: 4xx, or the job ends `failed`
    │   ├── InvalidInput        the request has invalid values (422)
    │   │   ├── InvalidConfiguration  a variable of the process: the process does not start
    │   │   ├── InvalidSettings     settings of an analysis (422)
    │   │   ├── InvalidCalibration  points that determine no homography (422)
    │   │   └── InvalidTelemetry    a drone's telemetry file without usable data (422)
    │   ├── MalformedRequest    the request cannot be parsed (400)
    │   ├── TooLarge            more bytes than allowed (413)
    │   ├── UnsupportedMedia    not a video that Muster reads (415; in a worker: the job fails)
    │   ├── VideoError          a worker cannot use the video (the job fails)
    │   ├── DetectorError       a checkpoint that cannot be loaded or run (the job fails)
    │   ├── NotFound            no such job, blob, artefact, upload (404)
    │   │   └── Expired             retention has deleted it (410)
    │   ├── ForeignStorage      storage and database do not match: the process does not start
    │   ├── Unauthenticated     the caller is unknown (401)
    │   ├── Forbidden           the caller lacks a permission (403)
    │   └── Conflict            the state does not allow it (409)
    │       ├── FenceLost           an older attempt wrote: refused
    │       └── PreconditionFailed  a blob has another ETag than expected
    ├── TransientError          a retry may succeed: 503 + Retry-After, or released with back-off
    │   ├── Unavailable         storage, queue or database did not respond
    │   ├── StorageFull         no room left on a disk that Muster writes to
    │   ├── Unconfined          this machine cannot confine the decoder; another worker may
    │   └── Throttled           the caller exceeds a rate or quota (429)
    └── LeaseLost               another worker has the message: stop, publish nothing

`Stopped` is not an error: work that was asked to stop ends with it.

Each error has a stable `code` for programs and a sentence for people that says what to do.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MusterError(Exception):
    """Base of all errors that Muster raises on purpose.

    Args:
        message: One sentence for people: what is wrong and what to do.
        code: Stable identifier for programs; default: the class's own.
        details: Further JSON-compatible facts, such as the limit that was exceeded.
    """

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details = details


class PermanentError(MusterError):
    """The same input fails again; a retry is useless."""

    default_code = "permanent_error"


class InvalidInput(PermanentError):
    """The request was parsed, but its values are invalid."""

    default_code = "invalid_input"


class InvalidConfiguration(InvalidInput):
    """Environment variables, or an `.env` file, that the process cannot use.

    `details["faults"]` lists the refused values, one fault each.
    """

    default_code = "invalid_configuration"


class InvalidSettings(InvalidInput):
    """Settings of an analysis that contradict themselves, the video or the detection log."""

    default_code = "invalid_settings"


class InvalidCalibration(InvalidInput):
    """Points that determine no homography."""

    default_code = "invalid_calibration"


class InvalidTelemetry(InvalidInput):
    """A telemetry file that cannot be read, or has no usable data."""

    default_code = "invalid_telemetry"


class MalformedRequest(PermanentError):
    """The request cannot be parsed: no multipart boundary, broken JSON, a truncated body."""

    default_code = "malformed_request"


class TooLarge(PermanentError):
    """More bytes than the operator allows."""

    default_code = "too_large"


class UnsupportedMedia(PermanentError):
    """Not a video container or codec that Muster reads."""

    default_code = "unsupported_media"


class VideoError(PermanentError):
    """A video that cannot be decoded, or that holds nothing to count."""

    default_code = "unreadable_video"


class DetectorError(PermanentError):
    """A checkpoint that cannot be loaded or does not have the expected signature."""

    default_code = "detector_unusable"


class NotFound(PermanentError):
    """It does not exist, or the caller may not see it."""

    default_code = "not_found"


class ForeignStorage(PermanentError):
    """Storage and database do not belong together: one of them is another installation's."""

    default_code = "foreign_storage"


class Unauthenticated(PermanentError):
    """The caller is unknown: no key or token, or an invalid one."""

    default_code = "credentials_required"


class Forbidden(PermanentError):
    """The caller is known but lacks a permission. Whether the object exists stays hidden."""

    default_code = "forbidden"


class Expired(NotFound):
    """It existed, and was deleted at the end of its retention period."""

    default_code = "expired"


class Conflict(PermanentError):
    """The current state does not allow the request."""

    default_code = "conflict"


class FenceLost(Conflict):
    """A write has an older attempt than the store, or the job has left the expected state."""

    default_code = "fence_lost"


class PreconditionFailed(Conflict):
    """A blob has another ETag than expected, or already exists."""

    default_code = "precondition_failed"


class TransientError(MusterError):
    """A retry may succeed."""

    default_code = "transient_error"
    retry_after_s: float = 5.0


class Unavailable(TransientError):
    """Storage, queue or database did not respond, or is overloaded."""

    default_code = "unavailable"


class StorageFull(TransientError):
    """No room left on a disk that Muster writes to."""

    default_code = "storage_full"


class Unconfined(TransientError):
    """This machine cannot confine the process that decodes a video. Another machine may."""

    default_code = "confinement_unavailable"


class Throttled(TransientError):
    """The caller exceeds a rate limit or a quota.

    Args:
        retry_after_s: Seconds after which a retry can succeed.
    """

    default_code = "throttled"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: float, **details: Any
    ) -> None:
        super().__init__(message, code=code, **details)
        self.retry_after_s = retry_after_s


def is_disk_full(error: OSError) -> bool:
    """Return whether a write failed for lack of space: disk, user's quota, or file size."""
    return error.errno in _FULL


class LeaseLost(MusterError):
    """Another worker has the message. Stop at the next batch; publish and acknowledge nothing."""

    default_code = "lease_lost"


class Stopped(Exception):
    """`should_stop` returned true, so the work ended early. Its output is discarded."""
