"""The name under which a command was called, for its help: `muster keys` or `python -m api.keys`."""

from __future__ import annotations

import sys

CALLERS = ("muster", "python -m infra.muster")
"""How the command of all commands is called."""


def program_name(by_itself: str) -> str:
    """Return the name that a command shows in its help.

    Args:
        by_itself: The name without `muster`, such as `python -m api.keys`.
    """
    # `infra.muster` leaves the words that the user typed there.
    typed = sys.argv[0]
    is_known = typed in CALLERS or typed.startswith(tuple(f"{name} " for name in CALLERS))
    return typed if is_known else by_itself
