"""Longer recordings made of the sample, without encoding anything again."""

from __future__ import annotations

from pathlib import Path

import av


def repeat_video(source: Path, target: Path, times: int) -> None:
    """Write a video that shows another one so many times, its packets copied.

    Args:
        source: MP4 whose first packet is a keyframe.
        target: Where to, MP4.
        times: How often.
    """
    with av.open(str(source)) as first:
        length = max(
            packet.pts + (packet.duration or 0)
            for packet in first.demux(video=0)
            if packet.pts is not None
        )
    with av.open(str(target), "w") as out, av.open(str(source)) as template:
        stream = out.add_stream_from_template(template.streams.video[0])
        for number in range(times):
            with av.open(str(source)) as again:
                for packet in again.demux(video=0):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += number * length
                    packet.dts += number * length
                    packet.stream = stream
                    out.mux(packet)
