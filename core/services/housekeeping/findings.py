"""Findings of the sweepers that the operator must decide about."""

from __future__ import annotations

from dataclasses import dataclass

from core.ports import Ports
from core.services.housekeeping.expiry_brake import held_expiry
from core.services.housekeeping.unclaimed import noted_unclaimed


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: a code for programs, and a sentence for the operator."""

    code: str
    message: str


async def find(ports: Ports) -> list[Finding]:
    """Return the findings: `unclaimed_blobs`, `expiry_held`.

    Raises:
        Unavailable: The database does not respond.
    """
    findings = []
    unclaimed = await noted_unclaimed(ports.ledger)
    if unclaimed.get("blobs"):
        findings.append(
            Finding(
                "unclaimed_blobs",
                f"The database has no record of {unclaimed['blobs']} blobs "
                f"({unclaimed['bytes']} bytes) in storage. They are kept. "
                "`muster sweep --dry-run` (in a container: `python -m worker.sweep --dry-run`) "
                "lists them.",
            )
        )
    held = await held_expiry(ports)
    if held is not None:
        findings.append(Finding("expiry_held", held.sentence))
    return findings
