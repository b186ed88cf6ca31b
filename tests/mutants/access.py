"""Mechanisms of access: what ends with a key or token, what callers are told, and what they may name."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ENDS = "tests/unit/test_credential_ends.py"

ACCESS = (
    Mutant(
        "a token's end is not remembered",
        "api/oidc.py",
        ', ends_at_utc=_moment(claims["exp"]))',
        ")",
        "tests/integration/test_oidc.py::test_a_web_socket_ends_with_its_token",
    ),
    Mutant(
        "a ticket does not remember the end of its source",
        "core/services/keys.py",
        "            ends_at_utc=caller.ends_at_utc,\n            expires_at_utc=min(",
        "            expires_at_utc=min(",
        f"{_ENDS}::test_a_ticket_remembers_the_end_of_what_it_was_made_with",
    ),
    Mutant(
        "a ticket outlives its source",
        "core/services/keys.py",
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
        "core/services/keys.py",
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
)
