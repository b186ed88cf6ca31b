"""Configuration: the names that users of the replaced systems have in their `.env`, and what is
refused.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from api import keys_command as keys
from core.config.processes import ApiConfig, KeysConfig, WorkerConfig, all_variables
from core.config.storage import StorageSection
from core.config.webhooks import WebhookSection
from core.errors import InvalidConfiguration, InvalidInput
from core.observability.redaction import secrets_of
from tests.unit.test_structure import REPOSITORY
from worker import main as worker_main
from worker import storage, sweep

OWN = f"DefaultEndpointsProtocol=http;AccountName=ranch;AccountKey={'a' * 86}==;BlobEndpoint=http://127.0.0.1:10000/ranch;"
PUBLISHED = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

OLD_ENV = """
AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=https;AccountName=ranch;AccountKey=abc==;EndpointSuffix=core.windows.net"
BLOB_CONTAINER_INPUT=in
BLOB_CONTAINER_OUTPUT=out
QUEUE_NAME=work
MODEL_NAME=facebook/detr-resnet-50
MONGO_DETAILS=mongodb://db.example:27017
SOMETHING_ELSE=1
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in all_variables():
        for name in variable.names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_env_file_of_the_cattle_counter_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(OLD_ENV)
    config = WorkerConfig.read()
    storage, queues = config.storage, config.queues
    assert storage.storage_connection.startswith(
        "DefaultEndpointsProtocol=https;AccountName=ranch;"
    )
    assert (storage.input_container, storage.output_container) == ("in", "out")
    assert (queues.queue_name, queues.detect_queue_name) == ("work", "work-detect")
    assert config.detectors.model_name == "facebook/detr-resnet-50"
    assert config.database.mongo_uri == "mongodb://db.example:27017"


def test_the_environment_comes_before_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(OLD_ENV)
    monkeypatch.setenv("queue_name", "other")
    monkeypatch.setenv("MONGO_URI", "mongodb://first.example")
    config = WorkerConfig.read()
    assert (config.queues.queue_name, config.database.mongo_uri) == (
        "other",
        "mongodb://first.example",
    )


def test_defaults() -> None:
    config = WorkerConfig.read()
    assert (config.storage.input_container, config.storage.output_container) == (
        "raw-videos",
        "processed-videos",
    )
    assert config.queues.queue_name == "video-processing-queue"
    assert (config.database.mongo_uri, config.detectors.model_name) == (None, None)
    assert config.detectors.detectors == {}
    assert config.worker.data_dir.is_absolute()


def test_a_short_webhook_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSection(webhook_secret="hunter2hunter2")
    assert "too short" in str(refused.value) and "hunter2" not in str(refused.value)
    made = WebhookSection(webhook_secret="0123456789abcdef")
    assert made.rules.secret == "0123456789abcdef" and "0123" not in repr(made)


def test_the_data_folders_own_azurite_is_found_and_a_file_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "azurite" / "connection-string", tmp_path / "other"
    assert StorageSection(data_dir=tmp_path).storage_connection == ""
    own.parent.mkdir()
    own.write_text(f"{OWN}\n")
    other.write_text(f"  {OWN.replace('ranch', 'other')}\n")
    assert StorageSection(data_dir=tmp_path).storage_connection == OWN
    assert (
        StorageSection(
            data_dir=tmp_path,
            storage_account_url="https://herd.blob.core.windows.net",
        ).storage_connection
        == ""
    )
    assert (
        StorageSection(
            data_dir=tmp_path, storage_connection="BlobEndpoint=http://x"
        ).storage_connection
        == "BlobEndpoint=http://x"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING_FILE", str(other))
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", "")
    (tmp_path / ".env").write_text(OLD_ENV)
    named = WorkerConfig.read().storage
    assert "AccountName=other;" in named.storage_connection, (
        "an empty variable comes before the .env file"
    )
    assert named.storage_account_url is None
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING_FILE", "")
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    assert "AccountName=ranch;AccountKey=abc==" in WorkerConfig.read().storage.storage_connection
    assert "a" * 86 not in repr(named)
    assert "a" * 86 in secrets_of(named, WorkerConfig.read().database)[0], (
        "a key from a file is kept out of logs, too"
    )


def test_a_connection_that_cannot_be_had_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ValidationError,
        match=r"file /no/such of AZURE_STORAGE_CONNECTION_STRING_FILE does not exist",
    ):
        StorageSection(storage_connection_file="/no/such")
    with pytest.raises(ValidationError, match="both set; keep one of them") as refused:
        StorageSection(storage_connection=OWN, storage_connection_file=tmp_path / "file")
    assert "aaaa" not in str(refused.value)
    with pytest.raises(ValidationError, match="cannot be read: Is a directory"):
        StorageSection(storage_connection_file=tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValidationError, match="cannot be read: it is no text"):
        StorageSection(storage_connection_file=tmp_path / "binary")
    with pytest.raises(InvalidInput, match="Start Azurite first") as none:
        StorageSection(data_dir=tmp_path).require()
    assert none.value.code == "no_storage"
    StorageSection(data_dir=tmp_path, storage_connection=OWN).require()
    StorageSection(
        data_dir=tmp_path, storage_account_url="https://herd.blob.core.windows.net"
    ).require()


