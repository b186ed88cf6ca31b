"""The process that decodes a file, as its parent sees it: start, messages and end."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from core.child_environment import inherited
from core.errors import MusterError, Stopped, TransientError, VideoError
from ml_engine.video.limits import VideoLimits
from ml_engine.video.sandbox.confinement import FILTER, Allowance
from ml_engine.video.sandbox.messages import (
    DONE,
    ERROR,
    HEADER,
    NOTE,
    READY,
    SCAN,
    TRACK,
    text_of,
)
from ml_engine.video.sandbox.shared_memory import FrameRing, make_file, ring_size
from ml_engine.video.sandbox.verdicts import crashed, error_from, error_of_end, too_slow

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK_S = 0.1
"""Time between two calls of `should_stop`, seconds."""
MACHINE_PATIENCE = 10
"""Factor on `stall_s` for a process that gets no processor time."""

_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The variables that the process inherits. They name the shared libraries of a Python that is not
the system's."""

_READ_BYTES = 65_536
_MOST_MESSAGE_BYTES = 2**28
_MOST_WORDS_BYTES = 2**16
"""Limit of messages other than a scan or a track. JSON needs many times its length in memory."""
_END_S = 5.0
_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv[1:3]; from ml_engine.video.sandbox.child import run; run()"
)


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """The limits of decoding.

    Attributes:
        video: The largest video that is accepted.
        memory_bytes: Memory of one decoding process, beyond what it has at its start.
        stall_s: Longest time without a picture, or without progress where there are no pictures.
        cpu_s_per_frame: Processor time for each frame of a file, summed up for the whole file.
        cpu_s_per_gib: Processor time for each GiB of a file, added to it.
        allow_unconfined: Whether to decode where the system does not filter system calls.
    """

    video: VideoLimits = VideoLimits()
    memory_bytes: int = 2 * 2**30
    stall_s: float = 30.0
    cpu_s_per_frame: float = 2.0
    cpu_s_per_gib: float = 240.0
    allow_unconfined: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A task for the process.

    Attributes:
        path: The file.
        asked: `scan`, `track` or `run`.
        frames: Number of frames to decode.
        stored_wh: Size of the pictures, px; None where none are handed over.
        run: The plain fields of `ml_engine.video.frames.Run`.
        pts: Its timestamps.
    """

    path: Path
    asked: str
    frames: int = 0
    stored_wh: tuple[int, int] | None = None
    run: Mapping[str, object] | None = None
    pts: array[int] | None = None


class DecoderProcess:
    """A process that decodes one file, for use in one thread.

    It is a context manager. Leaving the context ends the process, whatever it is doing.

    Args:
        task: The task.
        limits: The limits of decoding.
        should_stop: Called at least every `TICK_S` while waiting.
        on_unconfined: Called when the process reports that the system does not filter its calls.
            The process has not read the file yet. `messages` passes on an error that this raises.

    Attributes:
        ring: The memory of its pictures, or None.
        peak_bytes: Its peak memory, as it reported at its end; None where it did not.
        cpu_s: Its processor time, once it has ended; None before.

    Raises:
        OSError: The file cannot be opened.
        TransientError: The process cannot be started (code `decoder_not_started`).
    """

    def __init__(
        self,
        task: Task,
        limits: DecoderLimits,
        should_stop: Callable[[], bool],
        on_unconfined: Callable[[], None],
    ) -> None:
        self.ring: FrameRing | None = None
        self.peak_bytes: int | None = None
        self.cpu_s: float | None = None
        self._task, self._limits, self._should_stop, self._on_unconfined = (
            task,
            limits,
            should_stop,
            on_unconfined,
        )
        self._ready = self._closed = False
        self._lock = threading.RLock()
        self._buffer = bytearray()
        self._asks_at_s = time.monotonic() + TICK_S
        video = os.open(task.path, os.O_RDONLY)
        opened = [video]
        try:
            opened.append(self._make_ring(task))
            opened.append(_write_request(self._request(os.fstat(video).st_size)))
            self._process = _start(*reversed(opened))
        except (OSError, subprocess.SubprocessError) as error:
            sentence = (
                f"No process can be started to decode the video ({error}). The video is retried "
                "automatically."
            )
            raise TransientError(sentence, code="decoder_not_started") from error
        finally:
            for descriptor in opened:
                if descriptor >= 0:
                    os.close(descriptor)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._reap(0)
        with self._lock:
            self._closed = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def free(self, slot: int) -> None:
        """Mark a slot as free. May be called from any thread, also after the process has ended."""
        # Garbage collection may free a slot while this very thread frees another.
        with self._lock, suppress(BrokenPipeError):
            if not self._closed:
                os.write(self._in, bytes((slot,)))

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the process's messages, kind and content, until it is done.

        Raises:
            VideoError, UnsupportedMedia, InvalidTelemetry: The process reported an error of the
                file or failed on it (`video_memory`, `video_takes_too_long`,
                `video_decoder_crashed`).
            TransientError: The machine is the cause (`decoder_killed`, `decoder_stalled`), or
                `on_unconfined` raised an error.
            Stopped: `should_stop` returned True.
            OSError: The disk fails.
        """
        while True:
            kind, content = self._receive()
            if kind == READY and not self._ready:
                self._ready = True
                self._hear_missing([text_of(word) for word in self._said(content, list)])
            elif kind == ERROR:
                raise self._error_from(self._said(content, dict))
            elif kind == DONE:
                return
            elif kind != NOTE:
                yield kind, content
            elif content:
                self.peak_bytes = self._kib(content) * 1024

    def _hear_missing(self, missing: list[str]) -> None:
        if missing:
            logger.info(
                "this system cannot limit a decoder's %s",
                ", ".join(missing),
                extra={"action": "decoder_not_limited"},
            )
        if FILTER in missing:
            self._on_unconfined()

    def impossible(self, why: str) -> VideoError:
        """Return the error for an impossible message, sent because the file has taken over."""
        return crashed(self._task.asked, f"it sent {why}")

    def _said(self, content: bytes, kind: type[T]) -> T:
        with suppress(ValueError, RecursionError):
            if isinstance(said := json.loads(content), kind):
                return said
        raise self.impossible("unreadable data")

    def _error_from(self, said: Mapping[str, object]) -> Exception:
        with suppress(ValueError, TypeError, KeyError, ArithmeticError):
            return error_from(said)
        return self.impossible("an impossible error")

    def _kib(self, content: bytes) -> int:
        if not content.isdigit() or len(content) > 12:
            raise self.impossible("something other than a number")
        return int(content)

    def _receive(self) -> tuple[bytes, bytes]:
        while True:
            if len(self._buffer) >= HEADER.size:
                kind, size = HEADER.unpack_from(self._buffer)
                if size > (_MOST_MESSAGE_BYTES if kind in (SCAN, TRACK) else _MOST_WORDS_BYTES):
                    raise self.impossible("too much data")
                end = HEADER.size + size
                if len(self._buffer) >= end:
                    content = bytes(self._buffer[HEADER.size : end])
                    del self._buffer[:end]
                    return kind, content
            self._wait()
            data = os.read(self._out, _READ_BYTES)
            if not data:
                raise self._ended()
            self._buffer += data

    def _wait(self) -> None:
        """Wait until a message can be read."""
        if time.monotonic() >= self._asks_at_s:
            # The check is needed here too, in case the process never stops sending.
            self._asks_at_s = time.monotonic() + TICK_S
            if self._should_stop():
                raise Stopped
        if self._poll.poll(TICK_S * 1000):
            return
        began_s, cpu_s = time.monotonic(), _cpu_s(self._process.pid)
        while not self._poll.poll(TICK_S * 1000):
            if self._should_stop():
                raise Stopped
            waited_s = time.monotonic() - began_s
            if waited_s < self._limits.stall_s:
                continue
            used_s = _cpu_s(self._process.pid)
            # If the process had half of the time, the machine is not the cause.
            if cpu_s is None or used_s is None or used_s - cpu_s >= self._limits.stall_s / 2:
                raise too_slow()
            if waited_s >= MACHINE_PATIENCE * self._limits.stall_s:
                sentence = (
                    "The machine gave the decoder no processor time for minutes. The video is "
                    "retried automatically."
                )
                raise TransientError(sentence, code="decoder_stalled")

    def _ended(self) -> MusterError:
        """Return the error for a process that ended before it was done."""
        deadline_s = time.monotonic() + _END_S
        while not self._reap(os.WNOHANG):
            if time.monotonic() >= deadline_s:
                return self.impossible("no end of its process")
            time.sleep(0.001)
        status = self._process.returncode
        logger.warning(
            "a decoder ended",
            extra={
                "action": "decoder_ended",
                "status": status,
                "asked": self._task.asked,
                "ready": self._ready,
            },
        )
        return error_of_end(
            status,
            asked=self._task.asked,
            was_ready=self._ready,
            memory_bytes=self._limits.memory_bytes,
        )

    def _reap(self, options: int) -> bool:
        if self._process.returncode is not None:
            return True
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid == 0:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        return True

    def _make_ring(self, task: Task) -> int:
        if task.stored_wh is None:
            return -1
        slot_bytes, slots = ring_size(*task.stored_wh)
        descriptor = make_file(slot_bytes * slots)
        self.ring = FrameRing(descriptor, slot_bytes=slot_bytes, slots=slots)
        return descriptor

    def _request(self, size_bytes: int) -> bytes:
        limits, task = self._limits, self._task
        cpu_s = (
            limits.stall_s
            + task.frames * limits.cpu_s_per_frame
            + size_bytes / 2**30 * limits.cpu_s_per_gib
        )
        request = {
            "asked": task.asked,
            "limits": asdict(limits.video),
            "allow_unconfined": limits.allow_unconfined,
            "allowance": asdict(
                Allowance(memory_bytes=limits.memory_bytes, cpu_s=max(1, round(cpu_s)))
            ),
            "run": task.run,
            "stored_wh": task.stored_wh,
            "slot_bytes": self.ring.slot_bytes if self.ring else 0,
            "slots": self.ring.slots if self.ring else 0,
        }
        head = json.dumps(request).encode()
        return (
            len(head).to_bytes(4, "little")
            + head
            + (task.pts.tobytes() if task.pts is not None else b"")
        )


def _start(request: int, ring: int, video: int) -> subprocess.Popen[bytes]:
    av = importlib.util.find_spec("av")
    assert av is not None and av.origin is not None
    folders = [str(Path(__file__).parents[3]), str(Path(av.origin).parents[1])]
    # Without the environment and site packages, the process holds no secret and starts faster.
    numbers = (str(request), str(video), str(ring))
    argv = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, *folders, *numbers]
    env = inherited(_INHERITED) | {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    passed = tuple(descriptor for descriptor in (request, ring, video) if descriptor >= 0)
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        pass_fds=passed,
        bufsize=0,
    )


def _write_request(data: bytes) -> int:
    descriptor = make_file(len(data))
    position = 0
    while position < len(data):
        position += os.pwrite(descriptor, data[position:], position)
    return descriptor


def _cpu_s(pid: int) -> float | None:
    """Return the processor time that a process has used, s; None where it is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
