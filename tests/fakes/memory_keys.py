"""A store of keys in memory, for unit tests."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from core.adapters.shared.key_records import key_exists
from core.domain.access import ApiKey, Ticket
from core.domain.quota import Hold, Refusal
from core.ports import KeyStore, Page
from core.ports.keys import KEEP_USAGE_DAYS
from tests.fakes.memory_jobs import page_of
from tests.fakes.memory_store import MemoryStore


class MemoryKeyStore(MemoryStore, KeyStore):
    """Keeps keys, tickets and usage in dictionaries.

    Attributes:
        reads: How often a key was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self._keys: dict[str, ApiKey] = {}
        self._tickets: dict[str, Ticket] = {}
        self._usage: dict[tuple[str, date], int] = {}
        self._holds: dict[tuple[str, date, str], Hold] = {}

    async def add(self, key: ApiKey) -> ApiKey:
        self._answer()
        if key.id in self._keys:
            raise key_exists(key.id)
        self._keys[key.id] = key
        return key

    async def get(self, key_id: str) -> ApiKey | None:
        self._answer()
        self.reads += 1
        return self._keys.get(key_id)

    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        self._answer()
        rows = [
            (key.created_at_utc, key.id, key)
            for key in self._keys.values()
            if owner is None or key.owner == owner
        ]
        return page_of(rows, limit=limit, cursor=cursor)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        self._answer()
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at_utc is None:
            key = self._keys[key_id] = key.model_copy(update={"revoked_at_utc": at})
        return key

    async def used(self, key_id: str, *, at: datetime) -> None:
        self._answer()
        if key_id in self._keys:
            self._keys[key_id] = self._keys[key_id].model_copy(update={"last_used_at_utc": at})

    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        self._answer()
        self._tickets = {
            digest: kept for digest, kept in self._tickets.items() if at < kept.expires_at_utc
        }
        self._tickets[ticket.digest] = ticket

    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        self._answer()
        ticket = self._tickets.pop(digest, None)
        return ticket if ticket is not None and at < ticket.expires_at_utc else None

    async def spend(
        self,
        owner: str,
        *,
        day: date,
        size_bytes: int,
        limit_bytes: int,
        at: datetime | None = None,
    ) -> bool:
        self._answer()
        self._forget_old(day)
        self._drop_expired(owner, day, at)
        used = self._usage.get((owner, day), 0) + size_bytes
        if used > limit_bytes:
            return False
        self._usage[owner, day] = used
        return True

    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        self._answer()
        self._usage[owner, day] = max(0, self._usage.get((owner, day), 0) - size_bytes)

    async def spent(self, owner: str, *, day: date, at: datetime | None = None) -> int:
        self._answer()
        expired = sum(
            hold.amount
            for hold in self._of_day(owner, day)
            if at is not None and hold.until_utc <= at
        )
        return self._usage.get((owner, day), 0) - expired

    async def hold(
        self,
        owner: str,
        hold: Hold,
        *,
        at: datetime,
        limit_bytes: int | None,
        most_links: int | None = None,
    ) -> Refusal | None:
        self._answer()
        self._forget_old(hold.day)
        self._drop_expired(owner, hold.day, at)
        key, used = (owner, hold.day, hold.id), self._usage.get((owner, hold.day), 0)
        known = self._holds.get(key)
        more = max(0, hold.amount - (known.amount if known else 0))
        if limit_bytes is not None and more and used + more > limit_bytes:
            return "amount"
        links = sum(other.is_link for other in self._of_day(owner, hold.day))
        if known is None and hold.is_link and most_links is not None and links >= most_links:
            return "links"
        self._usage[owner, hold.day] = used + more
        amount = more + (known.amount if known else 0)
        self._holds[key] = hold.model_copy(
            update={"amount": amount, "kind": known.kind if known else hold.kind}
        )
        return None

    async def settle(
        self, owner: str, hold_id: str, *, day: date, size_bytes: int, limit_bytes: int | None
    ) -> bool | None:
        self._answer()
        known = self._holds.get((owner, day, hold_id))
        if known is None:
            return None
        used = self._usage[owner, day] + size_bytes - known.amount
        if limit_bytes is not None and size_bytes > known.amount and used > limit_bytes:
            return False
        del self._holds[owner, day, hold_id]
        self._usage[owner, day] = max(0, used)
        return True

    async def holds(self, owner: str, *, since: date, at: datetime) -> list[Hold]:
        self._answer()
        found = [
            hold
            for (name, day, _), hold in self._holds.items()
            if name == owner and day >= since and hold.until_utc > at
        ]
        return sorted(found, key=lambda hold: (hold.until_utc, hold.id))

    def _of_day(self, owner: str, day: date) -> list[Hold]:
        return [hold for key, hold in self._holds.items() if key[:2] == (owner, day)]

    def _drop_expired(self, owner: str, day: date, at: datetime | None) -> None:
        for hold in self._of_day(owner, day):
            if at is not None and hold.until_utc <= at:
                del self._holds[owner, day, hold.id]
                self._usage[owner, day] = max(0, self._usage[owner, day] - hold.amount)

    def _forget_old(self, day: date) -> None:
        oldest = day - timedelta(days=KEEP_USAGE_DAYS)
        self._usage = {key: used for key, used in self._usage.items() if key[1] >= oldest}
        self._holds = {key: hold for key, hold in self._holds.items() if key[1] >= oldest}
