"""The detection log: a segment's detections as a Parquet file, one row per frame.

Columns: `frame` int32, `time_s` float64, `status` string, `boxes` list<float32> (4 per detection,
xyxy px), `scores` list<float32> (4 per detection, columns as in `SCORE_COLUMNS`), `embeddings`
list<float16> (d per detection: the appearance, of length 1) or null, `motion` list<float64> (9, row
by row: from the previous readable frame's pixels to this one's) or null, `motion_reason` string or
null: `first_frame` of the segment, `unreadable`, `cut`, `no_texture`, or `not_measured`.

The schema's metadata hold the version, the frames' width and height in px, and small grey images
(PNG) of the first and last readable frame. The same records give the same bytes.

Segments are detected separately. The motion across their borders is measured by `concat`, which
joins their logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from core.errors import PermanentError
from ml_engine.arrays import SCORE_COLUMNS, DetectionLog, FrameRecord, FrameStatus

if TYPE_CHECKING:
    import pyarrow

VERSION = "2"
STATUS: tuple[FrameStatus, ...] = get_args(FrameStatus)
_VERSION_KEY, _FIRST_KEY, _LAST_KEY = (
    b"muster.detection_log",
    b"muster.first_grey_png",
    b"muster.last_grey_png",
)
_SIZE_KEY = b"muster.resolution_wh"
_WIDTH = len(SCORE_COLUMNS)


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    fields: list[pyarrow.Field[Any]] = [
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("time_s", pa.float64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("boxes", pa.list_(pa.float32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("embeddings", pa.list_(pa.float16())),
        pa.field("motion", pa.list_(pa.float64())),
        pa.field("motion_reason", pa.string()),
    ]
    return pa.schema(fields)


def write_log(
    records: Sequence[FrameRecord],
    *,
    first_grey_png: bytes | None = None,
    last_grey_png: bytes | None = None,
    resolution_wh: tuple[int, int] | None = None,
) -> bytes:
    """Serialise the records of a segment.

    Args:
        records: One per frame, ascending without gaps.
        first_grey_png, last_grey_png: Grey images of the first and the last readable frame, at most
            320 px wide; None if no frame was readable.
        resolution_wh: Size of the frames, px; None if no frame was readable.

    Returns:
        A Parquet file; the same bytes for the same input.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    found = [record.detections for record in records]
    columns: list[pyarrow.Array[Any]] = [
        pa.array(np.array([record.frame for record in records], np.int32)),
        pa.array(np.array([record.time_s for record in records], np.float64)),
        pa.array([record.status for record in records], pa.string()),
        _lists([d.xyxy for d in found], np.dtype(np.float32), pa.float32()),
        _lists([d.scores for d in found], np.dtype(np.float32), pa.float32()),
        _lists([d.embeddings for d in found], np.dtype(np.float16), pa.float16()),
        _lists([record.motion for record in records], np.dtype(np.float64), pa.float64()),
        pa.array([record.motion_reason for record in records], pa.string()),
    ]
    metadata = {_VERSION_KEY: VERSION.encode()}
    metadata.update(
        {
            key: png
            for key, png in ((_FIRST_KEY, first_grey_png), (_LAST_KEY, last_grey_png))
            if png is not None
        }
    )
    if resolution_wh is not None:
        metadata[_SIZE_KEY] = b"%dx%d" % resolution_wh
    table = pa.Table.from_arrays(columns, schema=schema.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", row_group_size=max(1, len(records)), write_statistics=False
    )
    return sink.getvalue().to_pybytes()


def _lists(
    arrays: Sequence[npt.NDArray[Any] | None], dtype: np.dtype[Any], kind: pyarrow.DataType
) -> pyarrow.ListArray[Any]:
    import pyarrow as pa

    lengths = np.array([0 if array is None else array.size for array in arrays], np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = [np.ascontiguousarray(array, dtype).ravel() for array in arrays if array is not None]
    values = np.concatenate(flat) if flat else np.zeros(0, dtype)
    missing = np.array([array is None for array in arrays], np.bool_)
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(values, kind), mask=mask
    )


def read_log(data: bytes) -> DetectionLog:
    """Read the log of a segment.

    Raises:
        PermanentError: The bytes are not a detection log of this version (code
            `corrupt_detection_log`).
    """
    table = _read_table(data)
    try:
        return _to_columns(table)
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(str(error)) from error


def read_grey_pictures(data: bytes) -> tuple[bytes | None, bytes | None]:
    """Return the grey PNGs of a log's first and last readable frame, or None.

    Raises:
        PermanentError: As for `read_log`.
    """
    metadata = _read_table(data).schema.metadata
    return metadata.get(_FIRST_KEY), metadata.get(_LAST_KEY)


