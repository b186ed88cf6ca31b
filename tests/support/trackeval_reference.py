"""What the PyPI package `trackeval` says of tracks: the figures that Muster's own must equal."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt


def _lay_out(
    sequence_dir: Path,
    work_dir: Path,
    frame: npt.NDArray[np.integer],
    track_id: npt.NDArray[np.integer],
    xyxy: npt.NDArray[np.floating],
) -> None:
    """Lay truth and tracks out in folders as TrackEval reads them."""
    name = sequence_dir.name
    (work_dir / "gt" / name).mkdir(parents=True)
    (work_dir / "gt" / name / "gt").symlink_to(sequence_dir / "gt")
    (work_dir / "gt" / name / "seqinfo.ini").symlink_to(sequence_dir / "seqinfo.ini")
    tracks = work_dir / "trackers" / "ours" / "data"
    tracks.mkdir(parents=True)
    rows = np.column_stack(
        [frame + 1, track_id, xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], np.ones((len(frame), 1))]
    ).astype(np.float64)
    whole = np.column_stack([rows, np.full((len(rows), 3), -1)])
    np.savetxt(tracks / f"{name}.txt", whole, delimiter=",", fmt="%.9g")


def reference_figures(
    sequence_dir: Path,
    work_dir: Path,
    frame: npt.NDArray[np.integer],
    track_id: npt.NDArray[np.integer],
    xyxy: npt.NDArray[np.floating],
    *,
    with_classes: bool,
) -> dict[str, float]:
    """Return HOTA, AssA, DetA, MOTA, IDF1 (0 to 100) and IDSW.

    Args:
        sequence_dir: Folder with `gt/gt.txt` and `seqinfo.ini`. work_dir: an empty folder to work
            in.
        frame: (n,) from 0. track_id: (n,). xyxy: (n, 4) px.
        with_classes: The truth has a class column, and MOT17's rule for distractors holds; else it
            is read as MOT15's.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from trackeval.datasets import MotChallenge2DBox
        from trackeval.metrics import CLEAR, HOTA, Identity

        name = sequence_dir.name
        _lay_out(sequence_dir, work_dir, frame, track_id, xyxy)
        dataset = MotChallenge2DBox(
            {
                "GT_FOLDER": str(work_dir / "gt"),
                "TRACKERS_FOLDER": str(work_dir / "trackers"),
                "BENCHMARK": "MOT17" if with_classes else "MOT15",
                "SEQ_INFO": {name: None},
                "SKIP_SPLIT_FOL": True,
                "PRINT_CONFIG": False,
                "TRACKERS_TO_EVAL": ["ours"],
            }
        )
        data = dataset.get_preprocessed_seq_data(
            dataset.get_raw_seq_data("ours", name), "pedestrian"
        )
        hota, clear, identity = (
            HOTA(),
            CLEAR({"PRINT_CONFIG": False}),
            Identity({"PRINT_CONFIG": False}),
        )
        parts = (hota.eval_sequence(data), clear.eval_sequence(data), identity.eval_sequence(data))
    figures = {key: 100 * float(np.mean(parts[0][key])) for key in ("HOTA", "AssA", "DetA")}
    return {
        **figures,
        "MOTA": 100 * float(parts[1]["MOTA"]),
        "IDSW": float(parts[1]["IDSW"]),
        "IDF1": 100 * float(parts[2]["IDF1"]),
    }
