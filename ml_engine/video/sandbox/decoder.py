"""The decoder of uploaded videos. It indexes them, decodes them and reads their telemetry in
processes that can do nothing else.
"""

from __future__ import annotations

import logging
import os
import platform
from array import array
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from core.domain.worker_problem import WorkerProblem
from core.errors import InvalidTelemetry, MusterError, Unconfined
from ml_engine.arrays import Image
from ml_engine.progress import never
from ml_engine.video.decode import DecodedFrame, decode, probe, run_of, turned
from ml_engine.video.index import VideoIndex, index_of
from ml_engine.video.sandbox.messages import FRAME, NO_SLOT, PICTURE, SCAN, TRACK, unpacked_scan
from ml_engine.video.sandbox.process import DecoderLimits, DecoderProcess, Task
from ml_engine.video.subtitles import LIMIT_BYTES, read_telemetry_track

__all__ = ["ConfinedDecoder", "DecoderLimits"]

logger = logging.getLogger(__name__)

ALLOW_UNCONFINED = "MUSTER_ALLOW_UNCONFINED_DECODING"
_BYTES_A_PIXEL = 3
_SPARE_SLOTS = 3
"""Number of slots that always remain to the child process, however many pictures are in use."""


def _limits_of_commands() -> DecoderLimits:
    """Return the default limits, for commands that have no configuration."""
    allowed = os.environ.get(ALLOW_UNCONFINED, "").strip().lower()
    return DecoderLimits(allow_unconfined=allowed in ("1", "true", "yes", "on"))


class ConfinedDecoder:
    """A decoder that uses one process per file and request, with limited memory, time and rights.

    It returns the same bytes as `ml_engine.video.decode` and `ml_engine.video.subtitles`. Any
    number of threads may use it. Where the system does not filter the process's system calls, it
    decodes nothing unless `limits.allow_unconfined` is set. Windows cannot pass descriptors on; the
    decoder then decodes in this process.

    Args:
        limits: Limits of decoding. Default: the usual limits, with unconfined decoding as the
            environment sets it.
    """

    def __init__(self, limits: DecoderLimits | None = None) -> None:
        self.limits = limits or _limits_of_commands()
        self._apart = os.name == "posix"
        self._problem: WorkerProblem | None = None

    def problems(self) -> list[WorkerProblem]:
        """Return the problems of decoding on this machine that were found so far.

        Each has `code`, `message` and `degrades`.
        """
        return [self._problem] if self._problem else []

    def check(self) -> None:
        """Test whether this machine confines decoding, so that `problems` knows before the first
        video.

        No error is raised.
        """
        try:
            if not self._apart:
                self._meet_unconfined()
                return
            with self._process(Task(Path(os.devnull), "nothing"), never) as child:
                for _ in child.messages():
                    pass
        except (MusterError, OSError) as error:
            logger.warning("%s", error, extra={"action": "decoder_check_failed"})

    def _process(self, task: Task, should_stop: Callable[[], bool]) -> DecoderProcess:
        return DecoderProcess(task, self.limits, should_stop, self._meet_unconfined)

    def _meet_unconfined(self) -> None:
        """Refuse to decode where the system cannot filter calls, or warn once if that is allowed.

        Raises:
            Unconfined: The operator does not allow unconfined decoding.
        """
        host = platform.node()
        if not self.limits.allow_unconfined:
            error = Unconfined(
                f"The system of {host} does not let Muster restrict the process that decodes "
                "videos (seccomp), so no video is decoded there. Use Linux, and a container whose "
                f"security profile allows seccomp. Or set {ALLOW_UNCONFINED}=true to decode "
                "without the restriction, which you should do only for videos that you trust."
            )
            self._problem = {"code": error.code, "message": error.message, "degrades": True}
            raise error
        sentence = (
            f"Videos are decoded unconfined on {host}, because its system does not let Muster "
            f"restrict the process (seccomp) and {ALLOW_UNCONFINED} allows it. A hostile video can "
            "do anything there that this user can do."
        )
        if self._problem is None:
            logger.warning("%s", sentence, extra={"action": "decoder_not_confined"})
        self._problem = {"code": "decoding_unconfined", "message": sentence, "degrades": False}

    def probe(self, path: Path, *, should_stop: Callable[[], bool] = never) -> VideoIndex:
        """Index a video file.

        Args:
            path: A local file; its name and extension do not matter.
            should_stop: Called from time to time.

        Raises:
            VideoError: See `ml_engine.video.index.probe`; also `video_memory`,
                `video_takes_too_long`, `video_decoder_crashed`.
            UnsupportedMedia: See `ml_engine.video.index.probe`.
            TransientError: The machine is the cause: `decoder_not_started`, `decoder_killed`,
                `decoder_stalled`; `confinement_unavailable` (`Unconfined`).
            Stopped: `should_stop` returned True.
            OSError: The file cannot be read at all.
        """
        if not self._apart:
            self._meet_unconfined()
            return probe(path, limits=self.limits.video)
        with self._process(Task(path, "scan"), should_stop) as child:
            content = _response(child, SCAN)
            try:
                return index_of(unpacked_scan(content), self.limits.video)
            except (
                ValueError,
                KeyError,
                TypeError,
                ArithmeticError,
                AttributeError,
                RecursionError,
            ) as error:
                raise child.impossible("an impossible scan") from error

    def read_telemetry_track(
        self, path: Path, *, should_stop: Callable[[], bool] = never
    ) -> bytes | None:
        """Read a video's first subtitle track that is text.

        See `ml_engine.video.subtitles.read_telemetry_track`.

        Raises:
            InvalidTelemetry: The track is too large (code `telemetry_too_large`).
            VideoError, UnsupportedMedia, TransientError, Stopped, OSError: See `probe`.
        """
        if not self._apart:
            self._meet_unconfined()
            return read_telemetry_track(path)
        with self._process(Task(path, "track"), should_stop) as child:
            content = _response(child, TRACK)
        if len(content) > 2 * LIMIT_BYTES:
            raise InvalidTelemetry(
                f"The video's subtitle track is larger than {LIMIT_BYTES} bytes.",
                code="telemetry_too_large",
            )
        return content or None

    def decode(
        self,
        path: Path,
        index: VideoIndex,
        *,
        first_frame: int = 0,
        frames: int | None = None,
        seek_pts: int | None = None,
        threads: int = 1,
        should_stop: Callable[[], bool] = never,
    ) -> Generator[DecodedFrame]:
        """Decode a run of frames. The child process ends with the iterator.

        Args:
            path, index, first_frame, frames, seek_pts, threads: See `video.decode.decode`.
            should_stop: Called from time to time while waiting, in the consumer's thread.

        Raises:
            VideoError, UnsupportedMedia, TransientError, Stopped, OSError: See `probe`.
            ValueError: The run is not within the file.
        """
        if not self._apart:
            self._meet_unconfined()
            yield from decode(
                path,
                index,
                first_frame=first_frame,
                frames=frames,
                seek_pts=seek_pts,
                threads=threads,
            )
            return
        run = run_of(
            index,
            first_frame=first_frame,
            frames=frames,
            seek_pts=seek_pts,
            threads=threads,
            limits=self.limits.video,
        )
        plain = {
            name: getattr(run, name) for name in ("by_order", "first", "end", "seek_pts", "threads")
        }
        task = Task(path, "run", run.end - run.first, index.stored_wh, plain, array("q", run.pts))
        expected = run.first
        with self._process(task, should_stop) as child:
            pictures = _Pictures(child, index)
            for kind, content in child.messages():
                if kind != PICTURE or len(content) != FRAME.size or expected >= run.end:
                    raise child.impossible("something other than the requested frames")
                number, slot, row_bytes = FRAME.unpack(content)
                if number != expected:
                    raise child.impossible("frames in the wrong order")
                expected += 1
                yield DecodedFrame(
                    number, None if slot == NO_SLOT else pictures.take(slot, row_bytes)
                )
            if expected != run.end:
                raise child.impossible("fewer frames than requested")


