"""What a drone wrote down while it filmed: DJI's `.SRT` subtitles, in every dialect that is known,
as aligned arrays.

Standard library and NumPy only: the API refuses a bad file at submission, the engine reads the same
record.
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
