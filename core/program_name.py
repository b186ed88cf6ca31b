"""The name of a command in its help: `muster keys` or `python -m api.keys`."""

from __future__ import annotations

import sys

CALLERS = ("muster", "python -m infra.muster")
"""Names of the command that dispatches to all commands."""


def program_name(by_itself: str) -> str:
    """Return the name that a command shows in its help.

    Args:
        by_itself: The name without `muster`, such as `python -m api.keys`.
    """
    # `infra.muster` sets it to the words that the user typed.
    typed = sys.argv[0]
    is_known = typed in CALLERS or typed.startswith(tuple(f"{name} " for name in CALLERS))
    return typed if is_known else by_itself
