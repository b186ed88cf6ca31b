"""Mechanisms that confine the process that decodes a stranger's video."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FILTER = "tests/unit/ml_engine/test_confinement.py"
_WITHOUT = "tests/unit/ml_engine/test_unconfined_decoding.py"
_ATTACKS = f"{_FILTER}::test_attacks_are_refused_and_harm_nothing"

CONFINEMENT = (
    Mutant(
        "decoding has no limit of memory",
        "ml_engine/video/sandbox/confinement.py",
        'limits.append(("memory", resource.RLIMIT_AS, in_use + allowance.memory_bytes))',
        "pass",
        "tests/unit/ml_engine/test_decoding.py",
    ),
    Mutant(
        "decoding may do whatever its user may",
        "ml_engine/video/sandbox/confinement.py",
        "    if not _filter_calls():\n        missing.append(FILTER)\n",
        "",
        "tests/unit/ml_engine/test_decoding.py",
    ),
    Mutant(
        "calls that are not listed pass",
        "ml_engine/video/sandbox/confinement.py",
        "    return [*steps, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]\n",
        "    return [*steps, (_RETURN, 0, 0, _ALLOW)]\n",
        _ATTACKS,
    ),
    Mutant(
        "calls that are newer than the list pass",
        "ml_engine/video/sandbox/confinement.py",
        "(_AT_LEAST, 0, 1, FIRST_NEWER), (_RETURN, 0, 0, absent)",
        "(_AT_LEAST, 0, 1, FIRST_NEWER), (_RETURN, 0, 0, _ALLOW)",
        _ATTACKS,
    ),
    Mutant(
        "commands of fcntl are not looked at",
        "ml_engine/video/sandbox/system_calls.py",
        "Rule(1, values=(1, 2, 3, 1030))",
        "None",
        _ATTACKS,
    ),
    Mutant(
        "memory may become executable",
        "ml_engine/video/sandbox/system_calls.py",
        '"memory; no executable memory", Rule(2, without=_EXECUTABLE)',
        '"memory; no executable memory"',
        _ATTACKS,
    ),
    Mutant(
        "a decoder may start processes",
        "ml_engine/video/sandbox/confinement.py",
        "        steps += [(_ANY_BIT, 1, 0, rule.needed), refuse]\n",
        "        pass\n",
        f"{_FILTER}::test_arguments_decide_where_they_matter",
    ),
    Mutant(
        "a decoder may make namespaces",
        "ml_engine/video/sandbox/confinement.py",
        "        steps += [(_ANY_BIT, 0, 1, rule.without), refuse]\n",
        "        pass\n",
        f"{_FILTER}::test_arguments_decide_where_they_matter",
    ),
    Mutant(
        "a decoder may send signals to others",
        "ml_engine/video/sandbox/confinement.py",
        "    values = (process,) if rule.own_process else rule.values\n",
        "    values = rule.values\n",
        f"{_FILTER}::test_arguments_decide_where_they_matter",
    ),
    Mutant(
        "the second numbering of x86-64 passes",
        "ml_engine/video/sandbox/confinement.py",
        "        (_AT_LEAST, 0, 1, _X32_BIT),\n        (_RETURN, 0, 0, _KILL),\n",
        "",
        f"{_FILTER}::test_the_second_numbering_of_x86_64_ends_the_process",
    ),
    Mutant(
        "decoding goes on where there is no filter",
        "ml_engine/video/sandbox/decoder.py",
        "        if not self.limits.allow_unconfined:\n",
        "        if False:\n",
        f"{_WITHOUT}::test_where_calls_cannot_be_filtered_it_decodes_nothing",
    ),
    Mutant(
        "an unconfined process looks at the file before it is told not to",
        "ml_engine/video/sandbox/child.py",
        '    if FILTER in missing and not request["allow_unconfined"]:\n        return 0\n',
        "",
        f"{_WITHOUT}::test_an_unconfined_process_does_not_look_at_the_file",
    ),
    Mutant(
        "a file that has taken a decoder over can keep its job waiting for ever",
        "ml_engine/video/sandbox/process.py",
        "if kind == READY and not self._ready:",
        "if kind == READY:",
        "tests/unit/ml_engine/test_decoder_ends.py::test_a_decoder_that_a_file_has_taken_over_cannot_claim_to_be_unconfined",
    ),
    Mutant(
        "a machine that cannot confine fails jobs",
        "worker/processor.py",
        "        except (Unavailable, Unconfined) as error:\n",
        "        except Unavailable as error:\n",
        "tests/unit/worker/test_worker_unconfined.py::test_no_job_fails_and_another_worker_does_it",
    ),
    Mutant(
        "unconfined decoding is not reported",
        "worker/self_report.py",
        (
            "problems: list[WorkerProblem] = [\n"
            "            *self._tools.full_disk.problems(self._tools.timer.now()),\n"
            "            *self._tools.engine.decoding_problems(),\n"
            "        ]"
        ),
        "problems: list[WorkerProblem] = [*self._tools.full_disk.problems(self._tools.timer.now())]",
        "tests/unit/worker/test_worker_unconfined.py::test_a_worker_reports_what_is_wrong_with_decoding",
    ),
)
