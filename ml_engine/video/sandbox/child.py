"""The process that decodes one video. It is confined before it reads the file, and ends when its
work is done or when its parent is gone.

It imports only PyAV and the standard library, so that it starts in a tenth of a second. It receives
three descriptors: the request, the video, and the shared memory for pictures. Standard output
carries messages, and standard input carries the slots that are free again.
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import sys
import threading
import time
import traceback
from array import array
from typing import Any

# All modules that PyAV loads on demand must be loaded while files can still be opened.
import av.sidedata.sidedata
import av.stream
import av.subtitles.codeccontext
import av.subtitles.stream
import av.subtitles.subtitle
from av.video.reformatter import VideoReformatter

from core.errors import MusterError, VideoError
from ml_engine.video.frames import Run, decoded_frames, to_bgr
from ml_engine.video.limits import VideoLimits
from ml_engine.video.malloc import keep_freed_memory
from ml_engine.video.sandbox.confinement import FILTER, Allowance, confine
from ml_engine.video.sandbox.messages import (
    DONE,
    ERROR,
    FRAME,
    NO_SLOT,
    NOTE,
    OUT_OF_MEMORY,
    PICTURE,
    READY,
    SCAN,
    TRACK,
    packed_scan,
    send,
)
from ml_engine.video.sandbox.shared_memory import FrameRing
from ml_engine.video.scan import scan_video
from ml_engine.video.subtitles import read_telemetry_track

_IN, _OUT = 0, 1
_NOTE_EVERY_S = 0.2
_READ_BYTES = 2**20
_SPARE_BYTES = 16 * 2**20
_THREAD_STACK_BYTES = 256 * 1024


class _Notes:
    """Reports of progress, sent from time to time."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, _: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _NOTE_EVERY_S
            send(_OUT, NOTE)


class _Slots:
    """The slots that may be filled.

    The process ends when the parent is gone, whatever FFmpeg is doing at that moment.
    """

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(count):
            self._free.put(slot)
        threading.stack_size(_THREAD_STACK_BYTES)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.stack_size(0)

    def take(self) -> int:
        """Wait for a free slot and return it."""
        return self._free.get()

    def _listen(self) -> None:
        while data := os.read(_IN, 64):
            for slot in data:
                self._free.put(slot)
        os._exit(0)


def main(request_at: int, video_at: int, ring_at: int) -> int:
    """Execute the request, report the outcome and return the exit status.

    Args:
        request_at: Descriptor of the request: JSON preceded by its length, then timestamps.
        video_at: Descriptor of the video.
        ring_at: Descriptor of the memory for pictures, or -1.
    """
    request, pts = _read_request(request_at)
    limits = VideoLimits(**request["limits"])
    ring = (
        FrameRing(ring_at, slot_bytes=request["slot_bytes"], slots=request["slots"])
        if ring_at >= 0
        else None
    )
    keep_freed_memory()
    status_at = _own_status()
    missing = confine(Allowance(**request["allowance"]))
    slots = _Slots(ring.slots if ring else 0)
    send(_OUT, READY, json.dumps(missing).encode())
    if FILTER in missing and not request["allow_unconfined"]:
        return 0
    try:
        if request["asked"] == "scan":
            send(_OUT, SCAN, packed_scan(scan_video(video_at, limits, _Notes())))
        elif request["asked"] == "track":
            send(_OUT, TRACK, read_telemetry_track(video_at, _Notes()) or b"")
        elif ring is not None:
            _decode(
                video_at,
                Run(pts=pts, limits=limits, **request["run"]),
                ring,
                slots,
                request["stored_wh"],
            )
        send(_OUT, NOTE, _peak(status_at))
        send(_OUT, DONE)
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception as error:
        if (
            isinstance(error, VideoError)
            and error.code == "unreadable_video"
            and not _has_room(_SPARE_BYTES)
        ):
            return OUT_OF_MEMORY
        send(_OUT, NOTE, _peak(status_at))
        send(_OUT, ERROR, json.dumps(_described(error, video_at)).encode())
    return 0


def _own_status() -> int:
    """Return a descriptor of the kernel's status of this process, or -1.

    It must be opened before confinement, after which nothing can be opened.
    """
    try:
        return os.open("/proc/self/status", os.O_RDONLY)
    except OSError:
        return -1


def _peak(status_at: int) -> bytes:
    """Return the peak memory so far in KiB as digits, or nothing where it is not known.

    The figure that the parent gets when it waits for this process would include the parent's own
    memory at the start of this process.
    """
    if status_at < 0:
        return b""
    return os.pread(status_at, 65536, 0).partition(b"VmHWM:")[2].split(b"kB")[0].strip()


def _read_request(descriptor: int) -> tuple[dict[str, Any], array[int]]:
    with os.fdopen(descriptor, "rb") as file:
        size = int.from_bytes(file.read(4), "little")
        request, pts = json.loads(file.read(size)), array("q")
        pts.frombytes(file.read())
    return request, pts


def _decode(
    video_at: int, run: Run, ring: FrameRing, slots: _Slots, stored_wh: tuple[int, int]
) -> None:
    reformatter = VideoReformatter()
    for number, frame in decoded_frames(video_at, run, _Notes()):
        bgr = None if frame is None else to_bgr(reformatter, frame, stored_wh)
        if bgr is None:
            if not _has_room(_SPARE_BYTES + stored_wh[0] * stored_wh[1] * 4):
                raise MemoryError
            send(_OUT, PICTURE, FRAME.pack(number, NO_SLOT, 0))
            continue
        slot, plane = slots.take(), bgr.planes[0]
        send(_OUT, PICTURE, FRAME.pack(number, slot, ring.put(slot, plane, plane.line_size)))


def _has_room(size_bytes: int) -> bool:
    """Return whether memory can still be allocated.

    Where it cannot, a failure of FFmpeg does not mean that the file is damaged: FFmpeg reports lack
    of memory as damage.
    """
    try:
        mmap.mmap(-1, size_bytes).close()
    except (MemoryError, OSError):
        return False
    return True


def _described(error: Exception, video_at: int) -> dict[str, object]:
    """Return the data from which the parent can construct the same error."""
    if (
        isinstance(error, OSError)
        and isinstance(error, av.FFmpegError)
        and not _disk_fails(video_at)
    ):
        # FFmpeg reports "input/output error" for a damaged file too.
        sentence = (
            "The video cannot be read beyond some point, so it is damaged. Check that it plays, "
            "then upload it again."
        )
        error = VideoError(sentence, code="unreadable_video")
    if isinstance(error, MusterError):
        return {
            "kind": type(error).__name__,
            "code": error.code,
            "message": error.message,
            "details": error.details,
        }
    if isinstance(error, OSError):
        return {"kind": "OSError", "errno": error.errno}
    return {"kind": "unforeseen", "message": "".join(traceback.format_exception(error))[-2000:]}


def _disk_fails(descriptor: int) -> bool:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        while os.read(descriptor, _READ_BYTES):
            pass
    except OSError:
        return True
    return False


def run() -> None:
    """Run as a program. The arguments are the three descriptors."""
    # An orderly shutdown of the libraries would take as long as decoding a short video.
    os._exit(main(*map(int, sys.argv[-3:])))
