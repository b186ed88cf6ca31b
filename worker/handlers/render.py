"""Render: makes the annotated video and the contact sheet, then publishes the revision."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from core.domain.blobs import ARTIFACTS, result_blob
from core.domain.job import Plan
from core.domain.results import Figures
from core.errors import FenceLost
from ml_engine.stages.run import Findings, Recording, Run
from worker.disk import full_disk_told
from worker.publish import publish
from worker.run_record import kept_for_render, write_run_record
from worker.step import Step
from worker.stored import read_result
from worker.write_once import put_file_once


async def render(step: Step) -> None:
    """Render the staged revision and publish it. The job moves from rendering to completed."""
    job, plan, revision = step.job, step.job.plan, step.job.staged_revision
    if job.state != "rendering":
        return
    if plan is None or revision is None:
        raise FenceLost(
            f"Job {job.id} has nothing to render.", state=job.state, attempt=job.attempt
        )
    began = time.monotonic()
    out_dir = step.tools.scratch.new_path()
    with full_disk_told():
        out_dir.mkdir()
    try:
        await _render(step, plan, revision, out_dir)
    finally:
        shutil.rmtree(out_dir, ignore_errors=True)
    seconds = time.monotonic() - began
    record = await kept_for_render(step, plan, revision)
    record["steps"]["render"] = {"seconds": round(seconds, 3), "worker": step.tools.worker_id}
    await step.confirm()
    await write_run_record(step, revision, record)
    step.log("job_rendered", "rendered", frames=plan.video.frames, seconds=round(seconds, 3))
    await publish(step, revision)


async def _render(step: Step, plan: Plan, revision: str, out_dir: Path) -> None:
    job, engine, store = step.job, step.tools.engine, step.tools.ports.results
    tracks = await step.in_thread(
        engine.read_tracks_csv,
        await read_result(store, result_blob(job.id, revision, "tracks.csv")),
    )
    animals = await step.in_thread(
        engine.read_animals_csv,
        await read_result(store, result_blob(job.id, revision, "animals.csv")),
    )
    figures = Figures.model_validate_json(
        await read_result(store, result_blob(job.id, revision, "results.json"))
    )
    async with step.tools.sources.open(job.files, stop=step.stop) as sources:
        files = await step.in_thread(
            engine.render,
            Recording([path for path, _ in sources], [index for _, index in sources], plan.video),
            Findings(tracks, animals, figures.counts),
            out_dir=out_dir,
            run=Run(job.settings, step.expect(plan.video.frames), step.stop.is_set),
        )
    await step.confirm()
    for path in files:
        # A long upload is cancelled when the step is stopped, too.
        await step.stop.unless_set(
            put_file_once(
                store,
                result_blob(job.id, revision, path.name),
                path,
                content_type=ARTIFACTS[path.name],
            )
        )