def concat(logs: Sequence[DetectionLog]) -> DetectionLog:
    """Join the logs of consecutive segments, and measure the camera's motion across their borders.

    The first readable frame of a segment gets its motion from the last readable frame before it,
    also across files. If the motion cannot be measured, the reason is `cut` or `no_texture`, or
    `first_frame` without an earlier frame.

    Args:
        logs: At least one, in any order.

    Raises:
        PermanentError: Frames are missing or occur twice (code `incomplete_detection_log`).
    """
    logs = sorted((log for log in logs if len(log.frames)), key=lambda log: int(log.frames[0]))
    if not logs:
        raise PermanentError(
            "The detection log has no frames. Detect again.",
            code="incomplete_detection_log",
        )
    frames = np.concatenate([log.frames for log in logs])
    steps = np.diff(frames)
    if (steps != 1).any():
        at = int(frames[int(np.argmax(steps != 1))])
        raise PermanentError(
            f"The detection log stops after frame {at}. Detect the next segment again.",
            code="incomplete_detection_log",
        )
    counts = np.concatenate([np.diff(log.offsets) for log in logs])
    embeddings = [log.embeddings for log in logs if log.embeddings is not None]
    complete = (
        sum(map(len, embeddings)) == counts.sum() > 0
        and len({part.shape[1] for part in embeddings}) == 1
    )
    motion, motion_reasons = _motion_over_borders(logs)
    seen = [log for log in logs if log.resolution_wh is not None]
    return DetectionLog(
        frames=frames,
        times_s=np.concatenate([log.times_s for log in logs]),
        status=np.concatenate([log.status for log in logs]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        xyxy=np.concatenate([log.xyxy for log in logs]),
        scores=np.concatenate([log.scores for log in logs]),
        embeddings=np.concatenate(embeddings) if complete else None,
        motion=motion,
        motion_reasons=motion_reasons,
        resolution_wh=seen[0].resolution_wh if seen else None,
        first_grey_png=next(
            (log.first_grey_png for log in logs if log.first_grey_png is not None), None
        ),
        last_grey_png=next(
            (log.last_grey_png for log in reversed(logs) if log.last_grey_png is not None), None
        ),
    )


def _motion_over_borders(
    logs: Sequence[DetectionLog],
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return the motions and reasons of all frames.

    Those at the first readable frame of each segment are filled in.
    """
    motion = np.concatenate([log.motion for log in logs])
    reasons = [reason for log in logs for reason in log.motion_reasons]
    row, before = 0, None
    for log in logs:
        if (
            before is not None
            and log.first_grey_png is not None
            and "first_frame" in log.motion_reasons
        ):
            first = row + log.motion_reasons.index("first_frame")
            found, reason = _motion_between(before, log)
            reasons[first] = reason or ""
            if found is not None:
                motion[first] = found
        row += len(log.frames)
        before = log if log.last_grey_png is not None else before
    return motion, tuple(reasons)


def _motion_between(
    before: DetectionLog, after: DetectionLog
) -> tuple[npt.NDArray[np.float64] | None, str | None]:
    from ml_engine.camera_motion.measure import motion_between, read_grey

    if before.resolution_wh is None or before.resolution_wh != after.resolution_wh:
        return None, "cut"
    if before.last_grey_png is None or after.first_grey_png is None:
        return None, "cut"
    last, first = read_grey(before.last_grey_png), read_grey(after.first_grey_png)
    if last is None or first is None:
        raise _corrupt("one of its images is not a PNG")
    return motion_between(last, first, before.resolution_wh)


def _read_table(data: bytes) -> pyarrow.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(f"it is not a Parquet file: {error}") from error
    version = (table.schema.metadata or {}).get(_VERSION_KEY)
    if version != VERSION.encode():
        raise _corrupt(
            f"its version is {None if version is None else version.decode(errors='replace')},"
            f" not {VERSION}"
        )
    if not table.schema.equals(_schema()):
        raise _corrupt("its columns are not those of a detection log")
    return table


def _to_columns(table: pyarrow.Table) -> DetectionLog:
    import pyarrow as pa
    import pyarrow.compute as pc

    status = pc.index_in(table["status"], pa.array(STATUS, pa.string()))
    if status.null_count:
        raise ValueError("it has an unknown status")
    boxes, box_counts = _flat(table["boxes"], 4)
    scores, score_counts = _flat(table["scores"], _WIDTH)
    if not np.array_equal(box_counts, score_counts):
        raise ValueError("boxes and scores differ in number")
    offsets = np.concatenate([[0], np.cumsum(box_counts)]).astype(np.int64)
    return DetectionLog(
        frames=table["frame"].to_numpy(),
        times_s=table["time_s"].to_numpy(),
        status=status.to_numpy().astype(np.uint8),
        offsets=offsets,
        xyxy=boxes.reshape(-1, 4),
        scores=scores.reshape(-1, _WIDTH),
        embeddings=_embeddings(table["embeddings"], len(boxes) // 4),
        motion=_motion(table["motion"]),
        motion_reasons=tuple(
            "" if reason is None else reason for reason in table["motion_reason"].to_pylist()
        ),
        resolution_wh=_resolution(table.schema.metadata.get(_SIZE_KEY)),
        first_grey_png=table.schema.metadata.get(_FIRST_KEY),
        last_grey_png=table.schema.metadata.get(_LAST_KEY),
    )


def _resolution(text: bytes | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, height = (int(number) for number in text.split(b"x"))
    return width, height


def _flat(
    column: pyarrow.ChunkedArray[Any], width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return all values of a list column, and the number of groups of `width` in each row."""
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    if (lengths % width).any():
        raise ValueError(f"a row has a number of values that {width} does not divide")
    return pc.list_flatten(column).to_numpy(), lengths // width


def _embeddings(
    column: pyarrow.ChunkedArray[Any], detections: int
) -> npt.NDArray[np.float16] | None:
    values, _ = _flat(column, 1)
    if not detections or not len(values):
        return None
    if len(values) % detections:
        raise ValueError("the embeddings differ in length")
    return values.reshape(detections, -1)


def _motion(column: pyarrow.ChunkedArray[Any]) -> npt.NDArray[np.float64]:
    values, counts = _flat(column, 9)
    if (counts > 1).any():
        raise ValueError("a row has more than one motion")
    motion = np.full((len(counts), 3, 3), np.nan)
    motion[counts == 1] = values.reshape(-1, 3, 3)
    return motion


def _corrupt(problem: str) -> PermanentError:
    return PermanentError(
        f"A stored detection log cannot be read: {problem}. Delete it and detect again.",
        code="corrupt_detection_log",
    )
