"""Promise: a job's webhook is delivered at least once, under one id, on real Azurite.

This holds whichever process is killed, at any moment.
"""

from __future__ import annotations

import hashlib
import hmac
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.services.webhooks import owner_secret
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.stack import Stack
from tests.support.webhook_receiver import Received, Receiver, answer_with

SECRET = "the operator's secret of this test"


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    """An API, and workers that tell receivers on this machine."""
    settings = {
        "MUSTER_VISIBILITY_S": "3",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_WEBHOOK_SECRET": SECRET,
        "MUSTER_WEBHOOK_HTTP": "true",
        "MUSTER_WEBHOOK_TIMEOUT_S": "3",
    }
    made = Stack(azurite, tmp_path_factory.mktemp("webhooks"), unique_name, settings)
    made.start_api()
    yield made
    made.stop()


def living_worker(stack: Stack) -> None:
    """Make sure that a worker runs which nobody kills."""
    if not any(worker.alive for worker in stack.workers):
        stack.start_worker("tests.support.webhook_worker", "quick")


def submit(stack: Stack, receiver: Receiver) -> str:
    url = f"http://hooks.example.org:{receiver.port}/muster?token=of-the-receiver"
    answer = stack.client.post(
        "/api/v1/jobs", files={"file": ("herd.mp4", MP4, "video/mp4")}, data={"webhook": url}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["webhook"] == {
        "url": f"http://hooks.example.org:{receiver.port}/muster",
        "deliveries": None,
    }
    return answer.json()["id"]


def settled(stack: Stack, job_id: str, attempt: int = 1) -> dict[str, Any]:
    """Return how the delivery of an attempt's end went, when that is known."""

    def is_settled(job: dict[str, Any]) -> bool:
        return any(
            item["attempt"] == attempt and item["settled_at_utc"]
            for item in job["webhook"]["deliveries"]
        )

    job = stack.wait(job_id, until=is_settled)
    return next(item for item in job["webhook"]["deliveries"] if item["attempt"] == attempt)


def verified(got: Received, secret: str) -> bool:
    """Check a signature as docs/how-to/webhooks.md tells receivers to."""
    parts = dict(part.split("=", 1) for part in got.headers["Muster-Signature"].split(","))
    expected = hmac.new(
        secret.encode(), f"{parts['t']}.".encode() + got.body, hashlib.sha256
    ).hexdigest()
    return hmac.compare_digest(expected, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


def test_a_worker_killed_before_it_acknowledges_delivers_again_with_the_same_id(
    stack: Stack,
) -> None:
    with Receiver() as receiver:
        job_id = submit(stack, receiver)
        dying = stack.start_worker("tests.support.webhook_worker", "quick", "die")
        receiver.wait(1)
        assert dying.process is not None and dying.process.wait(60) == -signal.SIGKILL
        assert stack.job(job_id)["state"] == "completed", "the job does not wait for its webhook"
        living_worker(stack)
        first, second = receiver.wait(2)[:2]
        outcome = settled(stack, job_id)
    assert (
        first.headers["Muster-Event-Id"]
        == second.headers["Muster-Event-Id"]
        == first.json()["event_id"]
        == outcome["event_id"]
    )
    assert first.body == second.body
    assert (first.json()["event"], first.json()["job_id"]) == ("completed", job_id)
    assert first.json()["counts"]["cattle"]["unique"] == 3
    assert (outcome["state"], outcome["tries"], outcome["last_status"]) == ("delivered", 2, 204)
    secret = stack.client.post("/api/v1/webhooks/secret").raise_for_status().json()["secret"]
    assert secret == owner_secret(SECRET, "local") != SECRET
    assert verified(first, secret) and verified(second, secret)
    assert not verified(first, SECRET)


def test_a_receiver_that_is_away_is_told_later_and_holds_nobody_up(stack: Stack) -> None:
    with Receiver() as receiver:
        receiver.answers = [answer_with(503), answer_with(500, pause_s=6)]
        living_worker(stack)
        job_id = submit(stack, receiver)
        assert stack.wait(job_id)["state"] == "completed"
        receiver.wait(2)
        # While the second try hangs, other jobs go through.
        quick = stack.client.post(
            "/api/v1/jobs", files={"file": ("herd.mp4", MP4, "video/mp4")}
        ).json()["id"]
        assert stack.wait(quick)["state"] == "completed"
        outcome = settled(stack, job_id)
    assert (outcome["state"], outcome["tries"]) == ("delivered", 3)
    assert len({got.headers["Muster-Event-Id"] for got in receiver.received}) == 1


def test_each_attempt_is_told_of_a_recount_too(stack: Stack) -> None:
    with Receiver() as receiver:
        living_worker(stack)
        job_id = submit(stack, receiver)
        settled(stack, job_id)
        stack.client.post(
            f"/api/v1/jobs/{job_id}/recount", json={"camera": "gate"}
        ).raise_for_status()
        outcome = settled(stack, job_id, attempt=2)
    assert [got.json()["attempt"] for got in receiver.received] == [1, 2]
    assert (outcome["event"], outcome["state"], outcome["event_id"]) == (
        "completed",
        "delivered",
        f"{job_id}-2",
    )


def test_where_it_is_not_allowed_a_webhook_is_refused(stack: Stack) -> None:
    for url in ("https://127.1/", "ftp://example.org/", "https://a:b@example.org/", "nothing"):
        answer = stack.client.post(
            "/api/v1/jobs", files={"file": ("herd.mp4", MP4, "video/mp4")}, data={"webhook": url}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_webhook"), answer.text
