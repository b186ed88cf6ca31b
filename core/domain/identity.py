"""Which database a storage belongs to, and which jobs' blobs may be deleted."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.domain.clock import UtcDatetime

MARK_BLOB = "muster-identity.json"
"""Name of the blob that carries a container's mark.

It lies outside the folders of jobs and uploads.
"""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StorageMark(_Record):
    """What a container carries, and what every marker in it repeats: whose it is.

    Attributes:
        identity: The identity's id.
        marked_at_utc: When the mark was written.
        database: The database of that moment, in words without secrets: for the person who reads a
            refusal.
    """

    identity: str = Field(min_length=1, max_length=64)
    marked_at_utc: UtcDatetime | None = None
    database: str = ""

    def to_bytes(self) -> bytes:
        """Serialise as JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> StorageMark | None:
        """Parse a mark; None where the bytes are no mark."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return None


class StorageIdentity(_Record):
    """The identity that a database, its containers and its queues share.

    Attributes:
        id: Random, 32 hexadecimal digits.
        marked_at_utc: When the database got it.
        database: The database, in words without secrets.
        former: Ids under which marks, markers and messages of this storage were written before the
            database took it over.
        names: Containers and queues of this database's own, by the name that is configured; empty
            where the configured ones are used.
    """

    id: str = Field(min_length=1, max_length=64)
    marked_at_utc: UtcDatetime
    database: str = ""
    former: tuple[str, ...] = ()
    names: dict[str, str] = {}

    def owns(self, identity: str) -> bool:
        """Return whether something that carries this id belongs to this database."""
        return identity == self.id or identity in self.former

    @property
    def mark(self) -> StorageMark:
        """The mark of this identity."""
        return StorageMark(
            identity=self.id, marked_at_utc=self.marked_at_utc, database=self.database
        )


class Tombstone(_Record):
    """The record that blobs of a job are to be deleted, written before the first of them is.

    Attributes:
        job_id: The job.
        reason: `deleted`: all of the job, on request. `refused`: all of a submission that was
            recorded and then not accepted. `purged`: all blobs of an unknown job, on the operator's
            word. `expired`: what the job's record says in `expired`; the record stays.
        written_at_utc: When the deletion was announced.
        done_at_utc: When it was complete; null while it may not be.
    """

    job_id: str
    reason: Literal["deleted", "refused", "purged", "expired"]
    written_at_utc: UtcDatetime
    done_at_utc: UtcDatetime | None = None

    @property
    def key(self) -> str:
        """What it is kept under: the job's id where all of the job goes.

        A job that has expired can still be deleted.
        """
        return f"{self.job_id}/expired" if self.reason == "expired" else self.job_id


def new_identity() -> str:
    """Return an id that no other identity has."""
    return uuid.uuid4().hex
