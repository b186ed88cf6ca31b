"""The transition from detecting to assembling, by the worker that finds the last log."""

from __future__ import annotations

from core.domain.job import Job
from core.errors import FenceLost
from worker.step import Step


def all_detected(job: Job) -> bool:
    """Whether every segment of the plan is done."""
    return job.plan is not None and len(set(job.done_segments)) >= len(job.plan.segments)


async def start_assembling(step: Step, job: Job) -> None:
    """Move a fully detected job on and send `assemble`, unless another worker has moved it.

    The other worker still holds its own message. If that worker ends before it has sent `assemble`,
    the redelivered message sends it.
    """
    try:
        await step.update(("detecting",), {"state": "assembling"})
    except FenceLost:
        step.log("assembling_already", "another worker moved the job on", state=job.state)
        return
    step.tools.reached("assembling_not_sent")
    await step.send("assemble")
