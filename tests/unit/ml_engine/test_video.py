"""Every frame is the one that the index says it is, in every container, from wherever decoding
begins.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ml_engine.video.decode import VideoIndex, decode, probe
from tests.support.video_samples import (
    cut_bytes,
    damage,
    number_in,
    picture,
    trim_with_edit_list,
    write_video,
)

OPEN_GOP = {"x264-params": "open-gop=1:b-adapt=0", "preset": "fast"}
QUIET_X265 = {"x265-params": "log-level=none"}


def numbers(
    path: Path,
    index: VideoIndex,
    first_frame: int = 0,
    seek_pts: int | None = None,
    threads: int = 2,
) -> list[int | None]:
    items = list(
        decode(
            path,
            index,
            first_frame=first_frame,
            frames=index.frames - first_frame,
            seek_pts=seek_pts,
            threads=threads,
        )
    )
    assert [item.file_frame for item in items] == list(range(first_frame, index.frames))
    return [None if item.image_bgr is None else number_in(item.image_bgr) for item in items]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "libx264", "yuv422p"),
        ("a.mkv", "libx264", "yuv420p10le"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.avi", "libx264", "yuv420p"),
        ("a.mpg", "libx264", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p"),
        ("a.ts", "libx265", "yuv420p10le"),
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mpg", "mpeg2video", "yuv420p"),
        ("a.mkv", "libvpx", "yuv420p"),
        ("a.mkv", "ffv1", "yuv444p"),
    ],
)
def test_all_frames_in_order(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = write_video(
        tmp_path / name,
        codec=codec,
        pix_fmt=pix_fmt,
        options=QUIET_X265 if codec == "libx265" else None,
    )
    index = probe(path)
    assert (index.frames, index.width_px, index.height_px, index.fps) == (60, 128, 96, Fraction(30))
    assert index.duration_s == pytest.approx(2.0, abs=0.002)
    assert np.all(np.diff(index.pts) > 0) and index.pts.dtype == np.int64
    assert numbers(path, index) == list(range(60))


def test_pictures_are_as_displayed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", codec="libx264", options={"crf": "5"})
    image = next(decode(path, probe(path))).image_bgr
    assert (
        image is not None
        and image.shape == (96, 128, 3)
        and image.dtype == np.uint8
        and image.flags.c_contiguous
    )
    assert np.abs(image.astype(int) - picture(0)).mean() < 6
    image[:] = 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("options", [{}, OPEN_GOP], ids=["closed", "open"])
def test_same_pictures_from_every_keyframe(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, b_frames=3, options=options)
    index = probe(path)
    assert index.keyframes.tolist() == [0, 12, 24, 36, 48]
    whole = [item.image_bgr for item in decode(path, index, threads=2)]
    for keyframe in index.keyframes[1:].tolist():
        seek_pts = int(index.pts[keyframe])
        part = [
            item.image_bgr
            for item in decode(path, index, first_frame=keyframe, seek_pts=seek_pts, threads=1)
        ]
        assert all(
            a is not None and b is not None and np.array_equal(a, b)
            for a, b in zip(part, whole[keyframe:], strict=True)
        )


def test_segments_share_out_leading_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", b_frames=3, options=OPEN_GOP)
    index = probe(path)
    first = [
        number_in(f.image_bgr)
        for f in decode(path, index, first_frame=0, frames=24)
        if f.image_bgr is not None
    ]
    second = decode(path, index, first_frame=24, frames=12, seek_pts=int(index.pts[24]))
    assert first + [number_in(f.image_bgr) for f in second if f.image_bgr is not None] == list(
        range(36)
    )


def test_gradual_refresh_is_no_place_to_begin(tmp_path: Path) -> None:
    for name in ("a.ts", "a.mp4"):
        path = write_video(tmp_path / name, b_frames=0, options={"x264-params": "intra-refresh=1"})
        index = probe(path)
        assert index.keyframes.tolist() == [0]
        assert numbers(path, index) == list(range(60))


def test_edit_list_hides_frames(tmp_path: Path) -> None:
    path = trim_with_edit_list(
        write_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", start_pts=7 * 512
    )
    with av.open(str(path)) as container:
        assert sum(p.size > 0 for p in container.demux(video=0)) == 60
    index = probe(path)
    assert (index.frames, index.keyframes.tolist()) == (53, [0, 5, 17, 29, 41])
    assert numbers(path, index) == list(range(7, 60))
    assert numbers(path, index, 17, int(index.pts[17])) == list(range(24, 60))


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [Fraction(n * n, 3000) + Fraction(n, 60) for n in range(60)]
    path = write_video(tmp_path / "a.mp4", times=times)
    index = probe(path)
    assert (index.pts - index.pts[0]) * float(index.time_base) == pytest.approx(
        [float(t) for t in times], abs=1e-4
    )
    assert float(index.fps) == pytest.approx(59 / float(times[-1]), rel=1e-3)
    assert numbers(path, index) == list(range(60))


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_frame_rate_is_exact(tmp_path: Path, name: str, fps: Fraction) -> None:
    assert probe(write_video(tmp_path / name, fps=fps)).fps == fps


def corner(quarter: tuple[int, int]) -> np.ndarray:
    image = np.full((64, 96, 3), 30, np.uint8)
    y, x = quarter[0] * 32, quarter[1] * 48
    image[y : y + 32, x : x + 48] = 220
    return image


@pytest.mark.parametrize(
    ("stored_ccw", "mirrored", "size", "bright"),
    [
        (270, False, (64, 96), (0, 1)),
        (180, False, (96, 64), (1, 1)),
        (90, False, (64, 96), (1, 0)),
        (0, True, (96, 64), (0, 1)),
    ],
)
def test_rotation_is_applied(
    tmp_path: Path, stored_ccw: int, mirrored: bool, size: tuple[int, int], bright: tuple[int, int]
) -> None:
    """The top left quarter is bright as stored; where it lands after the turn that a player makes
    is known.
    """
    path = write_video(
        tmp_path / "a.mp4",
        frames=3,
        width=96,
        height=64,
        rotation_deg=stored_ccw,
        mirrored=mirrored,
        image=lambda _: corner((0, 0)),
    )
    index = probe(path)
    assert (index.width_px, index.height_px) == size and index.mirrored == mirrored
    with av.open(str(path)) as container:
        assert index.rotation_deg == -next(container.decode(video=0)).rotation % 360 or mirrored
    image = next(decode(path, index)).image_bgr
    assert image is not None and image.shape == (size[1], size[0], 3)
    y, x = (image.shape[0] // 4 * (1 + 2 * bright[0]), image.shape[1] // 4 * (1 + 2 * bright[1]))
    assert image[y, x].mean() > 180 and image.mean() < 110


@pytest.mark.parametrize(
    ("width", "height", "codec"),
    [(1, 1, "mpeg4"), (1, 1, "ffv1"), (127, 95, "mpeg4"), (3, 2, "ffv1")],
)
def test_odd_and_tiny_sizes(tmp_path: Path, width: int, height: int, codec: str) -> None:
    grey = np.full((height, width, 3), 120, np.uint8)
    path = write_video(
        tmp_path / "a.mkv", frames=5, width=width, height=height, codec=codec, image=lambda _: grey
    )
    index = probe(path)
    images = [item.image_bgr for item in decode(path, index)]
    assert index.frames == 5 and all(
        i is not None and i.shape == (height, width, 3) and abs(i.mean() - 120) < 8 for i in images
    )


@pytest.mark.parametrize("options", [{}, OPEN_GOP], ids=["closed", "open"])
def test_stream_cut_in_the_middle_counts_what_can_be_shown(
    tmp_path: Path, options: dict[str, str]
) -> None:
    whole = write_video(tmp_path / "a.ts", b_frames=3, options=options)
    index = probe(path := cut_bytes(whole, tmp_path / "b.ts", start=0.31))
    with av.open(str(path)) as container:
        assert sum(p.size > 0 for p in container.demux(video=0)) > index.frames
    assert numbers(path, index) == list(range(60 - index.frames, 60))
    assert index.frames == 36


def test_joined_streams_are_told_by_order(tmp_path: Path) -> None:
    part = write_video(tmp_path / "a.ts", frames=200)
    path = tmp_path / "b.ts"
    path.write_bytes(part.read_bytes() * 2)
    index = probe(path)
    assert index.by_order and index.keyframes.tolist() == [0]
    assert numbers(path, index) == [n % 200 for n in range(400)]
    assert index.duration_s == pytest.approx(400 / 30)


def test_frames_lost_without_timestamps_leave_a_gap(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", frames=60)
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    start = data.index(packets[15])
    path = damage(
        whole, tmp_path / "b.avi", ranges=[(start + 4, sum(len(p) + 8 for p in packets[15:20]))]
    )
    index = probe(path)
    found = numbers(path, index)
    assert index.by_order and len(found) == index.frames
    lost = 60 - index.frames
    assert found[:10] == list(range(10)) and found[-10:] == list(range(50, 60))
    assert None in found or lost > 0


def test_damage_in_the_middle_costs_only_what_it_hit(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4")
    middle = whole.stat().st_size // 3
    path = damage(whole, tmp_path / "b.mp4", ranges=[(middle, 300)])
    index = probe(path)
    found = numbers(path, index, threads=2)
    assert index.frames == 60 and found == numbers(path, index, threads=1)
    assert found[:12] == list(range(12)) and found[36:] == list(range(36, 60))
    assert 1 <= found.count(None) <= 24


def test_a_damaged_beginning_keeps_its_indices(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4")
    path = damage(whole, tmp_path / "b.mp4", ranges=[(60, 1200)])
    found = numbers(path, probe(path))
    assert len(found) == 60 and found[0] is None and found[12:] == list(range(12, 60))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {}), ("a.avi", {}), ("a.ts", {})],
)
def test_a_cut_off_end_yields_what_is_there(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    whole = write_video(tmp_path / name, frames=200, codec="mpeg4", container_options=options)
    path = cut_bytes(whole, tmp_path / f"b-{name}", end=0.6)
    index = probe(path)
    found = numbers(path, index)
    assert 20 < index.frames < 200 and found[:-4] == list(range(index.frames - 4))


def test_a_vanished_tail_is_unreadable(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv")
    index = probe(path)
    found = numbers(cut_bytes(path, tmp_path / "b.mkv", end=0.5), index)
    assert len(found) == 60 and found[:20] == list(range(20)) and found[-20:] == [None] * 20


def test_a_run_outside_the_file_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=10)
    with pytest.raises(ValueError, match="file of 10"):
        next(decode(path, probe(path), first_frame=5, frames=6))


def test_sound_and_names_do_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", audio=True)
    named = path.rename(tmp_path / "ku\u0308he %d: ¡olé!.txt")
    assert numbers(named, probe(named)) == list(range(60))


def test_real_clips(shared_dir: Path) -> None:
    herd = probe(shared_dir / "data" / "clips" / "cow-herd-pasture.mp4")
    assert (herd.frames, herd.width_px, herd.height_px) == (1011, 640, 360)
    people = probe(shared_dir / "data" / "clips" / "people-one-by-one.mp4")
    assert (people.frames, people.width_px, people.height_px, people.fps) == (1394, 768, 432, 10)
