"""The content of one cue of DJI's subtitles, read in any dialect."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

_NUMBER = r"([-+]?\d{1,9}(?:\.\d{0,12})?)"
_BRACKET = re.compile(r"\[([^\[\]]{1,400})\]")
_PAIR = re.compile(r"([A-Za-z_]{2,20})\s{0,3}:\s{0,3}" + _NUMBER + r"(?![\d/])")
_POSITION = re.compile(
    r"\b(GPS|RTK)\s{0,3}\(\s*"
    + _NUMBER
    + r"\s*,\s*"
    + _NUMBER
    + r"\s*(?:,\s*"
    + _NUMBER
    + r"\s*(?:([mM])\s*)?)?\)"
)
_HOME = re.compile(
    r"\bHOME\s{0,3}\(\s*"
    + _NUMBER
    + r"\s*,\s*"
    + _NUMBER
    + r"\s*(?:,\s*"
    + _NUMBER
    + r"\s*(?:[mM]\s*)?)?\)"
)
_BAROMETER = re.compile(r"\bBAROMETER(?::|\()\s*" + _NUMBER + r"\s*[mM]?\)?")
_HEIGHT = re.compile(r"(?:^|[\s,])(?:H\s+|Hb:)" + _NUMBER + r"m?(?=[\s,]|$)", re.MULTILINE)
_GIMBAL = re.compile(
    r"\bG\.PRY\s{0,3}\(" + r"\s*,\s*".join([_NUMBER + r"[^-+\d,()]{0,4}"] * 3) + r"\)"
)
_APERTURE = re.compile(r"(?:^|\s)F/" + _NUMBER + r"|\b(?:Fnum|IR):F?" + _NUMBER, re.MULTILINE)

_BRACKET_KEYS = {
    "latitude": "latitude",
    "longitude": "longitude",
    "longtitude": "longitude",  # DJI's own spelling
    "rel_alt": "height_m",
    "abs_alt": "altitude_m",
    "altitude": "altitude_m",
    "gb_yaw": "yaw_deg",
    "gb_pitch": "pitch_deg",
    "gb_roll": "roll_deg",
    "focal_len": "focal_length_mm",
    "dzoom_ratio": "zoom",
    "fnum": "f_number",
}


class Cue:
    """The content of one cue, as written.

    `values` are by column, `pair` holds coordinates in unknown order, `home` is the take-off
    position.
    """

    __slots__ = ("decimals", "home", "pair", "style", "values")

    def __init__(self, text: str) -> None:
        self.values: dict[str, float] = {}
        self.pair: tuple[float, float] | None = None
        self.home: tuple[float, float, float] | None = None
        self.decimals = 0
        self.style = "camera-only"
        # Only closed brackets are read. A file cut off in the middle of a number must not give a
        # position with half its digits.
        keys = self._read_brackets(text)
        if not keys:
            self._read_plain(text)

    def _read_brackets(self, text: str) -> set[str]:
        found: dict[str, str] = {}
        for group in _BRACKET.findall(text):
            found.update((key.lower(), number) for key, number in _PAIR.findall(group))
        for key, number in found.items():
            column = _BRACKET_KEYS.get(key)
            if column is not None:
                self.values[column] = _scaled(column, number)
        if ("latitude" in self.values) != ("longitude" in self.values):
            self.values.pop("latitude", None)
            self.values.pop("longitude", None)
        if "latitude" in self.values:
            self.decimals = _decimals(found["latitude"])
            attitude, own_height = "gb_yaw" in found, "rel_alt" in found
            self.style = (
                "bracket-attitude"
                if attitude
                else "bracket"
                if own_height or "altitude" not in found
                else "bracket-altitude"
            )
        return set(found)

    def _read_plain(self, text: str) -> None:
        place, home, gimbal = _POSITION.search(text), _HOME.search(text), _GIMBAL.search(text)
        height, aperture = _BAROMETER.search(text) or _HEIGHT.search(text), _APERTURE.search(text)
        if place:
            self.pair = (float(place[2]), float(place[3]))
            self.decimals = max(_decimals(place[2]), _decimals(place[3]))
            # A whole number in third place is the number of satellites.
            if place[4] and "." in place[4]:
                self.values["altitude_m"] = float(place[4])
        if home:
            self.home = (float(home[1]), float(home[2]), float(home[3]) if home[3] else np.nan)
        if height:
            self.values["height_m"] = float(height[1])
        if gimbal:
            self.values.update(
                pitch_deg=float(gimbal[1]), roll_deg=float(gimbal[2]), yaw_deg=float(gimbal[3])
            )
        if aperture:
            self.values["f_number"] = float(aperture[1] or aperture[2])
        if place:
            self.style = self._plain_style(text, place)

    def _plain_style(self, text: str, place: re.Match[str]) -> str:
        if place[1] == "RTK" or "G.PRY" in text:
            return "p4-rtk"
        if "BAROMETER(" in text:
            return "avata"
        if place[5]:
            return "matrice"
        if "BAROMETER:" in text:
            return "mavic-pro"
        return "phantom" if "Hb:" in text else "comma"


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _scaled(column: str, number: str) -> float:
    """Return a bracketed value, with whole numbers scaled.

    They are hundredths (fnum 280), tenths (focal_len 240) or ten-thousandths (dzoom 10000).
    """
    value = float(number)
    divisor: Callable[[float], float] = {
        "f_number": lambda v: 100 if v >= 100 else 1,
        "focal_length_mm": lambda v: 10 if v >= 100 else 1,
        "zoom": lambda v: 10_000 if v >= 1000 else 1,
    }.get(column, lambda _: 1)
    return value if "." in number else value / divisor(value)
