"""Mechanisms that keep the storage's key and other secrets from those who do not need them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_JS = "infra/azurite/account.js"
_MOVE = "tests/integration/test_promise_storage_account_move.py"
_ATTACK = "tests/integration/test_promise_own_storage_account.py"
_CONFIG = "tests/unit/core/test_config.py"
_FORMS = f"{_CONFIG}::test_the_published_key_is_refused_in_every_form"
_ENVIRONMENTS = "tests/unit/infra/test_environments.py"

ACCOUNT = (
    Mutant(
        "Azurite runs with the published account",
        "infra/azurite/start.js",
        "  process.env.AZURITE_ACCOUNTS = `${name}:${key}`;\n",
        "",
        f"{_ATTACK}::test_promise_nothing_is_read_or_changed_without_the_own_key",
    ),
    Mutant(
        "a host name chooses Azurite's account",
        "infra/azurite/start.js",
        '"--skipApiVersionCheck", "--disableProductStyleUrl"',
        '"--skipApiVersionCheck"',
        f"{_ATTACK}::test_promise_a_host_name_chooses_no_account",
    ),
    Mutant(
        "records of the published account are rewritten in place",
        _JS,
        "  const beside = `${file}.new`;\n",
        "  const beside = file;\n",
        f"{_MOVE}::test_promise_a_move_that_is_killed_at_any_moment_is_completed",
    ),
    Mutant(
        "records move before the account is on the disk",
        _JS,
        "  const account = read(location) ?? make(location);\n",
        '  const account = read(location) ?? { name: `muster${crypto.randomBytes(9).toString("hex")}` };\n',
        f"{_MOVE}::test_promise_a_move_that_is_killed_at_any_moment_is_completed",
    ),
    Mutant(
        "a record that both accounts have is there twice",
        _JS,
        "if (taken.size > 0 && taken.has(identity(record))) {",
        "if (taken.size < 0) {",
        f"{_MOVE}::test_what_exists_under_both_accounts_stays_and_is_said",
    ),
    Mutant(
        "the index of account names is left in its old order",
        _JS,
        "    sortIndex(collection);\n",
        "",
        f"{_MOVE}::test_records_are_found_whatever_other_accounts_there_are",
    ),
    Mutant(
        "a lost account file costs the data",
        _JS,
        "nameOfData(location) ?? `muster",
        "`muster",
        f"{_MOVE}::test_a_lost_account_file_costs_the_key_and_not_the_data",
    ),
    Mutant(
        "the published account is taken as the data folder's own",
        _JS,
        " || match[1] === PUBLISHED",
        "",
        f"{_MOVE}::test_an_account_file_that_holds_no_account_stops_the_start_and_changes_nothing",
    ),
    Mutant(
        "an account file is readable by others",
        _JS,
        "  fs.chmodSync(file, 0o600);\n",
        "",
        f"{_MOVE}::test_an_account_file_that_others_can_read_is_closed",
    ),
    Mutant(
        "the published key is taken",
        "core/config/storage.py",
        "    if uses_published_key(connection) and not allow_published:\n",
        "    if False:\n",
        _FORMS,
    ),
    Mutant(
        "the published key is not recognised without its padding",
        "core/config/storage.py",
        'for padding in ("", "=", "=="):',
        'for padding in ("",):',
        _FORMS,
    ),
    Mutant(
        "a signature by the published key is taken",
        "core/config/storage.py",
        "    return any(_account_in(name, value) == _PUBLISHED_ACCOUNT for name, value in parts)\n",
        "    return False\n",
        _FORMS,
    ),
    Mutant(
        "the API starts without a storage",
        "api/main.py",
        "    config.storage.require()\n",
        "",
        f"{_CONFIG}::test_the_api_does_not_start_without_a_storage_of_its_own",
    ),
    Mutant(
        "a worker starts without a storage",
        "worker/main.py",
        "        config.storage.require()\n",
        "",
        f"{_CONFIG}::test_workers_and_their_commands_begin_with_a_storage",
    ),
    Mutant(
        "health does not say that the published key is allowed",
        "api/routes/health.py",
        "    if services.published_storage_key:\n",
        "    if False:\n",
        "tests/unit/api/test_api_health.py::test_a_published_key_that_the_operator_allows_is_told_and_degrades_nothing",
    ),
    Mutant(
        "Azurite inherits the whole environment",
        "infra/azurite_server.py",
        "env=environments.of_azurite())",
        "env={**os.environ})",
        "tests/integration/test_own_storage_stack.py::test_parts_of_make_run_inherit_no_secret_and_use_the_own_account",
    ),
    Mutant(
        "npm inherits everything that Muster is set to",
        "infra/environments.py",
        "    return inherited({**_ANY, **_NETWORK, **_NPM})\n",
        "    return of_api()\n",
        f"{_ENVIRONMENTS}::test_each_program_inherits_its_list",
    ),
    Mutant(
        "a search path keeps parts that mean the current folder",
        "core/child_environment.py",
        " if os.path.isabs(part))",
        " if part)",
        f"{_ENVIRONMENTS}::test_a_search_path_has_no_part_that_depends_on_the_current_folder",
    ),
    Mutant(
        "a child without a list inherits everything",
        "infra/processes.py",
        "        self._env = env or {}\n",
        "        self._env = env\n",
        f"{_ENVIRONMENTS}::test_a_child_without_a_list_inherits_nothing_and_no_descriptor",
    ),
    Mutant(
        "the decoder inherits the environment",
        "ml_engine/video/sandbox/process.py",
        "inherited(_INHERITED) |",
        "dict(os.environ) |",
        f"{_ENVIRONMENTS}::test_the_decoder_inherits_where_shared_libraries_are",
    ),
)
