"""Spans and trace context: what is recorded, what is handed on, and that nothing is loaded where
nothing is configured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased

from core.domain.message import JobMessage
from core.errors import VideoError
from core.observability.tracing import note, span, trace_id, traceparent, valid_traceparent
from core.observability.tracing_export import OwnRoots
from tests.conftest import REPOSITORY
from tests.support.worker_stand import WorkerStand

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded while the test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(OwnRoots()), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The API lets a process set its provider once; tests want one each.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def test_spans_nest_and_go_on_with_a_clients_trace(recorded: InMemorySpanExporter) -> None:
    with span("upload", parent=CLIENT, kind="server", files=2, nothing=None):
        with span("inside"):
            note(job_id="a")
            handed_on = traceparent()
        assert trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
    inside, upload = recorded.get_finished_spans()
    assert handed_on == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{inside.context.span_id:016x}-01"
    assert inside.parent is not None and inside.parent.span_id == upload.context.span_id
    assert upload.parent is not None and upload.parent.span_id == 0x00F067AA0BA902B7
    assert dict(upload.attributes or {}) == {"muster.span": True, "muster.files": 2}
    assert dict(inside.attributes or {}) == {"muster.span": True, "muster.job_id": "a"}
    assert trace_id() is None and traceparent() is None


def test_of_an_error_only_its_code_is_recorded(recorded: InMemorySpanExporter) -> None:
    sentence = "the secret sentence"
    for error, said in (
        (VideoError(sentence, code="no_frames"), "no_frames"),
        (ValueError(sentence), "ValueError"),
    ):
        with pytest.raises(type(error)), span("step"):
            raise error
        shown = recorded.get_finished_spans()[-1]
        assert (shown.status.description, shown.events) == (said, ())
        assert "secret" not in shown.to_json()


def test_libraries_begin_no_trace_but_are_a_part_of_ours(recorded: InMemorySpanExporter) -> None:
    library = trace.get_tracer("azure")
    with (
        library.start_as_current_span("QueueClient.receive_message"),
        library.start_as_current_span("GET"),
    ):
        pass
    assert recorded.get_finished_spans() == ()
    with span("step plan"), library.start_as_current_span("BlobClient.download_blob"):
        pass
    assert [shown.name for shown in recorded.get_finished_spans()] == [
        "BlobClient.download_blob",
        "step plan",
    ]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        CLIENT.upper(),
        CLIENT + "-00",
        "00-" + "g" * 32 + "-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_trace_context_is_not_handed_on(text: str | None) -> None:
    assert valid_traceparent(text) is None
    assert valid_traceparent(CLIENT) == CLIENT


async def test_the_context_travels_with_the_messages_of_a_job(
    recorded: InMemorySpanExporter, tmp_path: Path
) -> None:
    stand = WorkerStand(tmp_path)
    await stand.submit()
    stand.ports.queue._messages.clear()
    await stand.dispatcher.send(
        JobMessage(job_id="job1", attempt=1, step="plan", traceparent=CLIENT)
    )
    await stand.drain(stand.worker())
    stand.close()
    spans = recorded.get_finished_spans()
    assert {shown.context.trace_id for shown in spans} == {0x4BF92F3577B34DA6A3CE929D0E0E4736}
    names = [shown.name for shown in spans]
    assert (
        names.count("step plan"),
        names.count("step detect"),
        names.count("step assemble"),
        names.count("step render"),
    ) == (1, 4, 1, 1)
    stages = {shown.name for shown in spans if shown.name.startswith("engine ")}
    assert {
        "engine FakeEngine.plan_segments",
        "engine FakeEngine.detect_segment",
        "engine FakeEngine.render",
    } <= stages


def test_where_nothing_is_recorded_a_clients_context_is_handed_on_all_the_same() -> None:
    with span("upload", parent=CLIENT):
        assert traceparent() == CLIENT
    with span("upload"):
        assert traceparent() is None


def test_without_an_endpoint_no_sdk_is_loaded_and_a_span_costs_next_to_nothing() -> None:
    code = (
        "import sys, api.main, worker.main\n"
        "from core.bootstrap import start_tracing\n"
        "from core.config.telemetry import TraceSection\n"
        "start_tracing(TraceSection(), service='x', instance='y')()\n"
        "loaded = [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # A step takes a hundred of them at most. The best of several tries: the machine may be busy.
    assert min(map(_seconds_of_a_span, range(5))) < 0.0005


def _seconds_of_a_span(_: int) -> float:
    began_s = time.perf_counter()
    for _ in range(200):
        with span("engine x", job_id="a"):
            pass
    return (time.perf_counter() - began_s) / 200
