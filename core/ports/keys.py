"""The port of keys, tickets, and the owners' usage and holds of their quotas."""

from __future__ import annotations

from abc import abstractmethod
from datetime import date, datetime

from core.domain.access import ApiKey, Ticket
from core.domain.quota import Hold, Refusal
from core.ports.base import Page, Port

KEEP_USAGE_DAYS = 35
"""Usage of days that are longer ago than this may be dropped."""


class KeyStore(Port):
    """Keys, tickets and quotas.

    The store holds digests, never secrets. Every change is one atomic write.
    """

    @abstractmethod
    async def add(self, key: ApiKey) -> ApiKey:
        """Insert a key and return it.

        Raises:
            Conflict: The id exists (code `key_exists`).
        """

    @abstractmethod
    async def get(self, key_id: str) -> ApiKey | None:
        """Return a key, also if it is revoked or expired; None if the id does not exist."""

    @abstractmethod
    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        """List keys, all or one owner's, newest first, `limit` (1 to 200) per page.

        The order is by `created_at_utc`, then id.

        Raises:
            MalformedRequest: The cursor is not from this listing (code `bad_cursor`).
        """

    @abstractmethod
    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Revoke a key and return it. A key that was revoked before retains its time.

        Return None if the key does not exist. Idempotent; cannot be undone.
        """

    @abstractmethod
    async def used(self, key_id: str, *, at: datetime) -> None:
        """Record the last use of a key. Idempotent; an unknown key is ignored."""

    @abstractmethod
    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        """Insert a ticket, and drop those that have expired by `at`."""

    @abstractmethod
    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        """Remove a ticket and return it if it is still valid.

        Of any number of concurrent callers, in any process, one receives it.
        """

    @abstractmethod
    async def spend(
        self,
        owner: str,
        *,
        day: date,
        size_bytes: int,
        limit_bytes: int,
        at: datetime | None = None,
    ) -> bool:
        """Add to an owner's usage of a day, unless the sum would exceed the limit.

        The step is atomic. Return whether the amount was added.

        Args:
            owner: The owner, or another account, such as `work_account`.
            day: The day in UTC.
            size_bytes: 0 or more. Not idempotent: a repeated call counts twice.
            limit_bytes: Most bytes for the day, including held bytes.
            at: The current time. Holds that expired by then are dropped first. None: all holds
                count.
        """

    @abstractmethod
    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        """Subtract what `spend` added. Not idempotent."""

    @abstractmethod
    async def spent(self, owner: str, *, day: date, at: datetime | None = None) -> int:
        """Return an owner's usage of a day, including holds.

        Holds that expired by `at` are left out.
        """

    @abstractmethod
    async def hold(
        self,
        owner: str,
        hold: Hold,
        *,
        at: datetime,
        limit_bytes: int | None,
        most_links: int | None = None,
    ) -> Refusal | None:
        """Hold an amount of the hold's day, unless a limit would be exceeded.

        The step is atomic. Holds that expired by `at` are dropped first.

        Idempotent: an existing hold of this id on this day gets the larger of both amounts, and the
        new time. A hold never shrinks.

        Args:
            owner: As for `spend`.
            hold: The hold.
            at: The current time.
            limit_bytes: Most bytes for the day, used and held together; None: unlimited.
            most_links: Most holds of links on the day; None: unlimited.

        Returns:
            None if the amount is held. Otherwise the limit that would be exceeded; nothing was
            changed.
        """

    @abstractmethod
    async def settle(
        self, owner: str, hold_id: str, *, day: date, size_bytes: int, limit_bytes: int | None
    ) -> bool | None:
        """End a hold and count the used bytes in its place, in one atomic step; 0 only ends it.

        Returns:
            True: done. False: the difference would exceed the limit, and nothing was changed. None:
            there is no such hold, for example because it was settled before.
        """

    @abstractmethod
    async def holds(self, owner: str, *, since: date, at: datetime) -> list[Hold]:
        """Return the holds of the days from `since` on that have not expired by `at`.

        The first to expire come first.
        """
