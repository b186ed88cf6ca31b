"""Configurations for tests: fields by their names, whichever section they are of."""

from __future__ import annotations

from typing import Any, TypeVar

from core.config.processes import ApiConfig, PortsConfig, ProcessConfig, WorkerConfig

C = TypeVar("C", bound=ProcessConfig)


def api_config(**fields: Any) -> ApiConfig:
    """Return the configuration of an API. Environment and `.env` are not read."""
    return made(ApiConfig, fields)


def worker_config(**fields: Any) -> WorkerConfig:
    """Return the configuration of a worker. Environment and `.env` are not read."""
    return made(WorkerConfig, fields)


def ports_config(**fields: Any) -> PortsConfig:
    """Return what ports are made of. Environment and `.env` are not read."""
    return made(PortsConfig, fields)


def made(kind: type[C], fields: dict[str, Any]) -> C:
    """Return a configuration in which every section has those fields that are its own."""
    sections = kind.sections()
    known = {field for section in sections.values() for field in section.model_fields}
    assert set(fields) <= known, f"{kind.__name__} has no {sorted(set(fields) - known)}"
    values: dict[str, Any] = {
        name: section(**{key: fields[key] for key in fields if key in section.model_fields})
        for name, section in sections.items()
    }
    return kind(**values)
