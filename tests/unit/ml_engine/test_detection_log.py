"""The detection log's file."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import PermanentError
from ml_engine.arrays import Detections, FrameRecord
from ml_engine.detection.log import concat, read_grey_pictures, read_log, write_log


def some(count: int, seed: int, embeddings: int = 0) -> Detections:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (count, 2))
    xyxy = np.concatenate([corner, corner + 10], axis=1).astype(np.float32)
    vectors = rng.normal(size=(count, embeddings)).astype(np.float16) if embeddings else None
    return Detections(xyxy, rng.uniform(0.05, 1, (count, 4)).astype(np.float32), vectors)


def records(first: int = 0, embeddings: int = 0) -> list[FrameRecord]:
    motion = np.array([[1, 0, 2.5], [0, 1, -1], [0, 0, 1]])
    return [
        FrameRecord(first, 0.1 * first, "detected", some(2, 1, embeddings), None, "first_frame"),
        FrameRecord(first + 1, 0.1 * (first + 1), "skipped", Detections.empty()),
        FrameRecord(first + 2, 0.1 * (first + 2), "unreadable", Detections.empty()),
        FrameRecord(first + 3, 0.1 * (first + 3), "detected", some(0, 2, embeddings), motion, None),
        FrameRecord(first + 4, 0.1 * (first + 4), "detected", some(3, 3, embeddings)),
    ]


@pytest.mark.parametrize("embeddings", [0, 7])
def test_what_is_written_is_read(embeddings: int) -> None:
    given = records(40, embeddings)
    log = read_log(write_log(given, first_grey_png=b"one", last_grey_png=None))
    assert log.frames.dtype == np.int32 and log.frames.tolist() == [40, 41, 42, 43, 44]
    assert log.times_s.tolist() == [record.time_s for record in given]
    assert log.status.dtype == np.uint8 and log.status.tolist() == [0, 1, 2, 0, 0]
    assert log.offsets.dtype == np.int64 and log.offsets.tolist() == [0, 2, 2, 2, 2, 5]
    for written, part in ((given[0], slice(0, 2)), (given[4], slice(2, 5))):
        assert np.array_equal(log.xyxy[part], written.detections.xyxy)
        assert np.array_equal(log.scores[part], written.detections.scores)
        if embeddings:
            assert log.embeddings is not None and log.embeddings.dtype == np.float16
            assert written.detections.embeddings is not None
            assert np.array_equal(log.embeddings[part], written.detections.embeddings)
    assert (log.xyxy.dtype, log.scores.dtype, log.xyxy.shape, log.scores.shape) == (
        np.float32,
        np.float32,
        (5, 4),
        (5, 4),
    )
    assert (log.embeddings is None) == (not embeddings)
    assert given[3].motion is not None and np.array_equal(log.motion[3], given[3].motion)
    assert np.isnan(log.motion[[0, 1, 2, 4]]).all()
    assert log.motion_reasons == ("first_frame", "not_measured", "not_measured", "", "not_measured")


def test_pictures_and_size_travel_along() -> None:
    log = read_log(
        write_log(
            records(), first_grey_png=b"one", last_grey_png=b"two", resolution_wh=(1920, 1080)
        )
    )
    assert (log.first_grey_png, log.last_grey_png, log.resolution_wh) == (
        b"one",
        b"two",
        (1920, 1080),
    )
    bare = read_log(write_log(records()))
    assert (bare.first_grey_png, bare.last_grey_png, bare.resolution_wh) == (None, None, None)
    both = concat([log, read_log(write_log(records(5), last_grey_png=b"four"))])
    assert (both.first_grey_png, both.last_grey_png, both.resolution_wh) == (
        b"one",
        b"four",
        (1920, 1080),
    )


def test_a_border_without_pictures_keeps_its_reason_and_a_broken_picture_is_named() -> None:
    first = read_log(
        write_log(
            records(), first_grey_png=b"x", last_grey_png=b"no picture", resolution_wh=(64, 48)
        )
    )
    assert concat([first, read_log(write_log(records(5)))]).motion_reasons[5] == "first_frame"
    other_size = read_log(write_log(records(5), first_grey_png=b"x", resolution_wh=(48, 64)))
    assert concat([first, other_size]).motion_reasons[5] == "cut"
    with pytest.raises(PermanentError, match="not a PNG") as caught:
        concat(
            [
                first,
                read_log(
                    write_log(records(5), first_grey_png=b"no picture", resolution_wh=(64, 48))
                ),
            ]
        )
    assert caught.value.code == "corrupt_detection_log"


def test_pictures_can_be_read_alone() -> None:
    assert read_grey_pictures(
        write_log(records(), first_grey_png=b"\x89PNG one", last_grey_png=None)
    ) == (b"\x89PNG one", None)


def test_same_records_same_bytes() -> None:
    assert write_log(records(), first_grey_png=b"a", last_grey_png=b"b") == write_log(
        records(), first_grey_png=b"a", last_grey_png=b"b"
    )


def test_logs_of_segments_are_put_together_in_order() -> None:
    parts = [read_log(write_log(records(5))), read_log(write_log(records(0)))]
    log = concat(parts)
    assert log.frames.tolist() == list(range(10))
    assert log.offsets.tolist() == [0, 2, 2, 2, 2, 5, 7, 7, 7, 7, 10]
    assert np.array_equal(log.xyxy[5:], parts[0].xyxy)
    assert len(log.motion_reasons) == 10 and log.motion.shape == (10, 3, 3)


@pytest.mark.parametrize("starts", [[], [0, 6], [0, 4], [0, 0]])
def test_gaps_and_repeats_are_refused(starts: list[int]) -> None:
    with pytest.raises(PermanentError) as caught:
        concat([read_log(write_log(records(start))) for start in starts])
    assert caught.value.code == "incomplete_detection_log"


def test_embeddings_of_some_segments_only_are_left_out() -> None:
    assert (
        concat([read_log(write_log(records(0, 4))), read_log(write_log(records(5)))]).embeddings
        is None
    )
    both = concat(
        [read_log(write_log(records(0, 4))), read_log(write_log(records(5, 4)))]
    ).embeddings
    assert both is not None and both.shape == (10, 4)


def test_empty_frames_make_a_log_too() -> None:
    log = read_log(write_log([FrameRecord(3, 0.5, "unreadable", Detections.empty())]))
    assert (
        log.offsets.tolist() == [0, 0] and log.xyxy.shape == (0, 4) and log.scores.shape == (0, 4)
    )


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "flipped", "foreign"])
def test_corrupt_bytes_are_named(damage: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = write_log(records())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"frame": [1]}), sink)
    middle = len(data) // 2
    bad = {
        "empty": b"",
        "text": b"frame,time\n0,0\n",
        "truncated": data[: len(data) - 40],
        "flipped": data[: middle - 300] + bytes(600) + data[middle + 300 :],
        "foreign": sink.getvalue().to_pybytes(),
    }[damage]
    with pytest.raises(PermanentError, match="detect again") as caught:
        read_log(bad)
    assert caught.value.code == "corrupt_detection_log"
