"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """The code without one of its mechanisms.

    Attributes:
        name: What is gone, in words.
        file: Where, relative to the repository.
        old: Text that stands there once.
        new: What takes its place.
        test: pytest's id of a test, or of all of a file, that fails then.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
