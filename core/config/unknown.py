"""Variables with Muster's prefix that Muster does not know, such as misspelt names."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass

from core.config.elsewhere import is_read_elsewhere
from core.config.processes import all_variables
from core.config.sources import Sources
from core.config.variables import PREFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable with Muster's prefix that Muster does not know.

    Attributes:
        name: Its name.
        origin: Where it is set.
        nearest: The most similar known name; empty if none is similar.
    """

    name: str
    origin: str
    nearest: str

    def __str__(self) -> str:
        advice = f"Did you mean {self.nearest}?" if self.nearest else "Remove it."
        return (
            f"{self.name} ({self.origin}) has no effect, because Muster does not know it. {advice}"
        )


def unknown_variables(sources: Sources) -> list[Unknown]:
    """Return the variables with Muster's prefix that no process reads, by name."""
    known = [name for variable in all_variables() for name in variable.names]
    return [
        Unknown(name, place, _nearest(name, known))
        for name, place in sorted(sources.names(PREFIX).items())
        if name not in known and not is_read_elsewhere(name)
    ]


def _nearest(name: str, known: list[str]) -> str:
    # Some known names lack the prefix, such as MODEL_NAME.
    if name.removeprefix(PREFIX) in known:
        return name.removeprefix(PREFIX)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return nearest[0] if nearest else ""


def warn_of_unknown_variables(sources: Sources | None = None) -> None:
    """Log one warning for each unknown variable.

    Args:
        sources: Where variables are looked up; default: the environment and `.env`.

    Raises:
        InvalidConfiguration: The file `.env` cannot be read.
    """
    for unknown in unknown_variables(sources or Sources.of_process()):
        logger.warning(
            "%s",
            unknown,
            extra={
                "action": "unknown_variable",
                "variable": unknown.name,
                "nearest": unknown.nearest or None,
            },
        )
