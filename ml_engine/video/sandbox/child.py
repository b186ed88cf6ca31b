"""The process that decodes: started for one file, confined before it looks at it, it ends when that
is done or when nobody listens.

It imports PyAV and the standard library only, so that it starts in a tenth of a second. It is given
three descriptors: the request, the video, and the memory that pictures are handed over in; standard
output carries messages, standard input the slots that are free again.
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

# All that FFmpeg's wrapper loads when it needs it has to be there while files can still be opened.
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
    """Says now and then that there is progress."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, _: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _NOTE_EVERY_S
            send(_OUT, NOTE)


class _Slots:
    """The slots that may be filled.

    Ends the process when the other side is gone, whatever FFmpeg is doing at that moment.
    """

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(count):
            self._free.put(slot)
        threading.stack_size(_THREAD_STACK_BYTES)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.stack_size(0)

    def take(self) -> int:
        """Return a free slot; waits for one."""
        return self._free.get()

    def _listen(self) -> None:
        while data := os.read(_IN, 64):
            for slot in data:
                self._free.put(slot)
        os._exit(0)


def main(request_at: int, video_at: int, ring_at: int) -> int:
    """Do what the request asks for and say how it went; return the exit status.

    Args:
        request_at: Descriptor of the request: JSON after its length, then timestamps.
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
    """Return a descriptor of what the kernel says of this process, or -1; later nothing can be
    opened.
    """
    try:
        return os.open("/proc/self/status", os.O_RDONLY)
    except OSError:
        return -1


def _peak(status_at: int) -> bytes:
    """Return the most memory in use so far, KiB, as digits; nothing where nobody says.

    Not what the parent learns when it waits: that includes what the parent itself had in use when
    it started this process.
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
    """Whether memory could still be had.

    Where it could not, what FFmpeg calls damage is no damage: it forgets why it failed.
    """
    try:
        mmap.mmap(-1, size_bytes).close()
    except (MemoryError, OSError):
        return False
    return True


def _described(error: Exception, video_at: int) -> dict[str, Any]:
    """Return what the other side can make the same error of."""
    if (
        isinstance(error, OSError)
        and isinstance(error, av.FFmpegError)
        and not _disk_fails(video_at)
    ):
        # FFmpeg says "input/output error" of a damaged file as well.
        sentence = "The video cannot be read on at some place: it is damaged. Check that it plays, then upload it again."
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
    """Run as a program; the arguments are the three descriptors."""
    # No libraries are to be taken apart in order: that takes as long as many a video.
    os._exit(main(*map(int, sys.argv[-3:])))
