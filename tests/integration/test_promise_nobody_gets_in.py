"""No one gets in who should not, on real Azurite and two API processes that listen on all
addresses; and what is refused tells nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from core.domain.blobs import upload_blob
from infra.azurite_server import AzuriteServer
from tests.conftest import unavailable
from tests.support.access_stack import ApiPair, outside_address
from tests.support.api_stand import MP4
from tests.support.oidc_issuer import AUDIENCE, Issuer, running_issuer
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.refusals import Seen, shake_hands, told

JOBS = "/api/v1/jobs"
ABSENT = "0" * 32


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        issuer.add_key("1")
        yield issuer


@pytest.fixture(scope="module")
def traces() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def apis(
    azurite: AzuriteServer,
    issuer: Issuer,
    traces: OtlpReceiver,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[ApiPair]:
    settings = {
        "MUSTER_OIDC_ISSUER": issuer.url,
        "MUSTER_OIDC_AUDIENCE": AUDIENCE,
        "MUSTER_LOG_LEVEL": "DEBUG",
    }
    settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    pair = ApiPair(
        azurite,
        tmp_path_factory.mktemp("access"),
        unique_name,
        {"MUSTER_UPLOAD_MINUTES": "0.02"},
        **settings,
    )
    pair.start()
    yield pair
    pair.stop()


@pytest.fixture(scope="module")
def ranch(apis: ApiPair, seen: Seen) -> str:
    return seen.secret(apis.make_key("ranch").secret)


@pytest.fixture(scope="module")
def park(apis: ApiPair, seen: Seen) -> str:
    return seen.secret(apis.make_key("park").secret)


@pytest.fixture(scope="module")
def job(apis: ApiPair, ranch: str) -> str:
    """A job of the ranch's."""
    with apis.client(ranch) as client:
        answer = client.post(JOBS, files={"file": ("herd.mp4", MP4)})
    assert answer.status_code == 202
    return answer.json()["id"]


@pytest.fixture
def outside() -> str:
    address = outside_address()
    if address is None:
        unavailable("this machine has no address but loopback's")
    return address


def test_another_owners_job_is_answered_like_none_on_every_route(
    apis: ApiPair, park: str, ranch: str, job: str, seen: Seen
) -> None:
    routes = [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/results"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/tracks.csv"),
    ]
    routes += [
        ("POST", "/cancel"),
        ("POST", "/recount"),
        ("POST", "/retry"),
        ("HEAD", "/artifacts/tracks.csv"),
    ]
    with apis.client(park) as client:
        for method, path in routes:
            theirs, absent = [
                client.request(method, f"{JOBS}/{name}{path}") for name in (job, ABSENT)
            ]
            assert told(theirs, job) == told(absent, ABSENT)
            assert theirs.status_code == 404
        assert client.get(JOBS).json()["items"] == []
        assert client.get("/all_stats").json() == []
        seen.refused(client.post("/api/v1/tickets", json={"job_id": job}), 404, "job_not_found")
    with apis.client() as here:
        assert here.get(f"{JOBS}/{job}").status_code == 404, (
            "the machine's own user is another owner, too"
        )
    with apis.client(ranch) as client:
        assert client.get(f"{JOBS}/{job}").json()["state"] == "queued"


def test_a_revoked_key_opens_nothing_from_that_moment_in_any_process(
    apis: ApiPair, job: str, seen: Seen
) -> None:
    key, brief = apis.make_key("ranch"), apis.make_key("ranch", lifetime_s=3600)
    for made in (key, brief):
        seen.secret(made.secret)
    admin = seen.secret(apis.make_key("boss", "admin").secret)
    with apis.client(key.secret, which="b") as client, apis.client(admin) as boss:
        assert client.get(f"{JOBS}/{job}").status_code == 200
        assert boss.delete(f"/api/v1/keys/{key.key.id}").status_code == 200
        never = f"muster_{key.key.id}_{'A' * 43}"
        with apis.client(never, which="b") as stranger:
            for path in (f"{JOBS}/{job}", f"{JOBS}/{ABSENT}", JOBS, "/no/such"):
                revoked, unknown = client.get(path), stranger.get(path)
                seen.refused(revoked, 401, "invalid_credentials")
                assert told(revoked) == told(unknown)


def test_a_missing_scope_is_refused_before_anything_is_looked_up(
    apis: ApiPair, job: str, seen: Seen
) -> None:
    reader, writer = (
        seen.secret(apis.make_key("ranch", scope).secret) for scope in ("read", "submit")
    )
    with apis.client(reader) as client:
        assert client.get(f"{JOBS}/{job}").status_code == 200
        for name in (job, ABSENT):
            seen.refused(client.delete(f"{JOBS}/{name}"), 403, "missing_scope")
            seen.refused(client.post(f"{JOBS}/{name}/cancel"), 403, "missing_scope")
        seen.refused(client.post(JOBS, files={"file": ("herd.mp4", MP4)}), 403, "missing_scope")
        seen.refused(client.get("/api/v1/keys"), 403, "missing_scope")
    with apis.client(writer) as client:
        for path in (f"{JOBS}/{job}", f"{JOBS}/{ABSENT}", JOBS, "/metrics", "/health"):
            seen.refused(client.get(path), 403, "missing_scope")
        seen.refused(
            client.post("/api/v1/keys", json={"owner": "x", "scopes": ["admin"]}),
            403,
            "missing_scope",
        )


