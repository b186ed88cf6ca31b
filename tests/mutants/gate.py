"""Mechanisms of the gate: what a stranger sends costs little and breaks nothing."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LINEAR = "tests/unit/test_linear.py"

GATE = (
    Mutant(
        "the unit of a position's altitude is looked for twice in the same spaces",
        "core/telemetry/cue.py",
        r'r"\s*(?:([mM])\s*)?)?\)")',
        r'r"\s*([mM]?)\s*)?\)")',
        f"{_LINEAR}::test_a_pattern_takes_time_in_proportion",
    ),
    Mutant(
        "a number at the end of a name is looked for from each of its digits",
        "ml_engine/training/split.py",
        r"(?<!\d)\d+$",
        r"\d+$",
        f"{_LINEAR}::test_a_pattern_takes_time_in_proportion",
    ),
    Mutant(
        "reading telemetry has no budget",
        "core/telemetry/srt.py",
        "        if clock() - began_s > most_s:\n",
        "        if clock() < 0:\n",
        f"{_LINEAR}::test_reading_telemetry_has_a_budget",
    ),
    Mutant(
        "telemetry is read on for a caller that is gone",
        "core/services/telemetry.py",
        "        unwanted.set()\n",
        "        pass\n",
        f"{_LINEAR}::test_the_api_stops_reading_for_a_caller_that_is_gone",
    ),
)
