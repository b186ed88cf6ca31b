"""Who is let in at all: addresses at which a request arrives, names and pages it comes from.

No route is reached by the rest.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api.access import OPEN_PATHS
from core.domain.access import LOCAL_CALLER
from tests.support.access_stand import REMOTE, client_of, make_key, shake_hands
from tests.support.api_stand import ApiStand, running_api

JOBS = "/api/v1/jobs"
PAGE = "https://app.example.org"


@pytest.fixture
async def api():
    async with running_api(
        allowed_hosts="muster.example.org,*.ranch.example", allowed_origins=PAGE
    ) as stand:
        yield stand


def code_of(answer: httpx.Response) -> str | None:
    return (
        answer.json()["code"]
        if answer.headers["content-type"] == "application/problem+json"
        else None
    )


@pytest.mark.parametrize("server", ["127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"])
async def test_the_machines_own_user_needs_no_key(api: ApiStand, server: str) -> None:
    async with client_of(api, at=f"http://{server}:8000", host="localhost:8000") as client:
        assert (await client.get(JOBS)).status_code == 200
        assert (await client.get("/api/v1/whoami")).json()["scopes"] == ["read", "submit"]


@pytest.mark.parametrize(
    "server",
    [
        "192.0.2.7",
        "10.0.0.4",
        "0.0.0.0",
        "[::]",
        "[fd00::2]",
        "[::ffff:10.0.0.4]",
        "localhost",
        "muster",
    ],
)
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "muster.example.org"])
async def test_whoever_arrives_elsewhere_needs_one_whatever_name_they_use(
    api: ApiStand, server: str, host: str
) -> None:
    async with client_of(api, at=f"http://{server}:8000", host=host) as client:
        for method, path in (
            ("GET", JOBS),
            ("POST", JOBS),
            ("GET", "/"),
            ("GET", "/docs"),
            ("DELETE", "/no/such"),
            ("GET", "/metrics"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, code_of(answer)) == (401, "credentials_required")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_where_the_server_does_not_say_the_address_a_key_is_needed(api: ApiStand) -> None:
    app = api.app
    seen: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": JOBS,
        "raw_path": JOBS.encode(),
        "query_string": b"",
        "scheme": "http",
    }
    scope |= {"root_path": "", "client": None, "headers": [(b"host", b"localhost")]}
    for server in (None, ("/run/muster.sock", None)):
        await app({**scope, "server": server}, receive, send)
    await app({**scope, "server": ("127.0.0.1", 80)}, receive, send)
    assert seen == [401, 401, 200]


@pytest.mark.parametrize("path", OPEN_PATHS)
async def test_probes_need_neither_key_nor_name(api: ApiStand, path: str) -> None:
    async with client_of(api, host="probe.invalid") as client:
        assert (await client.get(path)).status_code == 200
        assert (await client.post(path)).status_code in (401, 403)
        assert (await client.get(path + "/")).status_code in (401, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x_real_ip": "::1"},
        {"via": "1.1 proxy"},
        {"x_forwarded_host": "localhost"},
    ],
)
async def test_what_came_through_a_proxy_on_the_same_machine_needs_a_key(
    api: ApiStand, headers: dict[str, str]
) -> None:
    async with client_of(api, at="http://127.0.0.1:8000", **headers) as client:
        assert code_of(await client.get(JOBS)) == "credentials_required"
    async with client_of(
        api, await make_key(api, "ranch"), at="http://127.0.0.1:8000", **headers
    ) as client:
        assert (await client.get(JOBS)).status_code == 200


async def test_what_a_client_says_of_where_it_comes_from_opens_nothing(api: ApiStand) -> None:
    async with client_of(
        api,
        x_forwarded_for="127.0.0.1",
        x_forwarded_host="localhost",
        forwarded="for=127.0.0.1;host=localhost",
    ) as client:
        assert (await client.get(JOBS)).status_code == 401


async def test_loopback_needs_a_key_where_the_operator_says_so() -> None:
    async with running_api(require_key=True) as api:
        async with client_of(api, at="http://127.0.0.1") as client:
            assert code_of(await client.get(JOBS)) == "credentials_required"
            assert (await client.get("/health/live")).status_code == 200
        async with client_of(api, await make_key(api, "local"), at="http://127.0.0.1") as client:
            assert (await client.get(JOBS)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "a b",
        "evil.example:8000",
        "",
    ],
)
@pytest.mark.parametrize("keyed", [True, False])
async def test_a_foreign_name_is_refused_with_and_without_a_key(
    api: ApiStand, host: str, keyed: bool
) -> None:
    key = await make_key(api, "ranch") if keyed else None
    for at in (REMOTE, "http://127.0.0.1:8000"):
        async with client_of(api, key, at=at, host=host) as client:
            for path in (JOBS, "/no/such"):
                answer = await client.get(path)
                assert (answer.status_code, code_of(answer)) == (403, "foreign_host")


async def test_an_address_on_loopback_that_is_not_loopbacks_is_a_foreign_name(
    api: ApiStand,
) -> None:
    async with client_of(api, at="http://127.0.0.1:8000", host="192.0.2.7:8000") as client:
        assert code_of(await client.get(JOBS)) == "foreign_host"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "a.localhost",
        "127.0.0.1:9",
        "[::1]:9",
        "muster.example.org",
        "b.a.ranch.example",
        "muster.example.org.",
    ],
)
async def test_own_names_are_let_in(api: ApiStand, host: str) -> None:
    async with client_of(api, at="http://127.0.0.1:8000", host=host) as client:
        assert (await client.get(JOBS)).status_code == 200


async def test_names_below_are_not_the_name_itself(api: ApiStand) -> None:
    async with client_of(api, at="http://127.0.0.1:8000", host="ranch.example") as client:
        assert code_of(await client.get(JOBS)) == "foreign_host"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "file://",
        "http://127.0.0.1",
        "https://app.example.org.evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_other_pages_are_refused(api: ApiStand, origin: str, method: str) -> None:
    key = await make_key(api, "ranch")
    for at, secret in (("http://127.0.0.1:8000", None), (REMOTE, key)):
        async with client_of(api, secret, at=at, origin=origin) as client:
            answer = await client.request(method, JOBS)
            assert (answer.status_code, code_of(answer)) == (403, "foreign_origin")
            assert "access-control-allow-origin" not in answer.headers
    assert api.messages() == []


async def test_own_and_configured_pages_are_let_in(api: ApiStand) -> None:
    for at, origin in (
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000", PAGE),
    ):
        async with client_of(api, at=at, origin=origin) as client:
            assert (await client.get(JOBS)).status_code == 200
    async with client_of(
        api,
        at="http://127.0.0.1:8000",
        host="muster.example.org",
        origin="https://muster.example.org",
    ) as client:
        assert (await client.get(JOBS)).status_code == 200, (
            "the same name behind a proxy that ends TLS"
        )


async def test_another_sites_pictures_and_scripts_are_refused_but_its_links_are_not(
    api: ApiStand,
) -> None:
    for mode, status in (("no-cors", 403), ("navigate", 200)):
        async with client_of(
            api, at="http://127.0.0.1:8000", sec_fetch_site="cross-site", sec_fetch_mode=mode
        ) as client:
            assert (await client.get(JOBS)).status_code == status


async def test_cors_is_off_unless_configured_and_then_for_these_pages_alone(api: ApiStand) -> None:
    asks = {
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization,idempotency-key",
    }
    async with client_of(api, origin=PAGE, **asks) as client:
        allowed = await client.options(JOBS)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in allowed.headers
        refused = await client.get(JOBS)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
            401,
            PAGE,
        ), "so that the page learns why"
    async with (
        running_api() as closed,
        client_of(closed, at="http://127.0.0.1", origin=PAGE, **asks) as client,
    ):
        answer = await client.options(JOBS)
        assert (answer.status_code, code_of(answer)) == (403, "foreign_origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_web_sockets_go_through_the_same_door(api: ApiStand) -> None:
    path = f"/ws/jobs/{'a' * 32}"

    async def outcome(**options: Any) -> tuple[str, int]:
        first = (await shake_hands(api, path, **options))[0]
        return first["type"], first.get("status", 0)

    refused = ("websocket.http.response.start", 403)
    assert await outcome(server="127.0.0.1") == ("websocket.accept", 0)
    assert await outcome(server="127.0.0.1", origin="http://127.0.0.1:8000") == (
        "websocket.accept",
        0,
    )
    assert await outcome(server="127.0.0.1", origin="https://evil.example") == refused
    assert await outcome(server="127.0.0.1", host="evil.example") == refused
    assert await outcome() == ("websocket.http.response.start", 401)


async def test_answers_carry_headers_that_browsers_obey(api: ApiStand) -> None:
    async with client_of(api) as client:
        refused = await client.get(JOBS)
    for answer in (
        refused,
        await api.client.get(JOBS),
        await api.client.get("/docs"),
        await api.client.get("/no/such"),
    ):
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert {"frame-ancestors 'none'", "default-src 'none'"} <= set(
            headers["content-security-policy"].split("; ")
        )
    assert "strict-transport-security" not in refused.headers
    async with client_of(api, at="https://192.0.2.7:8000") as client:
        assert (await client.get(JOBS)).headers["strict-transport-security"] == "max-age=31536000"


async def test_one_owner_leaves_places_to_others() -> None:
    async with running_api(connections=32) as api:
        access = api.app.state.services.access
        keys = {owner: await make_key(api, owner=owner) for owner in ("north", "south")}

        async def ask(owner: str) -> httpx.Response:
            async with client_of(api, at=REMOTE, key=keys[owner]) as client:
                return await client.get(JOBS)

        north = await api.app.state.services.keys.check(keys["north"])
        with ExitStack() as held:
            for _ in range(8):
                held.enter_context(access.share_of(north))
            refused = await ask("north")
            assert (refused.status_code, code_of(refused)) == (429, "too_many_open_requests")
            assert int(refused.headers["retry-after"]) > 0
            assert (await ask("south")).status_code == 200
            with ExitStack() as unlimited:
                for _ in range(9):
                    unlimited.enter_context(access.share_of(LOCAL_CALLER))
        assert (await ask("north")).status_code == 200


async def test_a_long_path_that_is_refused_is_not_repeated_as_a_whole(
    api: ApiStand, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        async with client_of(api, at=REMOTE) as client:
            answer = await client.get("/" + "a" * 60_000)
    assert answer.status_code == 401
    assert len(answer.content) < 3_000
    assert (
        sum(len(str(vars(record))) for record in caplog.records if record.name.startswith("api"))
        < 20_000
    )
