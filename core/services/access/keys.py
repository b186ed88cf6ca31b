"""Keys and tickets: use cases that create, check and revoke them.

Every invalid credential is refused in the same words.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from core.domain import access
from core.domain.access import ApiKey, Caller, Scope, Ticket
from core.domain.clock import Clock
from core.domain.refusals import no_such_key
from core.errors import InvalidInput, MusterError, Unauthenticated
from core.ports import KeyStore, Page

logger = logging.getLogger(__name__)

TICKET_LIFE = timedelta(seconds=45)
USE_NOTED_EVERY = timedelta(minutes=1)
"""The resolution of a key's recorded last use; else each request would write to the store."""

_PAGE = 200


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key.

    `secret` is shown once and is not stored. `repr` leaves it out, so that it cannot reach a log
    line.
    """

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key.id})"


@dataclass(frozen=True, slots=True)
class NewTicket:
    """A new ticket, valid for one WebSocket of one job."""

    secret: str
    job_id: str
    expires_at_utc: datetime

    def __repr__(self) -> str:
        return f"NewTicket({self.job_id})"


class Keys:
    """The use cases around keys and tickets.

    Args:
        store: The store of the digests.
        clock: Returns the current time.
    """

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        *,
        owner: str,
        scopes: Iterable[Scope],
        label: str = "",
        expires_at_utc: datetime | None = None,
    ) -> NewKey:
        """Create a key.

        Args:
            owner: The owner of the jobs that the key gives access to.
            scopes: At least one.
            label: The operator's name for the key.
            expires_at_utc: The time at which the key expires; None: never.

        Raises:
            InvalidInput: One of the arguments is not valid (code `invalid_key`).
        """
        made = _made(owner, scopes, label, self._clock(), expires_at_utc)
        key = made.key
        await self._store.add(key)
        logger.info(
            "key made",
            extra={
                "action": "key_made",
                "key_id": key.id,
                "owner": key.owner,
                "scopes": list(key.scopes),
            },
        )
        return made

    async def create_first(
        self, *, owner: str, scopes: Iterable[Scope], label: str = ""
    ) -> NewKey | None:
        """Create a key unless a valid one exists. Return the new key, or None.

        Raises as `create`.
        """
        now, cursor = self._clock(), None
        while True:
            page = await self._store.list_page(limit=_PAGE, cursor=cursor)
            if any(key.is_usable(now) for key in page.items):
                return None
            cursor = page.next_cursor
            if cursor is None:
                return await self.create(owner=owner, scopes=scopes, label=label)

    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        """List keys, newest first. Raises as the store does."""
        return await self._store.list_page(owner=owner, limit=limit, cursor=cursor)

    async def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key, at once for every process. Idempotent.

        Raises:
            NotFound: No key has this id (code `key_not_found`).
        """
        key = await self._store.revoke(key_id, at=self._clock())
        if key is None:
            raise no_such_key()
        logger.info(
            "key revoked", extra={"action": "key_revoked", "key_id": key.id, "owner": key.owner}
        )
        return key

    async def check(self, secret: str) -> Caller:
        """Return the caller that a key belongs to.

        The store is asked each time. A revoked key is therefore refused immediately by every
        process.

        Raises:
            Unauthenticated: The key is not valid (code `invalid_credentials`). The error does not
                disclose whether the key ever existed.
        """
        key_id = access.key_id_of(secret)
        key = await self._store.get(key_id) if key_id is not None else None
        now = self._clock()
        # Digests are compared also when the key is unknown, so that the response takes equally
        # long.
        known = access.matches(secret, key.digest if key is not None else None)
        if key is None or not known or not key.is_usable(now):
            raise refused()
        if access.is_token_owner(key.owner):
            logger.warning(
                "a key of a token's owner was refused: revoke it and create one for another owner",
                extra={"action": "key_owner_reserved", "key_id": key.id},
            )
            raise refused()
        await self._note_use(key, now)
        return Caller(
            owner=key.owner,
            scopes=frozenset(key.scopes),
            credential=f"key:{key.id}",
            key_id=key.id,
            ends_at_utc=key.expires_at_utc,
        )

    async def make_ticket(self, caller: Caller, job_id: str) -> NewTicket:
        """Create a ticket for one WebSocket of one job that the caller may see.

        The caller's permission must be checked before.
        """
        now = self._clock()
        secret = access.new_ticket()
        ticket = Ticket(
            digest=access.digest_of(secret),
            owner=caller.owner,
            scopes=tuple(sorted(caller.scopes)),
            job_id=job_id,
            key_id=caller.key_id,
            credential=caller.credential,
            ends_at_utc=caller.ends_at_utc,
            expires_at_utc=min(now + TICKET_LIFE, caller.ends_at_utc or now + TICKET_LIFE),
        )
        await self._store.add_ticket(ticket, at=now)
        return NewTicket(secret, job_id, ticket.expires_at_utc)

    async def redeem(self, secret: str) -> Caller:
        """Use up a ticket and return its caller, who may see the one job of the ticket.

        Raises:
            Unauthenticated: The ticket is unknown, used or expired, or the key or token that
                created it is no longer valid (code `invalid_credentials`).
        """
        now = self._clock()
        ticket = (
            await self._store.take_ticket(access.digest_of(secret), at=now)
            if access.is_ticket(secret)
            else None
        )
        if ticket is None:
            raise refused()
        caller = Caller(
            owner=ticket.owner,
            scopes=frozenset(ticket.scopes),
            credential=ticket.credential,
            key_id=ticket.key_id,
            job_id=ticket.job_id,
            ends_at_utc=ticket.ends_at_utc,
        )
        try:
            await self.check_again(caller)
        except Unauthenticated:
            raise refused() from None
        return caller

    async def check_again(self, caller: Caller) -> None:
        """Check that the caller's key or token is still valid.

        Open connections call this at every heartbeat.

        Raises:
            Unauthenticated: The token has expired (code `token_expired`), the key has expired
                (`key_expired`) or was revoked (`key_revoked`).
        """
        self.check_end(caller)
        await self.check_revoked(caller)

    async def check_revoked(self, caller: Caller) -> None:
        """Check that the caller's key was not revoked. A request may finish after its key expires.

        Raises:
            Unauthenticated: The key was revoked (code `key_revoked`).
        """
        if caller.key_id is None:
            return
        key = await self._store.get(caller.key_id)
        if key is None or key.revoked_at_utc is not None:
            raise Unauthenticated(
                "The key was revoked. Ask the operator for a new key.", code="key_revoked"
            )

    def check_end(self, caller: Caller) -> None:
        """Check that the caller's key or token has not expired. Revocation is not checked.

        Raises:
            Unauthenticated: The key or token has expired (code `key_expired` or `token_expired`).
        """
        if caller.ends_at_utc is None or self._clock() < caller.ends_at_utc:
            return
        if caller.key_id is not None:
            raise Unauthenticated(
                "The key has expired. Ask the operator for a new key.", code="key_expired"
            )
        raise Unauthenticated(
            "The token has expired. Get a new token from the issuer, then reconnect.",
            code="token_expired",
        )

    async def _note_use(self, key: ApiKey, now: datetime) -> None:
        if key.last_used_at_utc is not None and now - key.last_used_at_utc < USE_NOTED_EVERY:
            return
        try:
            await self._store.used(key.id, at=now)
        except MusterError as error:
            # A full disk cannot record the use, but must not lock out the key's owner.
            logger.warning(
                "a key's last use was not recorded",
                extra={"action": "key_use_not_noted", "key_id": key.id, "code": error.code},
            )


