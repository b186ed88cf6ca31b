"""Promise: an answer that is lost on the way changes nothing in the end, whatever was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.azurite_server import AzuriteServer
from tests.support.azurite_stand import AzuriteStand, azurite_stand
from tests.support.lossy_proxy import LossyProxy

MIB = 2**20
LOST = 3


def make_results_large(stand: AzuriteStand) -> None:
    """Let the video be so large that it is written in blocks."""
    render = stand.engine.render

    def rendering(*arguments: Any, out_dir: Path, **keywords: Any) -> tuple[Path, ...]:
        files = render(*arguments, out_dir=out_dir, **keywords)
        (out_dir / "annotated.mp4").write_bytes(b"v" * (5 * MIB))
        return files

    stand.engine.render = rendering  # type: ignore[method-assign]


def work_so_long(stand: AzuriteStand, seconds: float) -> None:
    """Let a segment take longer than its lease, so that it must be renewed."""

    def work(_: Any, should_stop: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not should_stop():
            time.sleep(0.01)

    stand.engine.hooks["detect_segment"] = work


@pytest.mark.parametrize(
    "operation", ["send", "receive", "renew", "delete", "commit", "write once"]
)
async def test_a_lost_answer_leaves_the_same_final_state(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str], operation: str
) -> None:
    results = []
    for name in ("undisturbed", operation):
        async with (
            azurite_stand(
                tmp_path / name.replace(" ", "_"), azurite.connection_string, unique_name
            ) as stand,
            LossyProxy(azurite) as proxy,
            stand.reaching_azurite_by(proxy.connection_string) as ports,
        ):
            make_results_large(stand)
            if operation == "renew":
                work_so_long(stand, 1.5 * stand.visibility_s)
            if name == operation:
                proxy.lose(operation, times=LOST)
            await stand.submit(b"9 frames" if operation == "renew" else b"19 frames")
            worker = stand.worker(ports=ports, max_failures=1)
            async with stand.consuming(worker, ports=ports):
                await stand.wait()
                await stand.settled()
            await stand.assert_one_result()
            assert await stand.poisoned() == await stand.poisoned(detect=True) == []
            assert (await stand.job()).step_failures == {}
            if name == operation:
                assert proxy.lost[operation] >= (1 if operation == "commit" else 2), (
                    "answers were lost indeed"
                )
            results.append(await stand.blobs())
    assert results[0] == results[1]
