"""Mechanisms that keep one owner from using up what is for all."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HOLDS = "tests/unit/core/test_quota_holds.py"
_KEYS = "tests/contract/test_key_store.py"
_WORK = "tests/unit/core/test_work_budget.py"
_TURNS = "tests/unit/core/test_turns.py"
_LOST_TURNS = "tests/unit/core/test_turns_lost.py"
_TURN_STORE = "tests/contract/test_job_store_turns.py"
_SUPERSEDED = "tests/unit/core/test_superseded_results.py"

QUOTAS = (
    Mutant(
        "an upload holds nothing before its bytes come",
        "core/services/access/rooms.py",
        "        if not await self._reach(max(least, declared_bytes), least):\n",
        "        if not await self._reach(1, 1):\n",
        f"{_HOLDS}::test_ten_uploads_at_once_over_two_processes_hold_no_more_than_the_quota",
    ),
    Mutant(
        "bytes of unknown number are not held as they come",
        "core/services/access/rooms.py",
        "        if size_bytes > self._hold.amount:\n",
        "        if False:\n",
        f"{_HOLDS}::test_bytes_of_unknown_number_are_held_as_they_come",
    ),
    Mutant(
        "a slow upload gives no sign of life",
        "core/services/access/rooms.py",
        "        elif now >= self._hold.until_utc - HOLD_LIFE + RENEW_EVERY and",
        "        elif False and",
        f"{_HOLDS}::test_a_slow_upload_says_that_it_lives",
    ),
    Mutant(
        "a submission that failed keeps its hold",
        "core/services/submission/submit.py",
        "            await submission.room.end()\n",
        "            pass\n",
        f"{_HOLDS}::test_a_request_that_is_cancelled_holds_nothing",
    ),
    Mutant(
        "what is held and what was used are both counted",
        "core/services/access/quotas.py",
        "        if hold is not None:\n            used",
        "        if False:\n            used",
        f"{_HOLDS}::test_a_link_becomes_what_was_really_put_and_frees_its_place",
    ),
    Mutant(
        "any number of links is alive",
        "core/services/access/quotas.py",
        "owner, hold, at=now, limit_bytes=limit if self._day_bytes else None, most_links=most",
        "owner, hold, at=now, limit_bytes=limit if self._day_bytes else None",
        f"{_HOLDS}::test_so_many_links_are_alive_at_a_time",
    ),
    Mutant(
        "links of yesterday are forgotten",
        "core/services/access/quotas.py",
        "        most = self._links - sum(hold.day != now.date() for hold in alive) if self._links else None\n",
        "        most = self._links or None\n",
        f"{_HOLDS}::test_links_of_yesterday_count_as_long_as_they_are_alive",
    ),
    Mutant(
        "a link without a size holds nothing",
        "core/services/access/quotas.py",
        "amount = self._link_bytes(size_bytes, largest, left)",
        "amount = size_bytes if size_bytes is not None else 1",
        f"{_HOLDS}::test_a_link_without_a_size_holds_the_largest_that_there_is_room_for",
    ),
    Mutant(
        "what lies staged and what its link holds are both counted",
        "core/services/access/quotas.py",
        "max(0, size - held.get(upload_id, 0))",
        "size",
        f"{_HOLDS}::test_what_outlives_its_link_still_counts_and_what_its_link_holds_counts_once",
    ),
    Mutant(
        "a file may be larger than its link declared",
        "core/services/submission/files.py",
        "    if declared_bytes is not None and size_bytes > declared_bytes:\n",
        "    if False:\n",
        f"{_HOLDS}::test_a_file_larger_than_declared_makes_no_job",
    ),
    Mutant(
        "a link that could not be made keeps its hold",
        "core/services/submission/uploads.py",
        "            if hold is not None:\n",
        "            if False:\n",
        f"{_HOLDS}::test_a_link_that_could_not_be_made_holds_nothing",
    ),
    Mutant(
        "an expired hold still holds (SQLite)",
        "core/adapters/sqlite/keys.py",
        "            _drop_expired(connection, owner, day, at)\n            if _spent",
        "            if _spent",
        f"{_KEYS}::test_a_hold_that_expired_holds_nothing",
    ),
    Mutant(
        "a hold is added without looking at what was added meanwhile (MongoDB)",
        "core/adapters/mongo/keys.py",
        '                query["bytes"] = {"$lte": limit_bytes - more}\n',
        "                pass\n",
        f"{_KEYS}::test_what_is_held_counts_like_what_is_used_however_many_ask_at_once",
    ),
    Mutant(
        "a hold asked for twice is held twice",
        "core/adapters/sqlite/keys.py",
        "            more = max(0, hold.amount - (known.amount if known else 0))\n",
        "            more = hold.amount\n",
        f"{_KEYS}::test_the_same_hold_twice_is_one_that_grows_and_never_shrinks",
    ),
    Mutant(
        "a job may be any amount of work",
        "worker/handlers/plan.py",
        "    check_work(looks, tools.config.work.max_work, video=video, settings=settings, slices=slices)\n",
        "",
        f"{_WORK}::test_a_job_over_its_budget_fails_at_once_and_is_told_what_fits",
    ),
    Mutant(
        "an owner's day has room for any amount of work",
        "worker/handlers/plan.py",
        "await count_work(",
        "0 and await count_work(",
        f"{_WORK}::test_a_job_that_passes_the_days_work_waits_for_the_next_day_without_a_message",
    ),
    Mutant(
        "segments that are done are counted as work again",
        "core/domain/work.py",
        " if segment.index not in finished)",
        ")",
        f"{_WORK}::test_a_retry_on_another_day_costs_only_what_is_left",
    ),
    Mutant(
        "a job that waits for the next day is sent all the time",
        "core/services/housekeeping/sweep.py",
        "        since = max(since, job.waiting.until_utc - silence)\n",
        "        pass\n",
        f"{_WORK}::test_a_job_that_passes_the_days_work_waits_for_the_next_day_without_a_message",
    ),
    Mutant(
        "a stray message of a job that waits for the next day plans it again",
        "worker/handlers/plan.py",
        (
            "if (\n"
            "        job.waiting is not None\n"
            "        and job.waiting.until_utc is not None\n"
            "        and step.tools.timer.now() < job.waiting.until_utc\n"
            "    ):"
        ),
        "if job.waiting is not None and job.waiting.until_utc is not None and False:",
        f"{_WORK}::test_a_stray_message_of_a_waiting_job_costs_nothing",
    ),
    Mutant(
        "all segments of a job are handed out at once",
        "core/services/attempts/turns.py",
        "await self._ports.jobs.hand_out(turn.id, attempt=turn.attempt, most=most)",
        "await self._ports.jobs.hand_out(turn.id, attempt=turn.attempt, most=10**6)",
        f"{_TURNS}::test_one_long_job_of_another_owner_delays_by_little",
    ),
    Mutant(
        "no job is parked",
        "core/services/attempts/turns.py",
        "        if ahead < await self._wide():\n",
        "        if True:\n",
        f"{_TURNS}::test_the_queues_never_hold_more_of_an_owner_than_the_width",
    ),
    Mutant(
        "a recount is never parked",
        "worker/processor.py",
        '        if message.step in ("plan", "assemble") and not',
        '        if message.step == "plan" and not',
        f"{_TURNS}::test_recounts_of_another_owner_delay_by_little",
    ),
    Mutant(
        "a job that ends lets no other begin",
        "core/services/attempts/turns.py",
        "        for turn in next_ones:\n",
        "        for turn in next_ones[:0]:\n",
        f"{_TURNS}::test_a_job_that_ends_lets_the_next_begin",
    ),
    Mutant(
        "a recount waits for recordings that are still detected",
        "core/services/attempts/turns.py",
        'turn.is_counting if job.state == "assembling" else turn.is_begun for',
        "turn.is_begun for",
        f"{_TURNS}::test_a_recount_waits_for_no_recording_that_is_still_detected",
    ),
    Mutant(
        "a job that is cancelled lets no other begin",
        "core/services/attempts/cancel.py",
        "            await Turns(ports, Dispatcher(ports), clock).try_to_go_on(job.owner)\n",
        "",
        f"{_TURNS}::test_a_job_that_ends_lets_the_next_begin",
    ),
    Mutant(
        "an owner who is alone keeps four workers busy at most",
        "core/services/attempts/turns.py",
        (
            "self._width = max(\n"
            "                LEAST_WIDTH, 2 * len(await self._ports.jobs.workers(since=now - _ALIVE))"
        ),
        (
            "self._width = min(\n"
            "                LEAST_WIDTH, 2 + len(await self._ports.jobs.workers(since=now - _ALIVE))"
        ),
        f"{_TURNS}::test_an_owner_who_is_alone_keeps_many_workers_busy",
    ),
    Mutant(
        "what a killed worker handed out waits for the sweeper",
        "worker/handlers/detect.py",
        "    if step.redelivered and segment.index in job.done_segments:\n",
        "    if False:\n",
        f"{_LOST_TURNS}::test_a_worker_killed_while_it_hands_out_loses_nothing",
    ),
    Mutant(
        "the sweeper does not look for parked jobs whose turn was lost",
        "core/services/housekeeping/sweep.py",
        "            if _has_no_message(job) and job.owner not in owners:\n",
        "            if False:\n",
        f"{_LOST_TURNS}::test_a_parked_job_whose_turn_was_lost_is_found_by_the_sweeper",
    ),
    Mutant(
        "a segment is handed out to two who ask at once (MongoDB)",
        "core/adapters/mongo/jobs.py",
        (
            "query = {\n"
            '                "_id": job_id,\n'
            '                "attempt": attempt,\n'
            '                "state": "detecting",\n'
            '                "sent_until": sent_until,\n'
            "            }"
        ),
        'query = {"_id": job_id, "attempt": attempt, "state": "detecting"}',
        f"{_TURN_STORE}::test_no_segment_is_handed_out_twice_however_many_ask_at_once",
    ),
    Mutant(
        "superseded results go under whoever is reading them",
        "core/services/housekeeping/orphans.py",
        " or is_fresh:",
        ":",
        f"{_SUPERSEDED}::test_superseded_results_stay_for_as_long_as_a_download_takes",
    ),
    Mutant(
        "results are superseded by ones that are gone",
        "core/services/housekeeping/orphans.py",
        "(published is not None and published.is_gone)",
        "False",
        f"{_SUPERSEDED}::test_results_are_not_superseded_by_ones_that_are_gone",
    ),
    Mutant(
        "a link without a size holds as much as a job may have",
        "core/services/access/quotas.py",
        "min(self._share(largest), left)",
        "min(largest, left)",
        "tests/unit/core/test_link_shares.py::test_a_link_without_a_size_holds_its_share",
    ),
    Mutant(
        "a refusal for held bytes names midnight",
        "core/services/access/rooms.py",
        "    first = min(until or midnight, midnight)\n",
        "    first = midnight\n",
        "tests/unit/core/test_link_shares.py::test_all_links_find_room_and_a_refusal_says_when_enough_is_free",
    ),
    Mutant(
        "after a clock step back workers are not counted for as long",
        "core/services/attempts/turns.py",
        "if abs(now - self._counted_at) >=",
        "if now - self._counted_at >=",
        "tests/unit/core/test_turns.py::test_the_width_is_counted_again_after_a_clock_step_back",
    ),
)
