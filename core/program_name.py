"""The words of command lines: the name of a command in its help, and refusals of options."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any

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


class CommandParser(argparse.ArgumentParser):
    """A parser that refuses an unknown option with its own usage and the most similar option.

    argparse itself shows the usage of the outermost command.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse arguments. Unknown ones are an error also where argparse would return them."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._refusal(unknown))
        return parsed, []

    def _refusal(self, unknown: Sequence[str]) -> str:
        options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        if not options:
            return f"unrecognized arguments: {' '.join(unknown)}"
        near = difflib.get_close_matches(options[0], self._option_string_actions, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"there is no option '{options[0]}'.{hint}"