def refused() -> Unauthenticated:
    """Return the error for every invalid credential, whatever the reason."""
    return Unauthenticated(
        "Invalid key, token or ticket: it may be mistyped, already used, expired or revoked. "
        "Ask the operator for a new key.",
        code="invalid_credentials",
    )


def _made(
    owner: str, scopes: Iterable[Scope], label: str, now: datetime, expires_at_utc: datetime | None
) -> NewKey:
    """Return a new key that is not stored yet. Raises as `Keys.create` does."""
    if access.resembles_token_owner(owner):
        raise InvalidInput(
            f"A key's owner must not begin with '{access.TOKEN_OWNER_PREFIX}' or look like it: "
            "the prefix marks owners of an identity provider's tokens. Choose another name.",
            code="invalid_key",
            field="owner",
        )
    key_id, secret = access.new_key()
    try:
        key = ApiKey(
            id=key_id,
            digest=access.digest_of(secret),
            owner=owner,
            scopes=tuple(dict.fromkeys(scopes)),
            label=label,
            created_at_utc=now,
            expires_at_utc=expires_at_utc,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        field = str(fault["loc"][0]) if fault["loc"] else "key"
        raise InvalidInput(
            f"Invalid {field} of the key: {_told(field, fault['msg'])}.",
            code="invalid_key",
            field=field,
        ) from error
    if not key.is_usable(now):
        raise InvalidInput(
            "The expiry lies in the past. Choose a later time.",
            code="invalid_key",
            field="expires",
        )
    return NewKey(key, secret)


def _told(field: str, message: str) -> str:
    if field == "owner":
        return "1 to 200 letters, digits, spaces and . : @ + | - _, the first a letter, digit or _"
    if field == "scopes":
        return f"at least one of {', '.join(access.SCOPES)}"
    return message.removeprefix("Value error, ")
