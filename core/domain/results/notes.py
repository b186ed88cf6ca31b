"""Reasons and warnings: a stable code for programs beside a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from core.domain.results.part import Part

OTHER = "other"
"""Code of a note that this table does not list.

Such a note is from a later release, or an unknown sentence of an older one.
"""

REASONS: Mapping[str, str] = {
    "re_entry": "Animals appeared after others had left. They may already be counted.",
    "uncertain_joins": "Tracks may continue an earlier track or be new animals.",
    "doubtful": "Tracks are faint, short or occluded. They may be false detections.",
    "short_tracks": "Animals were visible for less than half a second.",
    "unreadable_frames": "Frames could not be decoded. Animals in them may be missing.",
    "expected": "The number of animals found, beside the number that the settings expect.",
    OTHER: "Another reason. The text explains it.",
}
"""Codes of `reasons`: what makes `unique` uncertain, or what to compare it with."""

WARNINGS: Mapping[str, str] = {
    "small_animals": "The animals are too small for the detector, so it misses many.",
    "nothing_found": "No animal or person of the requested classes was found.",
    "unreadable_frames": "Frames could not be decoded.",
    "beyond_horizon": "Some boxes have no ground position.",
    "flight_without_telemetry": "The settings describe a flight, but there is no telemetry.",
    "flight_focal_length_guessed": "The telemetry has no focal length. A usual one was assumed.",
    "telemetry_altitude_kind": "The telemetry does not define its altitude."
    " It was read as above sea level.",
    "telemetry_cues_skipped": "Some telemetry records were unreadable and left out.",
    "telemetry_cues_unordered": "The telemetry records were not in order. They were sorted.",
    "telemetry_empty": "The telemetry holds nothing.",
    "telemetry_home_altitude": "Altitudes were derived from the take-off altitude"
    " and the height above it.",
    "telemetry_latitude_first": "The coordinates were read with the latitude first.",
    "telemetry_longitude_first": "The coordinates were read with the longitude first.",
    "telemetry_no_attitude": "The telemetry does not state where the camera looked.",
    "telemetry_no_fix": "Some positions were recorded before the drone had a satellite fix.",
    "telemetry_no_height": "The telemetry does not state the height above the ground.",
    "telemetry_no_position": "The telemetry has no position.",
    "telemetry_not_dji": "The telemetry is in no known DJI format.",
    "telemetry_not_srt": "The telemetry is not an SRT file.",
    "telemetry_other_length": "Telemetry and recording differ in length."
    " They may not belong together.",
    "telemetry_out_of_range": "Some telemetry values are impossible and were left out.",
    "telemetry_too_large": "The telemetry is too large and was left out.",
    "telemetry_too_slow": "Reading the telemetry took too long, so it was left out.",
    "telemetry_unreadable": "The telemetry could not be read.",
    OTHER: "Another warning. The text explains it.",
}
"""Codes of `warnings`: what a person should know about the results as a whole."""

_PREFIXES = {
    "re-entry": "re_entry",
    "uncertain joins": "uncertain_joins",
    "doubtful": "doubtful",
    "short tracks": "short_tracks",
    "unreadable frames": "unreadable_frames",
}
"""Prefixes of reasons in results 1.x, and their codes."""


class Note(Part):
    """A remark about a result. Programs compare `code`; `text` may be reworded in any release."""

    code: str = Field(
        pattern=r"^[a-z0-9_]+$",
        description="Stable name of the kind of remark, for programs.",
        examples=["re_entry"],
    )
    text: str = Field(
        description="One English sentence or phrase for people.",
        examples=["2 appeared after others had left; may already be counted"],
    )

    @model_validator(mode="before")
    @classmethod
    def _of_results_1(cls, value: Any) -> Any:
        """Accept warnings of results 1.x, which call their text `message`."""
        if isinstance(value, dict) and "text" not in value and "message" in value:
            return {"code": value.get("code", OTHER), "text": value["message"]}
        return value


def reason_of_text(value: Any) -> Any:
    """Turn a reason of results 1.x, which is a string, into code and text.

    Other values are returned unchanged.
    """
    if not isinstance(value, str):
        return value
    prefix, colon, rest = value.partition(": ")
    if colon and prefix in _PREFIXES:
        return {"code": _PREFIXES[prefix], "text": rest}
    return {"code": "expected" if _says_expected(value) else OTHER, "text": value}


def _says_expected(text: str) -> bool:
    words = text.split()
    return (
        len(words) == 4
        and words[0].isdigit()
        and words[1] == "of"
        and words[2].isdigit()
        and words[3] == "seen"
    )


Reason = Annotated[Note, BeforeValidator(reason_of_text)]
"""A note that is also read from a string of results 1.x."""


def reason(code: str, text: str) -> Note:
    """Return a reason.

    Raises:
        KeyError: `REASONS` does not list the code.
    """
    REASONS[code]
    return Note(code=code, text=text)


def warning(code: str, text: str) -> Note:
    """Return a warning.

    A code that `WARNINGS` does not list becomes `OTHER`. Such codes are from errors of telemetry
    tracks.
    """
    return Note(code=code if code in WARNINGS else OTHER, text=text)
