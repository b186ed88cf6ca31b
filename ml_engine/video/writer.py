"""A writer of H.264 that plays and seeks in any browser. The same pictures give the same bytes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from core.errors import StorageFull, is_disk_full

TIME_BASE = Fraction(1, 90_000)
KEYFRAME_S = 2
"""Seconds between keyframes: the most that a player has to decode after seeking."""

ENCODER_OPTIONS = {"preset": "superfast", "crf": "26", "bf": "0", "coder": "0"}
"""Options that save a quarter of the preset's time for a sixth more bytes at the same quality. They
omit B-frames and arithmetic coding. `ultrafast` is not faster and needs half as many bytes again
for a worse picture."""
_BT601, _BT709, _LIMITED_RANGE = 6, 1, 1


class VideoWriter:
    """A writer of an MP4 (H.264, yuv420p, index at the front).

    It is a context manager. The file is complete when the context is left without an error. On one
    CPU model and with the same versions of the libraries, the bytes depend only on the pictures,
    the times and the number of threads.

    Args:
        path: The file; an existing one is overwritten.
        fps: Average frame rate. It sets the distance of keyframes, not the times of frames.
        resolution_wh: Width and height of the pictures, px. An odd side is extended by repeating
            its last row or column.
        threads: Threads of the encoder. The bytes depend on their number.

    Raises:
        StorageFull: The disk has no room, here or in any method.
    """

    def __init__(
        self, path: Path, *, fps: Fraction, resolution_wh: tuple[int, int], threads: int
    ) -> None:
        import av

        self._path = path
        self._pad_wh = (resolution_wh[0] % 2, resolution_wh[1] % 2)
        self._resolution_wh = resolution_wh
        self._last_pts = -1
        self._container = av.open(
            f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}
        )
        self._stream: Any = self._container.add_stream("libx264", rate=fps)
        context = self._stream.codec_context
        context.width, context.height = (
            side + pad for side, pad in zip(resolution_wh, self._pad_wh, strict=True)
        )
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        context.gop_size = max(1, round(KEYFRAME_S * fps))
        context.thread_count = threads
        context.colorspace, context.color_range = _BT601, _LIMITED_RANGE
        context.color_primaries = context.color_trc = _BT709
        context.options = dict(ENCODER_OPTIONS)

    def write(self, image_bgr: npt.NDArray[np.uint8], time_s: float) -> None:
        """Encode one picture.

        Args:
            image_bgr: (height, width, 3) uint8 of the writer's resolution.
            time_s: Time at which the picture is shown, s. If it is less than 1/90 000 s after the
                previous picture's time, it is moved there.

        Raises:
            ValueError: The picture has another size.
        """
        import av
        import cv2

        if (image_bgr.shape[1], image_bgr.shape[0]) != self._resolution_wh:
            raise ValueError(
                f"a picture of shape {image_bgr.shape} for a video of {self._resolution_wh}"
            )
        if any(self._pad_wh):
            padded = cv2.copyMakeBorder(
                image_bgr, 0, self._pad_wh[1], 0, self._pad_wh[0], cv2.BORDER_REPLICATE
            )
            image_bgr = np.asarray(padded, np.uint8)
        frame = av.VideoFrame.from_ndarray(
            np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420), np.uint8), "yuv420p"
        )
        frame.colorspace, frame.color_range = _BT601, _LIMITED_RANGE
        frame.time_base = TIME_BASE
        frame.pts = self._last_pts = max(round(time_s / TIME_BASE), self._last_pts + 1)
        self._mux(frame)

    def close(self) -> None:
        """Encode the pictures that the encoder still holds and write the index."""
        try:
            self._mux(None)
        finally:
            self._close_container()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            # The file is useless now, and the first error is the one to report.
            try:
                self._close_container()
            except StorageFull:
                pass
            finally:
                self._path.unlink(missing_ok=True)

    def _mux(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise _mapped(error) from error

    def _close_container(self) -> None:
        try:
            self._container.close()
        except OSError as error:
            raise _mapped(error) from error


def _mapped(error: OSError) -> Exception:
    if is_disk_full(error):
        return StorageFull("The disk has no room for the annotated video. Free some space.")
    return error
