"""Reading telemetry has a budget of time, and stops when it is asked to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import InvalidTelemetry, Stopped
from core.services.submission import telemetry as telemetry_files
from core.telemetry import parse_srt, srt
from worker.telemetry import _check

CUE = "00:00:00,000 --> 00:00:01,000\n"


@pytest.mark.parametrize("size", [0, 2**20])
def test_reading_telemetry_has_a_budget(size: int) -> None:
    data = (CUE + "GPS(8.2090,47.4692,18)\n" * 3).encode() + b" " * size
    most_s = srt.BUDGET_S + srt.BUDGET_S_PER_MIB * len(data) / 2**20
    now = iter([0.0, most_s, most_s])
    assert len(parse_srt(data, clock=lambda: next(now))) == 1
    now = iter([0.0, most_s, most_s + 0.1])
    with pytest.raises(InvalidTelemetry) as caught:
        parse_srt(data, clock=lambda: next(now))
    assert caught.value.code == "telemetry_too_slow"


def test_reading_telemetry_can_be_stopped_between_cues() -> None:
    class Enough(Exception):
        pass

    calls = iter(range(5))

    def check() -> None:
        if next(calls) == 4:
            raise Enough

    with pytest.raises(Enough):
        parse_srt((CUE + "GPS(8.2090,47.4692,18)\n").encode() * 3, check)


async def test_the_api_stops_reading_for_a_caller_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, ended, over = threading.Event(), threading.Event(), threading.Event()

    def endless(data: bytes, check: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                began.set()
                check()
        finally:
            ended.set()

    monkeypatch.setattr("core.telemetry.parse_srt", endless)
    reading = asyncio.create_task(telemetry_files.read(b""))
    assert await asyncio.to_thread(began.wait, 60)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    in_time = await asyncio.to_thread(ended.wait, 20)
    over.set()
    assert in_time


def test_the_worker_stops_reading_when_its_step_is_stopped() -> None:
    stop = threading.Event()
    step: Any = SimpleNamespace(stop=stop)
    check = _check(step)
    check()
    stop.set()
    with pytest.raises(Stopped):
        parse_srt((CUE + "GPS(8.2090,47.4692,18)\n").encode(), check)
