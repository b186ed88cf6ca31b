"""Which queue a step's message goes to, and whose message it is."""

from __future__ import annotations

from core.domain.identity import StorageIdentity
from core.domain.message import JobMessage
from core.ports import Ports


class Dispatcher:
    """Sends messages: `detect` to the queue that GPU workers serve, all other steps to the other
    one.

    Args:
        ports: Where the queues are, and whose they are.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._identity: StorageIdentity | None = None

    async def send(self, message: JobMessage) -> None:
        """Send one message, which then carries the identity of this storage.

        Raises:
            Unavailable: Queue or database does not answer; the message may have been sent all the
                same.
        """
        queue = self._ports.detect_queue if message.step == "detect" else self._ports.queue
        identity = await self.identity()
        own = None if identity is None else identity.id
        await queue.send(message.model_copy(update={"identity": own}).to_bytes())

    async def identity(self) -> StorageIdentity | None:
        """Return the identity of this storage. It is remembered: no process outlives a change of it
        by intention.

        Raises:
            Unavailable: The database does not answer.
        """
        if self._identity is None:
            self._identity = await self._ports.ledger.identity()
        return self._identity
