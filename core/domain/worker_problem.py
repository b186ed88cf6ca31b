"""A problem of a worker's machine, as the worker reports it and `/health` shows it."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class WorkerProblem(TypedDict):
    """A problem that an operator should solve.

    Attributes:
        code: For programs.
        message: A sentence for people.
        degrades: Whether it impedes work; absent: it does.
        folder: Where the disk is full.
        free_bytes: How much is free there.
    """

    code: str
    message: str
    degrades: NotRequired[bool]
    folder: NotRequired[str]
    free_bytes: NotRequired[int]
