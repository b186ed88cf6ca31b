"""Tokens of an OpenID Connect issuer, such as Entra ID, checked with PyJWT."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt

from core.domain.access import TOKEN_OWNER_PREFIX, Caller, Scope
from core.domain.json_values import JsonObject
from core.errors import MusterError, Unavailable
from core.services.access.keys import refused

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
"""Only asymmetric algorithms. With HS256, the public key would be enough to sign a token. With
`none`, a token needs no signature at all.
"""

LEEWAY_S = 60
KEYS_FRESH_S = 3600.0
KEYS_ASKED_EVERY_S = 30.0
"""Shortest time between two requests to the issuer because of unknown keys. Without it, every token
with a made-up key id would cause a request.
"""

_FETCH_S = 5.0
_MAX_BYTES = 2**20
_MAX_TOKEN_CHARS = 16_384
_MAX_OWNER_CHARS = 200


class TokenVerifier:
    """A verifier of tokens, which returns the caller of a token.

    Args:
        issuer: The issuer as in `iss`. `/.well-known/openid-configuration` is below this URL.
        audience: The value that `aud` must contain.
        scopes: The scope that each role or scope of a token grants. Roles and scopes that are not
            keys of this mapping grant nothing.
        owner_claim: The claim that names the owner of the jobs.
        client: Makes the HTTP client for requests to the issuer.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        scopes: Mapping[str, Scope],
        owner_claim: str = "sub",
        client: Callable[[], httpx.AsyncClient] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._scopes = dict(scopes)
        self._owner_claim = owner_claim
        self._client = client or (
            lambda: httpx.AsyncClient(timeout=_FETCH_S, follow_redirects=False)
        )
        self._monotonic = monotonic
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_s = self._asked_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def check(self, token: str) -> Caller:
        """Return the caller of a token, possibly without scopes.

        Raises:
            Unauthenticated: The token has another issuer, another audience or another algorithm, or
                is not valid now (code `invalid_credentials`).
            Unavailable: The issuer does not provide its keys (code `issuer_unavailable`).
        """
        if len(token) > _MAX_TOKEN_CHARS:
            raise refused()
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS:
                raise refused()
            key = await self._key(key_id)
            if key is None or key.algorithm_name != algorithm:
                raise refused()
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, ArithmeticError, RecursionError) as error:
            # Only the kind of the reason is logged, because messages of the library may quote the
            # token's claims.
            logger.info(
                "a token was refused",
                extra={"action": "token_refused", "reason": type(error).__name__},
            )
            raise refused() from None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        name = claims.get(self._owner_claim)
        if (
            not isinstance(name, str)
            or not 1 <= len(name) <= _MAX_OWNER_CHARS
            or not name.isprintable()
        ):
            logger.warning(
                "a token names no owner",
                extra={"action": "token_without_owner", "claim": self._owner_claim},
            )
            raise refused()
        subject = claims.get("sub", name)
        # Requests are counted per person, even if several people share one owner.
        counted = hashlib.sha256(f"{self._issuer}\n{subject}".encode()).hexdigest()[:16]
        allowed = frozenset(self._scopes[role] for role in _roles(claims) if role in self._scopes)
        owner = f"{TOKEN_OWNER_PREFIX}{name}"
        return Caller(
            owner=owner,
            scopes=allowed,
            credential=f"token:{counted}",
            ends_at_utc=_moment(claims["exp"]),
        )

    async def _key(self, key_id: Any) -> jwt.PyJWK | None:
        if key_id is not None and not isinstance(key_id, str):
            return None
        if self._is_known(key_id):
            return self._keys[key_id]
        async with self._fetching:
            # Another task may have fetched the keys while this one waited.
            if (
                not self._is_known(key_id)
                and self._monotonic() - self._asked_s >= KEYS_ASKED_EVERY_S
            ):
                self._asked_s = self._monotonic()
                try:
                    self._keys = await self._fetch()
                except MusterError:
                    if key_id not in self._keys:
                        self._asked_s = float("-inf")
                        raise
                    # Keys change rarely. The former keys remain valid while the issuer is
                    # unavailable.
                    logger.warning(
                        "the issuer of tokens is unavailable", extra={"action": "issuer_away"}
                    )
                else:
                    self._fetched_s = self._asked_s
        return self._keys.get(key_id)

    def _is_known(self, key_id: str | None) -> bool:
        return key_id in self._keys and self._monotonic() - self._fetched_s < KEYS_FRESH_S

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        async with self._client() as client:
            found = await _json_of(
                client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            )
            if found.get("issuer") != self._issuer or not isinstance(found.get("jwks_uri"), str):
                raise _away(
                    "the issuer's own name differs from MUSTER_OIDC_ISSUER; both must be equal"
                )
            listed = (await _json_of(client, str(found["jwks_uri"]))).get("keys")
        keys = dict(_usable_keys(listed if isinstance(listed, list) else ()))
        if not keys:
            raise _away("the issuer publishes no usable key")
        logger.info(
            "the token issuer's keys were fetched",
            extra={"action": "issuer_keys_read", "keys": len(keys)},
        )
        return keys


def _moment(seconds: Any) -> datetime:
    """Return a token's end. An end beyond the calendar becomes the calendar's last moment."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _roles(claims: Mapping[str, Any]) -> Iterable[str]:
    # Entra ID puts app roles, including the permissions of applications, into `roles`. It puts
    # permissions that a user delegated to an application into `scp`. Other issuers use `scope`.
    for name in ("roles", "scp", "scope"):
        value = claims.get(name)
        if isinstance(value, str):
            yield from value.split()
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, str))


def _usable_keys(listed: Iterable[Any]) -> Iterable[tuple[str | None, jwt.PyJWK]]:
    for item in listed:
        if not isinstance(item, dict) or item.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(item)
        except jwt.PyJWTError:
            # PyJWT does not know this kind of key. The server would not accept the key anyway.
            continue
        if key.algorithm_name in ALGORITHMS:
            yield key.key_id, key


async def _json_of(client: httpx.AsyncClient, url: str) -> JsonObject:
    try:
        async with client.stream("GET", url) as answer:
            data = bytearray()
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > _MAX_BYTES:
                    raise _away("the issuer's response is too long")
        if answer.status_code != 200:
            raise _away(f"the issuer responds with status {answer.status_code}")
        found = json.loads(data)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise _away("the issuer's response is invalid or missing") from error
    if not isinstance(found, dict):
        raise _away("the issuer's response is invalid or missing")
    return found


def _away(reason: str) -> Unavailable:
    return Unavailable(
        f"Tokens cannot be checked: {reason}.",
        code="issuer_unavailable",
    )
