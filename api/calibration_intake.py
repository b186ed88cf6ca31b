"""The intake of calibrations: as JSON, as a form with a file, or as the file alone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Literal

from pydantic import BaseModel, Field
from starlette.requests import Request

from api.intake import json_of
from api.multipart import MultipartReader, Part
from core.domain.analysis import Point
from core.errors import InvalidInput, TooLarge

LABELS = ("name", "camera", "unit")
"""Names of the labels of a calibration. A client may send labels as parts of the form or as query
parameters of the URL. Labels take precedence over the contents of the file.
"""

_LONGEST_LABEL = 1000


class CalibrationBody(BaseModel):
    """A calibration: at least four pairs of a pixel and its position on the ground."""

    name: str | None = Field(
        None, max_length=80, description="A unique name. PUT takes the name from the path instead."
    )
    camera: str | None = Field(
        None, max_length=80, description="Listings show the camera and can filter by it."
    )
    image_points: list[Point] = Field(
        min_length=4, description="Pixels (x, y) of the picture as displayed."
    )
    ground_points: list[Point] = Field(
        min_length=4,
        description="Positions of these pixels: metres (x, y), or with `wgs84` degrees (longitude, "
        "latitude).",
    )
    unit: Literal["m", "wgs84"] = "m"


BODY_SCHEMA: dict[str, object] = {
    "application/json": {
        "schema": {"$ref": "#/components/schemas/CalibrationBody"},
        "example": {
            "name": "north-camera",
            "image_points": [[412, 305], [1508, 318], [1741, 902], [163, 880]],
            "ground_points": [[0, 40], [30, 40], [22, 8], [4, 8]],
        },
    },
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {
                "file": {
                    "type": "string",
                    "format": "binary",
                    "description": "`.json` as above, NumPy's `.npz` with `image_points` and "
                    "`map_points`, or SpotOn's `.json` of several cameras: `camera` selects one.",
                },
                **{label: {"type": "string"} for label in LABELS},
            },
        }
    },
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
"""Bodies of a request, for OpenAPI."""


async def read_calibration(request: Request, *, name: str | None = None) -> dict[str, object]:
    """Return the calibration that a request contains.

    The keys are those of `name`, `camera`, `image_points`, `ground_points` and `unit` that the
    request gives.

    Args:
        request: The request. Its body is read; the server has limited its size.
        name: The name in the URL. The body may contain the same name or none.

    Raises:
        InvalidInput: A part is unknown or doubled, or the body names another calibration than the
            URL (`name_differs`).
        InvalidCalibration: The file cannot be read (code `bad_calibration_file`).
        MalformedRequest: The body is neither JSON nor multipart.
        TooLarge: A label is too long (code `too_large`).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        given = await _read_form(request)
    elif kind == "application/json":
        given = json_of(await request.body())
        if not isinstance(given, dict):
            raise InvalidInput(
                "The calibration must be a JSON object with image_points and ground_points.",
                code="invalid_calibration",
            )
    else:
        given = await _read_file(await request.body(), request.query_params.get("camera"))
    given |= {
        label: request.query_params[label] for label in LABELS if label in request.query_params
    }
    if name is not None and given.setdefault("name", name) != name:
        raise InvalidInput(
            f"The path names calibration '{name[:80]}', but the body has another name.",
            code="name_differs",
        )
    return given


async def _read_form(request: Request) -> dict[str, object]:
    file: bytes | None = None
    labels: dict[str, str] = {}
    async with aclosing(request.stream()) as body:
        reader = MultipartReader(request.headers.get("content-type", ""), body)
        async with aclosing(reader.parts()) as parts:
            async for part in parts:
                if (part.name == "file" and file is not None) or part.name in labels:
                    raise InvalidInput(
                        f"The form has two parts named '{part.name}'. Send only one.",
                        code="doubled_part",
                    )
                if part.name == "file":
                    file = await _read(part, None)
                elif part.name in LABELS:
                    labels[part.name] = (await _read(part, _LONGEST_LABEL)).decode(
                        "utf-8", "replace"
                    )
                else:
                    raise InvalidInput(
                        f"Unknown form part '{part.name[:80]}'. Known parts: file, "
                        f"{', '.join(LABELS)}.",
                        code="unknown_part",
                    )
    if file is None:
        raise InvalidInput(
            "The form has no part named 'file'. Send the calibration in it.", code="missing_file"
        )
    return await _read_file(file, labels.get("camera", request.query_params.get("camera"))) | labels


async def _read(part: Part, limit_bytes: int | None) -> bytes:
    data = bytearray()
    async for chunk in part.chunks:
        data += chunk
        if limit_bytes is not None and len(data) > limit_bytes:
            raise TooLarge(
                f"The part '{part.name}' exceeds {limit_bytes} bytes.", limit_bytes=limit_bytes
            )
    return bytes(data)


async def _read_file(data: bytes, camera: str | None) -> dict[str, object]:
    from core.geometry.calibration_files import read_file  # numpy: only where a file is given

    return await asyncio.to_thread(read_file, data, camera=camera)
