"""Every error that Muster raises on purpose.

    MusterError
    ├── PermanentError          the same input fails again: 4xx, or the job ends `failed`
    │   ├── InvalidInput        what was asked for makes no sense (422)
    │   │   ├── InvalidConfiguration  a variable of the process: the process does not start
    │   │   ├── InvalidSettings     settings of an analysis (422)
    │   │   ├── InvalidCalibration  correspondences that fix no homography (422)
    │   │   └── InvalidTelemetry    a drone's telemetry file that tells nothing (422)
    │   ├── MalformedRequest    the request itself cannot be read (400)
    │   ├── TooLarge            more bytes than allowed (413)
    │   ├── UnsupportedMedia    not a video that Muster reads (415; in a worker: the job fails)
    │   ├── VideoError          a worker cannot use the video (the job fails)
    │   ├── DetectorError       a checkpoint that cannot be loaded or run (the job fails)
    │   ├── NotFound            no such job, blob, artefact, upload (404)
    │   │   └── Expired             it was there, and was deleted because it was kept long enough
    (410) │   ├── ForeignStorage      storage and database do not belong together: the process does
    not start │   ├── Unauthenticated     nobody knows who asks (401)
    │   ├── Forbidden           who asks may not do this (403)
    │   └── Conflict            the state does not allow it (409)
    │       ├── FenceLost           an older attempt wrote: refused
    │       └── PreconditionFailed  a blob is not the one that was meant (ETag)
    ├── TransientError          another try may succeed: 503 + Retry-After, or released with
    back-off │   ├── Unavailable         storage, queue or database did not answer
    │   ├── StorageFull         no room left on a disk that Muster writes to
    │   ├── Unconfined          this machine cannot confine the process that decodes: another worker
    may │   └── Throttled           more than the caller is allowed at present (429)
    └── LeaseLost               the message is no longer ours: stop, publish nothing, acknowledge
    nothing

`Stopped` is no error and stands apart: work that was asked to stop ends with it.

Each error carries `code`, stable and for programs, and a sentence for a person that says what to
do.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MusterError(Exception):
    """Base of all errors that Muster raises on purpose.

    Args:
        message: One sentence for a person: what is wrong and what to do.
        code: Stable identifier for programs; the class's own where not given.
        details: Further JSON-compatible facts, such as the limit that was passed.
    """

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details = details


class PermanentError(MusterError):
    """The same input fails again; trying again is of no use."""

    default_code = "permanent_error"


class InvalidInput(PermanentError):
    """What was asked for makes no sense, though it could be read."""

    default_code = "invalid_input"


class InvalidConfiguration(InvalidInput):
    """Environment variables, or an `.env` file, that the process cannot use.

    `details["faults"]` holds each refusal by itself, where values were refused.
    """

    default_code = "invalid_configuration"


class InvalidSettings(InvalidInput):
    """Settings of an analysis that contradict themselves, the video or the detection log."""

    default_code = "invalid_settings"


class InvalidCalibration(InvalidInput):
    """Correspondences that do not determine a homography."""

    default_code = "invalid_calibration"


class InvalidTelemetry(InvalidInput):
    """A telemetry file that cannot be read, or that tells nothing."""

    default_code = "invalid_telemetry"


class MalformedRequest(PermanentError):
    """The request itself cannot be read: no multipart boundary, broken JSON, a body cut off."""

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
    """No such thing, or none that the caller may see."""

    default_code = "not_found"


class ForeignStorage(PermanentError):
    """Storage and database do not belong together: one of them is another installation's."""

    default_code = "foreign_storage"


class Unauthenticated(PermanentError):
    """Nobody knows who asks: no key or token, or one that opens nothing (any more)."""

    default_code = "credentials_required"


class Forbidden(PermanentError):
    """It is known who asks, and they may not do this; whether what they asked for exists is not
    told.
    """

    default_code = "forbidden"


class Expired(NotFound):
    """It was there, and was deleted because it had been kept as long as the operator allows."""

    default_code = "expired"


class Conflict(PermanentError):
    """The present state does not allow what was asked for."""

    default_code = "conflict"


class FenceLost(Conflict):
    """A write carried an older attempt than the store knows, or the job has left the expected
    state.
    """

    default_code = "fence_lost"


class PreconditionFailed(Conflict):
    """A blob is not the one that was meant: its ETag changed, or it exists already."""

    default_code = "precondition_failed"


class TransientError(MusterError):
    """Another try may succeed."""

    default_code = "transient_error"
    retry_after_s: float = 5.0


class Unavailable(TransientError):
    """Storage, queue or database did not answer, or answered that it is overloaded."""

    default_code = "unavailable"


class StorageFull(TransientError):
    """No room left on a disk that Muster writes to."""

    default_code = "storage_full"


class Unconfined(TransientError):
    """The system of this machine does not let Muster confine the process that decodes a stranger's
    video. Another machine may.
    """

    default_code = "confinement_unavailable"


class Throttled(TransientError):
    """More than the caller is allowed at present: too fast, or over a quota.

    Args:
        retry_after_s: When asking again makes sense.
    """

    default_code = "throttled"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: float, **details: Any
    ) -> None:
        super().__init__(message, code=code, **details)
        self.retry_after_s = retry_after_s


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed because there is no room: on the disk, in the user's quota, or under
    the limit of a file's size.
    """
    return error.errno in _FULL


class LeaseLost(MusterError):
    """The queue message is no longer ours.

    Stop at the next batch; publish and acknowledge nothing.
    """

    default_code = "lease_lost"


class Stopped(Exception):
    """`should_stop` answered yes: the work ended before it was complete.

    No error; what was produced so far is of no use.
    """
