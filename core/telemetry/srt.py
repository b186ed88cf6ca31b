"""The reader of subtitle files with telemetry.

Impossible values are left out and reported. Files without telemetry are refused.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from core.errors import InvalidTelemetry
from core.telemetry.cue import Cue
from core.telemetry.record import COLUMNS, Remark, Telemetry, wrapped

Array = npt.NDArray[np.float64]

LIMIT_BYTES = 64 * 2**20
"""Size of an hour of telemetry at 60 cues per second with 300 bytes each."""
LIMIT_CUES = 500_000
LONGEST_CUE = 4000
"""Characters of a cue that are read. Drones write some hundreds, a hostile file millions."""
BUDGET_S = 5.0
BUDGET_S_PER_MIB = 3.0
"""Processor time that reading may take. Files of drones take 0.3 to 0.5 s per MiB on a small
machine.
"""
FARTHEST_DEG = 0.5
"""Largest distance of a position from the middle of the flight. Drones do not fly farther, so a
position beyond it is a receiver error.
"""
RANGES = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "height_m": (-1000.0, 6000.0),
    "altitude_m": (-1000.0, 10_000.0),
    "yaw_deg": (-360.0, 360.0),
    "pitch_deg": (-180.0, 180.0),
    "roll_deg": (-360.0, 360.0),
    "focal_length_mm": (1.0, 2000.0),
    "zoom": (0.5, 500.0),
    "f_number": (0.5, 64.0),
}
_ARROW = "-->"
_TIMING = re.compile(
    r"(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})\s{0,8}-->\s{0,8}\d{1,3}:\d{1,2}:\d{1,2}[,.]\d{1,3}"
)
_AROUND = 32
"""Characters before and after an arrow that `_TIMING` may match."""


def _go_on() -> None:
    """Do nothing: a check that never ends the reading."""


def parse_srt(
    data: bytes,
    check: Callable[[], None] = _go_on,
    *,
    clock: Callable[[], float] = time.thread_time,
) -> Telemetry:
    """Read DJI's telemetry from a subtitle file.

    Broken cues, values out of range and positions without a fix are left out and reported in
    `warnings`.

    Args:
        data: The file's bytes: UTF-8 with or without a byte-order mark, or UTF-16 with one.
        check: Called between cues; an exception of it ends the reading.
        clock: Returns the seconds that reading has taken; default: this thread's processor time.

    Returns:
        At least one record.

    Raises:
        InvalidTelemetry: Codes `telemetry_too_large`, `telemetry_empty`, `telemetry_not_srt`
            (without any cue), `telemetry_not_dji` (no cue has values of a drone),
            `telemetry_too_slow` (it takes longer than a file of its size may).
    """
    if len(data) > LIMIT_BYTES:
        raise InvalidTelemetry(
            f"A telemetry file has at most {LIMIT_BYTES} bytes.",
            code="telemetry_too_large",
            limit_bytes=LIMIT_BYTES,
        )
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip("\0 \n\t\ufeff"):
        raise InvalidTelemetry(
            "The telemetry file is empty. Copy it from the drone's card again.",
            code="telemetry_empty",
        )
    spend = _budget(len(data), check, clock)
    # One more than allowed, since a hostile file may have millions.
    timings = list(islice(_timings(text, spend), LIMIT_CUES + 1))
    if len(timings) > LIMIT_CUES:
        raise _too_many()
    if not timings:
        raise InvalidTelemetry(
            "This is not a subtitle file, because it has no line like"
            " 00:00:00,000 --> 00:00:00,033. Give the .SRT file beside the video.",
            code="telemetry_not_srt",
        )
    return from_cues(_texts(text, timings, spend))


def _budget(
    size_bytes: int, check: Callable[[], None], clock: Callable[[], float]
) -> Callable[[], None]:
    """Return a function to call between the parts of the work.

    It raises as soon as a file of this size has taken too long.
    """
    most_s = BUDGET_S + BUDGET_S_PER_MIB * size_bytes / 2**20
    began_s = clock()

    def spend() -> None:
        check()
        if clock() - began_s > most_s:
            raise InvalidTelemetry(
                f"Reading the telemetry file takes over {most_s:.0f} s."
                " Send the .SRT as the drone wrote it.",
                code="telemetry_too_slow",
            )

    return spend


def _timings(text: str, spend: Callable[[], None]) -> Iterator[re.Match[str]]:
    """Yield the lines with the start of a cue, found by their arrows.

    No single search holds the interpreter for long.
    """
    end, arrow = 0, text.find(_ARROW)
    while arrow >= 0:
        spend()
        match = _TIMING.search(text, max(end, arrow - _AROUND), arrow + _AROUND)
        end = arrow + len(_ARROW)
        if match is not None:
            yield match
            end = max(end, match.end())
        arrow = text.find(_ARROW, end)


def _texts(
    text: str, timings: Sequence[re.Match[str]], spend: Callable[[], None]
) -> Iterator[tuple[float, str]]:
    """Yield each cue's start, seconds, and its text up to the next cue."""
    ends = [match.start() for match in timings[1:]] + [len(text)]
    for match, end in zip(timings, ends, strict=True):
        spend()
        yield _seconds(match), text[match.end() : min(end, match.end() + LONGEST_CUE)]


