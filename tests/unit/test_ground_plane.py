"""Foot points on the ground."""

from __future__ import annotations

import numpy as np

from core.domain.analysis import CalibrationSettings
from ml_engine.ground_plane import describe, projection, with_ground
from tests.logs import tracks_of

# Seen straight from above: 100 px are 10 m, and rows count southwards.
ABOVE = CalibrationSettings(
    image_points=((0, 0), (400, 0), (400, 400), (0, 400), (200, 300)), ground_points=((0, 40), (40, 40), (40, 0), (0, 0), (20, 10))
)


def test_the_bottom_centre_of_a_box_is_where_the_animal_stands() -> None:
    tracks = with_ground(tracks_of({1: {0: (100, 300), 1: (110, 250)}}), projection(ABOVE))
    np.testing.assert_allclose(tracks.ground, [[10, 10], [11, 15]], atol=1e-3)


def test_without_a_calibration_there_is_no_ground() -> None:
    tracks = tracks_of({1: {0: (100, 300)}})
    assert with_ground(tracks, projection(None)) is tracks
    assert describe(None) is None


def test_what_results_say() -> None:
    told = describe(projection(ABOVE))
    assert (told["unit"], told["pairs"], told["pairs_left_out"], told["origin"]) == ("m", 5, [], None)
    assert told["residual_rms_m"] < 1e-4 and told["residual_max_m"] < 1e-4
    np.testing.assert_allclose(np.array(told["matrix"]) @ [100, 300, 1], [10, 10, 1], atol=1e-6)
