"""Who may ask for what: keys, tickets, and the caller that they stand for.

Secrets are made and compared here, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.domain.clock import UtcDatetime
from core.domain.names import COMPOSED

Scope = Literal["submit", "read", "admin"]
"""`submit`: send, change and delete one's own; `read`: look at one's own; `admin`: both, on
everybody's, and keys.
"""

SCOPES: tuple[Scope, ...] = ("submit", "read", "admin")
LOCAL_OWNER = "local"
"""Owner of what is asked for without a key, on the machine itself."""

TOKEN_OWNER_PREFIX = "oidc:"
"""Begins the owner of whoever comes with an identity provider's token, so that no such name is that
of a key's owner by accident.
"""

SECRET_BYTES = 32
_KEY = re.compile(r"muster_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_TICKET = re.compile(r"ticket_[A-Za-z0-9_-]{43}")
_KEY_ANYWHERE = re.compile(r"muster_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


OwnerName = Annotated[
    str, COMPOSED, Field(min_length=1, max_length=200, pattern=r"^\w[\w .:@+|-]*$")
]
"""Letters and digits of any script, and within them `. : @ + | -` and spaces."""


_LOOKALIKES = str.maketrans("οоօ0ıіιl1|ӏԁժсϲςᴄː꞉∶׃", "oooo" + "iiiiiii" + "dd" + "cccc" + "::::")
"""Letters of other alphabets, and digits, that look like one of `oidc:`, after case and composition
were taken away.
"""


def is_token_owner(owner: str) -> bool:
    """Return whether an owner is one that a token stands for."""
    return owner.startswith(TOKEN_OWNER_PREFIX)


def resembles_token_owner(owner: str) -> bool:
    """Return whether an owner is one that a token stands for, or that a person would take for one.

    Case, spaces, accents and invisible characters make no difference, nor do wide and mathematical
    letters, nor letters of other alphabets of the same shape.
    """
    seen = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", owner).casefold())
    shape = "".join(
        c
        for c in seen
        if unicodedata.category(c)[0] not in "ZC" and unicodedata.category(c) != "Mn"
    )
    return shape.translate(_LOOKALIKES).startswith(TOKEN_OWNER_PREFIX)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Caller(_Record):
    """Somebody whose jobs are theirs alone.

    Attributes:
        scopes: What they may do.
        credential: What limits are counted by: `key:…`, `token:…`, or null for the machine's own
            user.
        key_id: Id of the key, where it is one.
        job_id: The only job that they may ask for; null means any of theirs. A ticket's holder has
            one.
        ends_at_utc: When the key or token ends that was sent, or with which the ticket was made;
            null: it has no end.
    """

    owner: str
    scopes: frozenset[Scope]
    credential: str | None = None
    key_id: str | None = None
    job_id: str | None = None
    ends_at_utc: UtcDatetime | None = None

    @property
    def sees(self) -> str | None:
        """The owner whose things they may see and change; null: everybody's."""
        return None if "admin" in self.scopes else self.owner

    def may(self, scope: Scope) -> bool:
        """Return whether they have a scope; `admin` has all."""
        return scope in self.scopes or "admin" in self.scopes


LOCAL_CALLER = Caller(owner=LOCAL_OWNER, scopes=frozenset({"submit", "read"}))
"""The machine's own user: their own jobs, and nobody's keys."""


class ApiKey(_Record):
    """A key as it is stored: its digest, never the key.

    Attributes:
        id: 16 hexadecimal digits; part of the key, and no secret.
        digest: SHA-256 of the whole key, as 64 hexadecimal digits. A fast hash is right here: slow
            ones make guessing of short passwords dear, and nobody guesses 256 random bits. It costs
            a microsecond a request.
        label: What a person calls it.
        last_used_at_utc: To the minute.
    """

    id: str
    digest: str
    owner: OwnerName
    scopes: tuple[Scope, ...] = Field(min_length=1)
    label: str = Field("", max_length=200)
    created_at_utc: UtcDatetime
    expires_at_utc: UtcDatetime | None = None
    revoked_at_utc: UtcDatetime | None = None
    last_used_at_utc: UtcDatetime | None = None

    def is_usable(self, now: UtcDatetime) -> bool:
        """Return whether it opens anything at this moment."""
        return self.revoked_at_utc is None and (
            self.expires_at_utc is None or now < self.expires_at_utc
        )


class Ticket(_Record):
    """What lets one WebSocket in, once. Stored by its digest, as keys are.

    Attributes:
        job_id: The only job that it is good for.
        key_id: The key that it was made with, if any: it dies with it.
        credential: As `Caller`.
        ends_at_utc: As `Caller`: what the ticket opens ends with the key or token that the ticket
            was made with.
    """

    digest: str
    owner: str
    scopes: tuple[Scope, ...]
    job_id: str
    key_id: str | None = None
    credential: str | None = None
    ends_at_utc: UtcDatetime | None = None
    expires_at_utc: UtcDatetime


def new_key() -> tuple[str, str]:
    """Return the id of a new key, and the key: `muster_<id>_<256 random bits>`."""
    key_id = secrets.token_hex(8)
    return key_id, f"muster_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def new_ticket() -> str:
    """Return a new ticket of 256 random bits."""
    return f"ticket_{secrets.token_urlsafe(SECRET_BYTES)}"


def key_id_of(secret: str) -> str | None:
    """Return the id within what may be a key; None where it is none by its form."""
    match = _KEY.fullmatch(secret)
    return match[1] if match else None


def is_ticket(secret: str) -> bool:
    """Return whether this is a ticket by its form."""
    return _TICKET.fullmatch(secret) is not None


def holds_key(text: str) -> bool:
    """Return whether a key stands anywhere in a text, such as a URL, where none belongs."""
    return _KEY_ANYWHERE.search(text) is not None


def digest_of(secret: str) -> str:
    """Return what is stored of a secret: SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, digest: str | None) -> bool:
    """Compare a secret with a stored digest, in the same time wherever they differ, and also where
    there is none to compare with.
    """
    known = digest if digest is not None else "0" * 64
    return hmac.compare_digest(digest_of(secret), known) and digest is not None