def from_cues(cues: Iterable[tuple[float, str]]) -> Telemetry:
    """Read DJI's telemetry from cues, such as those of a subtitle track in a video.

    Args:
        cues: Start of each, seconds from the start of the clip, and its text.

    Raises:
        InvalidTelemetry: As `parse_srt`.
    """
    times, rows, styles, homes, skipped = [], [], Counter[str](), [], 0
    for start_s, text in cues:
        row = Cue(text)
        if not row.values and not row.pair:
            skipped += 1
            continue
        times.append(start_s)
        rows.append(row)
        styles[row.style] += 1
        homes.append(row.home)
        if len(times) > LIMIT_CUES:
            raise _too_many()
    if not times:
        raise InvalidTelemetry(
            "These subtitles have no drone telemetry: neither position nor height nor camera"
            " values. Give the .SRT that the drone wrote.",
            code="telemetry_not_dji",
        )
    remarks = (
        [
            Remark(
                "telemetry_cues_skipped",
                f"{skipped} telemetry records are unreadable and were left out.",
            )
        ]
        if skipped
        else []
    )
    style = styles.most_common(1)[0][0]
    columns = {name: np.array([row.values.get(name, np.nan) for row in rows]) for name in COLUMNS}
    home = _place_pairs(columns, rows, homes, style, remarks)
    _take_home_altitude(columns, homes, remarks)
    columns = _within_ranges(columns, remarks)
    time_s, order = _ascending(np.array(times), remarks)
    columns = {name: values[order] for name, values in columns.items()}
    _remark_absences(columns, style, remarks)
    step = 10.0 ** -max((row.decimals for row in rows), default=0)
    return Telemetry.of_columns(
        time_s, columns, dialect=style, coordinate_step_deg=step, home=home, warnings=tuple(remarks)
    )


LATITUDE_FIRST = {"avata", "matrice"}
"""Dialects of bare pairs with the latitude first. All others have the longitude first."""


def _place_pairs(
    columns: dict[str, Array],
    rows: Sequence[Cue],
    homes: Sequence[tuple[float, float, float] | None],
    style: str,
    remarks: list[Remark],
) -> tuple[float, float] | None:
    """Fill in latitude and longitude where the file has bare pairs.

    Return the take-off position as (longitude, latitude).
    """
    pairs = np.array([row.pair or (np.nan, np.nan) for row in rows])
    known = np.isfinite(pairs[:, 0])
    given = np.array([(home[0], home[1]) if home else (np.nan, np.nan) for home in homes])
    home = given[np.isfinite(given[:, 0])]
    if not known.any():
        return None
    latitude_first = style in LATITUDE_FIRST
    everything = np.concatenate([pairs[known], home])
    # The majority decides. A single wrong value must not swap the coordinates of the whole flight.
    too_large = (np.abs(everything) > 90).mean(axis=0) > 0.5
    if too_large[0] != too_large[1]:
        latitude_first = bool(too_large[1])
    first, second = ("latitude", "longitude") if latitude_first else ("longitude", "latitude")
    columns[first][known], columns[second][known] = pairs[known].T
    if not latitude_first:
        remarks.append(
            Remark(
                "telemetry_longitude_first",
                "This drone writes longitude before latitude;"
                " the coordinates were read in that order.",
            )
        )
    elif style not in LATITUDE_FIRST:
        remarks.append(
            Remark(
                "telemetry_latitude_first",
                "The coordinates are valid only with the latitude first,"
                " so they were read in that order.",
            )
        )
    if not len(home) or not home[0].any():
        return None
    return (
        (float(home[0][1]), float(home[0][0]))
        if latitude_first
        else (float(home[0][0]), float(home[0][1]))
    )


