"""The rendering stage, which decodes, draws and encodes the annotated video at the same time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from core.errors import Stopped, StorageFull, is_disk_full
from ml_engine.arrays import Image
from ml_engine.stages.run import Findings, Recording, Run
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from ml_engine.video.timeline import times_s
from ml_engine.video.writer import VideoWriter

if TYPE_CHECKING:
    from ml_engine.drawing.contact_sheet import ContactSheet
    from ml_engine.drawing.frame_painter import FramePainter

ENCODER_THREADS = 4
"""The same on every machine, because the number of threads affects the bytes."""

_QUEUED_FRAMES = 6
_WAIT_S = 0.1
_REPORT_S = 0.5
_JPEG_QUALITY = 88


def render(
    recording: Recording,
    findings: Findings,
    *,
    out_dir: Path,
    run: Run,
    decoder: ConfinedDecoder | None = None,
) -> tuple[Path, Path, Path]:
    """Write the annotated video, the preview and the contact sheet. Same input, same bytes.

    Args:
        recording: The recording to draw into.
        findings: What to draw. Each animal has one picture on the contact sheet.
        out_dir: Existing folder.
        run: Its settings of lines, zones and classes apply. Progress is the number of frames
            encoded, reported about twice a second and at the end; `should_stop` is called as often.
        decoder: Decoder of the videos; default: one with the usual limits.

    Returns:
        Paths of video, preview (the frame with the most animals) and contact sheet.

    Raises:
        Stopped: `run.should_stop` returned true; no file is left behind.
        VideoError: A file can no longer be opened.
        StorageFull: There is no space for the files.
    """
    from ml_engine.drawing.contact_sheet import ContactSheet
    from ml_engine.drawing.frame_painter import FramePainter

    video, indexes, tracks = recording.video, recording.indexes, findings.tracks
    all_times_s, target = times_s(indexes), out_dir / "annotated.mp4"
    painter = FramePainter(tracks, all_times_s, run.settings, video)
    sheet = ContactSheet(findings.animals, findings.counts, tracks, painter.best_frame(), video)
    pictures = _Pictures(painter, sheet)
    decoding, encoded = decoder or ConfinedDecoder(), 0
    report = _Report(lambda: run.progress(encoded), run.should_stop)
    writer = VideoWriter(
        target,
        fps=indexes[0].fps,
        resolution_wh=(video.width_px, video.height_px),
        threads=ENCODER_THREADS,
    )

    def encode(item: tuple[int, Image]) -> None:
        nonlocal encoded
        frame, image_bgr = item
        writer.write(image_bgr, float(all_times_s[frame]))
        encoded += 1

    with (
        writer,
        _Stage(encode, report) as encoder,
        _Source(lambda ended: _frames(recording, decoding, ended), report) as source,
    ):
        for frame, image_bgr in source:
            encoder.put((frame, pictures.painted(frame, image_bgr)))
        encoder.finish()
    written = pictures.write(out_dir)
    run.progress(encoded)
    return target, *written


class _Pictures:
    """The preview and the contact sheet, which are made of single frames as they pass."""

    def __init__(self, painter: FramePainter, sheet: ContactSheet) -> None:
        self._painter, self._sheet = painter, sheet
        self._best = painter.best_frame()
        self._preview = b""

    def painted(self, frame: int, image_bgr: Image | None) -> Image:
        """Return a frame with everything drawn into it, in place."""
        self._sheet.take(frame, image_bgr)
        painted = self._painter.paint(image_bgr, frame)
        if frame == self._best:
            self._preview = _jpeg(painted)
        return painted

    def write(self, out_dir: Path) -> tuple[Path, Path]:
        """Write both files."""
        preview, sheet = out_dir / "preview.jpg", out_dir / "contact_sheet.jpg"
        _write(preview, self._preview)
        _write(sheet, self._sheet.jpeg())
        return preview, sheet


def _frames(
    recording: Recording, decoder: ConfinedDecoder, ended: Callable[[], bool]
) -> Generator[tuple[int, Image | None]]:
    """Yield all frames of the recording with their index over all files."""
    offset = 0
    for path, index in zip(recording.paths, recording.indexes, strict=True):
        with closing(decoder.decode(path, index, should_stop=ended)) as decoded:
            for frame in decoded:
                yield offset + frame.file_frame, frame.image_bgr
        offset += index.frames


def _jpeg(image_bgr: Image) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull("The disk has no room for the images. Free some space.") from error
        raise


class _Report:
    """Reports progress and checks for a stop, between every half second and every second."""

    def __init__(self, progress: Callable[[], None], should_stop: Callable[[], bool]) -> None:
        self._progress, self._should_stop = progress, should_stop
        self._next_s = 0.0

    def now_and_then(self) -> None:
        """Report progress if it is due. Raise `Stopped` if requested."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _REPORT_S
        if self._should_stop():
            raise Stopped
        self._progress()


class _Worker:
    """A thread with a bounded queue.

    Leaving the block ends the thread. Its error is raised where the queue is used.
    """

    def __init__(self, report: _Report) -> None:
        self._report = report
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUED_FRAMES)
        self._quit = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._quit.set()
        self._thread.join()

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def _work(self) -> None:
        """Do the work of the thread."""

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        self._report.now_and_then()


class _Source(_Worker):
    """Runs a generator ahead of its consumer, in its own thread.

    Args:
        make: Returns the generator. Its argument is a function that returns whether to stop.
        report: Reports the progress.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], bool]], Generator[tuple[int, Image | None]]],
        report: _Report,
    ) -> None:
        super().__init__(report)
        self._make = make

    def _work(self) -> None:
        with closing(self._make(self._quit.is_set)) as items:
            for item in items:
                if not self._handed_on(item):
                    return

    def _handed_on(self, item: tuple[int, Image | None]) -> bool:
        while not self._quit.is_set():
            try:
                self._queue.put(item, timeout=_WAIT_S)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[tuple[int, Image | None]]:
        while True:
            finished = self._done.is_set()
            try:
                yield self._queue.get(timeout=0 if finished else _WAIT_S)
            except queue.Empty:
                self._check()
                if finished:
                    return


class _Stage(_Worker):
    """Consumes items in order, in its own thread."""

    def __init__(self, consume: Callable[[tuple[int, Image]], None], report: _Report) -> None:
        super().__init__(report)
        self._consume = consume
        self._last = threading.Event()

    def put(self, item: tuple[int, Image]) -> None:
        """Put an item into the queue; wait while the queue is full."""
        while True:
            self._check()
            try:
                return self._queue.put(item, timeout=_WAIT_S)
            except queue.Full:
                continue

    def finish(self) -> None:
        """Wait until all items are consumed."""
        self._last.set()
        while not self._done.wait(_WAIT_S):
            self._check()
        self._check()

    def _work(self) -> None:
        while not self._quit.is_set():
            last = self._last.is_set()
            try:
                item = self._queue.get(timeout=_WAIT_S)
            except queue.Empty:
                if last:
                    return
                continue
            self._consume(item)
