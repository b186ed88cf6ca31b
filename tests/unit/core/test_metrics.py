"""Figures for Prometheus: what the API finds in queues and store, what a worker counts."""

from __future__ import annotations

import http.client
import socket
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import InvalidInput, LeaseLost, Unavailable
from core.ports import Lease
from tests.fakes import MemoryJobQueue, MemoryJobStore
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import running_api
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.metrics import WorkerMetrics


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    made = WorkerStand(tmp_path)
    yield made
    made.close()


def figure(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_the_api_tells_how_long_messages_and_jobs_wait() -> None:
    async with running_api() as api:
        empty = (await api.client.get("/metrics")).text
        assert 'muster_queue_age_seconds{queue="main"} 0.0' in empty
        assert "muster_job_silence_seconds 0.0" in empty
        await api.add_job("waits")
        queue = api.ports.queue
        assert isinstance(queue, MemoryJobQueue)
        await queue.send(b"{}")
        await queue.send(b"poison")
        lease = await queue.receive(visibility=timedelta(seconds=30))
        assert lease is not None
        await queue.poison(lease, reason="no good")
        api.clock.step(90)
        text = (await api.client.get("/metrics")).text
    assert 'muster_queue_age_seconds{queue="main"} 90.0' in text
    assert 'muster_queue_messages{queue="main"} 1.0' in text
    assert 'muster_poison_messages{queue="main"} 1.0' in text
    assert 'muster_queue_age_seconds{queue="detect"} 0.0' in text
    assert "muster_job_silence_seconds 90.0" in text


async def test_what_does_not_answer_is_left_out() -> None:
    async with running_api() as api:
        await api.client.get("/metrics")
        queue, jobs = api.ports.queue, api.ports.jobs
        assert isinstance(queue, MemoryJobQueue) and isinstance(jobs, MemoryJobStore)
        queue.away = True
        jobs.fail_with = Unavailable("away")
        answer = await api.client.get("/metrics")
    assert answer.status_code == 200
    assert 'muster_queue_messages{queue="main"}' not in answer.text
    assert 'muster_queue_messages{queue="detect"} 0.0' in answer.text
    assert "muster_job_silence_seconds NaN" in answer.text


async def test_a_worker_counts_steps_frames_and_stages(stand: WorkerStand) -> None:
    worker = stand.worker()
    metrics = worker._tools.metrics
    await stand.submit()
    await stand.drain(worker)
    for step, number in (("plan", 1), ("detect", 4), ("assemble", 1), ("render", 1)):
        assert figure(metrics, "muster_worker_steps_total", step=step, outcome="complete") == number
        assert figure(metrics, "muster_worker_step_seconds_count", step=step) == number
    assert figure(metrics, "muster_worker_frames_total", step="detect") == 35
    assert (figure(metrics, "muster_worker_frames_per_second", step="detect") or 0) > 0
    assert (
        figure(metrics, "muster_worker_stage_seconds_count", stage="FakeEngine.detect_segment") == 4
    )
    assert figure(metrics, "muster_worker_lease_losses_total") == 0
    assert figure(metrics, "muster_worker_redeliveries_total", step="detect") is None


async def test_redeliveries_lost_leases_and_poison_are_counted(stand: WorkerStand) -> None:
    worker = stand.worker(max_failures=2)
    metrics = worker._tools.metrics

    def break_down(*_: object) -> None:
        raise RuntimeError("broken")

    stand.engine.hooks["plan_segments"] = break_down
    await stand.submit()
    await stand.drain(worker)
    stand.timer.advance(60)
    await stand.drain(worker)
    assert figure(metrics, "muster_worker_steps_total", step="plan", outcome="release") == 1
    assert figure(metrics, "muster_worker_redeliveries_total", step="plan") == 1
    assert figure(metrics, "muster_worker_messages_poisoned_total", step="plan") == 1
    await stand.ports.queue.send(b"no message of ours")
    await stand.drain(worker)
    assert figure(metrics, "muster_worker_messages_poisoned_total", step="undecodable") == 1

    stand.engine.hooks.clear()
    await stand.submit(job_id="lost")
    received = await stand.receive()
    assert received is not None
    queue, lease = received

    async def lose(lease: Lease, *, visibility: timedelta) -> Lease:
        raise LeaseLost("somebody else has it")

    queue.renew = lose  # type: ignore[method-assign]
    stand.engine.hooks["plan_segments"] = lambda *_: stand.timer.advance(VISIBILITY_S / 2)
    await stand.pass_time(worker.process(queue, lease))
    assert figure(metrics, "muster_worker_lease_losses_total") == 1
    assert figure(metrics, "muster_worker_steps_total", step="plan", outcome="lost") == 1


def test_a_worker_shows_its_figures_where_it_is_told_to() -> None:
    metrics = WorkerMetrics()
    metrics.lease_losses.inc()
    port = metrics.serve("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"muster_worker_lease_losses_total 1.0" in answer.read()
    with pytest.raises(InvalidInput) as refused:
        WorkerMetrics().serve("127.0.0.1", port)
    assert refused.value.code == "metrics_port_unusable"


def test_a_worker_that_shows_its_figures_looks_no_name_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getfqdn(name: str = "") -> str:
        asked.append(name)
        return "muster.example"

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    WorkerMetrics().serve("0.0.0.0", 0)
    assert asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_worker_on_loopback_answers_under_loopbacks_names_alone(host: str) -> None:
    """A page whose name is bound anew to this machine sends its own name."""
    port = WorkerMetrics().serve(host, 0)

    def status(name: str | None) -> int:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.putrequest("GET", "/metrics", skip_host=True)
        if name is not None:
            connection.putheader("Host", name)
        connection.endheaders()
        answer = connection.getresponse()
        shown = b"muster_worker" in answer.read()
        connection.close()
        assert shown == (answer.status == 200)
        return answer.status

    name: str | None
    for name in (
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        "LOCALHOST",
        f"[::1]:{port}",
        "127.0.0.9",
    ):
        assert status(name) == 200, name
    for name in (
        "rebound.example",
        f"rebound.example:{port}",
        "192.0.2.7",
        "localhost.rebound.example",
        "127.0.0.1.nip.io",
        "[",
        "",
        None,
    ):
        assert status(name) == 403, name


def test_a_worker_on_another_address_answers_under_any_name_of_the_network() -> None:
    port = WorkerMetrics().serve("0.0.0.0", 0)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Host": f"worker-1:{port}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert b"muster_worker" in answer.read()


async def test_the_apis_figures_need_the_scope_admin_or_the_machines_own_user() -> None:
    async with running_api() as api:
        for scopes, status in ((("read",), 403), (("submit", "read"), 403), (("admin",), 200)):
            async with client_of(api, await make_key(api, "ranch", *scopes)) as client:
                answer = await client.get("/metrics")
                assert answer.status_code == status
                assert ("muster_http_requests" in answer.text) == (status == 200)
        assert (await api.client.get("/metrics")).status_code == 200
    async with running_api(require_key=True) as api:
        assert (await api.client.get("/metrics")).status_code == 401
