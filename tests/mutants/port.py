"""Mechanisms of the port: what is taken out lets a client without a key hold it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PORT = "tests/unit/api/test_port.py"
_READERS = "tests/unit/api/test_port_readers.py"
_SERVER = "tests/unit/api/test_port_server.py"
_BODIES = "tests/unit/api/test_port_bodies.py"
_KEYS = "tests/unit/core/test_wrong_keys.py"
_PROMISE = "tests/integration/test_promise_port.py"

PORT = (
    Mutant(
        "the port is not guarded",
        "api/port/listening.py",
        "        return await opener(guarded, *args, **kwargs)\n",
        "        return await opener(factory, *args, **kwargs)\n",
        f"{_PROMISE}::test_everybody_gets_in_while_an_attacker_holds_what_he_can",
    ),
    Mutant(
        "headers have no time",
        "api/port/guard.py",
        "now_s - self._waits_since_s > self._limits.head_s",
        "now_s < self._waits_since_s",
        f"{_PORT}::test_headers_have_a_time_that_no_byte_prolongs",
    ),
    Mutant(
        "each byte of a header prolongs its time",
        "api/port/guard.py",
        "        if self._waits_since_s is None:\n            self._waits_since_s = self._now()\n        end =",
        "        self._waits_since_s = self._now()\n        end =",
        f"{_PORT}::test_headers_have_a_time_that_no_byte_prolongs",
    ),
    Mutant(
        "headers have no size",
        "api/port/guard.py",
        "if len(self._head) > self._limits.head_bytes or self._head.lines > MOST_HEADERS:",
        "if self._head.lines > MOST_HEADERS:",
        f"{_PORT}::test_headers_have_a_size",
    ),
    Mutant(
        "headers may be any number",
        "api/port/guard.py",
        "if len(self._head) > self._limits.head_bytes or self._head.lines > MOST_HEADERS:",
        "if len(self._head) > self._limits.head_bytes:",
        f"{_PROMISE}::test_what_stands_is_answered_and_leaves_nothing",
    ),
    Mutant(
        "requests that are sent ahead are parsed at once",
        "api/port/guard.py",
        "                self._hold(data)\n                return\n            elif self.phase is Phase.TUNNEL",
        "                self.inner.data_received(data)\n                return\n            elif self.phase is Phase.TUNNEL",
        f"{_PORT}::test_requests_that_are_sent_ahead_wait_outside_the_parser",
    ),
    Mutant(
        "chunks may bring no body",
        "api/port/guard.py",
        '            self._limits.note("chunks_without_body", self.address)\n            self._transport.abort()\n            return b""\n',
        "            pass\n",
        f"{_PORT}::test_chunks_that_bring_no_body_end",
    ),
    Mutant(
        "requests may hide behind chunks",
        "api/port/guard.py",
        "        if self._requests > self._heads:\n",
        "        if self._requests < 0:\n",
        f"{_PORT}::test_requests_hidden_behind_chunks_end_the_connection",
    ),
    Mutant(
        "an answer before the end of the body may get lost",
        "api/port/guard.py",
        "            self._linger(self._limits.linger_s)\n",
        "            self._transport.close()\n",
        f"{_PORT}::test_an_answer_before_the_end_of_the_body_can_be_read",
    ),
    Mutant(
        "a connection lingers for ever",
        "api/port/guard.py",
        "        self._ends_at_s = self._now() + at_most_s\n",
        "        self._ends_at_s = None\n",
        f"{_PORT}::test_an_answer_before_the_end_of_the_body_can_be_read",
    ),
    Mutant(
        "an answer may never be read",
        "api/port/readers.py",
        "return self._was_slow or now_s - self._moved_s > self._idle_s\n",
        "return self._was_slow\n",
        f"{_READERS}::test_a_reader_has_a_least_rate_and_a_known_one_may_stand",
    ),
    Mutant(
        "an answer may be read a byte at a time",
        "api/port/readers.py",
        (
            "read_bytes - self._at_start\n"
            "                < self._least_bytes * (now_s - self._since_s) / self._window_s"
        ),
        "read_bytes < 0 * self._least_bytes * (now_s - self._since_s) / self._window_s",
        f"{_READERS}::test_a_reader_has_a_least_rate_and_a_known_one_may_stand",
    ),
    Mutant(
        "a player that is paused is cut off",
        "api/port/readers.py",
        "return is_lost if is_known else is_behind\n",
        "return is_behind\n",
        f"{_READERS}::test_a_reader_has_a_least_rate_and_a_known_one_may_stand",
    ),
    Mutant(
        "the end of an answer counts as a stranger's",
        "api/port/guard.py",
        "        self._was_known = self._is_known\n",
        "",
        f"{_READERS}::test_the_answer_of_a_known_caller_is_his_when_all_of_it_is_written",
    ),
    Mutant(
        "readers that stand keep newcomers out",
        "api/port/places.py",
        "    min(standing, key=lambda holder: holder.stands_since_s).shed()\n    return True\n",
        "    return False\n",
        f"{_READERS}::test_where_places_are_scarce_the_reader_that_stood_longest_goes_first",
    ),
    Mutant(
        "any reader that stands goes, not the one that has for the longest time",
        "api/port/places.py",
        "    min(standing, key=lambda",
        "    max(standing, key=lambda",
        f"{_READERS}::test_where_places_are_scarce_the_reader_that_stood_longest_goes_first",
    ),
    Mutant(
        "connections over the limit are turned away, whoever stands",
        "api/port/places.py",
        "        if worth == Worth.NOTHING:\n",
        "        if worth < Worth.NOTHING:\n",
        f"{_PORT}::test_a_connection_over_the_limit_takes_the_place_of_one_that_stands",
    ),
    Mutant(
        "a request that is worked on gives way to a new connection",
        "api/port/guard.py",
        "        if self._active:\n            # Without",
        "        if False:\n            # Without",
        f"{_PORT}::test_a_connection_over_the_limit_takes_the_place_of_one_that_stands",
    ),
    Mutant(
        "a request that is being refused keeps its place",
        "api/port/places.py",
        "        if worth == Worth.REQUEST and chosen is None:\n",
        "        if worth < Worth.NOTHING and chosen is None:\n",
        f"{_PORT}::test_a_request_without_a_caller_gives_way_after_those_that_stand",
    ),
    Mutant(
        "a client that has gone gives its request's place to another one",
        "api/port/guard.py",
        "        if not self._active and self._heads == self._begun:\n",
        "        if True:\n",
        f"{_PORT}::test_a_request_keeps_its_place_when_its_client_has_gone",
    ),
    Mutant(
        "a client that leaves during its handshake fills the log",
        "api/port/guard.py",
        "            if self._lost_at_s is None:\n                raise\n",
        "            raise\n",
        f"{_PORT}::test_a_client_that_leaves_during_its_handshake_is_no_fault",
    ),
    Mutant(
        "a client that leaves before its job is found fills the log",
        "api/routes/events.py",
        "        with suppress(WebSocketDisconnect):",
        "        with suppress(ZeroDivisionError):",
        "tests/unit/api/test_api_events.py::test_a_client_that_has_left_is_told_no_end",
    ),
    Mutant(
        "all together may have any number of connections",
        "api/port/places.py",
        "        elif self._count >= self._total:\n",
        "        elif self._count < 0:\n",
        f"{_PORT}::test_all_together_are_limited_and_the_address_with_the_most_pays",
    ),
    Mutant(
        "spare places have no end",
        "api/port/places.py",
        "        if not freed and over >= SPARE:\n",
        "        if not freed and over < 0:\n",
        f"{_PORT}::test_spare_places_end_too",
    ),
    Mutant(
        "a WebSocket may send what it likes",
        "api/port/guard.py",
        "        if not self._tunnelled.allows(len(data), self._now()):\n",
        "        if False:\n",
        f"{_PORT}::test_a_websocket_may_send_little",
    ),
    Mutant(
        "each connection that is ended has a line in the log",
        "api/port/limits.py",
        "        if now_s - told_s >= TOLD_EVERY_S:\n",
        "        if now_s >= told_s:\n",
        f"{_SERVER}::test_the_log_tells_of_an_attack_now_and_then",
    ),
    Mutant(
        "the process keeps the descriptors that it was given",
        "api/port/limits.py",
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))\n",
        "    pass\n",
        f"{_SERVER}::test_the_process_may_open_what_the_system_allows",
    ),
    Mutant(
        "an IPv6 subscriber has as many addresses as it likes",
        "core/addresses.py",
        "            return str(IPv6Network((address, 64), strict=False))\n",
        "            return str(address)\n",
        f"{_SERVER}::test_an_ipv6_subscriber_is_one_client",
    ),
    Mutant(
        "a body may stand",
        "api/pace.py",
        "        if self._is_cut_off or waited_s >= self._paces.idle_s:\n",
        "        if self._is_cut_off or waited_s >= 10**9:\n",
        f"{_BODIES}::test_a_body_that_stands_is_given_up",
    ),
    Mutant(
        "a body may trickle",
        "api/pace.py",
        "        if self._window_bytes < self._paces.least_bytes:\n",
        "        if self._window_bytes < 0:\n",
        f"{_BODIES}::test_a_body_has_a_least_rate",
    ),
    Mutant(
        "a body that stands keeps its place",
        "core/services/access/open_bodies.py",
        "        self.leave(longest)\n        longest.cut_off()\n",
        "        raise Throttled('x', code='too_many_open_submissions', retry_after_s=1)\n",
        f"{_BODIES}::test_a_body_that_moves_keeps_its_place_and_one_that_stands_loses_it",
    ),
    Mutant(
        "a body that moves loses its place",
        "core/services/access/open_bodies.py",
        (
            "standing = [\n"
            "            body\n"
            "            for body in self._open[name]\n"
            "            if body.waits_since_s is not None and body.waits_since_s <= before_s\n"
            "        ]"
        ),
        "standing = [body for body in self._open[name] if body.waits_since_s is not None]",
        f"{_BODIES}::test_a_body_that_moves_keeps_its_place_and_one_that_stands_loses_it",
    ),
    Mutant(
        "a body that has ended keeps its place",
        "api/middleware.py",
        "            body.leave()\n",
        "            pass\n",
        f"{_BODIES}::test_a_slow_body_is_408_whatever_reads_it",
    ),
    Mutant(
        "wrong keys are not counted",
        "api/access.py",
        "            self._wrong_keys.take(address)\n",
        "            pass\n",
        f"{_KEYS}::test_wrong_keys_are_refused_before_the_store_is_asked",
    ),
    Mutant(
        "a right key is refused with the wrong ones",
        "api/access.py",
        "            self._wrong_keys.remember(digest)\n",
        "            pass\n",
        f"{_KEYS}::test_a_right_key_passes_from_an_address_that_tries_wrong_ones",
    ),
    Mutant(
        "right keys count as wrong ones",
        "api/access.py",
        "        if not recognised:\n            self._wrong_keys.give_back(address)\n        if caller.job_id",
        "        if caller.job_id",
        f"{_KEYS}::test_right_keys_are_not_counted",
    ),
    Mutant(
        "a revoked key may be tried without end",
        "api/access.py",
        "            self._wrong_keys.forget(digest)\n            raise\n",
        "            raise\n",
        f"{_KEYS}::test_a_revoked_key_is_as_wrong_as_any",
    ),
    Mutant(
        "the addresses of wrong keys fill the memory",
        "core/services/access/wrong_keys.py",
        "            if len(self._buckets) > _ADDRESSES:\n                self._buckets.popitem(last=False)\n",
        "",
        f"{_KEYS}::test_neither_table_grows_without_end",
    ),
    Mutant(
        "telemetry that arrives slowly stays in memory",
        "core/services/submission/telemetry.py",
        "SpooledTemporaryFile(max_size=_SPOOLED_BYTES)",
        "SpooledTemporaryFile(max_size=2**30)",
        "tests/unit/api/test_api_telemetry.py::test_a_file_that_arrives_slowly_takes_little_memory",
    ),
)
