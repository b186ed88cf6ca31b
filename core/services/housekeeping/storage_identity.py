"""The storage identity, which keeps storage and database together.

Both carry the same identity. A process that finds two different ones does not start.

The database is marked first, then the containers in a fixed order, each only if it has no mark,
then the queues. If two databases meet on an unmarked storage, one of them gets the first container.
The other one is refused before it has marked anything.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from core.domain.blobs import JOBS_PREFIX, UPLOADS_PREFIX, job_of_folder
from core.domain.clock import Clock
from core.domain.identity import MARK_BLOB, StorageIdentity, StorageMark, new_identity
from core.errors import ForeignStorage, NotFound, PreconditionFailed, Unavailable
from core.ports import BlobStore, JobFilter, Ports

logger = logging.getLogger(__name__)
Mark = TypeVar("Mark")

SAMPLED_FOLDERS = 20
"""Job folders that are sampled to decide whether unmarked storage and database belong together."""

_COMMANDS = (
    "If MONGO_URI, MUSTER_DATA_DIR or the storage's settings are wrong here, correct them. "
    "If this database should take this storage over, run `muster storage adopt`. "
    "If it should get its own containers and queues there, run `muster storage separate`. "
    "In a container, type `python -m worker.storage` for `muster storage`."
)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of containers and queues by name; None for one without a mark.

    `missing` names those that do not exist.
    """

    containers: Mapping[str, StorageMark | None]
    queues: Mapping[str, str | None]
    missing: frozenset[str] = frozenset()

    @property
    def found(self) -> dict[str, str]:
        """The identities of marked containers and queues by name, containers first."""
        marks = {name: mark.identity for name, mark in self.containers.items() if mark is not None}
        return marks | {name: mark for name, mark in self.queues.items() if mark is not None}

    def described(self, identity: str) -> str:
        """Return which database wrote the marks of this identity, and when, as far as that is
        known.
        """
        mark = next(
            (
                mark
                for mark in self.containers.values()
                if mark is not None and mark.identity == identity
            ),
            None,
        )
        if mark is None or mark.marked_at_utc is None:
            return "another database"
        return f"another database ({mark.database}, since {mark.marked_at_utc:%Y-%m-%d %H:%M} UTC)"


async def use_own_names(ports: Ports) -> None:
    """Name containers and queues as the database specifies, before they are opened. Idempotent."""
    take_names(ports, await ports.ledger.identity())


def take_names(ports: Ports, identity: StorageIdentity | None) -> None:
    """Name containers and queues as this identity specifies, before they are opened. Idempotent."""
    if identity is not None:
        for place in ports.storage:
            place.name = identity.names.get(place.name, place.name)


async def require_own_storage(ports: Ports, clock: Clock) -> StorageIdentity:
    """Check that storage and database belong together; mark what has no mark yet. Idempotent.

    Args:
        ports: Open ports.
        clock: Returns the current time.

    Returns:
        The identity that they share.

    Raises:
        ForeignStorage: They do not belong together, or it is unknown whether they do (codes
            `foreign_storage`, `storage_unmarked`, `storage_unclear`).
        Unavailable: A service does not respond.
    """
    marks, own = await _own_marks(ports)
    if own is None:
        await _require_together(ports)
        own = await ports.ledger.claim(
            StorageIdentity(
                id=new_identity(), marked_at_utc=clock(), database=ports.ledger.describe()
            )
        )
    elif not marks.found and await is_used(ports):
        raise ForeignStorage(
            f"This database ({ports.ledger.describe()}) has an identity, but the storage has no "
            f"mark although it holds jobs. It may belong to another installation. {_COMMANDS}",
            code="storage_unmarked",
        )
    await _complete_marks(ports, marks, own)
    return own


async def require_no_takeover(ports: Ports) -> None:
    """Check that no other database has taken the storage over since this process started.

    Marks nothing.

    Raises:
        ForeignStorage: Another database has taken it over, so this process must not delete
            anything.
        Unavailable: A service does not respond.
    """
    await _own_marks(ports)


async def read_marks(ports: Ports) -> Marks:
    """Return the marks of containers and queues.

    Raises:
        Unavailable: A service does not respond.
    """
    containers = {store.name: await _mark_of(store) for store in (ports.sources, ports.results)}
    return Marks(
        containers, {queue.name: await queue.mark() for queue in (ports.queue, ports.detect_queue)}
    )


