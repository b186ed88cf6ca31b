"""Webhooks: which addresses a submission may name, what is sent, how it is signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.domain.job import Failure, Job
from core.domain.webhook import WebhookRules, check_webhook_url, event_body, shown_url
from core.errors import InvalidInput
from core.services.webhooks import owner_secret, requested_webhook, signature
from tests.support.api_stand import make_job

AT = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
RULES = WebhookRules("a secret of the operator's")
SECRET = RULES.secret or ""


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook",
        "https://example.org",
        "https://example.org:8443/a/b?token=c&d=%20",
        "https://8.8.8.8/hook",
        "https://[2606:4700::1111]:444/hook",
        "https://xn--bcher-kva.example/x",
        "https://a_b.example.org./",
    ],
)
def test_https_addresses_are_taken(url: str) -> None:
    assert check_webhook_url(url, RULES) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/hook",
        "http://example.org/hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "HTTPS//example.org",
        "https://",
        "https:///path",
        "https://user@example.org/",
        "https://user:hunter2@example.org/",
        "https://example.org@10.0.0.1/",
        "https://example.org/#fragment",
        "https://example.org\\@10.0.0.1/",
        "https://example.org/a b",
        "https://example.org/a\nb",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:http/",
        "https://bücher.example/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f.1/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://-a.example/",
        "https://a..example/",
        "https://example.org/" + "a" * 2000,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_webhook_url(url, RULES)
    assert refused.value.code == "bad_webhook"
    assert "hunter2" not in refused.value.message


PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::8.8.8.8]",
    "[2002:7f00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]",
    "[2606:4700::5efe:10.0.0.1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "a.b.LocalHost.",
    "localhost.localdomain",
    "printer.local",
    "metadata.google.internal",
    "metadata.google.internal.",
    "nas.home.arpa",
    "database",
    "kubernetes.",
]
DISGUISED = [
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.01",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "127.0.0.0x1",
    "0",
    "0.0",
    "00.00.00.00",
    "256.256.256.256",
    "127.0.0.1.0x",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::1%25lo]",
    "[::1",
    "[127.0.0.1]",
    "[localhost]",
    "[v1.localhost]",
    "[v1.example]",
    "::1",
    "\u0661\u0662\u0667.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u24db\u24de\u24d2\u24d0\u24dbhost",
    "example.org@127.0.0.1",
    "127.0.0.1\\@example.org",
    "127.0.0.1#@example.org",
    "127.0.0.1 ",
    "\t127.0.0.1",
    "127.0.0.1\n",
    "",
    ".",
]


@pytest.mark.parametrize("suffix", ["/hook", ":8443/hook"])
@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_network_is_refused_when_it_is_named(host: str, suffix: str) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(InvalidInput) as refused:
            requested_webhook(f"{scheme}://{host}{suffix}", WebhookRules(SECRET, allow_http=True))
        assert refused.value.code == "webhook_not_public"
        assert host.strip("[]").lower() not in refused.value.message.lower(), (
            "one sentence for all of them"
        )


@pytest.mark.parametrize("host", DISGUISED)
def test_what_only_some_programs_take_for_an_address_is_no_host(host: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        requested_webhook(f"https://{host}/hook", WebhookRules(SECRET, allow_http=True))
    assert refused.value.code == "bad_webhook"


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "example.org.",
        "8.8.8.8",
        "[2606:4700::1111]",
        "localhost.example.org",
        "notlocalhost.org",
        "mylocal.io",
        "10.0.0.1.nip.io",
    ],
)
def test_public_names_and_addresses_are_taken_without_a_look_at_what_they_resolve_to(
    host: str,
) -> None:
    assert requested_webhook(f"https://{host}/hook", RULES) == f"https://{host}/hook"


def test_http_is_taken_where_the_operator_says_so() -> None:
    assert (
        check_webhook_url("http://example.org/", WebhookRules(SECRET, allow_http=True))
        == "http://example.org/"
    )


def test_without_a_secret_there_are_no_webhooks() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_webhook_url("https://example.org/", WebhookRules())
    assert refused.value.code == "webhooks_off"


def test_rules_do_not_show_their_secret() -> None:
    assert SECRET not in repr(RULES)


def test_a_query_is_not_shown() -> None:
    assert (
        shown_url("https://example.org:8443/hook?token=secret") == "https://example.org:8443/hook"
    )


def ended(**fields: Any) -> Job:
    return make_job(
        "job1",
        AT,
        **{
            "attempt": 2,
            "completed_at_utc": AT.replace(minute=31),
            "webhook": "https://example.org/",
            **fields,
        },
    )


def test_a_completed_job_is_told_with_its_counts() -> None:
    figures = {
        "unique": 9,
        "low": 8,
        "high": 10,
        "interval_basis": "detected",
        "peak": 8,
        "mean": 7.7,
    }
    counts = {"cattle": {**figures, "reasons": ["x"], "detections": 4000}}
    assert json.loads(event_body(ended(state="completed", counts=counts))) == {
        "event": "completed",
        "event_id": "job1-2",
        "job_id": "job1",
        "attempt": 2,
        "state": "completed",
        "created_at_utc": "2026-06-01T09:30:00.000Z",
        "completed_at_utc": "2026-06-01T09:31:00.000Z",
        "counts": {"cattle": figures},
    }


def test_counts_of_results_1_0_are_sent_with_their_basis() -> None:
    figures = {"unique": 9, "low": 8, "high": 10, "peak": 8, "mean": 7.7}
    body = event_body(ended(state="completed", counts={"cattle": figures}))
    assert json.loads(body)["counts"] == {"cattle": figures | {"interval_basis": "detected"}}


def test_a_failed_job_is_told_with_its_reason() -> None:
    told = json.loads(
        event_body(
            ended(
                state="failed",
                error=Failure(code="unreadable_video", message="It is broken.", step="plan"),
            )
        )
    )
    assert (told["event"], told["event_id"]) == ("failed", "job1-2")
    assert told["error"] == {"code": "unreadable_video", "message": "It is broken.", "step": "plan"}
    assert "counts" not in told


def test_the_signature_covers_time_and_body() -> None:
    body = b'{"event":"completed"}'
    value = signature("secret", body, at=AT)
    moment = str(int(AT.timestamp()))
    assert (
        value
        == f"t={moment},v1={hmac.new(b'secret', moment.encode() + b'.' + body, hashlib.sha256).hexdigest()}"
    )
    assert signature("secret", body + b" ", at=AT) != value
    assert signature("secret", body, at=AT.replace(second=1)) != value
    assert signature("other", body, at=AT) != value


def test_each_owner_has_a_secret_of_their_own() -> None:
    secrets = {
        owner_secret(secret, owner)
        for secret in ("one secret", "another")
        for owner in ("local", "alice", "bob")
    }
    assert len(secrets) == 6
    assert all(len(secret) == 64 for secret in secrets)
