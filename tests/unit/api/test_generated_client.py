"""A client that is generated from the API's document reads counts and results with types."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType

import httpx
import pytest

from api.app import create_app
from core.domain.blobs import ARTIFACTS
from core.domain.results import ClassCounts, Note, Results
from tests.support.api_stand import BASE_URL, ApiStand, running_api

JOB = "c" * 32
COUNTS = {
    "cattle": ClassCounts(
        unique=12,
        low=11,
        high=13,
        peak=9,
        mean=6.4,
        reasons=(Note(code="re_entry", text="2 appeared after others had left"),),
    )
}
RESULTS = Results.model_validate(
    {
        "version": "2.0",
        "video": {"frames": 600, "fps": 30.0, "width": 1280, "height": 720, "duration_s": 20.0},
        "counts": COUNTS,
        "lines": [
            {
                "name": "gate",
                "start": [0, 300],
                "end": [1280, 300],
                "counts": {"cattle": {"in": 3, "out": 1}},
            }
        ],
        "zones": [],
        "crossings": [],
        "joins": [],
        "calibration": None,
        "ground": None,
        "flight": None,
        "settings": {"only": "cattle"},
        "detector": {"name": "pasture"},
        "warnings": [],
    }
)
Importer = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Importer]:
    """Import a module of a client that was generated from the document of this API."""
    folder = tmp_path_factory.mktemp("client")
    document, config = folder / "openapi.json", folder / "config.yaml"
    document.write_text(json.dumps(create_app().openapi()), encoding="utf-8")
    config.write_text("post_hooks: []\npackage_name_override: muster_client\n", encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate"]
    options = ["--meta", "none", "--fail-on-warning", "--output-path", f"{folder}/muster_client"]
    done = subprocess.run(
        [*command, "--path", str(document), "--config", str(config), *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield lambda name: importlib.import_module(f"muster_client.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "muster_client"]:
        del sys.modules[name]


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api() as stand:
        yield stand


def client_of(generated: Importer, api: ApiStand) -> object:
    client = generated("client").Client(base_url=BASE_URL)
    transport = httpx.ASGITransport(app=api.app)
    return client.set_async_httpx_client(httpx.AsyncClient(transport=transport, base_url=BASE_URL))


async def test_the_client_reads_counts_with_types(generated: Importer, api: ApiStand) -> None:
    await api.publish(JOB, {"results.json": b"{}"}, counts=COUNTS)
    get_job = generated("api.jobs.get_job")
    job = await get_job.asyncio(JOB, client=client_of(generated, api))
    assert isinstance(job, generated("models.job_view").JobView)
    cattle = job.counts["cattle"]
    assert isinstance(cattle, generated("models.class_counts").ClassCounts)
    assert (cattle.unique, cattle.low, cattle.high, cattle.peak) == (12, 11, 13, 9)
    assert [reason.code for reason in cattle.reasons] == ["re_entry"]
    assert job.state.value == "completed"
    assert "bison" not in job.counts


async def test_the_client_reads_results_with_types(generated: Importer, api: ApiStand) -> None:
    data = RESULTS.model_dump_json().encode()
    await api.publish(JOB, {"results.json": data}, counts=COUNTS)
    get_results = generated("api.results.get_results")
    results = await get_results.asyncio(JOB, client=client_of(generated, api))
    assert isinstance(results, generated("models.results").Results)
    assert results.counts["cattle"].unique == 12
    assert results.video.frames == 600
    assert results.lines[0].counts["cattle"].in_ == 3
    assert results.settings.only.value == "cattle"
    assert results.ground is None


@pytest.mark.parametrize("name", ARTIFACTS)
async def test_the_client_fetches_the_bytes_of_every_file(
    generated: Importer, api: ApiStand, name: str
) -> None:
    data = b"\xff\xd8\x00 not JSON"
    await api.publish(JOB, {name: data})
    get_artifact = generated("api.results.get_artifact")
    answer = await get_artifact.asyncio_detailed(JOB, name, client=client_of(generated, api))
    assert isinstance(answer.parsed, generated("types").File)
    assert answer.parsed.payload.read() == data
    assert answer.headers["content-type"].startswith(ARTIFACTS[name])


async def test_the_client_reads_a_problem_with_types(generated: Importer, api: ApiStand) -> None:
    get_job = generated("api.jobs.get_job")
    problem = await get_job.asyncio(JOB, client=client_of(generated, api))
    assert isinstance(problem, generated("models.problem").Problem)
    assert (problem.status, problem.code) == (404, "job_not_found")
