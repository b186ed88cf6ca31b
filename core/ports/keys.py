"""Keys, tickets, and what owners have used of their quota and hold of it."""

from __future__ import annotations

from abc import abstractmethod
from datetime import date, datetime

from core.domain.access import ApiKey, Ticket
from core.domain.quota import Hold, Refusal
from core.ports.base import Page, Port

KEEP_USAGE_DAYS = 35
"""Usage of days this long ago may be dropped."""


class KeyStore(Port):
    """What decides who comes in.

    It holds digests, never secrets. Every change is one atomic write.
    """

    @abstractmethod
    async def add(self, key: ApiKey) -> ApiKey:
        """Insert a key and return it.

        Raises:
            Conflict: The id exists (code `key_exists`).
        """

    @abstractmethod
    async def get(self, key_id: str) -> ApiKey | None:
        """Return a key, revoked and expired ones too, if there is one of this id."""

    @abstractmethod
    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        """List keys, all or one owner's, newest first (by `created_at_utc`, then id), `limit` (1 to
        200) a page.

        Raises:
            MalformedRequest: The cursor is not one of ours (code `bad_cursor`).
        """

    @abstractmethod
    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Revoke a key and return it; one that is revoked keeps its time.

        None if there is none. Idempotent; cannot be undone.
        """

    @abstractmethod
    async def used(self, key_id: str, *, at: datetime) -> None:
        """Record when a key was used last. Idempotent; a key that is not there is ignored."""

    @abstractmethod
    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        """Insert a ticket, and drop those that have expired by `at`."""

    @abstractmethod
    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        """Take a ticket away and return it if it is still good.

        Of any number of callers at once, in any process, one gets it.
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
        """Add to what an owner used on a day unless the sum would pass the limit, in one atomic
        step; return whether it was added.

        Args:
            owner: Whose quota, or another account, such as `work_account`.
            day: In UTC.
            size_bytes: 0 or more. Not idempotent: a repeated call counts twice.
            limit_bytes: The most for the day, with what is held.
            at: Now: holds that expired by then are dropped first. None: all count.
        """

    @abstractmethod
    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        """Take back what `spend` added. Not idempotent."""

    @abstractmethod
    async def spent(self, owner: str, *, day: date, at: datetime | None = None) -> int:
        """Return what an owner used on a day, with what is held; holds that expired by `at` are
        left out.
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
        """Hold an amount of the hold's day unless a limit would be passed, in one atomic step. What
        expired by `at` is dropped first.

        Idempotent: a hold of this id on this day gets the larger of both amounts, and the new time;
        it never shrinks.

        Args:
            owner: As `spend`.
            hold: What to hold.
            at: Now.
            limit_bytes: The most for the day, used and held together; None: any.
            most_links: The most holds of links on the day; None: any.

        Returns:
            None where it is held; else which limit would be passed, and nothing was changed.
        """

    @abstractmethod
    async def settle(
        self, owner: str, hold_id: str, *, day: date, size_bytes: int, limit_bytes: int | None
    ) -> bool | None:
        """End a hold and count in its place what was used, in one atomic step; 0 gives the hold
        back.

        Returns:
            True: done. False: the difference would pass the limit, and nothing was changed. None:
            no such hold, as after it was settled.
        """

    @abstractmethod
    async def holds(self, owner: str, *, since: date, at: datetime) -> list[Hold]:
        """Return the holds of the days from `since` on that have not expired by `at`, those that
        end first at the front.
        """