def _response(child: DecoderProcess, kind: bytes) -> bytes:
    """Return the content of the one message that was requested. It must arrive first.

    Raises:
        Exception: As `DecoderProcess.messages`.
    """
    for said, content in child.messages():
        if said != kind:
            raise child.impossible("something other than the requested result")
        return content
    raise child.impossible("no response")


class _Slot:
    """A slot with a picture, as the owner of arrays.

    It is free again when the last array is gone.
    """

    def __init__(self, child: DecoderProcess, slot: int, held: set[int]) -> None:
        self._child, self._slot, self._held = child, slot, held
        held.add(slot)

    def picture(self, shape: tuple[int, int, int], row_bytes: int) -> Image:
        """Return the picture, writable. It is not contiguous where rows are padded."""
        ring = self._child.ring
        assert ring is not None
        memory = np.frombuffer(ring.memory, np.uint8)
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "strides": (row_bytes, shape[2], 1),
            "data": (memory.ctypes.data + self._slot * ring.slot_bytes, False),
        }
        return np.asarray(self)

    def __del__(self) -> None:
        self._held.discard(self._slot)
        self._child.free(self._slot)


class _Pictures:
    """The pictures in the ring, handed over as copies, rotated, or directly.

    A picture is handed over directly only while the ring has slots to spare.

    Args:
        child: The process that fills the ring.
        index: Index of the file.
    """

    def __init__(self, child: DecoderProcess, index: VideoIndex) -> None:
        self._child, self._index = child, index
        self._held: set[int] = set()

    def take(self, slot: int, row_bytes: int) -> Image:
        """Return the picture in a slot as displayed, C-contiguous and owned by the caller.

        Raises:
            VideoError: The slot cannot hold a picture.
        """
        (width_px, height_px), ring = self._index.stored_wh, self._child.ring
        possible = ring is not None and slot < ring.slots and slot not in self._held
        if (
            ring is None
            or not possible
            or not width_px * _BYTES_A_PIXEL <= row_bytes <= ring.slot_bytes // height_px
        ):
            raise self._child.impossible("a picture in a slot that cannot hold it")
        stored = _Slot(self._child, slot, self._held).picture(
            (height_px, width_px, _BYTES_A_PIXEL), row_bytes
        )
        if self._index.rotation_deg or self._index.mirrored:
            return turned(stored, self._index)
        # A caller that keeps pictures must not stall the decoder.
        enough = ring.slots - len(self._held) >= _SPARE_SLOTS
        return stored if enough and stored.flags.c_contiguous else stored.copy()
