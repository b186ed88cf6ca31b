"""Errors for the reports of a decoding process, and for the way in which it ended."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Mapping

from core.errors import (
    InvalidTelemetry,
    MusterError,
    TransientError,
    UnsupportedMedia,
    VideoError,
)
from ml_engine.video.sandbox.messages import OUT_OF_MEMORY, text_of

logger = logging.getLogger(__name__)

_ERRORS: dict[str, type[MusterError]] = {
    kind.__name__: kind for kind in (VideoError, UnsupportedMedia, InvalidTelemetry)
}
_CRASHES = tuple(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
)


def error_from(said: Mapping[str, object]) -> Exception:
    """Return the error that a process described."""
    kind, message = text_of(said.get("kind")), text_of(said.get("message"))
    if kind == "OSError":
        return OSError(int(str(said["errno"])), "the video cannot be read from the disk")
    if kind in _ERRORS and re.fullmatch("[a-z_]{3,40}", str(said.get("code"))):
        given = said.get("details", {})
        if not isinstance(given, dict):
            raise TypeError("details that are no object")
        details = {
            text_of(name): value for name, value in given.items() if isinstance(value, int | float)
        }
        return _ERRORS[kind](message, code=str(said["code"]), **details)
    logger.warning("a decoder failed: %s", message, extra={"action": "decoder_failed"})
    return VideoError(
        "The video is damaged beyond what Muster can decode. Convert it to MP4 and upload it "
        "again.",
        code="unreadable_video",
    )


def error_of_end(status: int, *, asked: str, was_ready: bool, memory_bytes: int) -> MusterError:
    """Return the error for a process that ended before it was done.

    Args:
        status: Its exit status; negative for a signal.
        asked: Its task.
        was_ready: Whether it had started to read the file.
        memory_bytes: The memory that it was allowed to use.
    """
    if status == OUT_OF_MEMORY:
        return VideoError(
            f"Decoding this video needs more than the allowed {memory_bytes / 2**30:g} GiB of "
            "memory. Scale it down, or export it as plain H.264, and upload it again.",
            code="video_memory",
            limit_bytes=memory_bytes,
        )
    if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
        return too_slow()
    if -status in _CRASHES and was_ready:
        return crashed(asked, signal.Signals(-status).name)
    if not was_ready:
        return TransientError(
            f"The process that decodes video ended while it started (status {status}). "
            "The video is retried automatically.",
            code="decoder_not_started",
        )
    if status > 0:
        return crashed(asked, f"exit status {status}")
    return TransientError(
        "The process that decodes the video was ended from outside. The video is retried "
        "automatically.",
        code="decoder_killed",
    )


def too_slow() -> VideoError:
    """Return the error of a file that needs far too much processor time."""
    return VideoError(
        "Decoding this video takes far longer than its length explains. It is damaged, or was made "
        "to do this. Export it again, then upload it.",
        code="video_takes_too_long",
    )


def crashed(asked: str, how: str) -> VideoError:
    """Return the error of a file on which the decoder crashed, and log how it crashed."""
    logger.warning(
        "a decoder crashed: %s", how, extra={"action": "decoder_crashed", "asked": asked}
    )
    return VideoError(
        "The decoder crashed on this video, so the file is damaged. Check that it plays, convert "
        "it to MP4 and upload it again.",
        code="video_decoder_crashed",
    )
