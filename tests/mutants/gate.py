"""Mechanisms of the gate: what a stranger sends costs little and breaks nothing."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ABSURD = "tests/unit/api/test_absurd_requests.py"
_LINEAR = "tests/unit/test_linear.py"
_BUDGET = "tests/unit/test_telemetry_budget.py"

GATE = (
    Mutant(
        "the unit of a position's altitude is looked for twice in the same spaces",
        "core/telemetry/cue.py",
        '+ r"\\s*(?:([mM])\\s*)?)?\\)"',
        '+ r"\\s*([mM]?)\\s*)?\\)"',
        f"{_LINEAR}::test_a_pattern_takes_time_in_proportion",
    ),
    Mutant(
        "a number at the end of a name is looked for from each of its digits",
        "ml_engine/training/split.py",
        r"(?<!\d)\d+$",
        r"\d+$",
        f"{_LINEAR}::test_a_pattern_takes_time_in_proportion",
    ),
    Mutant(
        "reading telemetry has no budget",
        "core/telemetry/srt.py",
        "        if clock() - began_s > most_s:\n",
        "        if clock() < 0:\n",
        f"{_BUDGET}::test_reading_telemetry_has_a_budget",
    ),
    Mutant(
        "telemetry is read on for a caller that is gone",
        "core/services/submission/telemetry.py",
        "        unwanted.set()\n",
        "        pass\n",
        f"{_BUDGET}::test_the_api_stops_reading_for_a_caller_that_is_gone",
    ),
    Mutant(
        "what an array claims is not checked before room is made for it",
        "core/geometry/calibration.py",
        (
            "if (\n"
            "        kind.hasobject\n"
            "        or math.prod(shape) * kind.itemsize > NPZ_LIMIT_BYTES\n"
            "        or len(shape) != 2\n"
            "        or shape[1] != 2\n"
            "    ):"
        ),
        "if False:",
        f"{_ABSURD}::test_what_an_array_claims_is_checked_before_room_is_made",
    ),
    Mutant(
        "a date may lead out of the calendar",
        "core/domain/clock.py",
        "    except OverflowError as error:\n",
        "    except ZeroDivisionError as error:\n",
        f"{_ABSURD}::test_a_date_out_of_the_calendar_is_refused",
    ),
    Mutant(
        "digits of a range are read however many they are",
        "api/blob_answers.py",
        "    return int(digits) if len(digits) <= 18 else 10**18\n",
        "    return int(digits)\n",
        f"{_ABSURD}::test_a_range_of_absurd_numbers",
    ),
    Mutant(
        "an unexpected error is answered outside of the layer of headers",
        "api/app.py",
        "    Faults,\n",
        "",
        f"{_ABSURD}::test_an_unexpected_error_has_the_headers_of_every_answer",
    ),
    Mutant(
        "the storage's client unpacks what it reads",
        "core/adapters/azure/transfer.py",
        ", decompress=False",
        "",
        "tests/contract/test_azure_blob_store.py::test_a_blob_is_read_as_it_is_stored_whatever_encoding_it_was_given",
    ),
    Mutant(
        "the logs of make run are not rotated",
        "infra/local_stack.py",
        "            part.rotate_log()\n",
        "            pass\n",
        "tests/unit/infra/test_processes.py::test_all_parts_of_make_run_have_their_logs_rotated",
    ),
    Mutant(
        "what a terminal obeys stands in the logs as it is",
        "core/observability/logs.py",
        (
            "return _UNSEEN.sub(\n"
            "            _numbered, self._redact(json.dumps(line, default=str, ensure_ascii=False))\n"
            "        )"
        ),
        "return self._redact(json.dumps(line, default=str, ensure_ascii=False))",
        "tests/unit/core/test_logs.py::test_what_terminals_obey_and_nobody_sees_is_written_as_its_number",
    ),
    Mutant(
        "names of cameras, lines and zones are kept as they are typed",
        "core/domain/names.py",
        "    return cleaned(value) if info.context == TYPED else value\n",
        "    return value\n",
        "tests/unit/core/test_names.py::test_a_name_is_kept_as_it_looks",
    ),
    Mutant(
        "a camera is asked for as it is typed",
        "api/parameters.py",
        "str | None, CLEANED, Query(max_length=80,",
        "str | None, Query(max_length=80,",
        "tests/unit/core/test_names.py::test_a_camera_is_found_however_its_name_is_typed",
    ),
    Mutant(
        "every probe asks storage and database",
        "api/readiness.py",
        "            if self._monotonic() - self._found_s >= FRESH_S:\n",
        "            if True:\n",
        "tests/unit/api/test_api_health.py::test_parts_are_asked_once_a_second_however_many_probes_come",
    ),
    Mutant(
        "a job that begins again asks for no quota",
        "core/services/attempts/start.py",
        "nullcontext() if quotas is None else quotas.attempting(job.owner)",
        "nullcontext()",
        "tests/unit/api/test_access_limits.py::test_jobs_that_begin_again_are_counted_like_new_ones",
    ),
    Mutant(
        "jobs that begin again at once are not let in one after the other",
        "core/services/access/quotas.py",
        "        async with self._admitting.setdefault(owner, asyncio.Lock()):\n"
        "            await self.check_jobs(owner)\n            yield\n",
        "        await self.check_jobs(owner)\n        await asyncio.sleep(0)\n        yield\n",
        "tests/unit/api/test_access_limits.py::test_jobs_that_begin_again_are_counted_like_new_ones",
    ),
    Mutant(
        "a server's files can be read by others",
        "api/main.py",
        "keep_files_private()\napp",
        "app",
        "tests/unit/test_private_files.py::test_a_server_begins_with_it",
    ),
    Mutant(
        "the worker's files can be read by others",
        "worker/main.py",
        "    keep_files_private()\n",
        "",
        "tests/unit/test_private_files.py::test_every_command_begins_with_it",
    ),
    Mutant(
        "what Azurite writes can be read by others",
        "infra/processes.py",
        "                umask=UMASK,\n",
        "",
        "tests/unit/test_private_files.py::test_children_of_make_run_write_private_files",
    ),
    Mutant(
        "a data folder of before stays open to others",
        "infra/local_stack.py",
        "            self._close_to_others()\n",
        "            self.run_dir.mkdir()\n",
        "tests/unit/test_private_files.py::test_a_data_folder_of_before_is_closed_and_its_neighbours_are_left",
    ),
)
