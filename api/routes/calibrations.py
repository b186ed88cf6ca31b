"""Calibrations by name: fitted and checked once, asked for in the settings of any job."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from api.access import CallerDep
from api.calibration_intake import BODY_SCHEMA, read_calibration
from api.calibration_views import (
    CALIBRATIONS,
    CalibrationPage,
    CalibrationView,
    calibration_view,
    summary_view,
)
from api.problems import documented
from api.services import OpenServices
from core.domain.names import CLEANED
from core.services.submission import calibrations

router = APIRouter(prefix=CALIBRATIONS, tags=["calibrations"])

_LABELS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string", "maxLength": 80},
        "description": f"The calibration's {name}, for a body that is a file and does not say it.",
    }
    for name in ("name", "camera", "unit")
]
_BODY = {"requestBody": {"required": True, "content": BODY_SCHEMA}}


@router.post(
    "",
    status_code=201,
    response_model=CalibrationView,
    openapi_extra={**_BODY, "parameters": _LABELS},
    responses=documented(400, 409, 413, 422, 503),
    summary="Store a calibration",
)
async def add_calibration(
    request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> CalibrationView:
    """Pairs of pixels and places on the ground, as JSON or as a `.json` or `.npz` file. The answer shows the fit and how well it fits.

    Settings may then say `"calibration": "its name"`. A job keeps the points that it was made with. The `camera` of a calibration selects
    nothing by itself: a camera that was moved has two."""
    given = await read_calibration(request)
    fitted = await calibrations.add(
        services.ports.calibrations, services.clock, given, owner=caller.owner
    )
    response.headers["Location"] = _address(fitted.calibration.name)
    return calibration_view(fitted)


@router.get("", responses=documented(400, 422, 503), summary="List calibrations")
async def list_calibrations(
    services: OpenServices,
    caller: CallerDep,
    camera: Annotated[str | None, CLEANED, Query(max_length=80)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> CalibrationPage:
    """Newest first, in pages, without their points."""
    page = await services.ports.calibrations.list_page(
        owner=caller.owner, camera=camera, limit=limit, cursor=cursor
    )
    return CalibrationPage(
        items=[summary_view(item) for item in page.items], next_cursor=page.next_cursor
    )


@router.get("/{name}", responses=documented(404, 422, 503), summary="Look at a calibration")
async def get_calibration(name: str, services: OpenServices, caller: CallerDep) -> CalibrationView:
    """Its points, the fitted matrix, the residuals, the horizon."""
    return calibration_view(
        await calibrations.fit(await services.ports.calibrations.get(name, owner=caller.owner))
    )


@router.put(
    "/{name}",
    response_model=CalibrationView,
    openapi_extra={**_BODY, "parameters": _LABELS[1:]},
    responses={
        201: {"description": "It is new.", "model": CalibrationView},
        **documented(400, 413, 422, 503),
    },
    summary="Store or replace a calibration",
)
async def put_calibration(
    name: str, request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> CalibrationView:
    """As `POST`, but a calibration of this name is replaced. Jobs that were made with it are not changed; a recount may ask for it anew."""
    given = await read_calibration(request, name=name)
    fitted, new = await calibrations.replace(
        services.ports.calibrations, services.clock, given, owner=caller.owner
    )
    response.headers["Location"] = _address(fitted.calibration.name)
    response.status_code = 201 if new else 200
    return calibration_view(fitted)


@router.delete(
    "/{name}", status_code=204, responses=documented(404, 503), summary="Delete a calibration"
)
async def delete_calibration(name: str, services: OpenServices, caller: CallerDep) -> None:
    """Jobs that were made with it keep its points."""
    await calibrations.delete(services.ports.calibrations, name, owner=caller.owner)


def _address(name: str) -> str:
    return f"{CALIBRATIONS}/{quote(name)}"
