"""Webhooks: URLs in submissions. The server reports the end of each attempt to the URL."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from core.domain.clock import UtcDatetime
from core.domain.job import Job
from core.errors import InvalidInput

MAX_URL_LENGTH = 2000
EventState = Literal["expected", "due", "delivered", "given_up"]
OPEN: tuple[EventState, ...] = ("expected", "due")
UNREACHED = ("name_not_found", "address_not_public", "no_connection")
"""Codes of tries that did not connect to a public address.

The operator's log distinguishes them; a submitter sees the same code for all of them.
"""

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """The operator's rules for webhooks.

    Attributes:
        secret: The operator's secret. Each owner's secret is derived from it. None if webhooks are
            off.
        allow_http: Whether URLs without TLS are accepted.
        give_up_after: How long after the event its delivery is retried.
        timeout_s: Longest duration of one try, from resolving the name to the end of the response.
    """

    secret: str | None = field(default=None, repr=False)
    allow_http: bool = False
    give_up_after: timedelta = timedelta(hours=24)
    timeout_s: float = 10.0


class WebhookEvent(BaseModel):
    """The event that reports the end of a job's attempt, and the state of its delivery.

    Attributes:
        id: Id of the event. All its deliveries have the same id.
        state: `expected` until the attempt ends; `due` until it is delivered; `delivered`;
            `given_up`.
        version: Counts the writes. A write names the version that it read.
        body: The body of every delivery; null while `state` is `expected`.
        not_before_utc: When the next try is due; null before the first one and at the end.
        next_look_at_utc: When the sweeper checks it next; null at the end.
        resent: Number of messages that the sweeper has sent since the last try.
        nudges: Number of messages that the sweeper has sent in all. A message contains this number.
            It is obsolete if the number has increased since.
        last_status: HTTP status of the last response; null without one.
        last_error: Error code of the last try.
        traceparent: Trace of the job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    job_id: str
    attempt: int = Field(ge=1)
    owner: str
    url: str
    state: EventState = "expected"
    version: int = 0
    event: Literal["completed", "failed"] | None = None
    body: str | None = None
    created_at_utc: UtcDatetime
    next_look_at_utc: UtcDatetime | None
    not_before_utc: UtcDatetime | None = None
    resent: int = 0
    nudges: int = 0
    ended_at_utc: UtcDatetime | None = None
    tries: int = 0
    last_try_at_utc: UtcDatetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    settled_at_utc: UtcDatetime | None = None
    traceparent: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the event still needs work."""
        return self.state in OPEN


def event_id(job_id: str, attempt: int) -> str:
    """Return the id of the event for the end of an attempt."""
    return f"{job_id}-{attempt}"


def event_body(job: Job) -> str:
    """Return the body that reports a completed or failed job: one small JSON object.

    Args:
        job: The job at the end of its attempt.
    """
    values: dict[str, object] = {
        "event": job.state,
        "event_id": event_id(job.id, job.attempt),
        "job_id": job.id,
        "attempt": job.attempt,
        "state": job.state,
        "created_at_utc": _text(job.created_at_utc),
        "completed_at_utc": _text(job.completed_at_utc or job.updated_at_utc),
    }
    if job.state == "completed":
        figures = {"unique", "low", "high", "interval_basis", "peak", "mean"}
        values["counts"] = {
            name: counts.model_dump(include=figures)
            for name, counts in sorted((job.counts or {}).items())
        }
    elif job.error is not None:
        values["error"] = {
            "code": job.error.code,
            "message": job.error.message,
            "step": job.error.step,
        }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def check_webhook_url(url: str, rules: WebhookRules) -> str:
    """Return a webhook's URL if its form is valid.

    Each delivery resolves the name and checks that its address is public.

    Raises:
        InvalidInput: The URL is not valid (code `bad_webhook`), or the operator set no secret (code
            `webhooks_off`).
    """
    if rules.secret is None:
        raise webhooks_off()
    if (
        not 1 <= len(url) <= MAX_URL_LENGTH
        or not url.isascii()
        or any(ord(c) <= 0x20 or ord(c) == 0x7F for c in url)
    ):
        raise _bad(
            f"a webhook is an https URL of at most {MAX_URL_LENGTH} ASCII characters, without "
            "spaces"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad("this is not a valid URL") from error
    if parts.scheme not in (("https", "http") if rules.allow_http else ("https",)):
        raise _bad("a webhook's URL must begin with https://")
    # Programs parse these parts differently, so the checked host might not be the contacted one.
    if "@" in parts.netloc or "\\" in url or "#" in url:
        raise _bad("a webhook's URL must not contain a user name, password, fragment or backslash")
    in_brackets = "[" in parts.netloc
    if (
        port == 0
        or not parts.hostname
        or not is_host(parts.hostname)
        or in_brackets != (":" in parts.hostname)
    ):
        raise _bad("its host is neither a name nor an IP address")
    return url


def webhooks_off() -> InvalidInput:
    """Return the error for a webhook if the operator has set no secret."""
    return InvalidInput(
        "Webhooks are off: the operator has not set MUSTER_WEBHOOK_SECRET.",
        code="webhooks_off",
    )


def is_host(host: str) -> bool:
    """Return whether this is a DNS name or an IP address in its usual form.

    Forms that only a C library accepts as an address are refused.
    """
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        labels = host.removesuffix(".").split(".")
        last = labels[-1]
        return (
            len(host) <= 253
            and all(map(_NAME.fullmatch, labels))
            and not last.isdigit()
            and not last.lower().startswith("0x")
        )


def shown_url(url: str) -> str:
    """Return a URL without its query, which may contain a secret of the receiver."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _bad(problem: str) -> InvalidInput:
    return InvalidInput(f"Invalid webhook: {problem}.", code="bad_webhook")


def _text(at: UtcDatetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
