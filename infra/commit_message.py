"""`python -m infra.commit_message FILE`: checks the subject and layout of a commit message.

pre-commit calls it before each commit.
"""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST_SUBJECT = 72
SCISSORS = "# ------------------------ >8 ------------------------"


def faults(message: str) -> list[str]:
    """Return the faults of a message as sentences that say what to do.

    The message is as git's editor leaves it.
    """
    kept = message.partition(SCISSORS)[0]
    lines = [line.rstrip() for line in kept.splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        del lines[0]
    if not lines:
        return ["The message is empty: write a subject."]
    found = []
    if len(lines[0]) > LONGEST_SUBJECT:
        found.append(
            f"The subject has {len(lines[0])} characters: shorten it to {LONGEST_SUBJECT},"
            " and move the rest to the body."
        )
    if len(lines) > 1 and lines[1]:
        found.append("The second line has text: leave it empty, and begin the body below.")
    return found


def main(argv: list[str]) -> int:
    """Print each fault of the message in the file; return 1 if there is any."""
    found = faults(Path(argv[0]).read_text(encoding="utf-8"))
    for fault in found:
        print(fault, file=sys.stderr)
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
