"""Result files: what other tools read, down to the byte."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest

from core.domain.analysis import MusterClass
from core.errors import InvalidInput
from ml_engine.results.tables import read_tracks_csv, timeline_csv, tracks_csv, tracks_mot
from tests.support.logs import tracks_of

TIMES_S = np.array([0.0, 0.0, 1 / 30])


@pytest.fixture
def tracks():
    table = tracks_of(
        {1: {0: (100, 200), 1: (101, 200)}, 2: {0: (300.25, 220)}},
        muster_class={1: "bison", 2: "person"},
    )
    ground = np.array([[5.123, 45.5], [np.nan, np.nan], [5.124, 45.6]])
    interpolated, score = np.array([False, False, True]), np.array([0.9, 0.8765, 0], np.float32)
    error_m = np.array([1.25, np.nan, 0.5])
    return replace(
        table, ground=ground, ground_error_m=error_m, interpolated=interpolated, score=score
    )


def test_tracks_csv(tracks) -> None:
    assert tracks_csv(tracks, TIMES_S).decode().splitlines() == [
        "frame,time_s,track_id,class,score,x1,y1,x2,y2,interpolated,ground_x,ground_y,ground_error_m",
        "0,0,1,bison,0.9,80,140,120,200,0,5.123,45.5,1.25",
        "0,0,2,person,0.8765,280.25,160,320.25,220,0,,,",
        "1,0.0333,1,bison,0,81,140,121,200,1,5.124,45.6,0.5",
    ]


def test_tracks_csv_read_back(tracks) -> None:
    for table in (tracks, tracks_of({})):
        back = read_tracks_csv(tracks_csv(table, np.zeros(len(table))))
        for field in fields(table):
            one, other = getattr(table, field.name), getattr(back, field.name)
            assert (one.dtype, one.shape) == (other.dtype, other.shape), field.name
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"frame,time_s\n0"])
def test_not_a_tracks_csv(data: bytes) -> None:
    with pytest.raises(InvalidInput) as error:
        read_tracks_csv(data)
    assert error.value.code == "bad_tracks_csv"


def test_an_unknown_class(tracks) -> None:
    with pytest.raises(InvalidInput):
        read_tracks_csv(tracks_csv(tracks, TIMES_S).replace(b"person", b"dragon"))


def test_mot(tracks) -> None:
    assert tracks_mot(tracks).decode().splitlines() == [
        "1,1,80,140,40,60,0.9,-1,-1,-1",
        "1,2,280.25,160,40,60,0.8765,-1,-1,-1",
        "2,1,81,140,40,60,0,-1,-1,-1",
    ]


def test_timeline_tells_nobody_from_unreadable() -> None:
    visible: dict[MusterClass, npt.NDArray[np.int64]] = {
        "cattle": np.array([2, 0, 1]),
        "person": np.array([0, 0, 0]),
    }
    data = timeline_csv(
        np.arange(3, dtype=np.int32), np.arange(3) / 10, np.array([0, 0, 2], np.uint8), visible
    )
    assert data.decode().splitlines() == [
        "frame,time_s,status,bison,cattle,person",
        "0,0,detected,,2,0",
        "1,0.1,detected,,0,0",
        "2,0.2,unreadable,,,",
    ]
