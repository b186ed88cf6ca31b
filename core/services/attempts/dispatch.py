"""The dispatcher, which sends each step's message to the right queue."""

from __future__ import annotations

from core.domain.identity import StorageIdentity
from core.domain.message import JobMessage
from core.ports import Ports


class Dispatcher:
    """Sends `detect` messages to the queue of the GPU workers, all others to the other queue.

    Args:
        ports: The queues, and the ledger with the identity of this storage.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._identity: StorageIdentity | None = None

    async def send(self, message: JobMessage) -> None:
        """Send one message, to which the identity of this storage is added.

        Raises:
            Unavailable: The queue or the database does not respond; the message may have been sent.
        """
        queue = self._ports.detect_queue if message.step == "detect" else self._ports.queue
        identity = await self.identity()
        own = None if identity is None else identity.id
        await queue.send(message.model_copy(update={"identity": own}).to_bytes())

    async def identity(self) -> StorageIdentity | None:
        """Return the identity of this storage.

        The identity is remembered, because processes are restarted when it changes.

        Raises:
            Unavailable: The database does not respond.
        """
        if self._identity is None:
            self._identity = await self._ports.ledger.identity()
        return self._identity
