"""An installation of release 0.1 starts under this one, its jobs complete, and nothing of it is
deleted, changed or counted twice.

`tests/data/installation_0_1` has the installation and what made it. The tests share one that was
upgraded, and run in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from core.domain.job import Job
from core.domain.webhook import WebhookEvent
from core.errors import MusterError
from core.ports import Ports
from infra.processes import StartError
from tests.conftest import unavailable
from tests.support.upgraded_installation import ACTIVE, LIKE_QUEUED, NAMES, UNCOUNTED, Upgraded

ENDED = (
    *(
        "completed",
        "completed_without_video",
        "completed_without_statistics",
        "completed_untold",
        "recounted",
    ),
    *("failed", "cancelled", "expired", "expired_with_results"),
)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    try:
        made = Upgraded(tmp_path_factory.mktemp("upgrade"))
    except StartError as error:
        unavailable(str(error))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def lost_or_changed(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> list[str]:
    return [
        f"{place}: {name}"
        for place, blobs in before.items()
        for name, digest in blobs.items()
        if after[place].get(name) != digest
    ]


def counts_of(job: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        name: {key: figures[key] for key in ("unique", "low", "high", "peak")}
        for name, figures in job["counts"].items()
    }


def counts_as_now(counts: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    """Return counts of release 0.1 as this release answers them: a basis, and codes of reasons."""
    return counts and {
        name: figures
        | {
            "interval_basis": "detected",
            "reasons": [
                {"code": "doubtful", "text": text.removeprefix("doubtful: ")}
                for text in figures["reasons"]
            ],
        }
        for name, figures in counts.items()
    }


async def _job(ports: Ports, job_id: str) -> Job:
    return await ports.jobs.get(job_id)


async def _events(ports: Ports, job_id: str) -> list[WebhookEvent]:
    return await ports.webhooks.of_job(job_id)


def _tried_more(job: dict[str, Any], tries: int) -> bool:
    return bool(job["webhook"]["deliveries"][0]["tries"] > tries)


def test_promise_every_job_in_work_completes_as_if_submitted_today(upgraded: Upgraded) -> None:
    stack, expected, fresh = upgraded.stack, upgraded.expected, upgraded.fresh()
    assert {job["state"] for job in fresh.values()} == {"completed"}
    for name in ACTIVE:
        job = stack.job(upgraded.ids[name])
        assert (job["state"], job["attempt"], job["error"]) == ("completed", 1, None), name
        assert counts_of(job) == counts_of(expected["jobs"]["completed"]), name
    for name in LIKE_QUEUED:
        like = fresh["detecting" if name == "detecting" else "queued"]
        assert stack.job(upgraded.ids[name])["artifacts"] == like["artifacts"], name
        assert stack.artifact(upgraded.ids[name], "results.json") == stack.artifact(
            like["id"], "results.json"
        ), name
    assert (
        len(json.loads(stack.artifact(upgraded.ids["detecting"], "tracks.geojson"))["features"]) > 0
    )

    # What release 0.1 had assembled is rendered and published, not made again.
    staged = f"jobs/{upgraded.ids['rendering']}/results/"
    (revision,) = {
        blob.split("/")[3] for blob in expected["blobs"]["results"] if blob.startswith(staged)
    }
    assert (
        stack.with_ports(lambda ports: ports.jobs.get(upgraded.ids["rendering"])).result_revision
        == revision
    )
    assert (
        stack.job(upgraded.ids["rendering"])["artifacts"]
        == expected["jobs"]["completed"]["artifacts"]
    )


def test_promise_an_ended_job_stays_as_it_was(upgraded: Upgraded) -> None:
    for name in ENDED:
        was = upgraded.expected["jobs"][name]
        job = upgraded.stack.job(was["id"])
        same = (
            "state",
            "attempt",
            "counts",
            "error",
            "expired",
            "artifacts",
            "created_at_utc",
            "completed_at_utc",
        )
        as_now = {**was, "counts": counts_as_now(was["counts"])}
        assert {key: job[key] for key in same} == {key: as_now[key] for key in same}, name
        stored = upgraded.stack.with_ports(partial(_job, job_id=was["id"]))
        assert stored.result_revision == was["revision"], name
    assert lost_or_changed(upgraded.expected["blobs"], upgraded.blobs()) == []


def test_promise_an_event_that_was_not_told_is_still_to_be_told(upgraded: Upgraded) -> None:
    # No secret is configured, so nothing is sent: each try leaves the event where it was.
    for name in ("completed_untold", "assembling"):
        (was,) = upgraded.expected["webhooks"][name]
        upgraded.stack.wait(was["job_id"], until=partial(_tried_more, tries=was["tries"]))
        (event,) = upgraded.stack.with_ports(partial(_events, job_id=was["job_id"]))
        assert (event.id, event.state, event.event) == (was["id"], "due", "completed"), name
        assert (
            event.body == was["body"]
            if was["body"]
            else json.loads(event.body or "")["job_id"] == was["job_id"]
        ), name


def test_promise_nothing_is_counted_twice(upgraded: Upgraded) -> None:
    records, before = upgraded.statistics, upgraded.expected["statistics"]
    counted = {job_id for name, job_id in upgraded.ids.items() if name not in UNCOUNTED}
    assert records.keys() == counted
    for name, was in before.items():
        assert records[upgraded.ids[name]] == was, name
    same = ("attempt", "classes", "frames", "total_in", "total_out", "timestamp_utc")
    for name in (*ACTIVE, "completed_without_statistics"):
        record = records[upgraded.ids[name]]
        assert {key: record[key] for key in same} == {
            key: before["completed"][key] for key in same
        }, name
    assert before["completed"]["total_in"] == 1

    film = before["completed"]["classes"]["cattle"]["unique"]
    # Those of before, those that were in work, and what a test may have submitted since.
    since = sum(record["job_id"] not in counted for record in upgraded.all_statistics())
    cattle = sum(record["classes"]["cattle"]["unique"] for record in before.values()) + film * (
        len(counted) - len(before) + since
    )
    asked = {"bucket": "day", "class": "cattle", "camera": "north"}
    series = (
        upgraded.stack.client.get("/api/v1/stats/timeseries", params=asked)
        .raise_for_status()
        .json()["items"]
    )
    figures = [(bucket["start_utc"], bucket["jobs"], bucket["unique_sum"]) for bucket in series]
    assert figures == [("2026-05-01T00:00:00Z", len(counted) + since, cattle)]


@pytest.mark.parametrize(("name", "settings"), [("completed", {}), ("queued", {"render": False})])
def test_promise_an_idempotency_key_still_stands_for_its_job(
    upgraded: Upgraded, name: str, settings: dict[str, Any]
) -> None:
    again = upgraded.submit(name, key=f"key-of-{name}", **settings)
    assert again["id"] == upgraded.ids[name]
    assert "idempotency-replayed" in again["headers"]


def test_promise_a_sweep_deletes_nothing_of_what_an_older_release_left(upgraded: Upgraded) -> None:
    before = upgraded.etags()
    upgraded.sweep()
    after = upgraded.etags()
    assert before.keys() - after.keys() == upgraded.replaced, (
        "results that a recount replaced go as ever, and nothing else"
    )
    assert after.items() <= before.items()
    uploads = [name.split("/")[3] for name in after if name.startswith(f"{NAMES['raw']}/uploads/")]
    assert sorted(uploads) == sorted(upgraded.expected["uploads"])
    assert (
        [name for name in upgraded.expected["orphans"] if f"{NAMES['raw']}/{name}" in after]
        == upgraded.expected["orphans"]
        != []
    )
    depths = upgraded.stack.with_ports(lambda ports: ports.queue.depth())
    assert depths.poisoned == upgraded.expected["messages"]["queue"]["poisoned"] == 1


def test_promise_a_restored_older_database_is_refused_and_recovers(upgraded: Upgraded) -> None:
    stack, fresh, statistics = upgraded.stack, upgraded.fresh(), upgraded.all_statistics()
    lost = {job["id"]: stack.artifact(job["id"], "results.json") for job in fresh.values()}
    upgraded.restore_older_database()
    before = upgraded.etags()
    assert {name.split("/")[2] for name in before} >= lost.keys(), (
        "the older database does not know these"
    )

    swept = upgraded.run("worker.sweep")
    with suppress(MusterError):
        upgraded.sweep()
    assert upgraded.etags() == before, "nothing is deleted"
    assert swept.returncode != 0 and "worker.storage" in swept.stderr, (
        "it says which command is needed"
    )
    assert upgraded.stored_states() == {
        job["id"]: job["state"] for job in upgraded.expected["jobs"].values()
    }, "nothing is worked on"

    adopted, recovered = (
        upgraded.run("worker.storage", "adopt"),
        upgraded.run("worker.storage", "recover"),
    )
    for job_id in lost:
        assert job_id in adopted.stdout, f"reported\n{adopted.stdout}{adopted.stderr}"
        assert job_id in recovered.stdout, f"made again\n{recovered.stdout}{recovered.stderr}"
    upgraded.sweep()
    after = upgraded.etags()
    assert {
        name for name, etag in before.items() if after.get(name) != etag
    } <= upgraded.replaced, "nothing is deleted now"
    stack.restart_api(stack.env)
    stack.start_worker()
    for name in ACTIVE:
        job = stack.wait(upgraded.ids[name])
        assert (job["state"], counts_of(job)) == (
            "completed",
            counts_of(upgraded.expected["jobs"]["completed"]),
        ), name
    for job in fresh.values():
        assert stack.job(job["id"])["counts"] == job["counts"]
        assert stack.artifact(job["id"], "results.json") == lost[job["id"]]
    # One of them has used up the message that would have made its statistics: `recover` makes them.
    figures = {record["job_id"]: record["classes"] for record in statistics}
    upgraded.wait_for_statistics(len(figures))
    assert {
        record["job_id"]: record["classes"] for record in upgraded.all_statistics()
    } == figures, "one record a job, as before"
