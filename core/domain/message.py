"""The queue message, which names a step of an attempt of a job."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.domain.json_values import JsonObject
from core.errors import MalformedRequest

Step = Literal["plan", "detect", "assemble", "render", "notify"]

UNKNOWN_MESSAGE = "unknown_message"
"""Error code of a message that a newer Muster may have sent. It must not be discarded at once."""


class JobMessage(BaseModel):
    """One step to do.

    Attributes:
        v: Version of this format.
        job_id: The job.
        attempt: The job's attempt that requested the step; a step of an older attempt is dropped.
        step: The step. `notify` reports the end of the attempt to a webhook.
        segment: Index of the segment, for `detect` only.
        traceparent: W3C trace context of the submission, if any.
        nudge: For `notify`: the number of this message among those of the event. A message with a
            number below the event's is dropped.
        identity: Id of the storage that the job belongs to; null in messages of releases before
            identities.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    job_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    attempt: int = Field(ge=1)
    step: Step
    segment: int | None = Field(None, ge=0)
    traceparent: str | None = None
    nudge: int | None = Field(None, ge=0)
    identity: str | None = None

    @property
    def step_key(self) -> str:
        """Key under which failures of this step are counted, such as `detect:3`."""
        return self.step if self.segment is None else f"{self.step}:{self.segment}"

    def to_bytes(self) -> bytes:
        """Serialise as compact JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> JobMessage:
        """Parse a message body: JSON, or base64 of JSON, which other tools write.

        Raises:
            MalformedRequest: The body is not a message of Muster's (code `undecodable_message`), or
                has a version or a step that this release does not support (code `unknown_message`;
                `details` has its `identity`).
        """
        values = _json_object(body)
        if _is_newer(values):
            raise MalformedRequest(
                f"This message has version {values.get('v', 1)!r} and step {values['step']!r}, "
                "which this release does not support. A newer worker may support them.",
                code=UNKNOWN_MESSAGE,
                identity=values.get("identity"),
            )
        try:
            message = cls.model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise _undecodable(f"{where}: {fault['msg']}" if where else fault["msg"]) from error
        if message.step == "detect" and message.segment is None:
            raise _undecodable("a detect message must name its segment")
        return message


def _json_object(body: bytes) -> JsonObject:
    for decode in (bytes, _from_base64):
        try:
            values = json.loads(decode(body))
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            return values
    raise _undecodable("it is not a JSON object, even when it is decoded as base64")


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _is_newer(values: JsonObject) -> bool:
    version, step = values.get("v", 1), values.get("step")
    if (
        type(version) is not int
        or version < 1
        or not isinstance(step, str)
        or not isinstance(values.get("job_id"), str)
    ):
        return False
    return version > 1 or step not in get_args(Step)


def _undecodable(why: str) -> MalformedRequest:
    return MalformedRequest(
        f"This queue message is not one of Muster's: {why}.", code="undecodable_message"
    )
