"""Mechanisms of access: what ends with a key or token, what callers are told, and what they may
name.
"""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FAIR_HOOKS = "tests/unit/core/test_webhook_fairness.py"
_ADDRESSES = "tests/integration/test_promise_webhook_addresses.py"
_ENDS = "tests/unit/api/test_credential_ends.py"

ACCESS = (
    Mutant(
        "a token's end is not remembered",
        "api/oidc.py",
        (
            "return Caller(\n"
            "            owner=owner,\n"
            "            scopes=allowed,\n"
            '            credential=f"token:{counted}",\n'
            '            ends_at_utc=_moment(claims["exp"]),\n'
            "        )"
        ),
        'return Caller(owner=owner, scopes=allowed, credential=f"token:{counted}")',
        "tests/integration/test_oidc.py::test_a_web_socket_ends_with_its_token",
    ),
    Mutant(
        "a ticket does not remember the end of its source",
        "core/services/access/keys.py",
        "            ends_at_utc=caller.ends_at_utc,\n            expires_at_utc=min(",
        "            expires_at_utc=min(",
        f"{_ENDS}::test_a_ticket_remembers_the_end_of_what_it_was_made_with",
    ),
    Mutant(
        "a ticket outlives its source",
        "core/services/access/keys.py",
        "min(now + TICKET_LIFE, caller.ends_at_utc or now + TICKET_LIFE)",
        "now + TICKET_LIFE",
        f"{_ENDS}::test_no_ticket_outlives_what_it_was_made_with",
    ),
    Mutant(
        "an open WebSocket is looked at by its beat alone",
        "api/routes/events.py",
        "await sleep(max(0.0, min(BEAT_S, left_s)))",
        "await sleep(BEAT_S)",
        f"{_ENDS}::test_a_web_socket_ends_at_the_moment_at_which_its_token_does",
    ),
    Mutant(
        "an open WebSocket's key is not looked up again",
        "core/services/access/keys.py",
        "        self.check_end(caller)\n        await self.check_revoked(caller)\n",
        "        self.check_end(caller)\n",
        f"{_ENDS}::test_a_web_socket_ends_within_a_beat_of_the_revocation_of_its_key",
    ),
    Mutant(
        "a token that has ended opens a WebSocket",
        "api/routes/events.py",
        "        services.keys.check_end(caller)\n",
        "        pass\n",
        f"{_ENDS}::test_a_token_that_is_taken_a_moment_after_its_end_opens_no_web_socket",
    ),
    Mutant(
        "an answer under way goes on without its key",
        "api/revocation.py",
        "await keys.check_revoked(caller)",
        "pass",
        f"{_ENDS}::test_an_answer_under_way_is_cut_when_its_key_is_revoked_and_not_when_it_expires",
    ),
    Mutant(
        "an upload whose key was revoked makes a job",
        "api/intake.py",
        "        await services.keys.check_revoked(caller)\n",
        "",
        f"{_ENDS}::test_an_upload_whose_key_is_revoked_meanwhile_makes_no_job",
    ),
    Mutant(
        "a submission may name a private address",
        "core/services/webhooks.py",
        "if is_local if literal is None else not is_public(literal):",
        "if is_local and literal is None:",
        "tests/unit/core/test_webhook.py::test_a_private_network_is_refused_when_it_is_named",
    ),
    Mutant(
        "a submission may name this machine",
        "core/services/webhooks.py",
        "if is_local if literal is None else not is_public(literal):",
        "if literal is not None and not is_public(literal):",
        "tests/unit/core/test_webhook.py::test_a_private_network_is_refused_when_it_is_named",
    ),
    Mutant(
        "a name may stand in brackets",
        "core/domain/webhook.py",
        (
            "if (\n"
            "        port == 0\n"
            "        or not parts.hostname\n"
            "        or not is_host(parts.hostname)\n"
            '        or in_brackets != (":" in parts.hostname)\n'
            "    ):"
        ),
        "if port == 0 or not parts.hostname or not is_host(parts.hostname):",
        "tests/unit/core/test_webhook.py::test_what_only_some_programs_take_for_an_address_is_no_host",
    ),
    Mutant(
        "a submitter is told which names a private network has",
        "api/webhook_views.py",
        "NOT_REACHED if event.last_error in UNREACHED else event.last_error",
        "event.last_error",
        "tests/unit/core/test_webhook_service.py::test_a_submitter_is_told_the_same_of_every_address_that_was_not_reached",
    ),
    Mutant(
        "a name of a private network is given up at once",
        "core/adapters/http/webhook.py",
        'return WebhookAnswer(None, "address_not_public")',
        'return WebhookAnswer(None, "address_not_public", is_final=True)',
        f"{_ADDRESSES}::test_a_name_with_any_address_that_is_not_public_is_refused",
    ),
    Mutant(
        "a try that reached nothing ends as soon as it failed",
        "core/adapters/http/webhook.py",
        "            await self._sleep(max(0.0, began_s + timeout_s - self._monotonic()))\n",
        "            pass\n",
        f"{_ADDRESSES}::test_how_long_a_try_takes_tells_nothing_of_names_and_ports_that_were_not_reached",
    ),
    Mutant(
        "a try without a connection is called slow",
        "core/adapters/http/webhook.py",
        '"timeout" if connected.is_set() else "no_connection"',
        '"timeout"',
        f"{_ADDRESSES}::test_time_is_limited_from_the_name_to_the_end_of_the_answer",
    ),
    Mutant(
        "one owner's receivers that hang hold every place",
        "worker/deliveries.py",
        "OWNER_AT_ONCE = 2\n",
        "OWNER_AT_ONCE = 8\n",
        f"{_FAIR_HOOKS}::test_one_owner_has_two_deliveries_at_once_and_another_owner_finds_a_place",
    ),
    Mutant(
        "a message that finds no place comes again as soon each time",
        "worker/deliveries.py",
        "BUSY_S * 2.0 ** min(max(lease.delivery_count - 1, 0), 30)",
        "BUSY_S",
        f"{_FAIR_HOOKS}::test_receivers_that_hang_delay_no_other_owner_and_messages_do_not_multiply",
    ),
    Mutant(
        "the sweeper is not told that a message waits for a place",
        "worker/deliveries.py",
        "                await self._webhooks.postpone(event, timedelta(seconds=delay_s))\n",
        "                pass\n",
        f"{_FAIR_HOOKS}::test_receivers_that_hang_delay_no_other_owner_and_messages_do_not_multiply",
    ),
    Mutant(
        "messages that the sweeper has replaced live on",
        "core/services/webhooks.py",
        (
            "if (\n"
            "            event is None\n"
            "            or not event.is_open\n"
            "            or event.body is None\n"
            "            or (message.nudge or 0) < event.nudges\n"
            "        ):"
        ),
        "if event is None or not event.is_open or event.body is None or False:",
        f"{_FAIR_HOOKS}::test_a_message_that_the_sweeper_has_replaced_is_dropped",
    ),
    Mutant(
        "listings carry whole settings",
        "api/views.py",
        "JobSummary(settings=listed_settings(job.settings), ",
        "JobSummary.model_construct(settings=job.settings, ",
        "tests/unit/core/test_listed_settings.py",
    ),
    Mutant(
        "status events carry whole settings",
        "api/routes/events.py",
        "from api.views import job_summary\n",
        "from api.views import job_view as job_summary\n",
        "tests/unit/core/test_listed_settings.py",
    ),
    Mutant(
        "every reader sees the figures of all owners' work",
        "api/access.py",
        "if path in (KEYS_PATH, _FIGURES_PATH) or",
        "if path == KEYS_PATH or",
        "tests/unit/core/test_metrics.py::test_the_apis_figures_need_the_scope_admin_or_the_machines_own_user",
    ),
    Mutant(
        "a worker shows its figures under any name",
        "worker/metrics_server.py",
        "_for_this_machine(app) if _is_loopback(str(server.server_address[0])) else app",
        "app",
        "tests/unit/core/test_metrics.py::test_a_worker_on_loopback_answers_under_loopbacks_names_alone",
    ),
    Mutant(
        "what only looks like a token's owner is given to keys",
        "core/services/access/keys.py",
        "if access.resembles_token_owner(owner):",
        "if access.is_token_owner(owner):",
        "tests/unit/api/test_token_owners.py::test_no_key_is_made_for_a_tokens_owner_nor_for_what_looks_like_one",
    ),
    Mutant(
        "a key of before opens a token's jobs",
        "core/services/access/keys.py",
        "if access.is_token_owner(key.owner):",
        "if False:",
        "tests/unit/api/test_token_owners.py::test_a_key_of_before_with_such_an_owner_opens_nothing_and_the_log_says_which",
    ),
    Mutant(
        "a limit of what is typed holds for what is stored",
        "core/domain/names.py",
        "if info.context == TYPED and not least <= value <= most:",
        "if not least <= value <= most:",
        "tests/contract/test_job_store.py::test_a_record_of_before_a_limit_is_read_listed_and_changed_as_it_is",
    ),
    Mutant(
        "looking at the storage makes what is missing",
        "core/services/housekeeping/storage_takeover.py",
        "        await place.connect()\n",
        "        await place.open()\n",
        "tests/integration/test_storage_commands.py::test_show_says_what_belongs_together_and_changes_nothing",
    ),
    Mutant(
        "a body may have a length beside a coding, or several codings",
        "api/framing.py",
        '    return len(lengths) > 1 or (bool(codings) and (codings != ["chunked"] or bool(lengths)))\n',
        "    return False and bool(lengths)\n",
        "tests/integration/test_promise_attacks.py::"
        "test_a_request_with_two_possible_ends_is_refused_and_the_rest_is_not_read",
    ),
    Mutant(
        "what an archive unpacks to is not added up",
        "core/geometry/calibration.py",
        "            if sum(item.file_size for item in archive.zip.infolist()) > NPZ_LIMIT_BYTES:\n",
        "            if False:\n",
        "tests/unit/core/test_archive_bombs.py",
    ),
    Mutant(
        "a message may name any job id",
        "core/domain/message.py",
        'job_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")',
        "job_id: str",
        "tests/unit/worker/test_forged_messages.py::test_what_is_no_message_is_set_aside_and_changes_nothing",
    ),
)
