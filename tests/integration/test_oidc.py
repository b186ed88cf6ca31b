"""Tokens of a real issuer over HTTP on this machine: whom they stand for, and every way in which
one is not good.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from api.oidc import KEYS_ASKED_EVERY_S, KEYS_FRESH_S, TokenVerifier
from api.routes import events
from core.config.access import AccessSection
from core.errors import Unauthenticated, Unavailable
from tests.support.access_stand import client_of, shake_hands
from tests.support.api_stand import MP4, running_api
from tests.support.oidc_issuer import AUDIENCE, Issuer, running_issuer

ROLES = {"Muster.Submit": "submit", "Muster.Read": "read", "Muster.Admin": "admin"}
HOUR_S = 3600


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        issuer.add_key("1")
        issuer.add_key("2", "ES256")
        yield issuer


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def verifier(issuer: Issuer, clock: Clock | None = None, **options: Any) -> TokenVerifier:
    return TokenVerifier(
        **{
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "scopes": ROLES,
            "monotonic": clock or Clock(),
            **options,
        }
    )


@pytest.mark.parametrize("key_id", ["1", "2"])
async def test_a_token_stands_for_an_owner_and_what_its_roles_allow(
    issuer: Issuer, key_id: str
) -> None:
    caller = await verifier(issuer).check(
        issuer.token(key_id=key_id, roles=["Muster.Read", "Muster.Submit", "Other.All"])
    )
    assert (caller.owner, caller.scopes, caller.key_id) == (
        "oidc:rancher",
        {"read", "submit"},
        None,
    )
    assert caller.credential is not None and caller.credential.startswith("token:")


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"roles": None, "scp": "Muster.Read profile"}, {"read"}),
        ({"roles": None, "scope": "openid Muster.Admin"}, {"admin"}),
        ({"roles": None}, set()),
        ({"roles": {"Muster.Read": True}}, set()),
        ({"roles": [["Muster.Read"], 1]}, set()),
        ({"roles": ["read", "muster.read"]}, set()),
    ],
)
async def test_scopes_come_from_roles_or_scopes_and_from_nothing_else(
    issuer: Issuer, claims: dict, scopes: set
) -> None:
    assert (await verifier(issuer).check(issuer.token(**claims))).scopes == scopes


async def test_whose_jobs_they_are_may_be_another_claim_and_never_a_keys_owner(
    issuer: Issuer,
) -> None:
    by_tenant = verifier(issuer, owner_claim="tid")
    first, second = [
        await by_tenant.check(issuer.token(tid="ranch", sub=name)) for name in ("a", "b")
    ]
    assert (first.owner, second.owner) == ("oidc:ranch", "oidc:ranch")
    assert first.credential != second.credential, "how fast one asks is counted by person"
    assert (await verifier(issuer).check(issuer.token(sub="local"))).owner == "oidc:local"
    for bad in (None, "", 5, "a\nb", "x" * 201):
        with pytest.raises(Unauthenticated):
            await by_tenant.check(issuer.token(tid=bad))


def bad_tokens(issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    good = issuer.token()
    head, body, signature = good.split(".")
    other = Issuer()
    other.add_key("1")

    def encoded(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = jwt.decode(good, options={"verify_signature": False})
    public = issuer.public_pem()
    return {
        "expired": issuer.token(exp=now - HOUR_S),
        "without an end": issuer.token(exp=None),
        "endlessly good": issuer.token(exp=float("inf")),
        "not yet": issuer.token(nbf=now + HOUR_S),
        "made in the future": issuer.token(iat=now + HOUR_S),
        "for another audience": issuer.token(aud="api://other"),
        "for no audience": issuer.token(aud=None),
        "of another issuer": issuer.token(iss="https://login.example.org"),
        "of no issuer": issuer.token(iss=None),
        "signed by somebody else": other.token(iss=issuer.url),
        "of a key that is not published": issuer.token(headers={"kid": "3"}),
        "of a key that is another kind": issuer.token(headers={"kid": "2"}),
        "with a symmetric key": issuer.token(headers={"kid": "secret"}),
        "without a signature": f"{encoded({'alg': 'none', 'kid': '1'})}.{encoded(claims)}.",
        "unsigned": jwt.encode(claims, "", "none", headers={"kid": "1"}),
        "signed with the public key as a secret": _hs256(
            encoded({"alg": "HS256", "kid": "1"}), encoded(claims), public
        ),
        "changed": f"{head}.{encoded({**claims, 'roles': ['Muster.Admin']})}.{signature}",
        "cut": good[:-10],
        "no token": "a.b.c",
        "endless": f"{head}.{body}{'A' * 20_000}.{signature}",
        "with a head without end": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{body}.{signature}",
        "with a head that is no object": f"{base64.urlsafe_b64encode(b'[1]').decode()}.{body}.{signature}",
        "of a key id that is none": f"{encoded({'alg': 'RS256', 'kid': ['1']})}.{body}.{signature}",
    }


def _hs256(head: str, body: str, secret: bytes) -> str:
    import hashlib
    import hmac

    signature = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_every_other_token_is_refused_in_the_same_words(issuer: Issuer) -> None:
    checks = verifier(issuer)
    assert (await checks.check(issuer.token())).owner == "oidc:rancher"
    for reason, token in bad_tokens(issuer).items():
        with pytest.raises(Unauthenticated) as caught:
            await checks.check(token)
        assert caught.value.code == "invalid_credentials", reason


async def test_clocks_may_differ_by_a_minute(issuer: Issuer) -> None:
    now = int(time.time())
    assert await verifier(issuer).check(issuer.token(exp=now - 30, nbf=now + 30, iat=now + 30))


async def test_keys_are_read_once_an_hour_and_for_new_ones_at_a_limited_pace(
    issuer: Issuer,
) -> None:
    clock = Clock()
    checks = verifier(issuer, clock)
    for _ in range(5):
        await checks.check(issuer.token())
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await checks.check(issuer.token(headers={"kid": "unknown"}))
    assert len(issuer.asked) == 2
    issuer.add_key("3")
    clock.now_s += KEYS_ASKED_EVERY_S
    assert await checks.check(issuer.token(key_id="3"))
    assert len(issuer.asked) == 4
    key = issuer.drop_key("1")
    assert await checks.check(issuer.token(key=key))
    clock.now_s += KEYS_FRESH_S
    with pytest.raises(Unauthenticated):
        await checks.check(issuer.token(key=key))
    assert len(issuer.asked) == 6


async def test_while_the_issuer_is_away_known_keys_stay_good_and_unknown_ones_are_503(
    issuer: Issuer,
) -> None:
    clock = Clock()
    checks, fresh = verifier(issuer, clock), verifier(issuer)
    await checks.check(issuer.token())
    issuer.status = 500
    clock.now_s += KEYS_FRESH_S
    assert await checks.check(issuer.token())
    with pytest.raises(Unavailable) as caught:
        await fresh.check(issuer.token())
    assert caught.value.code == "issuer_unavailable"
    issuer.status = 200
    assert await fresh.check(issuer.token())


@pytest.mark.parametrize(
    "overrides",
    [
        {"issuer": "https://login.example.org"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "no address"},
    ],
)
async def test_an_issuer_that_is_another_one_is_not_believed(
    issuer: Issuer, overrides: dict
) -> None:
    issuer.overrides = overrides
    with pytest.raises(Unavailable):
        await verifier(issuer).check(issuer.token())


async def test_over_http_a_token_opens_what_a_key_would(issuer: Issuer) -> None:
    async with running_api(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        token = issuer.token(roles=["Muster.Read", "Muster.Submit"])
        async with client_of(api, token) as client:
            job = (await client.post("/api/v1/jobs", files={"file": ("a.mp4", MP4)})).json()
            assert (await client.get(f"/api/v1/jobs/{job['id']}")).status_code == 200
            assert (await client.get("/api/v1/whoami")).json()["owner"] == "oidc:rancher"
            assert (await client.get("/api/v1/keys")).json()["code"] == "missing_scope"
            assert (
                await client.post("/api/v1/tickets", json={"job_id": job["id"]})
            ).status_code == 201
        for stranger in (
            issuer.token(sub="other"),
            issuer.token(roles=["Muster.Read"], sub="third"),
        ):
            async with client_of(api, stranger) as client:
                assert (await client.get(f"/api/v1/jobs/{job['id']}")).status_code == 404
        async with client_of(api, issuer.token(roles=[])) as client:
            assert (await client.get("/api/v1/jobs")).json()["code"] == "missing_scope"
        async with client_of(api, issuer.token(exp=1)) as client:
            answer = await client.get("/api/v1/jobs")
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    async with running_api() as closed, client_of(closed, issuer.token()) as client:
        assert (await client.get("/api/v1/jobs")).json()["code"] == "invalid_credentials"


@pytest.mark.parametrize("by_ticket", [True, False], ids=["ticket", "header"])
async def test_a_web_socket_ends_with_its_token(
    issuer: Issuer, by_ticket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.01)
    end = int(time.time()) + HOUR_S
    token = issuer.token(exp=end)
    assert (await verifier(issuer).check(token)).ends_at_utc == datetime.fromtimestamp(end, UTC)
    async with (
        running_api(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api,
        client_of(api, token) as client,
    ):
        api.clock.now_utc = datetime.fromtimestamp(end - 1, UTC)
        await api.add_job("a" * 32, owner="oidc:rancher")
        asked = {"authorization": f"Bearer {token}"}
        if by_ticket:
            ticket = (await client.post("/api/v1/tickets", json={"job_id": "a" * 32})).json()
            asked = {"query": f"ticket={ticket['ticket']}"}
            assert (
                ticket["expires_at_utc"] == f"{datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%M:%SZ}"
            )
        socket = asyncio.create_task(shake_hands(api, f"/ws/jobs/{'a' * 32}", stays=True, **asked))
        await asyncio.sleep(0.2)
        assert not socket.done()
        api.clock.step(1)
        sent = await asyncio.wait_for(socket, 20)
        assert (sent[-1]["type"], sent[-1]["code"], sent[-1]["reason"]) == (
            "websocket.close",
            4401,
            "token_expired",
        )


def test_an_issuer_needs_an_audience_and_tls() -> None:
    given: tuple[dict[str, Any], ...] = (
        {"oidc_issuer": "https://a.example"},
        {"oidc_issuer": "http://a.example", "oidc_audience": "x"},
    )
    for settings in given:
        with pytest.raises(ValueError, match="MUSTER_OIDC"):
            AccessSection(**settings)
    AccessSection(oidc_issuer="https://login.microsoftonline.com/t/v2.0", oidc_audience="x")
