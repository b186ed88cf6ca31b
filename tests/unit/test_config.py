"""Configuration: the names that users of the replaced systems have in their `.env`, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.config import Config

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
    for field in Config.model_fields.values():
        for name in getattr(field.validation_alias, "choices", ()):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MUSTER_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_env_file_of_the_cattle_counter_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(OLD_ENV)
    config = Config()
    assert config.storage_connection.startswith("DefaultEndpointsProtocol=https;AccountName=ranch;")
    assert (config.input_container, config.output_container) == ("in", "out")
    assert (config.queue_name, config.detect_queue_name) == ("work", "work-detect")
    assert config.model_name == "facebook/detr-resnet-50"
    assert config.mongo_uri == "mongodb://db.example:27017"


def test_the_environment_comes_before_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(OLD_ENV)
    monkeypatch.setenv("QUEUE_NAME", "other")
    monkeypatch.setenv("MONGO_URI", "mongodb://first.example")
    assert (Config().queue_name, Config().mongo_uri) == ("other", "mongodb://first.example")


def test_defaults() -> None:
    config = Config()
    assert (config.input_container, config.output_container) == ("raw-videos", "processed-videos")
    assert config.queue_name == "video-processing-queue"
    assert (config.mongo_uri, config.model_name, config.detectors) == (None, None, {})
    assert config.data_dir.is_absolute()


def test_a_relative_data_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", "data")
    with pytest.raises(ValidationError, match="absolute path"):
        Config()


def test_a_short_webhook_secret_is_refused_without_being_shown_and_an_empty_one_is_none() -> None:
    with pytest.raises(ValidationError) as refused:
        Config(_env_file=None, webhook_secret="hunter2hunter2")
    assert "too short" in str(refused.value) and "hunter2" not in str(refused.value)
    assert Config(_env_file=None, webhook_secret="").webhook_rules.secret is None
    assert Config(_env_file=None, webhook_secret="0123456789abcdef").webhook_rules.secret == "0123456789abcdef"