async def look_at_marks(ports: Ports) -> Marks:
    """Return the marks of connected containers and queues, which may not exist. Creates nothing.

    Raises:
        Unavailable: A service does not respond.
    """
    missing: set[str] = set()

    async def unless_missing(name: str, mark: Awaitable[Mark]) -> Mark | None:
        try:
            return await mark
        except Unavailable as error:
            if error.code != "storage_not_ready":
                raise
            missing.add(name)
            return None

    containers = {
        store.name: await unless_missing(store.name, _mark_of(store))
        for store in (ports.sources, ports.results)
    }
    queues = {
        queue.name: await unless_missing(queue.name, queue.mark())
        for queue in (ports.queue, ports.detect_queue)
    }
    return Marks(containers, queues, frozenset(missing))


async def is_used(ports: Ports) -> bool:
    """Return whether a container holds a blob of a job or of an upload."""
    for store in (ports.sources, ports.results):
        for prefix in (JOBS_PREFIX, UPLOADS_PREFIX):
            cursor: str | None = None
            while True:
                page = await store.page(prefix, limit=1, cursor=cursor)
                if page.items:
                    return True
                cursor = page.next_cursor
                if cursor is None:
                    break
    return False


async def write_marks(ports: Ports, identity: StorageIdentity) -> None:
    """Mark containers and queues with this identity, and replace other marks. Idempotent."""
    for store in (ports.sources, ports.results):
        await store.put(MARK_BLOB, identity.mark.to_bytes(), content_type="application/json")
    for queue in (ports.queue, ports.detect_queue):
        await queue.set_mark(identity.id)


async def _own_marks(ports: Ports) -> tuple[Marks, StorageIdentity | None]:
    marks, own = await read_marks(ports), await ports.ledger.identity()
    foreign = [
        identity for identity in marks.found.values() if own is None or not own.owns(identity)
    ]
    if foreign:
        raise _foreign(ports, marks, foreign[0])
    return marks, own


async def _mark_of(store: BlobStore) -> StorageMark | None:
    try:
        body = await store.get(MARK_BLOB)
    except NotFound:
        return None
    # A mark that cannot be read still counts as a mark of an unknown database.
    return StorageMark.from_bytes(body) or StorageMark(identity="unreadable")


async def _require_together(ports: Ports) -> None:
    """Check that an unmarked database and an unmarked storage belong together.

    They do in every installation that was made before marks existed.

    Raises:
        ForeignStorage: Both are used, and the database has no record of any sampled job folder
            (code `storage_unclear`).
    """
    has_jobs = bool((await ports.jobs.list_page(JobFilter(), limit=1)).items)
    if not has_jobs or not await is_used(ports):
        return
    ids: list[str] = []
    for store in (ports.sources, ports.results):
        page = await store.folders(JOBS_PREFIX, limit=SAMPLED_FOLDERS)
        ids += [job_id for folder in page.items if (job_id := job_of_folder(folder)) is not None]
    ids = list(dict.fromkeys(ids))[:SAMPLED_FOLDERS]
    known = await ports.jobs.outlines(ids)
    if not known:
        raise ForeignStorage(
            f"This database ({ports.ledger.describe()}) has none of the {len(ids)} jobs in the "
            f"storage. They seem to belong to another installation. {_COMMANDS}",
            code="storage_unclear",
        )
    extra = {"action": "storage_recognised", "sampled": len(ids), "known": len(known)}
    logger.info(
        "storage and database of an older release were recognised as one installation", extra=extra
    )


async def _complete_marks(ports: Ports, marks: Marks, own: StorageIdentity) -> None:
    for store in (ports.sources, ports.results):
        present = marks.containers[store.name]
        if present is None:
            await _mark(ports, store, own)
        elif present.identity != own.id:
            # A takeover died before it replaced this mark. With the old mark, the old database
            # could start, too.
            await store.put(MARK_BLOB, own.mark.to_bytes(), content_type="application/json")
    for queue in (ports.queue, ports.detect_queue):
        if marks.queues[queue.name] != own.id:
            await queue.set_mark(own.id)
            found = await queue.mark()
            if found is not None and not own.owns(found):
                raise _foreign(ports, marks, found)


async def _mark(ports: Ports, store: BlobStore, own: StorageIdentity) -> None:
    try:
        await store.put(
            MARK_BLOB, own.mark.to_bytes(), content_type="application/json", only_new=True
        )
    except PreconditionFailed:
        present = await _mark_of(store)
        if present is not None and not own.owns(present.identity):
            raise _foreign(ports, Marks({store.name: present}, {}), present.identity) from None
    else:
        logger.info(
            "container marked",
            extra={"action": "storage_marked", "container": store.name, "identity": own.id},
        )


def _foreign(ports: Ports, marks: Marks, identity: str) -> ForeignStorage:
    places = ", ".join(f"'{name}'" for name, found in marks.found.items() if found == identity)
    return ForeignStorage(
        f"This database ({ports.ledger.describe()}) and this storage do not belong together: "
        f"{places or 'its containers or queues'} carry the mark of "
        f"{marks.described(identity)}. {_COMMANDS}",
        identity=identity,
    )
