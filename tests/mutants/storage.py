"""Mechanisms that keep footage safe."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_IDENTITY = "tests/unit/core/test_storage_identity.py"
_INTAKE = "tests/unit/worker/test_worker_intake.py"
_ORPHANS = "tests/unit/core/test_orphans.py"
_DELETION = "tests/unit/core/test_deletion.py"
_SUBMISSIONS = "tests/unit/core/test_submissions.py"
_BRAKE = "tests/unit/core/test_expiry_brake.py"
_HOSTILE = "tests/unit/core/test_hostile_storage.py"
_RECOVERY = "tests/unit/core/test_hostile_recovery.py"
_COMMANDS = "tests/unit/worker/test_hostile_commands.py"

STORAGE = (
    Mutant(
        "a foreign storage is not refused",
        "core/services/housekeeping/storage_identity.py",
        "    if foreign:\n        raise _foreign(ports, marks, foreign[0])\n",
        "",
        _IDENTITY,
    ),
    Mutant(
        "a used storage without a mark is taken by a marked database",
        "core/services/housekeeping/storage_identity.py",
        "    elif not marks.found and await is_used(ports):\n",
        "    elif False:\n",
        f"{_IDENTITY}::test_a_marked_database_marks_an_empty_storage_and_is_refused_a_used_one",
    ),
    Mutant(
        "two unmarked strangers are brought together",
        "core/services/housekeeping/storage_identity.py",
        "    if not known:\n",
        "    if False:\n",
        f"{_IDENTITY}::test_two_used_strangers_without_marks_are_not_brought_together",
    ),
    Mutant(
        "a container's mark is overwritten by whoever comes second",
        "core/services/housekeeping/storage_identity.py",
        (
            "await store.put(\n"
            '            MARK_BLOB, own.mark.to_bytes(), content_type="application/json", only_new=True\n'
            "        )"
        ),
        'await store.put(MARK_BLOB, own.mark.to_bytes(), content_type="application/json")',
        f"{_IDENTITY}::test_a_storage_that_is_marked_while_a_process_looks_stays_whose_it_is",
    ),
    Mutant(
        "a process that opens its ports does not ask whose the storage is",
        "core/bootstrap.py",
        "    await require_own_storage(ports, utc_now)\n",
        "",
        "tests/integration/test_promise_two_databases.py",
    ),
    Mutant(
        "a takeover keeps the identity that the other database has",
        "core/services/housekeeping/storage_takeover.py",
        "    if own is None or not state.belongs:\n",
        "    if own is None:\n",
        f"{_IDENTITY}::test_a_database_takes_a_storage_over_and_the_one_before_is_refused",
    ),
    Mutant(
        "a message of an unknown job costs its blobs",
        "worker/obsolete.py",
        "        if await ports.ledger.tombstones([message.job_id]):\n",
        "        if True:\n",
        f"{_INTAKE}::test_a_worker_with_another_database_deletes_nothing",
    ),
    Mutant(
        "a message of another installation is done",
        "worker/intake.py",
        "    return message if _is_ours(message.identity, own) else _foreign(tools, lease)\n",
        "    return message\n",
        f"{_INTAKE}::test_a_message_of_another_installation_is_never_given_up",
    ),
    Mutant(
        "a message of a newer release is given up at once",
        "worker/intake.py",
        "    if tools.timer.now() - lease.inserted_at_utc < KEEP_UNKNOWN:\n",
        "    if False:\n",
        f"{_INTAKE}::test_what_a_newer_worker_may_understand_is_kept_for_a_day",
    ),
    Mutant(
        "messages do not say whose they are",
        "core/services/attempts/dispatch.py",
        'message.model_copy(update={"identity": own}).to_bytes()',
        "message.to_bytes()",
        f"{_INTAKE}::test_messages_carry_the_identity",
    ),
    Mutant(
        "blobs without a record are deleted without a marker",
        "core/services/housekeeping/orphans.py",
        (
            "is_marked = (\n"
            '            name == "sources"\n'
            "            and await self._allows(store, submitting_blob(job_id))\n"
            "            and not await self._was_recorded(job_id)\n"
            "        )"
        ),
        'is_marked = name == "sources" and not await self._was_recorded(job_id)',
        f"{_ORPHANS}::test_what_nothing_explains_is_reported_and_never_deleted",
    ),
    Mutant(
        "uploads are deleted without a marker",
        "core/services/housekeeping/orphans.py",
        "        if not await self._allows(store, link):\n",
        "        if False:\n",
        f"{_ORPHANS}::test_an_upload_without_a_marker_of_ours_stays",
    ),
    Mutant(
        "a marker of any storage allows to delete",
        "core/services/housekeeping/orphans.py",
        "return mark is not None and own is not None and own.owns(mark.identity)",
        "return mark is not None and own is not None",
        f"{_ORPHANS}::test_a_submission_that_died_is_cleared_on_its_marker_s_word",
    ),
    Mutant(
        "a submission's marker goes before its blobs",
        "core/services/submission/submit.py",
        "    marker = submitting_blob(job_id)\n",
        "    marker = submitting_blob(job_id)\n    await sources.delete(marker)\n",
        f"{_ORPHANS}::test_a_sweep_that_dies_keeps_the_marker_for_the_next",
    ),
    Mutant(
        "a blob is committed before its marker is there",
        "core/services/submission/files.py",
        "        # The blob is committed when the stream ends.\n        await self._marked()\n",
        "",
        f"{_SUBMISSIONS}::test_without_a_marker_nothing_is_committed",
    ),
    Mutant(
        "a link is given out without a marker",
        "core/services/submission/uploads.py",
        "            await self._ports.sources.put(link_blob(blob), identity.mark.to_bytes())\n",
        "            pass\n",
        "tests/unit/api/test_api_uploads.py::test_a_link_names_what_to_send_where_and_until_when",
    ),
    Mutant(
        "a deletion is not announced",
        "core/services/housekeeping/delete.py",
        (
            "tombstone = await ports.ledger.bury(\n"
            '        Tombstone(job_id=job_id, reason="deleted", written_at_utc=clock())\n'
            "    )"
        ),
        'tombstone = Tombstone(job_id=job_id, reason="deleted", written_at_utc=clock())',
        f"{_DELETION}::test_what_is_announced_is_finished_wherever_the_process_dies",
    ),
    Mutant(
        "an expiry is not announced",
        "core/services/housekeeping/retention.py",
        (
            "return await carry_out_expiry(\n"
            "            self._ports, self._clock, await self._ports.ledger.bury(tombstone)\n"
            "        )"
        ),
        "return await carry_out_expiry(self._ports, self._clock, tombstone)",
        f"{_DELETION}::test_a_job_that_is_counted_again_keeps_its_results_until_that_has_ended",
    ),
    Mutant(
        "announced deletions are not finished",
        "core/services/housekeeping/keeper.py",
        '            "deletions": lambda: self._finish(report, everything),\n',
        "",
        "tests/unit/core/test_housekeeping.py::test_a_sweep_finishes_what_was_announced",
    ),
    Mutant(
        "a refused submission that was recorded leaves no tombstone",
        "core/services/submission/submit.py",
        "                await self._ports.ledger.bury(tombstone)\n",
        "                pass\n",
        f"{_SUBMISSIONS}::test_a_job_whose_message_could_not_be_sent_is_taken_back",
    ),
    Mutant(
        "an accepted job has no copy of its record",
        "core/services/submission/submit.py",
        (
            "        await self._ports.results.put(\n"
            '            submission_blob(job.id), job.model_dump_json().encode(), content_type="application/json"\n'
            "        )\n"
        ),
        "",
        f"{_SUBMISSIONS}::test_an_accepted_job_has_its_film_a_copy_of_its_record_and_no_marker",
    ),
    Mutant(
        "a new retention expires everything at once",
        "core/services/housekeeping/expiry_brake.py",
        "        if due <= MUCH_JOBS or due <= MUCH_FRACTION * kept:\n",
        "        if True:\n",
        f"{_BRAKE}::test_a_new_value_that_hits_much_waits_a_day_and_then_goes_on",
    ),
    Mutant(
        "the brake is never asked",
        "core/services/housekeeping/keeper.py",
        "        report.held = not await self._brake.allows(due_before=due_before, confirmed=self._confirmed)\n",
        "",
        f"{_BRAKE}::test_a_new_value_that_hits_much_waits_a_day_and_then_goes_on",
    ),
    Mutant(
        "a marker left beside an accepted film costs it",
        "core/services/housekeeping/orphans.py",
        " and not await self._was_recorded(job_id)",
        "",
        f"{_HOSTILE}::test_a_marker_left_beside_an_accepted_film_does_not_cost_it",
    ),
    Mutant(
        "a stack whose storage was taken over goes on deleting",
        "core/services/housekeeping/keeper.py",
        '                if name == "marks":\n                    break\n',
        "",
        f"{_HOSTILE}::test_a_sweeper_whose_storage_was_taken_over_deletes_nothing",
    ),
    Mutant(
        "films expire by the clock of one machine",
        "core/services/housekeeping/retention.py",
        "min(self._clock(), await self._ports.sources.now())",
        "self._clock()",
        f"{_HOSTILE}::test_a_clock_that_is_ahead_lets_nothing_expire",
    ),
    Mutant(
        "a value is taken for an old one by the clock of one machine",
        "core/services/housekeeping/keeper.py",
        "await self._ports.sources.now() - keep",
        "self._clock() - keep",
        f"{_HOSTILE}::test_clocks_that_differ_do_not_end_the_wait_of_a_new_retention",
    ),
    Mutant(
        "a takeover that died leaves marks of before",
        "core/services/housekeeping/storage_identity.py",
        "        elif present.identity != own.id:\n",
        "        elif False:\n",
        f"{_HOSTILE}::test_a_takeover_that_died_anywhere_is_finished_by_the_next_start",
    ),
    Mutant(
        "a separation that is run again loses its names",
        "core/services/housekeeping/storage_takeover.py",
        "    if own.names and not state.marks.found:\n",
        "    if False:\n",
        f"{_HOSTILE}::test_a_separation_that_died_before_it_was_marked_keeps_its_names",
    ),
    Mutant(
        "results that recovery cannot read are left to the sweeper",
        "core/services/housekeeping/recovery.py",
        "        values |= _shown(job_id, revisions[0], results)\n",
        "        pass\n",
        f"{_RECOVERY}::test_results_of_which_none_can_be_read_are_not_swept_away",
    ),
    Mutant(
        "what was recovered expires without the brake",
        "core/services/housekeeping/recovery.py",
        "            await ports.ledger.write_note(RETENTION_NOTE, {})\n",
        "            pass\n",
        f"{_RECOVERY}::test_what_was_made_again_does_not_expire_at_once",
    ),
    Mutant(
        "a part of a recording is recovered as all of it",
        "core/services/housekeeping/recovery.py",
        "    if copy:\n        # A missing",
        "    if False:\n        # A missing",
        f"{_RECOVERY}::test_a_recording_of_which_a_file_is_gone_is_not_counted_as_a_whole_one",
    ),
    Mutant(
        "purge deletes more of a job than it shows",
        "worker/storage.py",
        "if item.name not in young]",
        "if item.newest_at_utc < before]",
        f"{_COMMANDS}::test_purge_leaves_a_job_alone_of_which_a_part_is_young",
    ),
    Mutant(
        "only the SDK is asked for the name of the account that signs links",
        "core/adapters/azure/upload_links.py",
        "account_name=blob.account_name or account_of(blob.url),",
        "account_name=blob.account_name,",
        "tests/contract/test_azure_blob_store.py::test_managed_identity_signs_links_with_a_delegation_key",
    ),
    Mutant(
        "Azurite by hand knows no .env",
        "infra/storage.py",
        "read(DataSection)",
        "DataSection()",
        "tests/unit/infra/test_data_folder.py::test_the_env_file_names_the_data_folder_for_every_program",
    ),
    Mutant(
        "a lock of the driver that breaks in an outage is a fault of the server",
        "core/adapters/mongo/errors.py",
        "        if not _is_raised_by_pymongo(error):\n            raise\n",
        "        raise\n",
        "tests/unit/core/test_mongo_errors.py::test_a_lock_of_the_driver_that_breaks_in_an_outage_is_an_outage",
    ),
)
