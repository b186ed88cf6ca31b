"""The four steps of a job, each a use case in a module of its own.

Every step may run any number of times, also twice at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.domain.message import Step as StepName
from worker.handlers.assemble import assemble
from worker.handlers.detect import detect
from worker.handlers.plan import plan
from worker.handlers.render import render
from worker.step import Step

HANDLERS: dict[StepName, Callable[[Step], Awaitable[None]]] = {
    "plan": plan,
    "detect": detect,
    "assemble": assemble,
    "render": render,
}
