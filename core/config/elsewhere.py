"""Variables that no section declares: libraries, the installer and the tests read them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from core.config.variables import Process


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A variable, or a pattern of names.

    Attributes:
        name: Name or pattern, such as `HF_*`.
        meaning: What it sets.
        reason: Who reads it, and why no section declares it.
        read_by: Muster's processes in which it is read; empty: none of them.
        secret: Whether its value must not be shown.
    """

    name: str
    meaning: str
    reason: str
    read_by: tuple[Process, ...] = ()
    secret: bool = False


ELSEWHERE = (
    Elsewhere(
        "XDG_DATA_HOME",
        "Folder in which the default data folder lies.",
        "A convention of the system; it moves the default of `MUSTER_DATA_DIR`.",
        ("api", "worker", "sweep", "storage", "keys", "run", "count"),
    ),
    Elsewhere(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers that are sent with traces, such as a key of the receiver.",
        "Read by the OpenTelemetry exporter.",
        ("api", "worker"),
        secret=True,
    ),
    Elsewhere(
        "OTEL_*",
        "Other settings of traces, such as time-outs and certificates.",
        "Read by the OpenTelemetry SDK.",
        ("api", "worker"),
    ),
    Elsewhere(
        "HF_TOKEN",
        "Token for private detectors that are named by their hub id.",
        "Read by the Hugging Face Hub client.",
        ("worker", "count"),
        secret=True,
    ),
    Elsewhere(
        "HF_*",
        "Other settings of detectors from the hub, such as `HF_HUB_OFFLINE` and `HF_HOME`.",
        "Read by the Hugging Face Hub client.",
        ("worker", "count"),
    ),
    Elsewhere(
        "AZURE_CLIENT_ID",
        "Client id of a user-assigned managed identity, with `AZURE_STORAGE_ACCOUNT_URL`.",
        "Read by the Azure Identity library, with its other `AZURE_*` variables.",
        ("api", "worker", "sweep", "storage"),
    ),
    Elsewhere(
        "FORWARDED_ALLOW_IPS",
        "Addresses of proxies whose `X-Forwarded-For` is trusted.",
        "Read by uvicorn.",
        ("api",),
    ),
    Elsewhere(
        "TRANSFORMERS_VERBOSITY",
        "Lowest level of the Transformers library's own messages.",
        "Read by Transformers; the training of the bundled detector sets it to `error`.",
    ),
    Elsewhere(
        "MUSTER_SETUP_MIB",
        "Free disk space, in MiB, that `make setup` requires.",
        "Read by the installer, which runs before Python.",
    ),
    Elsewhere(
        "MUSTER_TEST_*",
        "Services and switches of the tests, such as `MUSTER_TEST_MONGO_URI`.",
        "Read by the tests only.",
    ),
    Elsewhere(
        "MUSTER_SHARED_DIR",
        "Folder of the data sets for tests and benchmarks.",
        "Read by tests and benchmarks only.",
    ),
)


def is_read_elsewhere(name: str) -> bool:
    """Return whether a variable of this name is read outside the sections."""
    return any(fnmatchcase(name, item.name) for item in ELSEWHERE)
