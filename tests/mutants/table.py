"""What is taken out, and which test notices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """The code without one of its mechanisms.

    Attributes:
        name: What is gone, in words.
        file: Where, relative to the repository.
        old: Text that stands there once.
        new: What takes its place.
        test: pytest's id of a test, or of all of a file, that fails then.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


_ACCEPTED = "tests/integration/test_promise_accepted_is_finished.py::test_promise_accepted_is_finished"
_LEASES = "tests/integration/test_promise_leases.py"
_POISON = "tests/integration/test_promise_poison.py"
_NOBODY = "tests/integration/test_promise_nobody_gets_in.py"
_ONE_JOB = "tests/integration/test_promise_one_job_for_one_key.py"
_TERMINAL = "tests/unit/test_promise_terminal_states.py"
_DETECTORS = "tests/integration/test_detector_architectures.py"
_TRACE = "tests/integration/test_promise_one_trace.py"

MUTANTS = (
    Mutant(
        "a silent job's message is not sent again",
        "core/services/sweep.py",
        'await self._dispatcher.send(message.model_copy(update={"traceparent": job.traceparent}))',
        "pass",
        _ACCEPTED,
    ),
    Mutant(
        "blobs of nobody are left",
        "core/services/housekeeping.py",
        "cleared = await self._orphans.run(pages=None) if everything else await self._orphans.run()",
        "return",
        _ACCEPTED,
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
        '            if stop.is_lost:\n                logger.warning("left alone',
        '            if False:\n                logger.warning("left alone',
        "tests/unit/test_worker_lost_leases.py",
    ),
    Mutant(
        "blobs that are there are written again",
        "worker/write_once.py",
        "return await store.put(name, data, content_type=content_type, only_new=True)",
        "return await store.put(name, data, content_type=content_type)",
        "tests/unit/test_worker_write_once.py",
    ),
    Mutant(
        "a write whose answer was lost is taken for somebody else's",
        "core/adapters/azure_blob.py",
        "if (properties.metadata or {}).get(_WRITE_ID) == write_id:",
        "if False:",
        "tests/contract/test_azure_blob_store.py",
    ),
    Mutant(
        "a start whose answer was lost counts as a death",
        "worker/processor.py",
        "deaths = await self._patiently(start, stop) - asked",
        "deaths = await self._patiently(start, stop) - 1",
        "tests/unit/test_every_moment.py",
    ),
    Mutant(
        "failures have no limit",
        "worker/processor.py",
        "if failures < self._tools.config.max_failures:",
        "if True:",
        f"{_POISON}::test_after_max_failures_the_message_is_poison_with_its_body_and_the_reason",
    ),
    Mutant(
        "deaths have no limit",
        "worker/processor.py",
        "if deaths >= self._tools.config.max_deaths:",
        "if False:",
        f"{_POISON}::test_after_max_deaths_the_message_is_poison_with_its_body_and_the_reason",
    ),
    Mutant(
        "outages and shutdowns count as deaths",
        "worker/processor.py",
        "    async def _take_back_start(self, message: JobMessage) -> None:\n",
        "    async def _take_back_start(self, message: JobMessage) -> None:\n        return\n",
        f"{_POISON}::test_outages_and_shutdowns_poison_nothing",
    ),
    Mutant(
        "what cannot be understood stays in the queue",
        "worker/processor.py",
        'await settle(queue, lease, Settlement("poison", error.message), self._tools.timer)',
        'await settle(queue, lease, Settlement("release", error.message), self._tools.timer)',
        f"{_POISON}::test_undecodable_messages_are_quarantined_and_the_queue_goes_on",
    ),
    Mutant(
        "a message is deleted before its copy is in the poison queue",
        "core/adapters/azure_queue.py",
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
        "core/adapters/sqlite_jobs.py",
        "        if known is not None:\n            return known\n",
        "        del known\n",
        f"{_ONE_JOB}::test_the_same_request_50_times_at_once_makes_one_job_and_one_blob",
    ),
    Mutant(
        "an idempotency key stands for any content",
        "core/services/submit.py",
        "if earlier.request_hash != fingerprint:",
        "if False:",
        f"{_ONE_JOB}::test_with_another_body_it_is_422_and_changes_nothing",
    ),
    Mutant(
        "a job's state is not looked at before it is changed",
        "core/adapters/sqlite_jobs.py",
        "if row[0] != attempt or (states is not None and row[1] not in states):",
        "if row[0] != attempt:",
        f"{_TERMINAL}::test_terminal_states_never_regress_whatever_the_order_of_messages",
    ),
    Mutant(
        "a job's attempt is not looked at before it is changed",
        "core/adapters/sqlite_jobs.py",
        "if row[0] != attempt or (states is not None and row[1] not in states):",
        "if states is not None and row[1] not in states:",
        "tests/contract/test_job_store.py",
    ),
    Mutant(
        "a recount that fails takes the published revision away",
        "worker/processor.py",
        'changes = {"state": "failed", "error": failure, "completed_at_utc": now}',
        'changes = {"state": "failed", "error": failure, "completed_at_utc": now, "result_revision": None}',
        f"{_TERMINAL}::test_a_recount_that_fails_keeps_the_published_revision",
    ),
    Mutant(
        "storage that does not answer is a permanent failure",
        "core/adapters/azure_errors.py",
        '    return Unavailable(f"Storage did not answer while {doing}. Try again in a few seconds.")\n',
        '    return PermanentError(f"Storage did not answer while {doing}. Try again in a few seconds.", code="storage_away")\n',
        "tests/integration/test_promise_outages.py::test_promise_storage_that_is_unreachable_delays_everything_and_loses_nothing",
    ),
    Mutant(
        "decoding has no limit of memory",
        "ml_engine/confinement.py",
        'limits.append(("memory", resource.RLIMIT_AS, in_use + allowance.memory_bytes))',
        "pass",
        "tests/unit/test_decoding.py",
    ),
    Mutant(
        "decoding may open files and connections",
        "ml_engine/confinement.py",
        '    if not _filter_calls():\n        missing.append("network and files")\n',
        "",
        "tests/unit/test_decoding.py",
    ),
    Mutant(
        "anybody sees anybody's jobs",
        "core/services/submit.py",
        "return await ports.jobs.get(job_id, owner=owner)",
        "return await ports.jobs.get(job_id)",
        f"{_NOBODY}::test_another_owners_job_is_answered_like_none_on_every_route",
    ),
    Mutant(
        "revoked keys open doors",
        "core/services/keys.py",
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
        "api/access.py",
        "            if not same and origin.lower() not in self.origins:\n                raise _foreign_origin()\n",
        "            del same\n",
        f"{_NOBODY}::test_foreign_names_and_pages_are_refused_here_as_outside",
    ),
    Mutant(
        "tickets are good more than once",
        "core/services/keys.py",
        "        await self.check_again(caller)\n        return caller\n",
        "        await self._store.add_ticket(ticket, at=now)\n        await self.check_again(caller)\n        return caller\n",
        f"{_NOBODY}::test_a_ticket_lets_one_web_socket_in_whichever_process_is_asked",
    ),
    Mutant(
        "secrets are written down",
        "core/redaction.py",
        "        for secret in self._known:\n            text = text.replace(secret, HIDDEN)\n",
        "        return text\n",
        "tests/unit/test_logs.py",
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
        "core/tracing_export.py",
        "own = bool(attributes and attributes.get(OWN))",
        "own = True",
        f"{_TRACE}::test_an_idle_worker_and_an_idle_api_emit_no_span",
    ),
    Mutant(
        "auto gives up where OpenVINO refuses a checkpoint",
        "ml_engine/runtimes/fallback.py",
        "        if error.code != REFUSED:\n",
        "        if error.code:\n",
        f"{_DETECTORS}::test_auto_takes_torch_where_openvino_refuses_and_remembers",
    ),
    Mutant(
        "a conversion that failed is tried again at every start",
        "ml_engine/runtimes/conversion.py",
        'note_refusal(target, error.details["reason"])',
        "pass",
        f"{_DETECTORS}::test_auto_takes_torch_where_openvino_refuses_and_remembers",
    ),
    Mutant(
        "a checkpoint on disk asks the hub for its backbone",
        "ml_engine/runtimes/torch_runtime.py",
        'settings.pop("backbone_kwargs", None) or {}',
        "{}",
        f"{_DETECTORS}::test_published_files_are_read_as_they_are_meant",
    ),
    Mutant(
        "commands do not heed MUSTER_DEVICE",
        "ml_engine/command_options.py",
        'default=os.environ.get(DEVICE_VARIABLE) or "auto"',
        'default="auto"',
        "tests/unit/test_command_options.py",
    ),
)
