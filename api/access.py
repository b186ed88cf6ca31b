"""Access: authenticates callers and checks their scopes.

`api/gate.py` calls it for every request before any route runs. Routes get the caller from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, unquote

from fastapi import Depends, Query
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope as Connection

from api.door import Door, arrived_on_loopback
from api.refusals import key_required, missing_scope
from core.addresses import client_group
from core.config.access import AccessSection
from core.domain.access import (
    LOCAL_CALLER,
    LOCAL_OWNER,
    Caller,
    Scope,
    digest_of,
    holds_key,
    key_id_of,
)
from core.errors import Throttled, Unauthenticated
from core.services.access.keys import Keys, refused
from core.services.access.rate import RateLimiter
from core.services.access.wrong_keys import WrongKeys

if TYPE_CHECKING:
    from api.oidc import TokenVerifier

OPEN_PATHS = ("/health/live", "/health/ready")
"""The paths of a platform's probes. Requests for them need no key and may have any host name. The
responses show only whether the process serves.
"""

KEYS_PATH = "/api/v1/keys"
_TICKETS_PATH = "/api/v1/tickets"
_WHOAMI_PATH = "/api/v1/whoami"
_FIGURES_PATH = "/metrics"
_OWNER_HELP = (
    "Only items of this owner. Without it, callers with the scope `admin` see items of all owners; "
    "only they may name another owner."
)
_LOOKS = ("GET", "HEAD", "OPTIONS")
# Headers that only a proxy adds. A request with one of them does not come from this machine, even
# if the proxy runs on it.
_FORWARDED = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "via",
)


class ShareUsed(Throttled):
    """The error for an owner that has reached the limit of open requests and WebSockets."""

    def __init__(self, share: int) -> None:
        super().__init__(
            f"{share} of your requests and WebSockets are open, which is the limit. "
            "Close some, or retry when one has ended.",
            code="too_many_open_requests",
            retry_after_s=5.0,
            limit=share,
        )


class Access:
    """The access control of all connections.

    Args:
        config: The operator's settings.
        keys: Looks up keys and tickets.
        ready: Raises while the store of keys is not open.
        share: Most requests and WebSockets of one owner that are open at a time. The machine's own
            user has no limit.
    """

    def __init__(
        self, config: AccessSection, keys: Keys, *, ready: Callable[[], object], share: int = 250
    ) -> None:
        self._share = share
        self._open: Counter[str] = Counter()
        self._keys = keys
        self._ready = ready
        self._require_key = config.require_key
        self.origins = config.allowed_origins
        self._door = Door(config.allowed_hosts, self.origins)
        self._limiter = RateLimiter(per_s=config.rate_per_s, burst=config.rate_burst)
        self._wrong_keys = WrongKeys(per_minute=config.wrong_keys_per_min)
        self._tokens = _verifier(config)

    def check_door(self, connection: Connection) -> None:
        """Check the host name of a request, and the origin of the page that sends it.

        Raises as `Door.check` does.
        """
        if not is_open(connection):
            self._door.check(connection)

    @contextmanager
    def share_of(self, caller: Caller) -> Iterator[None]:
        """Count a request or WebSocket of an owner until it ends.

        All keys of an owner share one count.

        Raises:
            ShareUsed: The owner has reached the limit, which leaves room for other owners (code
                `too_many_open_requests`).
        """
        if caller.owner != LOCAL_OWNER and self._open[caller.owner] >= self._share:
            raise ShareUsed(self._share)
        self._open[caller.owner] += 1
        try:
            yield
        finally:
            self._open[caller.owner] -= 1
            if not self._open[caller.owner]:
                del self._open[caller.owner]

    async def identify(self, connection: Connection) -> Caller:
        """Return the caller to which the request's key, token or ticket belongs.

        If no credential is needed, the caller is the machine's own user.

        Raises:
            Unauthenticated: The request carries no credential, or an unknown one.
            Forbidden: The caller lacks the scope (code `missing_scope`), or the request has a
                foreign host name (`foreign_host`).
            Throttled: The caller sends too many requests (code `rate_limited`), or too many wrong
                keys came from this address (`too_many_wrong_keys`).
            Unavailable: The credential cannot be checked at the moment.
        """
        caller = await self._who(connection)
        if caller.credential is not None:
            self._limiter.take(caller.credential)
        needed = None if _sees_figures(caller, connection) else needed_scope(connection)
        if needed is not None and not caller.may(needed):
            raise missing_scope(needed)
        if caller.job_id is not None and caller.job_id not in connection["path"].split("/"):
            raise refused()
        return caller

    async def _who(self, connection: Connection) -> Caller:
        if holds_key(
            f"{connection['path']}?{unquote(connection.get('query_string', b'').decode('latin-1'))}"
        ):
            raise Unauthenticated(
                "The URL contains a key, and logs and browser histories store URLs. "
                "Revoke this key and send a new one in a header.",
                code="key_in_url",
            )
        credential = _credential(Headers(scope=connection))
        if credential is None and connection["type"] == "websocket":
            ticket = _take_ticket_out(connection)
            if ticket is not None:
                self._ready()
                return await self._looked_up(connection, ticket, self._keys.redeem)
        if credential is None:
            return self._local(connection)
        return await self._looked_up(connection, credential, self._check)

    async def _looked_up(
        self, connection: Connection, credential: str, check: Callable[[str], Awaitable[Caller]]
    ) -> Caller:
        """Check a credential, unless its address is over the limit of wrong keys.

        `core.services.access.wrong_keys` holds that limit.
        """
        digest = digest_of(credential)
        recognised = self._wrong_keys.recognises(digest)
        client = connection.get("client")
        address = client_group(client[0] if client else None)
        if not recognised:
            self._wrong_keys.take(address)
        try:
            caller = await check(credential)
        except Unauthenticated:
            self._wrong_keys.forget(digest)
            raise
        except BaseException:
            if not recognised:
                self._wrong_keys.give_back(address)
            raise
        if not recognised:
            self._wrong_keys.give_back(address)
        if caller.job_id is None:
            self._wrong_keys.remember(digest)
        else:
            self._wrong_keys.forget(digest)  # a ticket is valid only once
        return caller

    async def _check(self, credential: str) -> Caller:
        if key_id_of(credential) is not None:
            self._ready()
            return await self._keys.check(credential)
        if self._tokens is not None and credential.count(".") == 2:
            return await self._tokens.check(credential)
        raise refused()

    def expect(self, ticket: str) -> None:
        """Recognise a ticket that this process has just created.

        The ticket is then accepted even if too many wrong keys came from the client's address.
        """
        self._wrong_keys.remember(digest_of(ticket))

    def _local(self, connection: Connection) -> Caller:
        headers = Headers(scope=connection)
        forwarded = any(name in headers for name in _FORWARDED)
        if self._require_key or forwarded or not arrived_on_loopback(connection):
            raise key_required()
        self._door.check_keyless(headers)
        return LOCAL_CALLER


def is_open(connection: Connection) -> bool:
    """Return whether a request is a probe, which needs no key."""
    return (
        connection["type"] == "http"
        and connection["method"] in _LOOKS
        and route_path(connection) in OPEN_PATHS
    )


def needed_scope(connection: Connection) -> Scope | None:
    """Return the scope that a request needs.

    The rule also covers new routes: requests that only read need `read`, all others `submit`.
    """
    path = route_path(connection)
    if path in (KEYS_PATH, _FIGURES_PATH) or path.startswith(KEYS_PATH + "/"):
        return "admin"
    if path == _WHOAMI_PATH:
        return None
    looks = connection["type"] == "websocket" or connection["method"] in _LOOKS
    return "read" if looks or path == _TICKETS_PATH else "submit"


def _sees_figures(caller: Caller, connection: Connection) -> bool:
    """Return whether the machine's own user requests the metrics, which cover all owners."""
    return (
        caller.credential is None
        and connection["type"] == "http"
        and route_path(connection) == _FIGURES_PATH
    )


