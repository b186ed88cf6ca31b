"""The table of tracks: numbered boxes with one class per track and short gaps closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from ml_engine.arrays import DetectionLog, TrackTable
from ml_engine.boxes import areas, intersections

LONGEST_GAP_S = 1.5
"""Longest gap of a track that is interpolated. The animal was present, but hidden or missed."""

HIDDEN_SHARE = 0.6
"""A doubtful box is not visible if this share of it is behind a clear one."""

_CHUNK_ROWS = 2048


def build(
    log: DetectionLog, scores: npt.NDArray[np.float32], ids: npt.NDArray[np.int32]
) -> TrackTable:
    """Build the table of tracks.

    Args:
        log: The detection log.
        scores: (m, 3) score of every box for every class of `CLASSES`.
        ids: (m,) track of every box; 0 for none.

    Returns:
        The table without ground positions, with gaps up to `LONGEST_GAP_S` interpolated. A track
        has the class with the greatest sum of scores. A box has the score for its track's class.
        Boxes are rounded to 0.01 px and scores to 0.0001, the precision of the result files.
    """
    rows = np.flatnonzero(ids)
    frame_row = np.repeat(np.arange(len(log.frames), dtype=np.int32), np.diff(log.offsets))[rows]
    order = np.lexsort((frame_row, ids[rows]))
    rows, frame_row = rows[order], frame_row[order]
    track_id = ids[rows]
    tracks = int(track_id.max(initial=0))
    votes = np.stack(
        [np.bincount(track_id, scores[rows, c], tracks + 1) for c in range(len(CLASSES))], axis=1
    )
    class_of = votes.argmax(axis=1).astype(np.int8)
    xyxy = log.xyxy[rows]
    score = scores[rows, class_of[track_id]]

    gap_id, gap_frame_row, gap_xyxy = _gaps(track_id, frame_row, xyxy, log.times_s)
    all_id = np.concatenate([track_id, gap_id])
    all_frame_row = np.concatenate([frame_row, gap_frame_row])
    interpolated = np.arange(len(all_id)) >= len(rows)
    order = np.lexsort((all_id, all_frame_row))
    all_id = all_id[order]
    return TrackTable(
        frame=log.frames[all_frame_row[order]],
        track_id=all_id,
        class_index=class_of[all_id],
        xyxy=_rounded(np.concatenate([xyxy, gap_xyxy])[order], 2),
        score=_rounded(np.concatenate([score, np.zeros(len(gap_id), np.float32)])[order], 4),
        interpolated=interpolated[order],
        ground=np.broadcast_to(np.nan, (len(order), 2)),
        ground_error_m=np.broadcast_to(np.nan, len(order)),
    )


def _rounded(values: npt.NDArray[np.float32], decimals: int) -> npt.NDArray[np.float32]:
    """Round in 64 bits, in chunks and in place."""
    for start in range(0, len(values), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        values[rows] = np.round(values[rows].astype(np.float64), decimals)
    return values


def _gaps(
    track_id: npt.NDArray[np.int32],
    frame_row: npt.NDArray[np.int32],
    xyxy: npt.NDArray[np.float32],
    times_s: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return track, frame row and box (k, 4) for every frame missing in a short gap.

    The input is in order of track, then frame.
    """
    before, after = frame_row[:-1], frame_row[1:]
    same = track_id[1:] == track_id[:-1]
    missing = np.where(
        same & (times_s[after] - times_s[before] <= LONGEST_GAP_S + 1e-9), after - before - 1, 0
    )
    left = np.repeat(np.arange(len(missing)), missing)
    step = np.arange(len(left)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    row = frame_row[left] + step
    start_s, end_s = times_s[frame_row[left]], times_s[frame_row[left + 1]]
    share = ((times_s[row] - start_s) / np.maximum(end_s - start_s, 1e-9)).astype(np.float32)[
        :, None
    ]
    return track_id[left], row, xyxy[left] * (1 - share) + xyxy[left + 1] * share


def select(table: TrackTable, keep: npt.NDArray[np.bool_]) -> TrackTable:
    """Return the rows of `keep` (n,), with tracks renumbered from 1 in their old order."""
    present = np.unique(table.track_id[keep])
    if keep.all() and len(present) == present.max(initial=0):
        return table
    return replace(
        table,
        frame=table.frame[keep],
        track_id=(np.searchsorted(present, table.track_id[keep]) + 1).astype(np.int32),
        class_index=table.class_index[keep],
        xyxy=table.xyxy[keep],
        score=table.score[keep],
        interpolated=table.interpolated[keep],
        ground=table.ground[keep],
        ground_error_m=table.ground_error_m[keep],
    )


def hidden(table: TrackTable, doubtful: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) are doubtful and mostly covered by the clear box of another track.

    Such an animal is not visible, or it does not exist: the other track may be the same animal
    under a new number.

    Args:
        table: The tracks.
        doubtful: (n,) bool: interpolated, or seen with a score below the threshold.
    """
    result = np.zeros(len(table), bool)
    # In chunks: all pairs of a long recording would take most of the memory that assembly needs.
    for rows in np.array_split(np.flatnonzero(doubtful), 1 + int(doubtful.sum()) // _CHUNK_ROWS):
        result[rows] = _covered(table, rows, doubtful)
    return result


def _covered(
    table: TrackTable, guessed: npt.NDArray[np.intp], doubtful: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which of the rows `guessed` are mostly covered by a box that is not doubtful."""
    result = np.zeros(len(guessed), bool)
    begin = np.searchsorted(table.frame, table.frame[guessed], side="left")
    size = np.searchsorted(table.frame, table.frame[guessed], side="right") - begin
    pair = np.repeat(np.arange(len(guessed)), size)
    other = np.arange(len(pair)) - np.repeat(np.cumsum(size) - size, size) + begin[pair]
    clear = ~doubtful[other]
    pair, other = pair[clear], other[clear]
    mine = table.xyxy[guessed[pair]]
    covered = intersections(mine, table.xyxy[other]) >= HIDDEN_SHARE * np.maximum(areas(mine), 1e-6)
    result[pair[covered]] = True
    return result
