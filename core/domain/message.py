"""The message that travels through the queue: which step of which attempt of which job."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MalformedRequest

Step = Literal["plan", "detect", "assemble", "render", "notify"]


class JobMessage(BaseModel):
    """One step to do.

    Attributes:
        v: Version of this format.
        job_id: The job.
        attempt: The job's attempt that asked for the step; a step of an older attempt is dropped.
        step: What to do. `notify` tells a webhook that the attempt has ended.
        segment: Index of the segment, for `detect` only.
        traceparent: W3C trace context of the submission, if any.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    job_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    attempt: int = Field(ge=1)
    step: Step
    segment: int | None = Field(None, ge=0)
    traceparent: str | None = None

    @property
    def step_key(self) -> str:
        """Name under which failures of this step are counted, such as `detect:3`."""
        return self.step if self.segment is None else f"{self.step}:{self.segment}"

    def to_bytes(self) -> bytes:
        """Serialise as compact JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> JobMessage:
        """Parse a message body.

        Raises:
            MalformedRequest: The body is not a message of this format.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise MalformedRequest(f"This queue message is not one of Muster's: {problem}.", code="undecodable_message") from error
