"""How an operator configures a process: environment variables, or an `.env` file beside where it is started."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from core.config.access import AccessConfig
from core.config.port import PortConfig
from core.config.storage import OWN_CONNECTION_FILE, StorageConfig, resolve_connection
from core.data_folder import default_data_dir
from core.domain.housekeeping import ExpiringResults, HousekeepingRules
from core.domain.video_limits import VideoLimits
from core.domain.webhook import WebhookRules

_VIDEO = VideoLimits()


class Config(StorageConfig, AccessConfig, PortConfig):
    """Configuration of an API or worker process. Nothing here can be set over HTTP.

    Names without the prefix `MUSTER_` are those of the systems that Muster replaces.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_prefix="MUSTER_",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        # Values may be secrets, and errors are logged.
        hide_input_in_errors=True,
    )

    input_container: str = Field(
        "raw-videos", validation_alias=AliasChoices("BLOB_CONTAINER_INPUT", "input_container")
    )
    output_container: str = Field(
        "processed-videos",
        validation_alias=AliasChoices("BLOB_CONTAINER_OUTPUT", "output_container"),
    )
    queue_name: str = Field(
        "video-processing-queue", validation_alias=AliasChoices("QUEUE_NAME", "queue_name")
    )
    model_name: str | None = Field(
        None,
        validation_alias=AliasChoices("MODEL_NAME", "model_name"),
        description="Hub id, folder or .onnx file of the default detector; default: the bundled checkpoint.",
    )
    mongo_uri: str | None = Field(
        None,
        validation_alias=AliasChoices("MONGO_URI", "MONGO_DETAILS", "mongo_uri"),
        description="MongoDB or Azure DocumentDB; default: an SQLite file under the data folder.",
    )
    mongo_database: str = "muster"
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="SQLite file, caches. Absolute, on a local disk.",
    )
    detectors: dict[str, str] = Field(
        {},
        description='JSON: {"name": "hub id, folder or .onnx file"} that a job may ask for by name.',
    )
    device: Literal["auto", "cuda", "openvino", "torch"] = "auto"
    serves: Literal["all", "detect", "cpu"] = Field(
        "all", description="Which queues a worker takes messages from."
    )
    visibility_s: float = Field(
        60, gt=0, description="Visibility timeout of a leased message; renewed at a third of it."
    )
    max_failures: int = Field(5, ge=1)
    max_deaths: int = Field(20, ge=1)
    disk_patience_s: float = Field(
        86400, ge=3600, description="How long a job waits for room on a full disk before it fails."
    )
    grace_s: float = Field(8, ge=0, description="What a worker may still finish after SIGTERM.")
    segment_frames: int = Field(300, ge=1, description="Least number of frames in a segment.")
    max_upload_bytes: int = Field(64 * 2**30, ge=1)
    max_files: int = Field(50, ge=1, description="Most video files in one job.")
    upload_minutes: float = Field(60, gt=0, description="How long a direct-upload link works.")
    sweep_s: float = Field(
        300,
        ge=0,
        description="How often the API looks for what got lost or was kept long enough; 0: never.",
    )
    orphan_minutes: float = Field(
        60, ge=20, description="Age from which blobs of an unfinished submission are deleted."
    )
    retention_days: float = Field(
        0,
        ge=0,
        description="Days after which videos, and results that may show persons, are deleted; 0: never.",
    )
    retention_results: ExpiringResults = Field(
        "persons", description="Which results are deleted with the videos."
    )
    max_pixels: int = Field(_VIDEO.pixels, ge=1, description="Most pixels in a picture of a video.")
    max_duration_s: float = Field(_VIDEO.duration_s, gt=0, description="Longest video file.")
    max_frames: int = Field(_VIDEO.frames, ge=1, description="Most frames in a video file.")
    max_fps: float = Field(_VIDEO.fps, gt=0, description="Highest average frame rate of a video.")
    max_work: int = Field(
        10_000_000,
        ge=0,
        description="Most work in one job, in looks at pictures: frames times the slices that tiles make; 0: no limit.",
    )
    max_streams: int = Field(
        _VIDEO.streams,
        ge=1,
        description="Most tracks in a video file: video, sound, subtitles, data.",
    )
    decoder_memory_mb: int = Field(
        2048, ge=64, description="Most memory that decoding one video may take, MiB."
    )
    decoder_stall_s: float = Field(
        30,
        gt=0,
        description="Longest time that decoding may take without a picture or other progress.",
    )
    allow_unconfined_decoding: bool = Field(
        False,
        description="Decode also where the system cannot filter what the decoder does (seccomp); a hostile video can then harm it.",
    )
    cache_bytes: int = Field(
        20 * 2**30, ge=0, description="Most bytes of source videos that a worker keeps on disk."
    )
    log_level: str = "INFO"
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret of the signatures of webhooks, at least 16 characters; without one there are no webhooks.",
    )
    webhook_http: bool = Field(False, description="Take webhooks without TLS, too.")
    webhook_hours: float = Field(
        24, gt=0, description="How long a webhook that does not answer is tried."
    )
    webhook_timeout_s: float = Field(10, gt=0, le=60, description="How long one try may take.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Where a worker shows its figures to Prometheus; 0: any free port.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="On which of its addresses a worker does so."
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
        description="Where traces are sent, by OTLP over HTTP; without one there are none.",
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(
                f"MUSTER_DATA_DIR is '{value}'; give an absolute path, so that every process means the same folder"
            )
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            # Compose files hand an unset variable on as an empty one.
            return None
        if len(value.get_secret_value()) < 16:
            raise ValueError(
                "MUSTER_WEBHOOK_SECRET is too short; take at least 16 random characters, such as `openssl rand -hex 32` gives"
            )
        return value

    @model_validator(mode="after")
    def _find_storage(self) -> Config:
        own = None if self.storage_account_url else self.data_dir / OWN_CONNECTION_FILE
        found = resolve_connection(
            self.storage_connection,
            self.storage_connection_file,
            own,
            allow_published=self.allow_published_storage_key,
        )
        # The model is frozen for its users; this is still its making.
        object.__setattr__(self, "storage_connection", found)
        return self

    @property
    def webhook_rules(self) -> WebhookRules:
        """What holds for webhooks."""
        secret = self.webhook_secret.get_secret_value() if self.webhook_secret else None
        return WebhookRules(
            secret, self.webhook_http, timedelta(hours=self.webhook_hours), self.webhook_timeout_s
        )

    @property
    def housekeeping_rules(self) -> HousekeepingRules:
        """What holds for the sweeper."""
        return HousekeepingRules(
            visibility=timedelta(seconds=self.visibility_s),
            least_age=timedelta(minutes=self.orphan_minutes),
            upload_life=timedelta(minutes=self.upload_minutes),
            keep=timedelta(days=self.retention_days) if self.retention_days else None,
            expiring_results=self.retention_results,
        )

    @property
    def detect_queue_name(self) -> str:
        """Queue of the `detect` messages."""
        return f"{self.queue_name}-detect"
