"""The pages `/docs` and `/redoc`, whose files all come with the API, and `/`, which leads there."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parents[1] / "static"
_ASSETS = {
    "swagger-ui": ("start.js", "swagger-ui-bundle.js", "swagger-ui.css"),
    "redoc": ("redoc.standalone.js",),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none';"
)
_POLICIES = {
    # The style sheet contains icons as data URLs. Pictures in responses are shown from blob URLs.
    "swagger-ui": f"{_POLICY} style-src 'self'; img-src 'self' data: blob:",
    # Redoc creates its style sheets in the browser: an empty one that a script fills, and one with
    # fixed text. Its search runs in a worker.
    "redoc": f"{_POLICY} style-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; img-src data:; worker-src blob:",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def root() -> RedirectResponse:
    """A redirect to `/docs`. It is relative, because a proxy may add a prefix to the path."""
    return RedirectResponse("docs", 307)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> FileResponse:
    """Swagger UI, to try out every route."""
    return _page("swagger-ui")


@router.api_route("/docs/{name}", methods=["GET", "HEAD"])
async def docs_asset(name: str) -> FileResponse:
    """A file of Swagger UI."""
    return _asset("swagger-ui", name)


@router.api_route("/redoc", methods=["GET", "HEAD"])
async def redoc() -> FileResponse:
    """Redoc, to read about every route."""
    return _page("redoc")


@router.api_route("/redoc/{name}", methods=["GET", "HEAD"])
async def redoc_asset(name: str) -> FileResponse:
    """A file of Redoc."""
    return _asset("redoc", name)


def _page(viewer: str) -> FileResponse:
    return FileResponse(
        _STATIC / viewer / "index.html", headers={"Content-Security-Policy": _POLICIES[viewer]}
    )


def _asset(viewer: str, name: str) -> FileResponse:
    if name not in _ASSETS[viewer]:
        raise HTTPException(404)
    return FileResponse(_STATIC / viewer / name)
