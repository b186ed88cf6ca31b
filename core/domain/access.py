"""Access control: keys, tickets, and the callers that they represent.

Secrets are generated and compared here, and are never stored.
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
"""`submit`: create, change and delete the owner's jobs. `read`: read them. `admin`: both, for the
jobs of all owners, and manage keys.
"""

SCOPES: tuple[Scope, ...] = ("submit", "read", "admin")
LOCAL_OWNER = "local"
"""Owner of jobs that are submitted without a key, on the machine itself."""

TOKEN_OWNER_PREFIX = "oidc:"
"""Prefix of the owner of a caller with an identity provider's token.

The prefix prevents such an owner from being the owner of a key by accident.
"""

SECRET_BYTES = 32
_KEY = re.compile(r"muster_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_TICKET = re.compile(r"ticket_[A-Za-z0-9_-]{43}")
_KEY_ANYWHERE = re.compile(r"muster_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


OwnerName = Annotated[
    str, COMPOSED, Field(min_length=1, max_length=200, pattern=r"^\w[\w .:@+|-]*$")
]
"""Letters and digits of any script, and `. : @ + | -` and spaces after the first character."""


_LOOKALIKES = str.maketrans("οоօ0ıіιl1|ӏԁժсϲςᴄː꞉∶׃", "oooo" + "iiiiiii" + "dd" + "cccc" + "::::")
"""Letters of other alphabets, and digits, that look like a character of `oidc:`.

They are compared after case and composition were normalised.
"""


def is_token_owner(owner: str) -> bool:
    """Return whether an owner is a token's owner."""
    return owner.startswith(TOKEN_OWNER_PREFIX)


def resembles_token_owner(owner: str) -> bool:
    """Return whether an owner is a token's owner, or looks like one.

    Case, spaces, accents and invisible characters make no difference. Wide and mathematical
    letters, and letters of other alphabets with the same shape, are treated as equal.
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
    """A caller, who has access to the jobs of one owner.

    Attributes:
        scopes: The actions that the caller is allowed.
        credential: The name under which limits are counted: `key:…`, `token:…`, or null for the
            local user of the machine.
        key_id: Id of the key, if the credential is one.
        job_id: The only job that the caller may access; null means any of the owner's jobs. It is
            set for the holder of a ticket.
        ends_at_utc: Expiry of the key or token that was sent, or with which the ticket was created;
            null: it never expires.
    """

    owner: str
    scopes: frozenset[Scope]
    credential: str | None = None
    key_id: str | None = None
    job_id: str | None = None
    ends_at_utc: UtcDatetime | None = None

    @property
    def sees(self) -> str | None:
        """The owner whose data the caller may see and change; null: all owners."""
        return None if "admin" in self.scopes else self.owner

    def may(self, scope: Scope) -> bool:
        """Return whether the caller has a scope; `admin` includes all scopes."""
        return scope in self.scopes or "admin" in self.scopes


LOCAL_CALLER = Caller(owner=LOCAL_OWNER, scopes=frozenset({"submit", "read"}))
"""The local user of the machine, who has access to that user's own jobs and to no keys."""


class ApiKey(_Record):
    """A key as it is stored. Its digest is stored, never the key.

    Attributes:
        id: 16 hexadecimal digits; part of the key, and not secret.
        digest: SHA-256 of the whole key, as 64 hexadecimal digits. A fast hash is sufficient: slow
            hashes protect short passwords from guessing, whereas 256 random bits cannot be guessed.
            The hash takes a microsecond per request.
        label: The operator's name for the key.
        last_used_at_utc: Resolution: one minute.
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
        """Return whether the key is valid at this moment."""
        return self.revoked_at_utc is None and (
            self.expires_at_utc is None or now < self.expires_at_utc
        )


class Ticket(_Record):
    """A ticket, which admits one WebSocket once. Its digest is stored, as for keys.

    Attributes:
        job_id: The only job that it is valid for.
        key_id: The key that it was created with, if any. The ticket becomes invalid together with
            the key.
        credential: As `Caller`.
        ends_at_utc: As `Caller`. The WebSocket ends when the key or token expires with which the
            ticket was created.
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
    """Return the id within the text of a key; None if the text does not have a key's form."""
    match = _KEY.fullmatch(secret)
    return match[1] if match else None


def is_ticket(secret: str) -> bool:
    """Return whether this has the form of a ticket."""
    return _TICKET.fullmatch(secret) is not None


def holds_key(text: str) -> bool:
    """Return whether a text, such as a URL, contains a key where none belongs."""
    return _KEY_ANYWHERE.search(text) is not None


def digest_of(secret: str) -> str:
    """Return the stored digest of a secret: SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, digest: str | None) -> bool:
    """Compare a secret with a stored digest in constant time, also when no digest is stored."""
    known = digest if digest is not None else "0" * 64
    return hmac.compare_digest(digest_of(secret), known) and digest is not None
