"""Promise: whatever is asked of any route, the answer is one that its description names, and never
a failure of the server.

Requests are made up by schemathesis from the OpenAPI document, right and wrong ones, against the
API as a process on real Azurite. `MUSTER_TEST_REQUESTS` sets how many are drawn at random for each
route, on top of those that its schema suggests.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from api.access import OPEN_PATHS
from api.app import create_app
from core.bootstrap import close_ports, make_ports, open_ports
from core.domain.blobs import ARTIFACTS, result_blob
from core.domain.clock import utc_now
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4, make_job, make_plan
from tests.support.stack import Stack

REQUESTS = int(os.environ.get("MUSTER_TEST_REQUESTS", "12"))
FINISHED, FAILED = "f" * 32, "e" * 32
CALIBRATION = {
    "image_points": [[0, 0], [100, 0], [100, 100], [0, 100]],
    "map_points": [[0, 0], [10, 0], [10, 10], [0, 10]],
}


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    """An API with jobs in several states, a calibration and a key, so that requests can meet
    something.
    """
    limits = {"MUSTER_MAX_UPLOAD_BYTES": str(2**20), "MUSTER_WEBHOOK_SECRET": "a secret of sixteen"}
    stack = Stack(azurite, tmp_path_factory.mktemp("routes"), unique_name, limits)
    stack.start_api()
    asyncio.run(_publish(stack))
    yield stack
    stack.stop()


async def _publish(stack: Stack) -> None:
    ports = make_ports(stack.config())
    await open_ports(ports)
    try:
        for name in ARTIFACTS:
            await ports.results.put(
                result_blob(FINISHED, "r0001", name),
                b"{}" if name.endswith("json") else b"0123456789",
            )
        done = {
            "result_revision": "r0001",
            "artifacts": tuple(ARTIFACTS),
            "plan": make_plan(frames=600, segments=2),
            "done_segments": (0, 1),
        }
        at = utc_now() - timedelta(minutes=5)
        await ports.jobs.add(make_job(FINISHED, at, state="completed", **done))
        await ports.jobs.add(make_job(FAILED, at, state="failed"))
    finally:
        await close_ports(ports)


schema = schemathesis.openapi.from_dict(create_app().openapi())


@pytest.fixture(scope="module")
def known(stack: Stack) -> Callable[[str], list[str]]:
    """Values of path parameters that name something that exists."""
    queued = stack.submit_bytes(MP4)
    stack.client.put("/api/v1/calibrations/gate", json=CALIBRATION)
    key = stack.client.post(
        "/api/v1/keys", json={"name": "one", "owner": "ranch", "scopes": ["read"]}
    ).json()
    values = {
        "job_id": [FINISHED, FAILED, queued],
        "name": ["gate", *ARTIFACTS],
        "key_id": [str(key.get("id"))],
    }
    return lambda parameter: values.get(parameter, [])


@schema.parametrize()
@settings(
    max_examples=REQUESTS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.slow
def test_every_answer_is_a_documented_one(
    case: Any, stack: Stack, known: Callable[[str], list[str]]
) -> None:
    chance = random.Random(repr((case.path_parameters, case.query)))
    for parameter in case.path_parameters or {}:
        values = known(parameter)
        # A deleted one would be of no use to the requests after it.
        if values and case.method != "DELETE" and chance.random() < 0.7:
            case.path_parameters[parameter] = chance.choice(values)
    answer = case.call(base_url=stack.url)
    case.validate_response(answer, checks=(not_a_server_error, status_code_conformance))


def test_the_document_has_every_route(stack: Stack) -> None:
    paths = stack.client.get("/openapi.json").json()["paths"]
    assert paths == schema.raw_schema["paths"]
    assert {
        "/api/v1/jobs",
        "/api/v1/uploads",
        "/api/v1/keys",
        "/api/v1/stats",
        "/submit-job",
        "/health",
        "/all_stats",
    } <= set(paths)
    assert all(
        {"401", "403", "429", "500", "503"} <= set(operation["responses"])
        for path, methods in paths.items()
        if path not in OPEN_PATHS
        for operation in methods.values()
    )
