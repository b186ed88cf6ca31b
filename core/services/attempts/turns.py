"""Fair order between owners.

Queues are served in order. Only a limited part of each owner's work is in the queues at a time, so
that the work of other owners waits behind little.

An owner's segments are sent a few at a time, oldest job first. A few of an owner's jobs are
processed at a time. The others are parked: they have no message until one of the first ends. A job
that is detected already, such as a recount, waits only for other jobs that are past detection.
Those take minutes, whereas a long recording takes hours. The limit is twice the number of workers,
so that an owner who is alone keeps all workers busy.

The counts are read first and acted on later, so each of several processes may let one job or
segment too many through at the same moment. When a process ends between two requests, the sweeper
finds the message that was not sent, as it finds any lost message.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from datetime import timedelta

from core.domain.clock import Clock
from core.domain.job import Job, Waiting
from core.domain.message import JobMessage, Step
from core.errors import FenceLost, MusterError, NotFound
from core.ports import JobTurn, Ports
from core.services.attempts.dispatch import Dispatcher

logger = logging.getLogger(__name__)

PARKED = "turn"
"""Code of the reason for which a parked job waits."""
LEAST_WIDTH = 4
"""Least limit of segments, and of jobs, of an owner in the queues, however few the workers."""
_ALIVE = timedelta(minutes=1)
_COUNTED_FOR = timedelta(seconds=15)
_SENTENCE = (
    "As many of your jobs are running as are allowed. "
    "This one begins automatically when another has ended."
)
_STEP_OF: dict[str, Step] = {"queued": "plan", "assembling": "assemble"}


class Turns:
    """The use cases around turns. One object per process; any number of processes may run at once.

    Args:
        ports: The ports of the process.
        dispatcher: Sends the messages.
        clock: Returns the current time.
    """

    def __init__(self, ports: Ports, dispatcher: Dispatcher, clock: Clock) -> None:
        self._ports = ports
        self._dispatcher = dispatcher
        self._clock = clock
        self._width = LEAST_WIDTH
        self._counted_at = clock() - _COUNTED_FOR

    async def begins(self, job: Job) -> bool:
        """Let a job begin to be planned or assembled, or park it.

        The job is parked when as many of its owner's jobs are being processed as are allowed.

        Args:
            job: A job that is `queued` or `assembling`.

        Returns:
            Whether the job begins. The message of a parked job is no longer needed.

        Raises:
            FenceLost, NotFound: The job is no longer in that state.
            Unavailable: The store or the queue does not respond.
        """
        step = _STEP_OF.get(job.state)
        if step is None:
            return True
        others = [turn for turn in await self._ports.jobs.turns(job.owner) if turn.id != job.id]
        ahead = sum(
            turn.is_counting if job.state == "assembling" else turn.is_begun for turn in others
        )
        if ahead < await self._wide():
            if _is_parked(job.waiting):
                await self._wait_for(job.id, job.attempt, job.state, None)
            return True
        if not _is_parked(job.waiting):
            # Written once only: from the time of the last change the sweeper knows how long the job
            # has waited.
            waiting = Waiting(code=PARKED, message=_SENTENCE, since_utc=self._clock())
            await self._wait_for(job.id, job.attempt, job.state, waiting)
        logger.info(
            "parked",
            extra={
                "action": "job_parked",
                "job_id": job.id,
                "attempt": job.attempt,
                "state": job.state,
            },
        )
        # The other jobs may have ended while this one was being parked.
        await self.go_on(job.owner)
        return False

    async def go_on(
        self, owner: str, *, traceparents: Mapping[str, str | None] | None = None
    ) -> int:
        """Send the messages that are an owner's turn now.

        They are segments of planned jobs, and the next parked jobs. This may be called at any time.

        Args:
            owner: The owner, part of whose work has ended.
            traceparents: W3C trace contexts to pass on, by job id; default: those of the jobs'
                submissions.

        Returns:
            The number of messages sent.

        Raises:
            Unavailable: The store or the queue does not respond. The next call, or the sweeper,
                sends the messages that are missing.
        """
        turns, width, sent = await self._ports.jobs.turns(owner), await self._wide(), 0
        given = traceparents or {}
        turns = [
            dataclasses.replace(turn, traceparent=given.get(turn.id) or turn.traceparent)
            for turn in turns
        ]
        room = width - sum(turn.handed_out for turn in turns if turn.state == "detecting")
        for turn in turns:
            if turn.has_more and room > 0:
                handed = await self._hand_out(turn, room)
                sent += handed
                room -= handed
        parked = [turn for turn in turns if turn.waiting == PARKED]
        fresh = [turn for turn in parked if turn.state == "queued"]
        detected = [turn for turn in parked if turn.state != "queued"]
        next_ones = fresh[
            : max(0, width - sum(turn.is_begun or turn.is_asked_for for turn in turns))
        ]
        next_ones += detected[: max(0, width - sum(turn.is_counting for turn in turns))]
        for turn in next_ones:
            try:
                await self._wait_for(turn.id, turn.attempt, turn.state, None)
            except (FenceLost, NotFound):
                continue
            await self._dispatcher.send(_message(turn, _STEP_OF[turn.state]))
            sent += 1
        return sent

    async def try_to_go_on(self, owner: str) -> None:
        """Call `go_on`, but leave to the sweeper what cannot be done now.

        Raises no `MusterError`.
        """
        try:
            await self.go_on(owner)
        except MusterError as error:
            logger.warning(
                "messages not sent: %s",
                error.message,
                extra={"action": "turn_failed", "code": error.code},
            )

    async def _hand_out(self, turn: JobTurn, most: int) -> int:
        try:
            segments = await self._ports.jobs.hand_out(turn.id, attempt=turn.attempt, most=most)
        except (FenceLost, NotFound):
            return 0
        for segment in segments:
            await self._dispatcher.send(_message(turn, "detect", segment))
        return len(segments)

    async def _wait_for(
        self, job_id: str, attempt: int, state: str, waiting: Waiting | None
    ) -> None:
        await self._ports.jobs.update(
            job_id,
            attempt=attempt,
            expected=(state,),  # type: ignore[arg-type]
            at=self._clock(),
            changes={"waiting": waiting},
        )

    async def _wide(self) -> int:
        now = self._clock()
        if abs(now - self._counted_at) >= _COUNTED_FOR:
            self._width = max(
                LEAST_WIDTH, 2 * len(await self._ports.jobs.workers(since=now - _ALIVE))
            )
            self._counted_at = now
        return self._width


def _is_parked(waiting: Waiting | None) -> bool:
    return waiting is not None and waiting.code == PARKED


def _message(turn: JobTurn, step: Step, segment: int | None = None) -> JobMessage:
    return JobMessage(
        job_id=turn.id,
        attempt=turn.attempt,
        step=step,
        segment=segment,
        traceparent=turn.traceparent,
    )
