"""What sweepers have found that is for the operator to decide."""

from __future__ import annotations

from dataclasses import dataclass

from core.ports import Ports
from core.services.housekeeping.expiry_brake import held_expiry
from core.services.housekeeping.unclaimed import noted_unclaimed


@dataclass(frozen=True, slots=True)
class Finding:
    """A code for programs, a sentence for the operator."""

    code: str
    message: str


async def find(ports: Ports) -> list[Finding]:
    """Return what was found: `unclaimed_blobs`, `expiry_held`.

    Raises:
        Unavailable: The database does not answer.
    """
    findings = []
    unclaimed = await noted_unclaimed(ports.ledger)
    if unclaimed.get("blobs"):
        findings.append(
            Finding(
                "unclaimed_blobs",
                f"Nothing in the database explains {unclaimed['blobs']} blobs ({unclaimed['bytes']} bytes) in storage. They are kept; "
                "`python -m worker.sweep --dry-run` lists them.",
            )
        )
    held = await held_expiry(ports)
    if held is not None:
        findings.append(Finding("expiry_held", held.sentence))
    return findings
