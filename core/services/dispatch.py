"""Which queue a step's message goes to."""

from __future__ import annotations

from core.domain.message import JobMessage
from core.ports import JobQueue


class Dispatcher:
    """Sends messages: `detect` to the queue that GPU workers serve, all other steps to the other one."""

    def __init__(self, queue: JobQueue, detect_queue: JobQueue) -> None:
        self._queue = queue
        self._detect_queue = detect_queue

    async def send(self, message: JobMessage) -> None:
        """Send one message.

        Raises:
            Unavailable: The queue does not answer; the message may have been sent all the same.
        """
        queue = self._detect_queue if message.step == "detect" else self._queue
        await queue.send(message.to_bytes())