def _take_home_altitude(
    columns: dict[str, Array],
    homes: Sequence[tuple[float, float, float] | None],
    remarks: list[Remark],
) -> None:
    """Derive a missing altitude from the take-off altitude and the height above it."""
    ground = np.array([home[2] if home else np.nan for home in homes])
    missing = (
        np.isnan(columns["altitude_m"]) & np.isfinite(ground) & np.isfinite(columns["height_m"])
    )
    if missing.any():
        columns["altitude_m"] = np.where(
            missing, ground + columns["height_m"], columns["altitude_m"]
        )
        remarks.append(
            Remark(
                "telemetry_home_altitude",
                "Altitudes are those of the place of take-off (HOME) plus the height above it.",
            )
        )


def _within_ranges(columns: dict[str, Array], remarks: list[Remark]) -> dict[str, Array]:
    """Return the columns without impossible values and wrong positions.

    Wrong positions are those without a fix, and those far from all others.
    """
    result, dropped = {}, 0
    for name, (low, high) in RANGES.items():
        bad = (columns[name] < low) | (columns[name] > high)
        dropped += int(bad.sum())
        result[name] = np.where(bad, np.nan, columns[name])
    for name in ("yaw_deg", "roll_deg"):
        result[name] = wrapped(result[name])
    latitude, longitude = result["latitude"], result["longitude"]
    unfixed = (latitude == 0) & (longitude == 0)
    if unfixed.any():
        remarks.append(
            Remark(
                "telemetry_no_fix",
                f"{int(unfixed.sum())} positions are 0, 0,"
                " because the drone had no satellites yet.",
            )
        )
    known = np.isfinite(latitude) & np.isfinite(longitude) & ~unfixed
    if known.any():
        # Differences from one of them, because a flight may cross the 180th meridian.
        east = wrapped(longitude - longitude[known][0])
        away = np.maximum(
            np.abs(latitude - np.median(latitude[known])), np.abs(east - np.median(east[known]))
        )
        far = known & (away > FARTHEST_DEG)
        dropped += int(far.sum())
        known &= ~far
    result["latitude"], result["longitude"] = (
        np.where(known, latitude, np.nan),
        np.where(known, longitude, np.nan),
    )
    if dropped:
        remarks.append(
            Remark(
                "telemetry_out_of_range",
                f"{dropped} telemetry values are impossible and were left out.",
            )
        )
    return result


def _ascending(times_s: Array, remarks: list[Remark]) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the times in order, each once, and their rows."""
    sorted_s, order = np.unique(times_s, return_index=True)
    if len(order) < len(times_s) or (np.diff(order) < 0).any():
        remarks.append(
            Remark(
                "telemetry_cues_unordered",
                "Cues were out of order or repeated."
                " They were sorted; of repeated cues, the first was used.",
            )
        )
    return sorted_s, order


def _remark_absences(columns: dict[str, Array], style: str, remarks: list[Remark]) -> None:
    if np.isnan(columns["latitude"]).all():
        remarks.append(
            Remark(
                "telemetry_no_position",
                "The telemetry has no position,"
                " so there is no flight path and no animal on the map.",
            )
        )
    if np.isnan(columns["height_m"]).all():
        text = (
            "The telemetry does not state the height above the ground."
            " Set height_m in the settings' flight to place animals."
        )
        remarks.append(Remark("telemetry_no_height", text))
    if (np.isnan(columns["yaw_deg"]) | np.isnan(columns["pitch_deg"])).all():
        text = (
            "The telemetry does not state where the camera looked."
            " Set nadir and heading_deg in the settings' flight to place animals."
        )
        remarks.append(Remark("telemetry_no_attitude", text))
    if style == "bracket-altitude":
        remarks.append(
            Remark(
                "telemetry_altitude_kind",
                "The file does not define its altitude. It was read as above sea level.",
            )
        )


def _too_many() -> InvalidTelemetry:
    return InvalidTelemetry(
        f"A telemetry file has at most {LIMIT_CUES} cues.",
        code="telemetry_too_large",
        limit_cues=LIMIT_CUES,
    )


def _seconds(timing: re.Match[str]) -> float:
    hours, minutes, seconds, fraction = timing.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