def test_tokens_follow_the_same_rules(apis: ApiPair, issuer: Issuer, job: str, seen: Seen) -> None:
    good, expired = (
        seen.secret(issuer.token(exp=end))
        for end in (int(time.time()) + 600, int(time.time()) - 600)
    )
    with httpx.Client(
        base_url=apis.url(), headers={"Authorization": f"Bearer {good}"}, timeout=60
    ) as client:
        assert client.get(JOBS).json()["items"] == []
        seen.refused(client.get(f"{JOBS}/{job}"), 404, "job_not_found")
        seen.refused(client.post(JOBS, files={"file": ("herd.mp4", MP4)}), 403, "missing_scope")
        seen.refused(
            client.get(JOBS, headers={"Authorization": f"Bearer {expired}"}),
            401,
            "invalid_credentials",
        )


def test_a_link_is_good_for_one_blob_for_writing_and_for_minutes(
    apis: ApiPair, ranch: str, seen: Seen
) -> None:
    with apis.client(ranch) as client, apis.client(ranch, which="b") as brief:
        link = client.post("/api/v1/uploads", json={"size_bytes": len(MP4)}).json()
        late = brief.post("/api/v1/uploads", json={"size_bytes": len(MP4)}).json()
    for given in (link, late):
        seen.secret(parse_qs(urlsplit(given["url"]).query)["sig"][0])
    blob = upload_blob(link["upload_id"], owner="ranch")
    put = {"headers": link["headers"], "content": MP4, "timeout": 60}
    for elsewhere in (
        upload_blob(link["upload_id"], owner="park"),
        upload_blob(ABSENT, owner="ranch"),
        f"jobs/{ABSENT}/source/000",
    ):
        assert httpx.put(link["url"].replace(blob, elsewhere), **put).status_code == 403
    assert httpx.put(link["url"], **put).status_code == 201
    for verb, query in (
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("PUT", "&comp=tags"),
        ("GET", "&comp=metadata"),
        ("GET", "&comp=blocklist"),
    ):
        assert httpx.request(verb, link["url"] + query, timeout=60).status_code == 403, verb
    container = link["url"].replace(f"/{blob}", "")
    assert httpx.get(f"{container}&restype=container&comp=list", timeout=60).status_code == 403
    ends = datetime.fromisoformat(late["expires_at_utc"])
    while datetime.now(ends.tzinfo) <= ends or httpx.put(late["url"], **put).status_code == 201:
        assert (datetime.now(ends.tzinfo) - ends).total_seconds() < 30
        time.sleep(0.2)
    assert httpx.put(late["url"], **put).status_code == 403


def test_an_upload_belongs_to_whoever_asked_for_its_link(
    apis: ApiPair, ranch: str, park: str, seen: Seen
) -> None:
    with apis.client(ranch) as owner, apis.client(park) as stranger:
        link = owner.post("/api/v1/uploads", json={}).json()
        seen.secret(parse_qs(urlsplit(link["url"]).query)["sig"][0])
        assert (
            httpx.put(link["url"], headers=link["headers"], content=MP4, timeout=60).status_code
            == 201
        )
        theirs, absent = [
            stranger.post(JOBS, json={"upload_ids": [name]}) for name in (link["upload_id"], ABSENT)
        ]
        seen.refused(theirs, 404, "upload_not_found")
        assert told(theirs, link["upload_id"]) == told(absent, ABSENT)
        accepted = owner.post(JOBS, json={"upload_ids": [link["upload_id"]]})
        assert accepted.status_code == 202
        # The link is still good for its staging name; the job's own copy is another blob, and
        # pinned.
        assert (
            httpx.put(
                link["url"], headers=link["headers"], content=b"other", timeout=60
            ).status_code
            == 201
        )
        stored = apis.with_ports(lambda ports: ports.jobs.get(accepted.json()["id"]))
        (file,) = stored.files
        assert (
            apis.with_ports(lambda ports: ports.sources.get(file.blob, if_match=file.etag)) == MP4
        )


def test_a_wrong_verb_is_refused_alike_for_what_exists_and_what_does_not(
    apis: ApiPair, ranch: str, park: str, job: str, seen: Seen
) -> None:
    for key in (ranch, park):
        with apis.client(key) as client:
            for method, path in (
                ("PUT", ""),
                ("PATCH", ""),
                ("POST", "/results"),
                ("DELETE", "/artifacts/tracks.csv"),
                ("PUT", "/cancel"),
            ):
                there, absent = [
                    client.request(method, f"{JOBS}/{name}{path}") for name in (job, ABSENT)
                ]
                seen.refused(there, 405, "method_not_allowed")
                assert told(there, job) == told(absent, ABSENT)


