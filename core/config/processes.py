"""The configuration of each process: the sections that it reads, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from core.config.access import AccessSection
from core.config.data_folder import DataSection
from core.config.database import DatabaseSection
from core.config.housekeeping import HousekeepingSection
from core.config.port import PortSection
from core.config.queues import QueueSection
from core.config.quotas import QuotaSection, SubmissionSection, WorkSection
from core.config.reading import read_section, refuse
from core.config.run import RunSection
from core.config.sources import Sources
from core.config.storage import StorageSection
from core.config.telemetry import LogSection, MetricsSection, TraceSection
from core.config.variables import Process, Section, Variable, variables_of
from core.config.video import VideoSection
from core.config.webhooks import WebhookSection
from core.config.worker import DetectorNamesSection, DetectorSection, WorkerSection

C = TypeVar("C", bound="ProcessConfig")


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """Sections of one process."""

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Return the sections that the process reads, by field."""
        hints = get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}

    @classmethod
    def read(cls: type[C], sources: Sources | None = None) -> C:
        """Return the configuration of this process.

        Args:
            sources: Where values are looked up; default: the environment and `.env`.

        Raises:
            InvalidConfiguration: A value that the process reads is refused; with all of them.
        """
        sources = sources or Sources.of_process()
        done = {name: read_section(kind, sources) for name, kind in cls.sections().items()}
        refuse(fault for section in done.values() for fault in section.faults)
        values: dict[str, Any] = {name: section.value for name, section in done.items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class RunConfig(ProcessConfig):
    """`make run`."""

    run: RunSection


@dataclass(frozen=True, kw_only=True)
class KeysConfig(ProcessConfig):
    """`python -m api.keys`."""

    database: DatabaseSection


@dataclass(frozen=True, kw_only=True)
class PortsConfig(ProcessConfig):
    """What the ports are made of."""

    storage: StorageSection
    database: DatabaseSection
    queues: QueueSection


@dataclass(frozen=True, kw_only=True)
class CommandConfig(PortsConfig):
    """`python -m worker.sweep` and `python -m worker.storage`."""

    housekeeping: HousekeepingSection
    logs: LogSection


@dataclass(frozen=True, kw_only=True)
class ApiConfig(CommandConfig):
    """The API."""

    access: AccessSection
    port: PortSection
    submissions: SubmissionSection
    quotas: QuotaSection
    detectors: DetectorNamesSection
    webhooks: WebhookSection
    traces: TraceSection


@dataclass(frozen=True, kw_only=True)
class WorkerConfig(PortsConfig):
    """A worker."""

    worker: WorkerSection
    detectors: DetectorSection
    video: VideoSection
    work: WorkSection
    webhooks: WebhookSection
    logs: LogSection
    metrics: MetricsSection
    traces: TraceSection


CONFIGS: dict[Process, type[ProcessConfig]] = {
    "api": ApiConfig,
    "worker": WorkerConfig,
    "sweep": CommandConfig,
    "storage": CommandConfig,
    "keys": KeysConfig,
    "run": RunConfig,
}
"""The processes that read sections. `count` reads single variables: see `Variable.also`."""

COMMANDS: dict[Process, str] = {
    "api": "`muster serve`, `uvicorn api.main:app`",
    "worker": "`muster worker`, `python -m worker.main`",
    "sweep": "`muster sweep`, `python -m worker.sweep`",
    "storage": "`muster storage`, `python -m worker.storage`",
    "keys": "`muster keys`, `python -m api.keys`",
    "run": "`muster run`, `make run`",
    "count": "`muster count` and the other commands of the engine; they read no `.env`",
}
"""How each process is started."""

SECTIONS: tuple[type[Section], ...] = (
    DataSection,
    StorageSection,
    DatabaseSection,
    QueueSection,
    WorkerSection,
    DetectorNamesSection,
    DetectorSection,
    VideoSection,
    SubmissionSection,
    QuotaSection,
    WorkSection,
    AccessSection,
    PortSection,
    WebhookSection,
    HousekeepingSection,
    LogSection,
    MetricsSection,
    TraceSection,
    RunSection,
)
"""All sections, in the order in which people read them."""


def all_variables() -> tuple[Variable, ...]:
    """Return every declared variable once, by section."""
    return tuple(item for kind in SECTIONS for item in variables_of(kind) if item.section is kind)


def read_by(variable: Variable) -> tuple[Process, ...]:
    """Return the processes that read a variable."""
    return tuple(
        process
        for process in COMMANDS
        if process in variable.also
        or any(
            variable.field in kind.model_fields and issubclass(kind, variable.section)
            for kind in (CONFIGS[process].sections().values() if process in CONFIGS else ())
        )
    )


def variables_read_by(processes: Iterable[Process]) -> tuple[Variable, ...]:
    """Return the variables that any of some processes reads."""
    wanted = set(processes)
    return tuple(item for item in all_variables() if wanted & set(read_by(item)))
