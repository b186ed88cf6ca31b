"""The message that travels through the queue: which step of which attempt of which job."""

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
"""Code of the error of a message that a newer Muster may have sent: it must not be given up at
once.
"""


class JobMessage(BaseModel):
    """One step to do.

    Attributes:
        v: Version of this format.
        job_id: The job.
        attempt: The job's attempt that asked for the step; a step of an older attempt is dropped.
        step: What to do. `notify` tells a webhook that the attempt has ended.
        segment: Index of the segment, for `detect` only.
        traceparent: W3C trace context of the submission, if any.
        nudge: Of `notify`: which of the event's messages this is; an older one than the event's
            last is dropped.
        identity: Id of the storage whose job it is; null in messages of releases that knew none.
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
        """Name under which failures of this step are counted, such as `detect:3`."""
        return self.step if self.segment is None else f"{self.step}:{self.segment}"

    def to_bytes(self) -> bytes:
        """Serialise as compact JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> JobMessage:
        """Parse a message body: JSON, or JSON in base64, as other tools put a message back.

        Raises:
            MalformedRequest: The body is no message of Muster's (code `undecodable_message`), or
                one of a version or a step that this release does not know (code `unknown_message`;
                `details` has its `identity`).
        """
        values = _json_object(body)
        if _is_newer(values):
            raise MalformedRequest(
                f"This message has version {values.get('v', 1)!r} and step {values['step']!r}, which this release does not know; "
                "a newer worker may.",
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
            raise _undecodable("a detect message names its segment")
        return message


def _json_object(body: bytes) -> JsonObject:
    for decode in (bytes, _from_base64):
        try:
            values = json.loads(decode(body))
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            return values
    raise _undecodable("it is no JSON object, also when it is read as base64")


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