FORMS_OF_THE_PUBLISHED_KEY = {
    "short form": "UseDevelopmentStorage=true",
    "short form, other case": "usedevelopmentstorage=TRUE;",
    "short form, quoted": '"UseDevelopmentStorage=true"',
    "short form with a proxy": "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://proxy",
    "explicit": f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={PUBLISHED};BlobEndpoint=http://127.0.0.1:10000/x;",
    "without padding": f"AccountName=devstoreaccount1;AccountKey={PUBLISHED.rstrip('=')};BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1",
    "half the padding": f"AccountName=devstoreaccount1;AccountKey={PUBLISHED[:-1]}",
    "other name": f"AccountName=mine;AccountKey={PUBLISHED};BlobEndpoint=http://storage.example:10000/mine",
    "other case of names": f"ACCOUNTNAME=mine;accountkey={PUBLISHED};blobendpoint=https://storage.example/mine",
    "spaces": f" AccountName = mine ; AccountKey = {PUBLISHED} ",
    "characters that base64 skips": f"AccountName=mine;AccountKey={PUBLISHED[:9]}!*\n{PUBLISHED[9:]}",
    "after the padding": f"AccountName=mine;AccountKey={PUBLISHED}garbage",
    "other unused bits": f"AccountName=mine;AccountKey={PUBLISHED[:-3]}x==",
    "alphabet of addresses": f"AccountName=mine;AccountKey={PUBLISHED.replace('+', '-').replace('/', '_')}",
    "twice, the first one hidden": f"AccountName=mine;AccountKey={PUBLISHED};AccountKey=YWJj",
    "signature": "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;SharedAccessSignature=sv=2021-10-04&sig=abc",
    "signature, by host": "QueueEndpoint=http://devstoreaccount1.localhost:10001;SharedAccessSignature=sig=abc",
    "signature, by name": "AccountName=DevStoreAccount1;SharedAccessSignature=sig=abc",
}


@pytest.mark.parametrize("form", FORMS_OF_THE_PUBLISHED_KEY)
@pytest.mark.parametrize("by", ["variable", "file", "own file"])
def test_the_published_key_is_refused_in_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, by: str
) -> None:
    connection = FORMS_OF_THE_PUBLISHED_KEY[form]
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path))
    (tmp_path / "azurite").mkdir()
    file = tmp_path / "azurite" / "connection-string" if by == "own file" else tmp_path / "file"
    file.write_text(connection)
    if by == "variable":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    if by == "file":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING_FILE", str(file))
    with pytest.raises(InvalidConfiguration) as refused:
        ApiConfig.read()
    assert refused.value.code == "published_storage_key"
    assert "(published_storage_key)" in refused.value.message
    assert (
        "muster azurite" in refused.value.message
        and "MUSTER_ALLOW_PUBLISHED_STORAGE_KEY=true" in refused.value.message
    )
    assert PUBLISHED[:12] not in str(refused.value)
    monkeypatch.setenv("MUSTER_ALLOW_PUBLISHED_STORAGE_KEY", "true")
    allowed = ApiConfig.read().storage
    assert (allowed.storage_connection, allowed.published_storage_key) == (connection.strip(), True)


@pytest.mark.parametrize(
    "connection",
    [
        "",
        OWN,
        "UseDevelopmentStorage=false;AccountName=x;AccountKey=YWJj",
        f"AccountName=devstoreaccount1;AccountKey={'a' * 86}==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1",
        f"AccountName=mine;AccountKey={PUBLISHED[:-4]}AA==",
        "BlobEndpoint=https://herd.blob.core.windows.net;SharedAccessSignature=sv=2021&sig=abc",
        "BlobEndpoint=http://[;SharedAccessSignature=sig=abc",
        "AccountKey=\u00e4",
        "nonsense",
    ],
)
def test_other_keys_are_taken(connection: str, tmp_path: Path) -> None:
    config = StorageSection(data_dir=tmp_path, storage_connection=connection)
    assert (config.storage_connection, config.published_storage_key) == (connection, False)


@pytest.mark.parametrize(
    "main",
    [worker_main.main, storage.main, sweep.main],
    ids=["worker", "storage", "sweep"],
)
def test_every_command_that_reads_the_storage_refuses_the_published_key(
    main: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    arguments = ["show"] if main is storage.main else []
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("os.umask", lambda mask: 0)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", FORMS_OF_THE_PUBLISHED_KEY["explicit"])
    assert main(arguments) != 0
    said = capsys.readouterr()
    assert (
        "(published_storage_key)" in said.err and "MUSTER_ALLOW_PUBLISHED_STORAGE_KEY" in said.err
    )
    assert PUBLISHED[:12] not in said.err + said.out


def test_the_keys_command_reads_the_database_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("os.umask", lambda mask: 0)
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", FORMS_OF_THE_PUBLISHED_KEY["explicit"])
    monkeypatch.setenv("MUSTER_GRACE_S", "soon")
    assert keys.main(["create", "--owner", "local"]) == 0
    monkeypatch.setenv("MUSTER_DATA_DIR", "data")
    assert keys.main(["list"]) == 1
    assert "MUSTER_DATA_DIR is 'data'; give an absolute path" in capsys.readouterr().err
    assert set(KeysConfig.sections()) == {"database"}


def test_workers_and_their_commands_begin_with_a_storage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path))
    assert worker_main.read_config(WorkerConfig) is None
    assert (
        "Configuration (no_storage): No storage is configured. Start Azurite first"
        in capsys.readouterr().err
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", OWN)
    assert worker_main.read_config(WorkerConfig) is not None


@pytest.mark.parametrize(
    ("connection", "said"),
    [("UseDevelopmentStorage=true", "published_storage_key"), ("", "Start Azurite first")],
)
def test_the_api_does_not_start_without_a_storage_of_its_own(
    tmp_path: Path, connection: str, said: str
) -> None:
    argv = [sys.executable, "-m", "uvicorn", "api.main:app", "--port", "0"]
    env = {
        "MUSTER_DATA_DIR": str(tmp_path),
        "AZURE_STORAGE_CONNECTION_STRING": connection,
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 3
    assert said in done.stdout + done.stderr
