"""Links without a declared size leave room for one another, and a refusal says when room comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from core.domain.quota import Hold
from core.errors import Throttled
from core.services.access.quotas import Quotas
from tests.support.api_stand import ApiStand, running_api

MIB, GIB = 2**20, 2**30


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api() as stand:
        yield stand


def quotas_of(api: ApiStand, day_bytes: int, links: int) -> Quotas:
    return Quotas(
        api.ports.jobs, api.ports.keys, api.clock, day_bytes=day_bytes, active_jobs=0, links=links
    )


async def link(
    quotas: Quotas,
    api: ApiStand,
    number: int,
    size_bytes: int | None = None,
    largest: int = 64 * GIB,
) -> Hold:
    until = api.clock() + timedelta(hours=1)
    hold = await quotas.reserve_link(
        "ranch", f"u{number}", size_bytes=size_bytes, largest=largest, until=until, staged={}
    )
    assert hold is not None
    return hold


@pytest.mark.parametrize(
    ("day_bytes", "links", "largest", "held"),
    [
        (1000 * GIB, 100, 64 * GIB, 10 * GIB),
        (1000 * GIB, 100, GIB, GIB),
        (GIB, 100, GIB, 64 * MIB),
        (1000 * GIB, 0, 64 * GIB, 64 * GIB),
    ],
)
async def test_a_link_without_a_size_holds_its_share(
    api: ApiStand, day_bytes: int, links: int, largest: int, held: int
) -> None:
    assert (await link(quotas_of(api, day_bytes, links), api, 1, largest=largest)).amount == held


async def test_all_links_find_room_and_a_refusal_says_when_enough_is_free(api: ApiStand) -> None:
    quotas = quotas_of(api, 1000 * GIB, 100)
    for number in range(99):
        await link(quotas, api, number)
        api.clock.step(1)
    for size_bytes, ends_first in ((11 * GIB, 1), (25 * GIB, 2)):
        with pytest.raises(Throttled) as refused:
            await link(quotas, api, 100, size_bytes)
        assert (refused.value.code, refused.value.retry_after_s) == (
            "quota_bytes",
            3600 - 99 + ends_first - 1,
        )
    with pytest.raises(Throttled) as refused:
        await quotas.reserve("ranch", declared_bytes=11 * GIB)
    assert refused.value.retry_after_s == 3600 - 99
