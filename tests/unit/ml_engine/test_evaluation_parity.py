"""HOTA, MOTA and IDF1 are those of the PyPI package `trackeval`, on every MOT sequence at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ml_engine.evaluation.mot_sequences import assembled, read_sequence, score_table
from tests.support.trackeval_reference import reference_figures

DATA = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[4] / "shared") / "data"
SEQUENCES = sorted((DATA / "mot").glob("*/*/seqinfo.ini")) if DATA.is_dir() else []


@pytest.mark.skipif(not SEQUENCES, reason="no MOT sequences in the shared data folder")
@pytest.mark.parametrize("path", [path.parent for path in SEQUENCES], ids=lambda path: path.name)
def test_figures_equal_those_of_trackeval(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackeval", reason="trackeval is not installed")
    sequence = read_sequence(path)
    tracks = assembled(sequence).tracks
    ours = score_table(sequence, tracks)
    theirs = reference_figures(
        path,
        tmp_path,
        tracks.frame,
        tracks.track_id,
        tracks.xyxy,
        with_classes=bool(np.any(sequence.truth.distractor)) or "MOT17" in path.name,
    )
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, abs=0.01)
