"""Telemetry of drones: DJI's `.SRT` subtitles, in all known dialects, as aligned arrays.

The package uses the standard library and NumPy only. The API refuses a bad file at submission, and
the engine reads the same record.
"""

from core.telemetry.record import COLUMNS, LONGEST_GAP_S, Remark, Telemetry, joined
from core.telemetry.srt import LIMIT_BYTES, from_cues, parse_srt

__all__ = [
    "COLUMNS",
    "LIMIT_BYTES",
    "LONGEST_GAP_S",
    "Remark",
    "Telemetry",
    "from_cues",
    "joined",
    "parse_srt",
]
