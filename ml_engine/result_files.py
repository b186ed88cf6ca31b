"""Tracks and counts as files that other tools read. Bytes in, bytes out: the same table gives the same bytes."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv

from core.domain.analysis import CLASSES
from core.errors import InvalidInput
from ml_engine.records import TrackTable

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
}


def tracks_csv(tracks: TrackTable, times_s: npt.NDArray[np.float64]) -> bytes:
    """Write the table of tracks: one row a box, in order of frame, then track id; no ground position is an empty cell.

    Args:
        tracks: n boxes.
        times_s: (n,) seconds from the start of the recording, of every box.
    """
    boxes = np.round(tracks.xyxy.astype(np.float64), 2)
    ground = [pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(tracks.ground.T)]
    columns = [
        tracks.frame,
        np.round(times_s, 4),
        tracks.track_id,
        pa.array(CLASSES).take(pa.array(tracks.class_index)),
        np.round(tracks.score.astype(np.float64), 4),
        *(boxes[:, i] for i in range(4)),
        tracks.interpolated.astype(np.int8),
        *ground,
    ]
    return _csv(pa.table(dict(zip(_CSV_TYPES, columns, strict=True))))


def read_tracks_csv(data: bytes) -> TrackTable:
    """Read what `tracks_csv` wrote.

    Raises:
        InvalidInput: It is not such a file (code `bad_tracks_csv`).
    """
    try:
        options = pa_csv.ConvertOptions(column_types=_CSV_TYPES, include_columns=list(_CSV_TYPES))
        table = pa_csv.read_csv(io.BytesIO(data), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidInput(f"This is not a tracks.csv of Muster's: {error}.", code="bad_tracks_csv") from error
    column = {name: table[name].to_numpy() for name in _CSV_TYPES if name != "class"}
    names = pa_compute.index_in(table["class"].combine_chunks(), value_set=pa.array(CLASSES))
    if names.null_count:
        raise InvalidInput("This tracks.csv has a class that Muster does not know.", code="bad_tracks_csv")
    return TrackTable(
        frame=column["frame"],
        track_id=column["track_id"],
        class_index=names.to_numpy(zero_copy_only=False).astype(np.int8),
        xyxy=np.stack([column[name] for name in ("x1", "y1", "x2", "y2")], axis=1),
        score=column["score"],
        interpolated=column["interpolated"].astype(bool),
        ground=np.stack([column["ground_x"], column["ground_y"]], axis=1),
    )


def tracks_mot(tracks: TrackTable) -> bytes:
    """Write the tracks in MOTChallenge's format: frame from 1, id, left, top, width, height, score, three times -1."""
    boxes = np.round(tracks.xyxy.astype(np.float64), 2)
    none = np.full(len(tracks), -1, np.int8)
    columns = {
        "frame": tracks.frame + 1,
        "id": tracks.track_id,
        "left": boxes[:, 0],
        "top": boxes[:, 1],
        "width": np.round(boxes[:, 2] - boxes[:, 0], 2),
        "height": np.round(boxes[:, 3] - boxes[:, 1], 2),
        "score": np.round(tracks.score.astype(np.float64), 4),
        "x": none,
        "y": none,
        "z": none,
    }
    return _csv(pa.table(columns), header=False)


def timeline_csv(
    frames: npt.NDArray[np.int32],
    times_s: npt.NDArray[np.float64],
    status: npt.NDArray[np.uint8],
    visible: dict[str, npt.NDArray[np.int64]],
) -> bytes:
    """Write how many of each class are visible in every frame.

    A cell is empty in a frame that could not be read, and for a class that was not counted; 0 means that nobody was there.

    Args:
        frames, times_s, status: (n,) as in a detection log.
        visible: Per counted class (n,).
    """
    unreadable = status == STATUS_NAMES.index("unreadable")
    columns = {
        "frame": frames,
        "time_s": np.round(times_s, 4),
        "status": pa.array(STATUS_NAMES).take(pa.array(status)),
    }
    for name in CLASSES:
        columns[name] = pa.array(visible[name], mask=unreadable) if name in visible else pa.nulls(len(frames), pa.int64())
    return _csv(pa.table(columns))


def tracks_geojson(tracks: TrackTable, times_s: npt.NDArray[np.float64], unit: str | None) -> bytes:
    """Write the tracks' ways over the ground as GeoJSON (RFC 7946, so WGS84).

    Without a calibration in WGS84 there is nothing that GeoJSON could hold: the collection is empty and `note` says why.

    Args:
        tracks: n boxes, ground positions in degrees (longitude, latitude).
        times_s: (n,) time of every box.
        unit: The calibration's unit, None without one.
    """
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": []}
    if unit != "wgs84":
        place = "the calibration is in metres" if unit else "there is no calibration"
        collection["note"] = f"No positions on the map: {place}; give ground_points as longitude and latitude (unit wgs84)."
        return _json(collection, compact=True)
    known = ~np.isnan(tracks.ground[:, 0])
    rows = np.flatnonzero(known)[np.argsort(tracks.track_id[known], kind="stable")]
    ids, begins = np.unique(tracks.track_id[rows], return_index=True)
    for track_id, mine in zip(ids.tolist(), np.split(rows, begins[1:]), strict=True):
        way = tracks.ground[mine].tolist()
        geometry = {"type": "LineString", "coordinates": way} if len(way) > 1 else {"type": "Point", "coordinates": way[0]}
        properties = {
            "track_id": track_id,
            "class": CLASSES[tracks.class_index[mine[0]]],
            "first_time_s": round(float(times_s[mine[0]]), 4),
            "last_time_s": round(float(times_s[mine[-1]]), 4),
        }
        collection["features"].append({"type": "Feature", "geometry": geometry, "properties": properties})
    return _json(collection, compact=True)


def results_json(results: dict[str, Any]) -> bytes:
    """Write `results.json`."""
    return _json(results)


def _csv(table: pa.Table, *, header: bool = True) -> bytes:
    out = io.BytesIO()
    if header:
        out.write((",".join(table.column_names) + "\n").encode())
    pa_csv.write_csv(table, out, pa_csv.WriteOptions(include_header=False, quoting_style="none"))
    return out.getvalue()


def _json(data: Any, *, compact: bool = False) -> bytes:
    separators = (",", ":") if compact else None
    text = json.dumps(data, indent=None if compact else 2, separators=separators, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
