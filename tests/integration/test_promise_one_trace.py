"""Promises of a whole run on real Azurite, over several processes: one trace from the upload to the
result, silence while there is nothing to do, figures, JSON logs with an action each, and no secret
in any of them, nor in an error. The engine only pretends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from core.services.webhooks import owner_secret
from infra.azurite_server import AzuriteServer
from infra.processes import free_ports
from tests.support.api_stand import MP4
from tests.support.otlp_receiver import OtlpReceiver, SeenSpan
from tests.support.quick_worker import FRAMES, SEGMENT_FRAMES
from tests.support.stack import Stack
from tests.support.webhook_receiver import Receiver

WEBHOOK_SECRET = "planted-webhook-secret-0123456789"
RECEIVERS_SECRET = "planted-secret-of-the-receiver"
CLIENTS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Run:
    """What a whole run left behind.

    Attributes:
        job_id: Of the job that completed.
        idle: Spans that arrived while there was nothing to do.
        spans: All others.
        secrets: Everything that must be nowhere, by what it is.
        errors: Bodies of refusals.
        figures: The worker's and the API's.
    """

    stack: Stack
    otlp: OtlpReceiver
    job_id: str = ""
    idle: list[SeenSpan] = field(default_factory=list)
    spans: list[SeenSpan] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def run(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Run]:
    otlp = OtlpReceiver()
    (port,) = free_ports(1)
    settings = {
        "MUSTER_VISIBILITY_S": "6",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "MUSTER_WEBHOOK_HTTP": "true",
        "MUSTER_METRICS_PORT": str(port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "MUSTER_LOG_LEVEL": "DEBUG",
    }
    stack = Stack(azurite, tmp_path_factory.mktemp("trace"), unique_name, settings)
    made = Run(stack, otlp)
    try:
        stack.start_api()
        worker = stack.start_worker("tests.support.webhook_worker", "quick")
        worker.wait_ready(lambda: bool(stack.actions("worker_ready")), timeout_s=120)
        _stay_idle(made)
        with Receiver() as receiver:
            _work(made, receiver)
        made.figures["worker"] = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        made.figures["api"] = stack.client.get("/metrics").text
        _ask_for_trouble(made)
        yield made
    finally:
        stack.stop()
        otlp.stop()


def _stay_idle(run: Run) -> None:
    """Two sweeps and many polls long; health checks meanwhile."""
    deadline = time.monotonic() + 16
    while time.monotonic() < deadline:
        run.stack.client.get("/health")
        time.sleep(0.5)
    run.idle = run.otlp.spans()


def _work(run: Run, receiver: Receiver) -> None:
    """One job of four segments, told to a receiver; then its recount."""
    stack = run.stack
    url = f"http://hooks.example.org:{receiver.port}/x?token={RECEIVERS_SECRET}"
    answer = stack.client.post(
        "/api/v1/jobs",
        files={"file": ("herd.mp4", MP4, "video/mp4")},
        data={"webhook": url},
        headers={"traceparent": f"00-{CLIENTS_TRACE}-00f067aa0ba902b7-01"},
    )
    assert answer.status_code == 202, answer.text
    run.job_id = answer.json()["id"]
    job = stack.wait(run.job_id)
    assert job["state"] == "completed", (job, stack.logs())
    receiver.wait(1)
    stack.client.post(
        f"/api/v1/jobs/{run.job_id}/recount", json={"camera": "gate"}
    ).raise_for_status()
    receiver.wait(2)
    names = {
        "step plan",
        "step detect",
        "step assemble",
        "step render",
        "webhook",
        "upload",
        "next attempt",
    }
    run.spans = run.otlp.wait(
        lambda spans: names <= {span.name for span in spans} and _number(spans, "webhook") == 2
    )


def _number(spans: list[SeenSpan], name: str) -> int:
    return sum(span.name == name for span in spans)


def _refusals(run: Run, link: dict[str, Any]) -> list[httpx.Response]:
    """Send secrets where they do not belong; the last request goes to storage itself."""
    client, query = run.stack.client, urlsplit(link["url"]).query
    sent = {"file": ("a.mp4", MP4, "video/mp4")}
    return [
        client.get(f"/api/v1/jobs?{query}"),
        client.get(f"/api/v1/jobs/none?{query}"),
        client.post(f"/api/v1/nothing?{query}"),
        client.get(f"/api/v1/jobs?key={run.secrets['API key']}"),
        client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {run.secrets['API key']}"}),
        client.get("/api/v1/jobs", headers={"X-API-Key": run.secrets["API key"]}),
        client.post(
            "/api/v1/jobs",
            files=sent,
            data={"webhook": f"https://user:{run.secrets['password']}@example.org/"},
        ),
        client.post(
            "/api/v1/jobs",
            json={
                "upload_ids": [link["upload_id"]],
                "webhook": f"ftp://h/?token={RECEIVERS_SECRET}",
            },
        ),
        client.post("/api/v1/jobs", json={"upload_ids": [link["upload_id"]]}),
        client.get(f"/ws/jobs/{run.job_id}?ticket={run.secrets['ticket']}"),
        httpx.put(link["url"].replace("sig=", "sig=x"), content=b"", headers=link["headers"]),
    ]


def _ask_for_trouble(run: Run) -> None:
    """Everything that has a secret in it, and is refused or not."""
    stack, client = run.stack, run.stack.client
    link = client.post("/api/v1/uploads", json={"name": "herd.mp4"}).raise_for_status().json()
    run.secrets = {
        "storage key": next(
            part[11:]
            for part in stack.env["AZURE_STORAGE_CONNECTION_STRING"].split(";")
            if part[:11] == "AccountKey="
        ),
        "webhook secret": WEBHOOK_SECRET,
        "owner's webhook secret": owner_secret(WEBHOOK_SECRET, "local"),
        "receiver's secret": RECEIVERS_SECRET,
        "signature of an upload": parse_qs(urlsplit(link["url"]).query)["sig"][0],
        "API key": "muster_0123456789abcdef_" + "planted-" * 5 + "end",
        "password": "planted-password",
        "ticket": "ticket_" + "planted_" * 5 + "end",
    }
    client.post("/api/v1/webhooks/secret").raise_for_status()
    query = urlsplit(link["url"]).query
    sent = {"file": ("a.mp4", MP4, "video/mp4")}
    broken = client.post(
        "/api/v1/jobs",
        files=sent,
        data={"webhook": f"http://nowhere.invalid/?token={RECEIVERS_SECRET}"},
    )
    refusals = _refusals(run, link)
    run.errors = [answer.text for answer in refusals[:-1]]
    assert all(answer.status_code >= 400 for answer in refusals[1:]), [
        answer.status_code for answer in refusals
    ]
    greeting = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    greeting["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OWFiY2RlZg=="
    websocket = httpx.get(
        f"{stack.url}/ws/jobs/{run.job_id}?ticket={run.secrets['ticket']}&{query}", headers=greeting
    )
    run.errors.append(websocket.text)
    told = stack.wait(
        broken.json()["id"],
        until=lambda job: any(item["tries"] for item in job["webhook"]["deliveries"]),
    )
    run.errors.append(json.dumps(told))


def lines_of(run: Run) -> list[dict[str, Any]]:
    """Return every line of the API's and the worker's logs: all of them are JSON."""
    texts = [child.log_path.read_text() for child in (run.stack.api, *run.stack.workers)]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_an_idle_worker_and_an_idle_api_emit_no_span(run: Run) -> None:
    assert run.idle == []


def test_one_trace_id_leads_from_the_upload_to_the_result(run: Run) -> None:
    own = [span for span in run.spans if span.attributes.get("muster.job_id") == run.job_id]
    assert {span.trace_id for span in own} == {CLIENTS_TRACE}
    assert {span.service for span in own} == {"muster-api", "muster-worker"}
    names = [span.name for span in own]
    assert (
        names.count("upload"),
        names.count("step plan"),
        names.count("step detect"),
        names.count("next attempt"),
    ) == (1, 1, 4, 1)
    assert (names.count("step assemble"), names.count("step render"), names.count("webhook")) == (
        2,
        2,
        2,
    )
    assert all(
        span.attributes["muster.outcome"] == "complete"
        for span in own
        if span.name.startswith("step ")
    )
    assert {span.trace_id for span in run.spans} == {CLIENTS_TRACE}, (
        "nothing was recorded that belongs to no job"
    )


def test_every_span_hangs_below_the_uploads(run: Run) -> None:
    known = {span.span_id: span for span in run.spans}
    (upload,) = [span for span in run.spans if span.name == "upload"]
    for span in run.spans:
        path = [span]
        while path[-1].parent_id in known:
            path.append(known[path[-1].parent_id])
        assert path[-1] is upload or path[-1].parent_id == "", (span.name, path[-1].name)
    stages = {
        known[span.parent_id].name: span.name
        for span in run.spans
        if span.name.startswith("engine ") and span.parent_id in known
    }
    assert stages["step detect"].startswith("engine ") and stages["step render"].startswith(
        "engine "
    )
    assert any(span.attributes.get("server.address") for span in run.spans), (
        "requests to storage are a part of the trace"
    )


def test_figures_tell_of_steps_frames_and_webhooks(run: Run) -> None:
    figures = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in run.figures["worker"].splitlines()
        if line[0] != "#"
    }
    assert figures['muster_worker_steps_total{outcome="complete",step="detect"}'] == 4
    assert figures['muster_worker_frames_total{step="detect"}'] == FRAMES
    assert figures['muster_worker_frames_per_second{step="detect"}'] > 0
    assert figures['muster_worker_webhook_tries_total{outcome="delivered"}'] == 2
    assert figures["muster_worker_lease_losses_total"] == 0
    assert any(name.startswith("muster_worker_stage_seconds_count") for name in figures)
    assert 'muster_queue_messages{queue="main"}' in run.figures["api"]
    assert "muster_queue_age_seconds" in run.figures["api"]


def test_all_logs_are_json_lines_with_an_action(run: Run) -> None:
    lines = lines_of(run)
    assert all({"at", "level", "logger", "message", "action"} <= set(line) for line in lines)
    actions = {line["action"] for line in lines}
    assert {
        "server",
        "request",
        "job_accepted",
        "job_planned",
        "segment_detected",
        "job_completed",
        "webhook_delivered",
    } <= actions
    traced = [
        line
        for line in lines
        if line.get("job_id") == run.job_id
        and line["action"] in ("job_planned", "segment_detected")
    ]
    assert {line["trace_id"] for line in traced} == {CLIENTS_TRACE}


def test_no_secret_is_in_a_log_an_error_or_a_trace(run: Run) -> None:
    logs = "\n".join(child.log_path.read_text() for child in (run.stack.api, *run.stack.workers))
    assert len(logs) > 10_000 and len(run.errors) > 8
    # Text within protobuf lies there as it is.
    traces = b"\n".join(run.otlp.bodies).decode(errors="replace")
    assert run.job_id in traces
    for where, text in (
        ("logs", logs),
        ("errors", "\n".join(run.errors)),
        ("traces", traces),
        ("figures", "".join(run.figures.values())),
    ):
        for kind, secret in run.secrets.items():
            for form in (
                secret,
                json.dumps(secret)[1:-1],
                httpx.QueryParams({"": secret}).__str__()[1:],
            ):
                assert form not in text, (
                    f"{kind} in {where}: …{text[max(0, text.find(form) - 300) : text.find(form)]}"
                )
