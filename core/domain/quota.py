"""Holds: the part of an owner's quota that is reserved for unfinished work."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.domain.clock import UtcDatetime

HoldKind = Literal["upload", "link", "open_link", "work"]
Refusal = Literal["amount", "links"]
LINKS: tuple[HoldKind, ...] = ("link", "open_link")


class Hold(BaseModel):
    """An amount of a day's quota that is held until it is settled or expires.

    Attributes:
        id: The id of what it is held for, such as an upload: 1 to 64 letters and digits.
        day: The UTC day whose quota it belongs to.
        amount: Bytes, or detector runs.
        until_utc: The time at which it expires.
        kind: `upload`: a submission whose bytes are arriving. `link`, `open_link`: a direct-upload
            link of declared or unknown size. `work`: a job that is being planned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")
    day: date
    amount: int = Field(ge=0)
    until_utc: UtcDatetime
    kind: HoldKind

    @property
    def is_link(self) -> bool:
        """Whether the hold is that of a direct-upload link."""
        return self.kind in LINKS


def work_account(owner: str) -> str:
    """Return the account in which an owner's work is counted.

    No owner has such a name, because names contain no slash.
    """
    return f"work/{owner}"
