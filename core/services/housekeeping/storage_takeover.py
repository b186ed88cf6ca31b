"""Commands of the operator that bring storage and database together, or separate them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from core.domain.clock import Clock
from core.domain.identity import StorageIdentity, new_identity
from core.errors import Conflict
from core.ports import Ports
from core.services.housekeeping.storage_identity import (
    Marks,
    look_at_marks,
    read_marks,
    take_names,
    write_marks,
)

logger = logging.getLogger(__name__)

_DETECT = "-detect"
_LONGEST_NAME = 32
"""Characters of a configured name that remain in the name of a database's own container or queue.

Names of containers and queues have at most 63 characters.
"""


@dataclass(frozen=True, slots=True)
class StorageState:
    """The identity and the marks that database and storage carry.

    Attributes:
        identity: The database's identity; None if it has none.
        marks: The storage's marks.
    """

    identity: StorageIdentity | None
    marks: Marks

    @property
    def belongs(self) -> bool:
        """Whether every mark is this database's. True if there are no marks."""
        return all(
            self.identity is not None and self.identity.owns(found)
            for found in self.marks.found.values()
        )


async def state_of_storage(ports: Ports) -> StorageState:
    """Return the identity and marks of database and storage. Changes nothing.

    Raises:
        Unavailable: A service does not respond.
    """
    return StorageState(await ports.ledger.identity(), await read_marks(ports))


async def look(ports: Ports) -> StorageState:
    """Return the identity and marks of database and storage through ports that are not open.

    Creates and changes nothing.

    Raises:
        Unavailable: A service does not respond.
    """
    identity = await ports.ledger.look()
    take_names(ports, identity)
    for place in ports.storage:
        await place.connect()
    return StorageState(identity, await look_at_marks(ports))


async def adopt(ports: Ports, clock: Clock) -> StorageIdentity:
    """Let this database take the storage over, whatever marks exist. Idempotent.

    Both get a new identity, so that the database that had the storage before is refused at its next
    start. Markers and messages in the storage with earlier identities remain valid.

    Returns:
        The identity that they now share.

    Raises:
        Unavailable: A service does not respond; run the command again.
    """
    state = await state_of_storage(ports)
    own, found = state.identity, list(state.marks.found.values())
    if own is None or not state.belongs:
        former = [*found, *((own.id, *own.former) if own is not None else ())]
        own = StorageIdentity(
            id=new_identity(),
            marked_at_utc=clock(),
            database=ports.ledger.describe(),
            former=tuple(dict.fromkeys(former)),
            names={} if own is None else own.names,
        )
        # The database is changed first. If the marks cannot be written, it owns the old ones, and
        # the next start or the next try continues.
        await ports.ledger.replace(own)
    await write_marks(ports, own)
    logger.warning(
        "this database has taken the storage over",
        extra={"action": "storage_adopted", "identity": own.id},
    )
    return own


async def separate(ports: Ports, clock: Clock) -> StorageIdentity:
    """Give this database its own containers and queues.

    They are created and marked when the ports are opened next.

    Args:
        ports: Open ports, with the configured names.
        clock: Returns the current time.

    Returns:
        The database's identity, with the names.

    Raises:
        Conflict: Storage and database belong together already (code `storage_is_own`).
        Unavailable: A service does not respond.
    """
    state = await state_of_storage(ports)
    if state.belongs and state.marks.found:
        raise Conflict(
            "This database and this storage already belong together. There is nothing to separate.",
            code="storage_is_own",
        )
    own = state.identity or StorageIdentity(
        id=new_identity(), marked_at_utc=clock(), database=ports.ledger.describe()
    )
    if own.names and not state.marks.found:
        # An earlier separation died before its containers were marked. It continues with the same
        # names.
        return own
    configured = {own_name: name for name, own_name in own.names.items()}
    if own.names:
        # The containers of the earlier names belong to another database.
        own = own.model_copy(update={"id": new_identity(), "former": (*own.former, own.id)})
    names = [configured.get(place.name, place.name) for place in ports.storage]
    own = own.model_copy(update={"names": {name: _own_name(name, own.id) for name in names}})
    await ports.ledger.replace(own)
    logger.warning(
        "this database has containers of its own",
        extra={"action": "storage_separated", "names": own.names},
    )
    return own


def _own_name(name: str, identity: str) -> str:
    base, suffix = (name.removesuffix(_DETECT), _DETECT) if name.endswith(_DETECT) else (name, "")
    if len(base) > _LONGEST_NAME:
        # Names with the same beginning must not become equal.
        digest = hashlib.sha256(base.encode()).hexdigest()[:6]
        base = f"{base[: _LONGEST_NAME - 7].rstrip('-')}-{digest}"
    return f"{base}-{identity[:8]}{suffix}"
