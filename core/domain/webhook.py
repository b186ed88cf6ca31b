"""Webhooks: an address that a submission names, and the event that is sent there when an attempt of
the job has ended.
"""

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
"""Codes of tries that connected to no public address.

The operator's log tells them apart; a submitter sees one code for all of them.
"""

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """What the operator set.

    Attributes:
        secret: The operator's secret, from which each owner's own is derived; None: no webhooks.
        allow_http: Whether addresses without TLS are taken.
        give_up_after: How long after its event a delivery is tried.
        timeout_s: How long one try may take, from resolving the name to the end of the answer.
    """

    secret: str | None = field(default=None, repr=False)
    allow_http: bool = False
    give_up_after: timedelta = timedelta(hours=24)
    timeout_s: float = 10.0


class WebhookEvent(BaseModel):
    """That an attempt of a job ended, and what became of telling so.

    Attributes:
        id: Stable: the same event, however often it is delivered, has the same one.
        state: `expected` until the attempt ends; `due` while it is to be delivered; `delivered`;
            `given_up`.
        version: Counts the writes; a write names the one that it read.
        body: What is sent, made once; null while `expected`.
        not_before_utc: When the next try is due; null before the first one and at the end.
        next_look_at_utc: When the sweeper looks after it; null at the end.
        resent: How many messages the sweeper has sent since the last try.
        nudges: How many messages the sweeper has sent in all: messages that tell of fewer are
            obsolete.
        last_status: HTTP status of the last answer; null where there was none.
        last_error: Code of what went wrong at the last try.
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
        """Whether something is still to be done about it."""
        return self.state in OPEN


def event_id(job_id: str, attempt: int) -> str:
    """Return the id of the event that an attempt's end is."""
    return f"{job_id}-{attempt}"


def event_body(job: Job) -> str:
    """Return what is sent when a job has completed or failed: one small JSON object.

    Args:
        job: At the end of its attempt.
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
    """Return a webhook's address if it can be one. Whether it is a public one is seen when its name
    is resolved, at each delivery.

    Raises:
        InvalidInput: It is none (code `bad_webhook`), or the operator set no secret (code
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
            f"a webhook is an https address of at most {MAX_URL_LENGTH} characters, without spaces"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad("this cannot be read as an address") from error
    if parts.scheme not in (("https", "http") if rules.allow_http else ("https",)):
        raise _bad("a webhook's address begins with https://")
    # Read differently by different programs: what was checked might not be what is asked.
    if "@" in parts.netloc or "\\" in url or "#" in url:
        raise _bad("a webhook's address has no user name, password, fragment or backslash")
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
    """The error of a request for webhooks where the operator set no secret."""
    return InvalidInput(
        "Webhooks are off: the operator has not set MUSTER_WEBHOOK_SECRET.",
        code="webhooks_off",
    )


def is_host(host: str) -> bool:
    """Return whether this is a DNS name or an IP address in its usual form: none of those that only
    a C library takes for one.
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
    """Return an address without its query, which may hold a secret of the receiver's."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _bad(problem: str) -> InvalidInput:
    return InvalidInput(f"Invalid webhook: {problem}.", code="bad_webhook")


def _text(at: UtcDatetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
