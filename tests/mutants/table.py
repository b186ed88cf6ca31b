"""What is taken out, and which test notices."""

from __future__ import annotations

from tests.mutants.access import ACCESS
from tests.mutants.account import ACCOUNT
from tests.mutants.configuration import CONFIGURATION
from tests.mutants.confinement import CONFINEMENT
from tests.mutants.detectors import DETECTORS
from tests.mutants.gate import GATE
from tests.mutants.measuring import MEASURING
from tests.mutants.mutant import Mutant
from tests.mutants.port import PORT
from tests.mutants.quotas import QUOTAS
from tests.mutants.storage import STORAGE
from tests.mutants.structure import STRUCTURE

_ACCEPTED = (
    "tests/integration/test_promise_accepted_is_finished.py::test_promise_accepted_is_finished"
)
_LEASES = "tests/integration/test_promise_leases.py"
_POISON = "tests/integration/test_promise_poison.py"
_MARKER = "tests/unit/core/test_submission_marker.py"
_NOBODY = "tests/integration/test_promise_nobody_gets_in.py"
_ONE_JOB = "tests/integration/test_promise_one_job_for_one_key.py"
_TERMINAL = "tests/unit/worker/test_promise_terminal_states.py"
_FULL_DISK = "tests/unit/worker/test_worker_full_disk.py"
_MISSING = "tests/unit/worker/test_worker_missing_blobs.py"
_TRACE = "tests/integration/test_promise_one_trace.py"

