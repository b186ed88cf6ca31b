"""The films and the telemetry that the installation was given."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

FRAMES, SEGMENT_FRAMES, FPS = 24, 6, 25
SRT = "".join(
    f"{i + 1}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n[latitude: 48.{1000 + i}] [longitude: 11.5] [rel_alt: 40.0 abs_alt: 540.0]\n\n"
    for i in range(2)
)


def write_films(base: Path) -> None:
    """Write them into a folder."""
    import av

    from tests.stack import SAMPLE
    from tests.video_samples import write_video

    with av.open(str(SAMPLE)) as container:
        pictures = [
            frame.to_ndarray(format="bgr24")
            for frame in itertools.islice(container.decode(video=0), FRAMES)
        ]
    whole = [picture[::2, ::2] for picture in pictures]
    # The only person stands further to the left.
    part = [picture[:400, 560:] for picture in pictures[: FRAMES // 2]]
    for name, film in (("film.mp4", whole), ("without_persons.mp4", part)):
        height, width = film[0].shape[:2]
        options: dict[str, Any] = {
            "frames": len(film),
            "width": width,
            "height": height,
            "fps": FPS,
            "gop": SEGMENT_FRAMES,
        }
        write_video(
            base / name,
            **options,
            image=film.__getitem__,
            options={"crf": "24", "preset": "veryfast"},
        )
    (base / "film.srt").write_text(SRT)
