"""Routes of calibrations, which are stored under a name for the settings of any job."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from api.access import CallerDep
from api.calibration_intake import BODY_SCHEMA, read_calibration
from api.calibration_views import (
    CALIBRATIONS,
    CalibrationPage,
    CalibrationView,
    calibration_view,
    summary_view,
)
from api.document import EXAMPLE_CALIBRATION, documented
from api.parameters import Camera, Cursor, Limit, Name
from api.services import OpenServices
from core.domain.refusals import (
    bad_cursor,
    calibration_exists,
    invalid_request,
    malformed_json,
    no_such_calibration,
)
from core.errors import InvalidCalibration
from core.services.submission import calibrations

router = APIRouter(prefix=CALIBRATIONS, tags=["calibrations"])

_LABELS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string", "maxLength": 80},
        "description": f"The calibration's {name}, for a file that does not contain it.",
    }
    for name in ("name", "camera", "unit")
]
_UNFIT = InvalidCalibration(
    "The points lie on one line. Choose points that span an area.", code="calibration_collinear"
)
_BAD_BODY = (
    malformed_json("Expecting value: line 1 column 1 (char 0)"),
    invalid_request([("image_points", "Field required")]),
    _UNFIT,
)
_BODY = {"requestBody": {"required": True, "content": BODY_SCHEMA}}


@router.post(
    "",
    status_code=201,
    response_model=CalibrationView,
    openapi_extra={**_BODY, "parameters": _LABELS},
    responses=documented(*_BAD_BODY, calibration_exists(EXAMPLE_CALIBRATION)),
    summary="Create a calibration",
)
async def create_calibration(
    request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> CalibrationView:
    """Stores pairs of pixels and ground points, sent as JSON or as a `.json` or `.npz` file.

    The response shows the fit and its residuals.

    Settings can then name the calibration: `"calibration": "north-camera"`. A job keeps the points
    that it was submitted with. The `camera` is only a label and selects nothing.
    """
    given = await read_calibration(request)
    fitted = await calibrations.add(
        services.ports.calibrations, services.clock, given, owner=caller.owner
    )
    response.headers["Location"] = _address(fitted.calibration.name)
    return calibration_view(fitted)


@router.get("", responses=documented(bad_cursor()), summary="List calibrations")
async def list_calibrations(
    services: OpenServices,
    caller: CallerDep,
    camera: Camera = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> CalibrationPage:
    """Returns a page of calibrations without their points, newest first."""
    page = await services.ports.calibrations.list_page(
        owner=caller.owner, camera=camera, limit=limit, cursor=cursor
    )
    return CalibrationPage(
        items=[summary_view(item) for item in page.items], next_cursor=page.next_cursor
    )


@router.get(
    "/{name}",
    responses=documented(no_such_calibration(EXAMPLE_CALIBRATION), _UNFIT),
    summary="Get a calibration",
)
async def get_calibration(name: Name, services: OpenServices, caller: CallerDep) -> CalibrationView:
    """Returns the points, the fitted matrix, the residuals and the horizon."""
    return calibration_view(
        await calibrations.fit(await services.ports.calibrations.get(name, owner=caller.owner))
    )


@router.put(
    "/{name}",
    response_model=CalibrationView,
    openapi_extra={**_BODY, "parameters": _LABELS[1:]},
    responses={
        201: {"description": "Created.", "model": CalibrationView},
        **documented(*_BAD_BODY),
    },
    summary="Create or replace a calibration",
)
async def put_calibration(
    name: Name, request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> CalibrationView:
    """Like `POST`, but replaces an existing calibration of this name.

    Existing jobs keep their points. A recount can name the calibration again to use the new points.
    """
    given = await read_calibration(request, name=name)
    fitted, new = await calibrations.replace(
        services.ports.calibrations, services.clock, given, owner=caller.owner
    )
    response.headers["Location"] = _address(fitted.calibration.name)
    response.status_code = 201 if new else 200
    return calibration_view(fitted)


@router.delete(
    "/{name}",
    status_code=204,
    responses=documented(no_such_calibration(EXAMPLE_CALIBRATION)),
    summary="Delete a calibration",
)
async def delete_calibration(name: Name, services: OpenServices, caller: CallerDep) -> None:
    """Deletes the calibration. Existing jobs keep its points."""
    await calibrations.delete(services.ports.calibrations, name, owner=caller.owner)


def _address(name: str) -> str:
    return f"{CALIBRATIONS}/{quote(name)}"
