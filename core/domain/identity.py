"""The identity that links a storage to its database, and the tombstones of deleted jobs."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.domain.clock import UtcDatetime

MARK_BLOB = "muster-identity.json"
"""Name of the blob that carries a container's mark.

It is outside the folders of jobs and uploads.
"""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StorageMark(_Record):
    """The mark of a container, which names its owner. Every marker in the container repeats it.

    Attributes:
        identity: The identity's id.
        marked_at_utc: When the mark was written.
        database: Description of the database at that time, without secrets, for the reader of a
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
        """Parse a mark; return None if the bytes are not a mark."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return None


class StorageIdentity(_Record):
    """The identity that a database, its containers and its queues share.

    Attributes:
        id: Random, 32 hexadecimal digits.
        marked_at_utc: When the database got it.
        database: Description of the database, without secrets.
        former: Ids under which marks, markers and messages of this storage were written before the
            database took the storage over.
        names: The database's own containers and queues, by the configured name; empty if the
            configured names are used.
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
    """The record that blobs of a job will be deleted. It is written before the first deletion.

    Attributes:
        job_id: The job.
        reason: `deleted`: everything of the job, on request. `refused`: everything of a submission
            that was recorded but not accepted. `purged`: all blobs of an unknown job, on the
            operator's request. `expired`: the files that the job's record lists in `expired`; the
            record remains.
        written_at_utc: When the deletion was announced.
        done_at_utc: When the deletion was complete; null until then.
    """

    job_id: str
    reason: Literal["deleted", "refused", "purged", "expired"]
    written_at_utc: UtcDatetime
    done_at_utc: UtcDatetime | None = None

    @property
    def key(self) -> str:
        """The key of the tombstone: the job's id if the whole job is deleted.

        An expiry has another key, so that an expired job can still be deleted.
        """
        return f"{self.job_id}/expired" if self.reason == "expired" else self.job_id


def new_identity() -> str:
    """Return a new unique id."""
    return uuid.uuid4().hex