def test_who_arrives_from_outside_needs_a_key_whatever_they_say_of_themselves(
    apis: ApiPair, outside: str, ranch: str, job: str, seen: Seen
) -> None:
    says = {
        "x_forwarded_for": "127.0.0.1",
        "x_forwarded_host": "localhost",
        "forwarded": "for=127.0.0.1",
    }
    for headers in ({}, {"host": f"localhost:{apis.ports['a']}"}, says):
        with apis.client(at=outside, **headers) as client:
            for method, path in (
                ("GET", JOBS),
                ("POST", JOBS),
                ("GET", f"{JOBS}/{job}"),
                ("GET", "/docs"),
                ("GET", "/metrics"),
                ("PUT", "/x"),
            ):
                seen.refused(client.request(method, path), 401, "credentials_required")
            assert client.get("/health/live").status_code == 200
    with apis.client(ranch, at=outside) as client:
        assert client.get(f"{JOBS}/{job}").status_code == 200
    with apis.client() as here:
        assert here.get(JOBS).status_code == 200


@pytest.mark.parametrize("keyed", [False, True])
def test_foreign_names_and_pages_are_refused_here_as_outside(
    apis: ApiPair, outside: str, ranch: str, job: str, seen: Seen, keyed: bool
) -> None:
    key = ranch if keyed else None
    for host in ("127.0.0.1", outside):
        for headers, code in (
            ({"host": "rebound.example"}, "foreign_host"),
            ({"origin": "https://evil.example"}, "foreign_origin"),
            ({"origin": "null"}, "foreign_origin"),
        ):
            with apis.client(key, at=host, **headers) as client:
                for method, path in (("GET", f"{JOBS}/{job}"), ("POST", JOBS), ("OPTIONS", JOBS)):
                    answer = client.request(method, path)
                    seen.refused(answer, 403, code)
                    assert "access-control-allow-origin" not in answer.headers


def test_a_ticket_lets_one_web_socket_in_whichever_process_is_asked(
    apis: ApiPair, outside: str, ranch: str, job: str, seen: Seen
) -> None:
    def address(which: str, host: str, query: str = "") -> str:
        return f"ws://{host}:{apis.ports[which]}/ws/jobs/{job}{query}"

    assert shake_hands(address("a", outside)) == 401
    assert shake_hands(address("a", outside, f"?key={ranch}")) == 401
    assert shake_hands(address("a", outside), **{"X-API-Key": ranch}) == 101
    assert (
        shake_hands(address("a", outside), **{"X-API-Key": ranch, "Origin": "https://evil.example"})
        == 403
    )
    assert shake_hands(address("a", "127.0.0.1"), Origin="https://evil.example") == 403
    with apis.client(ranch) as client:
        for _ in range(3):
            ticket = seen.secret(
                client.post("/api/v1/tickets", json={"job_id": job}).json()["ticket"]
            )
            with ThreadPoolExecutor(12) as pool:
                turns = [address("ab"[i % 2], outside, f"?ticket={ticket}") for i in range(12)]
                assert sorted(pool.map(shake_hands, turns)) == [101] + [401] * 11
        other = client.post(JOBS, files={"file": ("herd.mp4", MP4)}).json()["id"]
        ticket = seen.secret(
            client.post("/api/v1/tickets", json={"job_id": other}).json()["ticket"]
        )
        assert shake_hands(address("a", outside, f"?ticket={ticket}")) == 401


def test_no_secret_is_in_a_log_an_error_or_a_trace(
    apis: ApiPair, seen: Seen, ranch: str, azurite: AzuriteServer, traces: OtlpReceiver
) -> None:
    """Runs last: everything above has left its traces by now."""
    with apis.client() as client:
        for address in (f"{JOBS}?key={ranch}", f"{JOBS}/{ranch}"):
            seen.refused(client.get(address), 401, "key_in_url")
        seen.refused(
            client.get(JOBS, headers={"Authorization": f"Basic {ranch}"}),
            401,
            "invalid_credentials",
        )
    found = re.search("AccountKey=([^;]+)", azurite.connection_string)
    assert found is not None
    account_key = found[1]
    tails = {secret[-43:] for secret in seen.secrets if secret.startswith(("muster_", "ticket_"))}
    assert len(seen.secrets) >= 10 and len(seen.refusals) > 50
    logs = apis.logs()
    assert "GET" in logs and JOBS in logs, "something was logged"
    # Spans are sent in order: when those of this upload are there, so are all that came before.
    with apis.client(ranch) as client:
        job_id = client.post(JOBS, files={"file": ("last.mp4", MP4)}).json()["id"]
    traces.wait(lambda spans: any(job_id in str(span.attributes) for span in spans))
    for secret in seen.secrets | tails | {account_key}:
        assert secret not in logs
        assert not any(secret.encode() in body for body in traces.bodies)
        assert not any(secret in refusal for refusal in seen.refusals)