def route_path(connection: Connection) -> str:
    """Return the path as routes see it, without the prefix that a proxy adds."""
    path: str = connection["path"]
    return path.removeprefix(connection.get("root_path", ""))


def _verifier(config: AccessSection) -> TokenVerifier | None:
    if not config.oidc_issuer:
        return None
    from api.oidc import TokenVerifier  # cryptography: only where tokens are accepted

    return TokenVerifier(
        issuer=config.oidc_issuer,
        audience=config.oidc_audience or "",
        scopes=config.oidc_scopes,
        owner_claim=config.oidc_owner_claim,
    )


def _credential(headers: Headers) -> str | None:
    given = headers.getlist("authorization")
    keys = headers.getlist("x-api-key")
    if not given and not keys:
        return None
    if len(given) + len(keys) > 1:
        raise Unauthenticated(
            "The request has several keys or tokens. Send only one.", code="invalid_credentials"
        )
    if keys:
        return keys[0].strip()
    scheme, _, value = given[0].strip().partition(" ")
    if scheme.lower() != "bearer":
        raise refused()
    return value.strip()


def _take_ticket_out(connection: Connection) -> str | None:
    """Return the ticket in the URL, and remove it there.

    Servers log the URL when they accept a WebSocket.
    """
    query = connection.get("query_string", b"")
    tickets = parse_qs(query.decode("latin-1")).get("ticket")
    if not tickets:
        return None
    connection["query_string"] = b"ticket=-"
    return tickets[0] if len(tickets) == 1 else ""


async def identify(connection: HTTPConnection) -> Caller:
    """Return the caller that the gate has authenticated.

    Raises:
        Unauthenticated: The gate has not authenticated the request.
    """
    caller = getattr(connection.state, "caller", None)
    if not isinstance(caller, Caller):
        raise refused()
    return caller


async def identify_admin(caller: CallerDep) -> Caller:
    """Return the caller if it has the scope `admin`.

    Raises:
        Forbidden: The caller lacks the scope (code `missing_scope`).
    """
    if not caller.may("admin"):
        raise missing_scope("admin")
    return caller


async def choose_owner(
    caller: CallerDep,
    owner: Annotated[str | None, Query(max_length=300, description=_OWNER_HELP)] = None,
) -> str | None:
    """Return the owner whose items a listing shows.

    A caller sees its own items. An admin sees the items of the requested owner, or of all owners
    (None).

    Raises:
        Forbidden: A caller without `admin` requested another owner's items (code `missing_scope`),
            whether such items exist or not.
    """
    if owner is not None and owner != caller.owner and not caller.may("admin"):
        raise missing_scope("admin")
    return owner if owner is not None else caller.sees


CallerDep = Annotated[Caller, Depends(identify)]
AdminDep = Annotated[Caller, Depends(identify_admin)]
SeenDep = Annotated[str | None, Depends(choose_owner)]
