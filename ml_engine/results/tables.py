"""Tracks and counts as files for other tools. The same table gives the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv

from core.domain.analysis import CLASSES, MusterClass
from core.domain.results import Results
from core.errors import InvalidInput
from ml_engine.arrays import TrackTable

_CHUNK_ROWS = 16_384
_BLOCK_BYTES = 1 << 20
STATUS_NAMES = ("detected", "skipped", "unreadable")
_CSV_TYPES = {
    "frame": pa.int32(),
    "time_s": pa.float64(),
    "track_id": pa.int32(),
    "class": pa.string(),
    "score": pa.float32(),
    "x1": pa.float32(),
    "y1": pa.float32(),
    "x2": pa.float32(),
    "y2": pa.float32(),
    "interpolated": pa.int8(),
    "ground_x": pa.float64(),
    "ground_y": pa.float64(),
    "ground_error_m": pa.float64(),
}


def tracks_csv(tracks: TrackTable, times_s: npt.NDArray[np.float64]) -> bytes:
    """Write the table of tracks, one row per box, in order of frame, then track id.

    A missing ground position is an empty cell.

    Args:
        tracks: n boxes.
        times_s: (n,) seconds from the start of the recording, of every box.
    """
    return _csv(_tracks_table(tracks, times_s, rows) for rows in _chunks(len(tracks)))


def _tracks_table(tracks: TrackTable, times_s: npt.NDArray[np.float64], rows: slice) -> pa.Table:
    boxes = np.round(tracks.xyxy[rows].astype(np.float64), 2)
    on_ground = (
        *np.ascontiguousarray(tracks.ground[rows].T),
        np.ascontiguousarray(tracks.ground_error_m[rows]),
    )
    ground = [pa.array(column, mask=np.isnan(column)) for column in on_ground]
    columns = [
        tracks.frame[rows],
        np.round(times_s[rows], 4),
        tracks.track_id[rows],
        pa.array(CLASSES).take(pa.array(tracks.class_index[rows], pa.int8())),
        np.round(tracks.score[rows].astype(np.float64), 4),
        *(boxes[:, i] for i in range(4)),
        tracks.interpolated[rows].astype(np.int8),
        *ground,
    ]
    return pa.table(dict(zip(_CSV_TYPES, columns, strict=True)))


def read_tracks_csv(data: bytes) -> TrackTable:
    """Read a file that `tracks_csv` wrote.

    Raises:
        InvalidInput: It is not such a file (code `bad_tracks_csv`).
    """
    rows = max(data.count(b"\n") - 1, 0)
    table = TrackTable(
        frame=np.zeros(rows, np.int32),
        track_id=np.zeros(rows, np.int32),
        class_index=np.zeros(rows, np.int8),
        xyxy=np.zeros((rows, 4), np.float32),
        score=np.zeros(rows, np.float32),
        interpolated=np.zeros(rows, bool),
        ground=np.zeros((rows, 2)),
        ground_error_m=np.zeros(rows),
    )
    # In chunks and one thread: a whole table beside the file and the columns would take most of the
    # memory that rendering needs.
    convert = pa_csv.ConvertOptions(column_types=_CSV_TYPES, include_columns=list(_CSV_TYPES))
    read = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
    filled = 0
    try:
        # The type stubs do not know that Arrow's own files can be read.
        for batch in pa_csv.open_csv(
            pa.BufferReader(data),  # type: ignore[arg-type]
            read_options=read,
            convert_options=convert,
        ):
            _fill(table, slice(filled, filled + len(batch)), batch)
            filled += len(batch)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidInput(
            f"This is not a tracks.csv of Muster: {error}.", code="bad_tracks_csv"
        ) from error
    if filled != rows:
        raise InvalidInput(
            "This tracks.csv ends in the middle of a row or has empty rows.", code="bad_tracks_csv"
        )
    return table


def _fill(table: TrackTable, rows: slice, batch: pa.RecordBatch) -> None:
    names = pa_compute.index_in(batch["class"], value_set=pa.array(CLASSES))
    if names.null_count:
        raise InvalidInput(
            "This tracks.csv has a class that is unknown to Muster.", code="bad_tracks_csv"
        )
    column = {
        name: batch[name].to_numpy(zero_copy_only=False) for name in _CSV_TYPES if name != "class"
    }
    table.frame[rows] = column["frame"]
    table.track_id[rows] = column["track_id"]
    table.class_index[rows] = names.to_numpy(zero_copy_only=False)
    table.score[rows] = column["score"]
    table.interpolated[rows] = column["interpolated"]
    for i, name in enumerate(("x1", "y1", "x2", "y2")):
        table.xyxy[rows, i] = column[name]
    for i, name in enumerate(("ground_x", "ground_y")):
        table.ground[rows, i] = column[name]
    table.ground_error_m[rows] = column["ground_error_m"]


def tracks_mot(tracks: TrackTable) -> bytes:
    """Write the tracks in MOTChallenge's format.

    Columns are frame from 1, id, left, top, width, height, score, three times -1.
    """
    return _csv((_mot_table(tracks, rows) for rows in _chunks(len(tracks))), header=False)


def _mot_table(tracks: TrackTable, rows: slice) -> pa.Table:
    boxes = np.round(tracks.xyxy[rows].astype(np.float64), 2)
    none = np.full(len(boxes), -1, np.int8)
    columns = {
        "frame": tracks.frame[rows] + 1,
        "id": tracks.track_id[rows],
        "left": boxes[:, 0],
        "top": boxes[:, 1],
        "width": np.round(boxes[:, 2] - boxes[:, 0], 2),
        "height": np.round(boxes[:, 3] - boxes[:, 1], 2),
        "score": np.round(tracks.score[rows].astype(np.float64), 4),
        "x": none,
        "y": none,
        "z": none,
    }
    return pa.table(columns)


def timeline_csv(
    frames: npt.NDArray[np.int32],
    times_s: npt.NDArray[np.float64],
    status: npt.NDArray[np.uint8],
    visible: Mapping[MusterClass, npt.NDArray[np.int64]],
) -> bytes:
    """Write the number of visible animals of each class in every frame.

    A cell is empty in a frame that could not be decoded, and for a class that was not counted. 0
    means that no animal was visible.

    Args:
        frames, times_s, status: (n,) as in a detection log.
        visible: Per counted class (n,).
    """
    unreadable = status == STATUS_NAMES.index("unreadable")
    columns = {
        "frame": frames,
        "time_s": np.round(times_s, 4),
        "status": pa.array(STATUS_NAMES).take(pa.array(status, pa.uint8())),
    }
    for name in CLASSES:
        columns[name] = (
            pa.array(visible[name], mask=unreadable)
            if name in visible
            else pa.nulls(len(frames), pa.int64())
        )
    return _csv([pa.table(columns)])


def results_json(results: Results) -> bytes:
    """Write `results.json`."""
    values = results.model_dump(mode="json")
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _chunks(rows: int) -> list[slice]:
    """Return slices over all rows, at least one, so that a long recording needs little memory."""
    return [slice(start, start + _CHUNK_ROWS) for start in range(0, max(rows, 1), _CHUNK_ROWS)]


def _csv(tables: Iterable[pa.Table], *, header: bool = True) -> bytes:
    out = io.BytesIO()
    for number, table in enumerate(tables):
        if header and not number:
            out.write((",".join(table.column_names) + "\n").encode())
        pa_csv.write_csv(
            table, out, pa_csv.WriteOptions(include_header=False, quoting_style="none")
        )
    return out.getvalue()