MUTANTS = (
    *STORAGE,
    *STRUCTURE,
    *ACCOUNT,
    *QUOTAS,
    *DETECTORS,
    *MEASURING,
    *GATE,
    *PORT,
    *CONFINEMENT,
    *CONFIGURATION,
    *ACCESS,
    Mutant(
        "counts do not say that their range is of what was detected",
        "core/domain/results/counts.py",
        "    interval_basis: IntervalBasis = Field(",
        "    basis: IntervalBasis = Field(",
        "tests/unit/ml_engine/test_interval.py::test_results_say_it_for_every_class",
    ),
    Mutant(
        "a reason of results 1.x, which is a string, is not read",
        "core/domain/results/notes.py",
        "Reason = Annotated[Note, BeforeValidator(reason_of_text)]",
        "Reason = Annotated[Note, BeforeValidator(lambda value: value)]",
        "tests/unit/core/test_results_1.py::test_counts_of_an_old_worker_beside_a_new_api",
    ),
    Mutant(
        "a warning of results 1.x, which calls its text a message, is not read",
        "core/domain/results/notes.py",
        '"text" not in value and "message" in value',
        '"text" not in value and "" in value',
        "tests/unit/core/test_results_1.py::test_a_warning_of_1_x_has_a_text",
    ),
    Mutant(
        "the contact sheet does not say what its ranges are of",
        "ml_engine/drawing/contact_sheet.py",
        "painting.paint_line(draw, INTERVAL_NOTE, self._layout.width, GAP_PX)",
        "GAP_PX + painting.NOTE_PX",
        "tests/unit/ml_engine/test_interval.py::test_the_contact_sheet",
    ),
    Mutant(
        "a silent job's message is not sent again",
        "core/services/housekeeping/sweep.py",
        (
            "await self._dispatcher.send(\n"
            '                    message.model_copy(update={"traceparent": job.traceparent})\n'
            "                )"
        ),
        "pass",
        _ACCEPTED,
    ),
    Mutant(
        "blobs of submissions that died are left",
        "core/services/housekeeping/keeper.py",
        "cleared = await self._orphans.run(pages=None) if everything else await self._orphans.run()",
        "return",
        _ACCEPTED,
    ),
    Mutant(
        "a video that is refused keeps the marker of an unfinished submission",
        "worker/handlers/plan.py",
        "        await step.tools.ports.sources.delete(submitting_blob(job.id))\n",
        "",
        f"{_MARKER}::test_the_first_step_deletes_it_also_where_the_video_is_refused",
    ),
    Mutant(
        "a job that is cancelled early keeps the marker of an unfinished submission",
        "core/services/attempts/cancel.py",
        "            await erase_marker(ports.sources, job_id)\n",
        "",
        f"{_MARKER}::test_cancelling_deletes_it_because_no_first_step_will",
    ),
    Mutant(
        "the marker of an upload link goes before the link is dead",
        "core/services/submission/uploads.py",
        "await self._ports.sources.delete(upload_blob(upload_id, owner=owner))",
        "await self._ports.sources.delete_prefix(upload_blob(upload_id, owner=owner))",
        "tests/unit/api/test_api_uploads.py::test_a_job_of_uploads_has_its_own_copy_and_the_staged_ones_go",
    ),
    Mutant(
        "messages are acknowledged before the work",
        "worker/consumer.py",
        "            await self._processor.process(queue, lease)\n",
        "            await queue.complete(lease)\n            await self._processor.process(queue, lease)\n",
        "tests/e2e/test_promise_chaos.py",
    ),
    Mutant(
        "leases are not renewed",
        "worker/lease_keeper.py",
        "        third_s = self._visibility_s / 3\n",
        "        await self._leaving.wait()\n        third_s = self._visibility_s / 3\n",
        f"{_LEASES}::test_a_job_longer_than_its_visibility_is_never_run_twice",
    ),
    Mutant(
        "the engine does not learn that a lease was lost",
        "worker/stop.py",
        "return self.event.is_set() or self._is_over()",
        "return False",
        f"{_LEASES}::test_a_lost_lease_ends_the_work_and_nothing_is_published_or_acknowledged",
    ),
    Mutant(
        "a lost lease is settled all the same",
        "worker/processor.py",
        "if stop.is_lost:",
        "if False:",
        "tests/unit/worker/test_worker_lost_leases.py",
    ),
    Mutant(
        "blobs that are there are written again",
        "worker/write_once.py",
        "return await store.put(name, data, content_type=content_type, only_new=True)",
        "return await store.put(name, data, content_type=content_type)",
        "tests/unit/worker/test_worker_write_once.py",
    ),
    Mutant(
        "a write whose answer was lost is taken for somebody else's",
        "core/adapters/azure/blob.py",
        "if (properties.metadata or {}).get(_WRITE_ID) == write_id:",
        "if False:",
        "tests/contract/test_azure_blob_store.py",
    ),
    Mutant(
        "a start whose answer was lost counts as a death",
        "worker/processor.py",
        "deaths = await self._patience.ask(start, stop) - asked",
        "deaths = await self._patience.ask(start, stop) - 1",
        "tests/unit/worker/test_every_moment.py",
    ),
    Mutant(
        "failures have no limit",
        "worker/step_ends.py",
        "if failures < self._tools.config.worker.max_failures:",
        "if True:",
        f"{_POISON}::test_after_max_failures_the_message_is_poison_with_its_body_and_the_reason",
    ),
    Mutant(
        "a full disk counts as a failure",
        "worker/processor.py",
        "            return await self._ends.wait_for_room(step, error)\n",
        "            return await self._ends.count_failure(message, error, stop)\n",
        f"{_FULL_DISK}::test_a_full_disk_is_waited_for_and_no_failure",
    ),
    Mutant(
        "a full disk counts as a death",
        "worker/step_ends.py",
        "        await self.take_back_start(message)\n        # The delay is about",
        "        # The delay is about",
        f"{_FULL_DISK}::test_a_full_disk_is_waited_for_and_no_failure",
    ),
    Mutant(
        "a full disk is waited for without end",
        "worker/step_ends.py",
        "if waited_s >= self._tools.config.worker.disk_patience_s:",
        "if False:",
        f"{_FULL_DISK}::test_when_the_patience_is_over_the_job_fails_and_can_be_tried_again",
    ),
    Mutant(
        "each try begins the wait for room again",
        "worker/disk.py",
        "since = before.since_utc if before is not None else at",
        "since = at",
        f"{_FULL_DISK}::test_when_the_patience_is_over_the_job_fails_and_can_be_tried_again",
    ),
    Mutant(
        "a job that has ended still waits",
        "core/adapters/shared/job_records.py",
        'changes = {**changes, "waiting": None}',
        "pass",
        "tests/contract/test_job_store_fences.py",
    ),
    Mutant(
        "a full disk is not reported",
        "worker/self_report.py",
        (
            "problems: list[WorkerProblem] = [\n"
            "            *self._tools.full_disk.problems(self._tools.timer.now()),\n"
            "            *self._tools.engine.decoding_problems(),\n"
            "        ]"
        ),
        "problems: list[WorkerProblem] = [*self._tools.engine.decoding_problems()]",
        f"{_FULL_DISK}::test_a_worker_reports_a_full_disk_until_it_meets_none_any_more",
    ),
    Mutant(
        "a missing source is not told apart from a changed one",
        "core/adapters/azure/transfer.py",
        "        with mapped(doing):\n            await blob.get_blob_properties()\n        raise\n",
        "        raise\n",
        "tests/contract/test_blob_store.py::test_a_missing_blob_is_missing_whatever_etag_the_reader_names",
    ),
    Mutant(
        "a missing source is tried again",
        "worker/stored.py",
        (
            "raise VideoError(\n"
            '            f"The file \'{name}\' is no longer in storage. Submit it again.", code="source_missing"\n'
            "        ) from error"
        ),
        "raise RuntimeError(f\"The file '{name}' is no longer in storage.\") from error",
        f"{_MISSING}::test_a_source_that_is_gone_is_told_by_every_step_that_reads_it",
    ),
    Mutant(
        "missing detections stay noted as done",
        "worker/handlers/assemble.py",
        '    await step.update(("assembling",), {"done_segments": left})\n',
        "    del left\n",
        f"{_MISSING}::test_detections_that_are_gone_are_told_and_a_retry_detects_them_again",
    ),
    Mutant(
        "deaths have no limit",
        "worker/processor.py",
        "if deaths >= self._tools.config.worker.max_deaths:",
        "if False:",
        f"{_POISON}::test_after_max_deaths_the_message_is_poison_with_its_body_and_the_reason",
    ),
    Mutant(
        "outages and shutdowns count as deaths",
        "worker/step_ends.py",
        "    async def take_back_start(self, message: JobMessage) -> None:\n",
        "    async def take_back_start(self, message: JobMessage) -> None:\n        return\n",
        f"{_POISON}::test_outages_and_shutdowns_poison_nothing",
    ),
    Mutant(
        "what cannot be understood stays in the queue",
        "worker/intake.py",
        'return Settlement("poison", error.message)',
        'return Settlement("release", error.message)',
        f"{_POISON}::test_undecodable_messages_are_quarantined_and_the_queue_goes_on",
    ),
    Mutant(
        "a message is deleted before its copy is in the poison queue",
        "core/adapters/azure/queue.py",
        "        owned = await self.renew(lease, visibility=_POISONING)\n",
        "        owned = await self.renew(lease, visibility=_POISONING)\n        await self.complete(owned)\n",
        f"{_POISON}::test_a_crash_between_the_copy_and_the_deletion_loses_nothing",
    ),
    Mutant(
        "SIGTERM waits for the grace period",
        "worker/consumer.py",
        "        self._processor.stop_all(unless_done_within_s=self._grace_s)\n",
        "",
        "tests/integration/test_promise_sigterm.py",
    ),
    Mutant(
        "an idempotency key is not looked up when the job is recorded",
        "core/adapters/sqlite/job_rows.py",
        "        if known is not None:\n            return known\n",
        "        del known\n",
        f"{_ONE_JOB}::test_the_same_request_50_times_at_once_makes_one_job_and_one_blob",
    ),
    Mutant(
        "an idempotency key stands for any content",
        "core/services/submission/submit.py",
        "if earlier.request_hash != fingerprint:",
        "if False:",
        f"{_ONE_JOB}::test_with_another_body_it_is_422_and_changes_nothing",
    ),
    Mutant(
        "a job's state is not looked at before it is changed",
        "core/adapters/sqlite/job_rows.py",
        "if row[0] != attempt or (states is not None and row[1] not in states):",
        "if row[0] != attempt:",
        f"{_TERMINAL}::test_terminal_states_never_regress_whatever_the_order_of_messages",
    ),
    Mutant(
        "a job's attempt is not looked at before it is changed",
        "core/adapters/sqlite/job_rows.py",
        "if row[0] != attempt or (states is not None and row[1] not in states):",
        "if states is not None and row[1] not in states:",
        "tests/contract/test_job_store_fences.py",
    ),
    Mutant(
        "a recount that fails takes the published revision away",
        "worker/step_ends.py",
        'changes = {"state": "failed", "error": failure, "completed_at_utc": now}',
        'changes = {"state": "failed", "error": failure, "completed_at_utc": now, "result_revision": None}',
        f"{_TERMINAL}::test_a_recount_that_fails_keeps_the_published_revision",
    ),
    Mutant(
        "storage that does not answer is a permanent failure",
        "core/adapters/azure/errors.py",
        '    return Unavailable(f"Storage did not respond while {doing}. Try again in a few seconds.")\n',
        '    return PermanentError(f"Storage did not respond while {doing}. Try again in a few seconds.", code="storage_away")\n',
        "tests/integration/test_promise_outages.py::test_promise_storage_that_is_unreachable_delays_everything_and_loses_nothing",
    ),
    Mutant(
        "anybody sees anybody's jobs",
        "core/services/submission/submit.py",
        "return await ports.jobs.get(job_id, owner=owner)",
        "return await ports.jobs.get(job_id)",
        f"{_NOBODY}::test_another_owners_job_is_answered_like_none_on_every_route",
    ),
    Mutant(
        "revoked keys open doors",
        "core/services/access/keys.py",
        "if key is None or not known or not key.is_usable(now):",
        "if key is None or not known:",
        f"{_NOBODY}::test_a_revoked_key_opens_nothing_from_that_moment_in_any_process",
    ),
    Mutant(
        "scopes are not looked at",
        "api/access.py",
        "if needed is not None and not caller.may(needed):",
        "if False:",
        f"{_NOBODY}::test_a_missing_scope_is_refused_before_anything_is_looked_up",
    ),
    Mutant(
        "who arrives from outside needs no key",
        "api/access.py",
        "if self._require_key or forwarded or not arrived_on_loopback(connection):",
        "if self._require_key or forwarded:",
        f"{_NOBODY}::test_who_arrives_from_outside_needs_a_key_whatever_they_say_of_themselves",
    ),
    Mutant(
        "foreign pages may ask",
        "api/door.py",
        "            if not same and origin.lower() not in self._origins:\n                raise foreign_origin()\n",
        "            del same\n",
        f"{_NOBODY}::test_foreign_names_and_pages_are_refused_here_as_outside",
    ),
    Mutant(
        "tickets are good more than once",
        "core/services/access/keys.py",
        "        try:\n            await self.check_again(caller)\n",
        "        await self._store.add_ticket(ticket, at=now)\n        try:\n            await self.check_again(caller)\n",
        f"{_NOBODY}::test_a_ticket_lets_one_web_socket_in_whichever_process_is_asked",
    ),
    Mutant(
        "secrets are written down",
        "core/observability/redaction.py",
        "        for secret in self._known:\n            text = text.replace(secret, HIDDEN)\n",
        "        return text\n",
        "tests/unit/core/test_logs.py",
    ),
    Mutant(
        "a step's message does not carry the trace on",
        "worker/step.py",
        "traceparent=traceparent() or self.message.traceparent,",
        "traceparent=None,",
        f"{_TRACE}::test_one_trace_id_leads_from_the_upload_to_the_result",
    ),
    Mutant(
        "an SDK's own requests begin traces",
        "core/observability/tracing_export.py",
        "own = bool(attributes and attributes.get(OWN))",
        "own = True",
        f"{_TRACE}::test_an_idle_worker_and_an_idle_api_emit_no_span",
    ),
    Mutant(
        "OpenVINO reports usage",
        "ml_engine/detection/runtimes/openvino_package.py",
        '    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]\n',
        "",
        "tests/unit/ml_engine/test_openvino_package.py",
    ),
    Mutant(
        "Azurite reports usage",
        "infra/azurite/start.js",
        ', "--disableTelemetry"]',
        "]",
        "tests/integration/test_promise_nothing_leaves.py::test_the_parts_of_make_run_send_nothing",
    ),
    Mutant(
        "the API's own pages may load from anywhere",
        "api/routes/reference.py",
        'headers={"Content-Security-Policy": _POLICIES[viewer]}',
        "headers={}",
        "tests/unit/api/test_api_reference.py",
    ),
)
