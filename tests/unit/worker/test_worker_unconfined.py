"""A worker whose machine cannot confine the decoder fails no job: another worker does the work, and
`/health` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.reading import read
from core.config.sources import Sources
from core.config.video import VideoSection
from core.domain.worker_problem import WorkerProblem
from core.errors import Unconfined
from tests.support.worker_stand import WorkerStand
from worker.engine import decoder_limits
from worker.patience import LONGEST_DELAY_S
from worker.processor import Processor
from worker.self_report import Presence


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def refused(*_: object) -> None:
    raise Unconfined(
        "The system of here does not let Muster restrict the process that decodes videos."
    )


@pytest.mark.parametrize("where", ["probe", "detect_segment"])
async def test_no_job_fails_and_another_worker_does_it(stand: WorkerStand, where: str) -> None:
    worker = Processor(stand.tools(max_failures=2, max_deaths=2))
    hooks: dict[str, Callable[..., None]] = stand.engine.hooks
    hooks[where] = refused
    await stand.submit(b"9 frames")
    for _ in range(10):
        await stand.drain(worker)
        stand.timer.advance(LONGEST_DELAY_S)
    job = await stand.job()
    assert job.state in ("queued", "planning", "detecting") and job.error is None
    assert (job.step_failures, {key for key, starts in job.step_starts.items() if starts}) == (
        {},
        set(),
    )
    hooks.clear()
    await stand.drain(Processor(stand.tools("worker-b")))
    assert (await stand.job()).state == "completed"


def test_a_worker_reports_what_is_wrong_with_decoding(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem: WorkerProblem = {
        "code": "decoding_unconfined",
        "message": "Videos are decoded unconfined.",
        "degrades": False,
    }
    tools = stand.tools()
    monkeypatch.setattr(tools.engine, "decoding_problems", lambda: [problem])
    presence = Presence(tools, device="none", gpu_available=False, serves=("queue",))
    assert presence.report().detail["problems"] == [problem]


def test_an_operator_may_allow_it() -> None:
    assert decoder_limits(VideoSection()).allow_unconfined is False
    given = Sources({"MUSTER_ALLOW_UNCONFINED_DECODING": "true"})
    assert decoder_limits(read(VideoSection, given)).allow_unconfined is True
