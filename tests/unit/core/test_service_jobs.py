"""Use cases on jobs where somebody else changes them at the same moment."""

from __future__ import annotations

import pytest

from core.domain.analysis import AnalysisSettings
from core.errors import Conflict, FenceLost, InvalidSettings, NotFound, Unavailable
from core.services.access.limits import Limits, detector_names
from core.services.attempts.cancel import cancel
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.recount import merged_settings, recount
from core.services.housekeeping.delete import delete
from core.services.query import ProgressMeter
from core.services.submission.files import display_name
from core.services.submission.requested import check_requested_settings
from tests.support.api_stand import SteppedClock, make_job, make_plan, make_ports

JOB = "a" * 32
LIMITS = Limits(max_upload_bytes=1000, max_files=2, upload_minutes=60)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def overtaken_by(store, monkeypatch, act) -> None:
    """Let `act` happen just before the next update of the store."""
    update = store.update

    async def update_after(*args, **kwargs):
        monkeypatch.setattr(store, "update", update)
        await act()
        return await update(*args, **kwargs)

    monkeypatch.setattr(store, "update", update_after)


async def test_a_job_that_completes_while_it_is_cancelled_stays_completed(
    clock, monkeypatch
) -> None:
    ports = make_ports(clock)
    await ports.jobs.add(make_job(JOB, clock(), state="rendering"))
    update = ports.jobs.update
    overtaken_by(
        ports.jobs,
        monkeypatch,
        lambda: update(
            JOB, attempt=1, expected=("rendering",), at=clock(), changes={"state": "completed"}
        ),
    )
    with pytest.raises(Conflict) as caught:
        await cancel(ports, clock, JOB, owner="local")
    assert caught.value.code == "job_ended"
    assert (await ports.jobs.get(JOB)).state == "completed"


async def test_a_job_that_moves_on_while_it_is_cancelled_is_cancelled(clock, monkeypatch) -> None:
    ports = make_ports(clock)
    await ports.jobs.add(make_job(JOB, clock(), state="planning"))
    update = ports.jobs.update
    overtaken_by(
        ports.jobs,
        monkeypatch,
        lambda: update(
            JOB, attempt=1, expected=("planning",), at=clock(), changes={"state": "detecting"}
        ),
    )
    assert (await cancel(ports, clock, JOB, owner="local")).state == "cancelled"
    with pytest.raises(FenceLost):
        await ports.jobs.update(
            JOB, attempt=1, expected=("detecting",), at=clock(), changes={"state": "assembling"}
        )


async def test_a_deletion_that_fails_half_way_can_be_asked_for_again(clock) -> None:
    ports = make_ports(clock)
    await ports.jobs.add(make_job(JOB, clock(), state="detecting"))
    await ports.sources.put(f"jobs/{JOB}/source/000", b"x")
    ports.sources.away = True
    with pytest.raises(Unavailable):
        await delete(ports, clock, JOB, owner="local")
    assert (await ports.jobs.get(JOB)).state == "cancelled"
    ports.sources.away = False
    await delete(ports, clock, JOB, owner="local")
    with pytest.raises(NotFound):
        await ports.jobs.get(JOB)
    assert [blob.name async for blob in ports.sources.list_blobs("")] == []


async def test_of_two_recounts_at_once_one_is_begun(clock, monkeypatch) -> None:
    ports = make_ports(clock)
    await ports.jobs.add(
        make_job(
            JOB,
            clock(),
            state="completed",
            plan=make_plan(frames=10, segments=1),
            done_segments=(0,),
        )
    )
    begin = ports.jobs.begin_attempt

    async def begin_after_another(*args, **kwargs):
        await begin(*args, **kwargs)
        return await begin(*args, **kwargs)

    monkeypatch.setattr(ports.jobs, "begin_attempt", begin_after_another)
    with pytest.raises(Conflict) as caught:
        await recount(ports, Dispatcher(ports), LIMITS, clock, JOB, {}, owner="local")
    assert caught.value.code == "job_active"
    assert (await ports.jobs.get(JOB)).attempt == 2


def test_settings_of_a_recount_replace_those_of_the_job_key_by_key(clock) -> None:
    before = AnalysisSettings(
        only="bison", camera="north", thresholds={"bison": 0.4}, detect_fps=5, detector="pasture"
    )
    job = make_job(JOB, clock(), settings=before)
    assert merged_settings(job, None, LIMITS) == before
    merged = merged_settings(job, {"thresholds": {"bison": 0.2}, "camera": None}, LIMITS)
    assert merged == before.model_copy(update={"thresholds": {"bison": 0.2}, "camera": None})
    with pytest.raises(InvalidSettings) as caught:
        merged_settings(job, {"detect_fps": None, "tiles": "2x2"}, LIMITS)
    assert caught.value.details["changed"] == ["detect_fps", "tiles"]


def test_detectors_are_asked_for_by_configured_names_only() -> None:
    limits = Limits(1000, 2, 60, detector_names(["mine", "pasture"]))
    assert limits.detectors == ("default", "pasture", "mine")
    assert check_requested_settings({"detector": "mine"}, limits).detector == "mine"
    with pytest.raises(InvalidSettings) as caught:
        check_requested_settings({"detector": "/models/mine.onnx"}, limits)
    assert (caught.value.code, caught.value.details) == (
        "unknown_detector",
        {"configured": ["default", "pasture", "mine"]},
    )


def test_names_for_show_count_from_one() -> None:
    assert [display_name(name, 1) for name in (None, "a/", "\x00", "Å.mp4")] == [
        "video-2",
        "a",
        "video-2",
        "\u00c5.mp4",
    ]


def test_progress_is_that_of_the_present_step(clock) -> None:
    meter = ProgressMeter()
    plan = make_plan(frames=600, segments=2)
    queued = meter.progress(make_job(JOB, clock()), clock())
    assert (queued.step, queued.frames_total, queued.fraction, queued.seconds_left) == (
        "queued",
        None,
        0.0,
        None,
    )
    rendering = make_job(JOB, clock(), state="rendering", plan=plan, done_segments=(0, 1))
    assert meter.progress(rendering, clock()).frames_done == 0
    clock.step(10)
    later = meter.progress(rendering.model_copy(update={"rendered_frames": 150}), clock())
    assert (later.frames_done, later.fraction, later.seconds_left) == (150, 0.25, 30.0)
    done = meter.progress(make_job(JOB, clock(), state="completed", plan=plan), clock())
    assert (done.frames_done, done.frames_total, done.fraction, done.seconds_left) == (
        600,
        600,
        1.0,
        0.0,
    )


def test_a_job_first_seen_half_way_has_an_estimate_from_its_submission(clock) -> None:
    job = make_job(
        JOB, clock(), state="detecting", plan=make_plan(frames=600, segments=2), done_segments=(1,)
    )
    clock.step(20)
    assert ProgressMeter().progress(job, clock()).seconds_left == 20.0
