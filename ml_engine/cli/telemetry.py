"""The telemetry of a recording on this machine.

It is in files that the user names, else in files beside the videos, else in tracks of the videos.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidTelemetry
from core.telemetry import LIMIT_BYTES, Remark, Telemetry, joined, parse_srt

if TYPE_CHECKING:
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

logger = logging.getLogger(__name__)

NO_TELEMETRY = ("telemetry_not_dji", "telemetry_not_srt", "telemetry_empty")
"""Codes of subtitles that are not telemetry at all."""


def recording_telemetry(
    videos: Sequence[Path],
    starts_s: Sequence[float],
    given: Sequence[Path],
    decoder: ConfinedDecoder,
) -> Telemetry | None:
    """Read the telemetry of a recording.

    Telemetry that the user did not name and that cannot be used only causes a warning.

    Args:
        videos: The recording's files, in order.
        starts_s: Start of each file in the recording.
        given: Files of telemetry: one for each video in the same order, or named as their videos;
            empty to look for them.
        decoder: Decoder of tracks in the videos.

    Returns:
        Times from the start of the recording; None without telemetry.

    Raises:
        InvalidTelemetry: A named file has no telemetry, or its video is ambiguous.
        OSError: A named file cannot be opened.
    """
    named = _paired(videos, given) if given else {}
    parts, begins, remarks = [], [], []
    for number, video in enumerate(videos):
        try:
            found = (
                _named(named[number])
                if number in named
                else None
                if given
                else _found(video, decoder)
            )
        except InvalidTelemetry as error:
            if given:
                raise
            remarks.append(
                Remark(error.code, f"The telemetry of {video.name} is not used: {error.message}")
            )
            continue
        if found is not None:
            parts.append(found)
            begins.append(starts_s[number])
    if not parts:
        return Telemetry.nothing(tuple(remarks)) if remarks else None
    telemetry = joined(parts, begins)
    return replace(telemetry, warnings=(*telemetry.warnings, *remarks))


def _paired(videos: Sequence[Path], given: Sequence[Path]) -> dict[int, Path]:
    """Return the telemetry file of every video by the video's number."""
    if len(given) == len(videos):
        return dict(enumerate(given))
    stems = [video.stem.casefold() for video in videos]
    paired = {
        stems.index(path.stem.casefold()): path for path in given if path.stem.casefold() in stems
    }
    if len(paired) != len(given):
        raise InvalidTelemetry(
            "The telemetry cannot be assigned to a video."
            " Name it like its video, or give one file for each video, in order.",
            code="telemetry_unmatched",
        )
    return paired


def _named(path: Path) -> Telemetry:
    with path.open("rb") as file:
        return parse_srt(file.read(LIMIT_BYTES + 1))


def _found(video: Path, decoder: ConfinedDecoder) -> Telemetry | None:
    """Return the telemetry beside a video or in it."""
    beside = sorted(
        path
        for path in video.parent.iterdir()
        if path.stem == video.stem and path.suffix.casefold() == ".srt"
    )
    where = beside[0].name if beside else f"a track in {video.name}"
    data = beside[0].read_bytes() if beside else decoder.read_telemetry_track(video)
    if data is None:
        return None
    try:
        telemetry = parse_srt(data)
    except InvalidTelemetry as error:
        if error.code in NO_TELEMETRY and not beside:
            return None
        raise
    logger.info(
        "telemetry found",
        extra={
            "action": "telemetry_found",
            "where": where,
            "dialect": telemetry.dialect,
            "records": len(telemetry),
        },
    )
    print(f"telemetry: {where} ({telemetry.dialect}, {len(telemetry)} records)")
    return telemetry
